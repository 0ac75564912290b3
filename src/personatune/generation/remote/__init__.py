"""Contestants at an address: any server that speaks OpenAI's chat completions, asked only when the user names it."""
