"""from anything people keep dialogues in to rows of train.jsonl: one module a family of formats."""
