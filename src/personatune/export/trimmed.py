"""A run's vocabulary cut down at export, and what that loses on held-out replies.

A run that was trained with the smaller vocabulary has learned to read words in pieces; this one has not. So the loss is
measured, as bits a byte, which vocabularies of any size can be compared by, and stated wherever the export is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from personatune import files, manifest
from personatune.conversation import Conversation, Message
from personatune.data.render import encode, prompt_ids, render
from personatune.errors import PersonatuneError
from personatune.export import merged
from personatune.export.merged import Merged
from personatune.export.parity import scored_positions
from personatune.export.texts import CONVERSATIONS, LONGEST_ROW, conversations_of
from personatune.models import memory
from personatune.models.gguf_file import Stage
from personatune.models.load import Loaded, load_base
from personatune.models.vocabulary import LANGUAGE, Vocabulary, Wanted, choose, expectations, trim
from personatune.persona import Persona

_LAYOUT = 1
"""Raised when what trimming writes changes: folders of another layout are made again."""


def trimmed(persona: Persona, run: str, whole: Merged, size: int, on_stage: Stage, keep: int) -> Merged:
    """The merged model with `size` tokens; itself when it has no more. Cached as `merged.merge` does.

    Every token of the conversations that the run learned from is kept. Raises `RecipeError` when `size` cannot hold
    them, `ModelError` for a tokenizer that cannot be cut down, `RunError` when nobody has the conversations any more.
    """
    if size >= int(whole.config["vocab_size"]):
        return whole
    made = manifest.read(persona.runs_folder / run)
    language = str((made.get("recipe") or {}).get("language") or LANGUAGE)
    greeting = persona.character.greeting
    key = files.content_hash("trimmed", str(_LAYOUT), whole.hash, str(size), language, greeting)

    def make(folder: Path) -> dict[str, Any]:
        return _make(persona, run, whole, (size, language), folder, on_stage)

    share = size / int(whole.config["vocab_size"])
    octets = whole.weights.stat().st_size * (0.5 + 0.5 * share)
    return merged.cached(key, int(octets), make, keep)


def loss(about: dict[str, Any]) -> str | None:
    """What a trimming lost, in a sentence; None where nothing could be measured."""
    before, after = about.get("bits_per_byte_run"), about.get("bits_per_byte")
    if before is None or after is None:
        return None
    on = "held-out" if about["on_held_out"] else "training"
    return (
        f"trimming the vocabulary from {about['of']:,} to {about['size']:,} tokens costs "
        f"{100 * (after / before - 1):+.1f} %: {before:.3f} bits a byte of {on} replies in the run, {after:.3f} here; "
        f"the replies take {100 * (about['tokens'] / about['tokens_run'] - 1):+.1f} % tokens. A run trained with "
        f"--vocab {about['size']} loses less"
    )


def _make(
    persona: Persona, run: str, whole: Merged, wish: tuple[int, str], folder: Path, on_stage: Stage
) -> dict[str, Any]:
    from personatune.models.device import Compute
    from personatune.models.resolve import resolve

    size, language = wish
    apart, learned = conversations_of(persona, run)
    asked = (apart or learned)[:CONVERSATIONS]
    on_stage(f"choosing {size:,} tokens", 0.0)
    loaded = load_base(resolve(str(whole.folder)), Compute("cpu", "fp32", "to trim"))
    said = [list(render(loaded.tokenizer, row).token_ids) for row in learned]
    needed = {*chain.from_iterable(said), *_always(loaded, persona, run)}
    expected = expectations(loaded.model, said)
    kept = choose(loaded.tokenizer, Wanted(frozenset(needed), expected, language), size)
    if kept is None:  # some models have rows for more tokens than their tokenizer knows
        kept = Vocabulary(tuple(range(size)), int(whole.config["vocab_size"]), language)
    on_stage("scoring held-out replies with the whole vocabulary", 0.4)
    rendered = [(row, *scored_positions(loaded.tokenizer, row)) for row in asked]
    short = [one for one in rendered if len(one[1]) <= _most(whole)]
    bits_run = _bits(loaded, [(ids, at) for _, ids, at in short], [row for row, _, _ in short])
    on_stage(f"trimming the vocabulary to {size:,} tokens", 0.7)
    loaded = trim(loaded, kept)
    on_stage("scoring the same with the smaller one", 0.75)
    scored = [scored_positions(loaded.tokenizer, row) for row, _, _ in short]
    bits = _bits(loaded, scored, [row for row, _, _ in short])
    on_stage("saving the trimmed model", 0.9)
    merged.save(loaded, folder)
    del loaded
    memory.release()
    return {
        "size": len(kept.kept),
        "of": kept.of,
        "language": kept.language,
        "bits_per_byte_run": bits_run,
        "bits_per_byte": bits,
        "tokens_run": sum(len(at) for _, _, at in short),
        "tokens": sum(len(at) for _, at in scored),
        "on_held_out": bool(apart),
    }


def _always(loaded: Loaded, persona: Persona, run: str) -> list[int]:
    """Tokens of what stands in every conversation, said in training or not."""
    system = manifest.read(persona.runs_folder / run).get("system_prompt")
    ids = encode(loaded.tokenizer, persona.character.greeting)
    if system:
        try:
            ids += prompt_ids(loaded.tokenizer, (Message(role="system", content=str(system)),))
        except PersonatuneError:
            raise
        except Exception:  # a template may refuse a conversation that no user has begun
            ids += encode(loaded.tokenizer, str(system))
    return ids


def _most(whole: Merged) -> int:
    return min(LONGEST_ROW, int(whole.config.get("max_position_embeddings") or LONGEST_ROW)) * 3 // 4


def _bits(loaded: Loaded, scored: Sequence[tuple[list[int], list[int]]], rows: Sequence[Conversation]) -> float | None:
    """Bits a byte of the replies' text, their closing tokens included; None when there is nothing to score."""
    import torch

    nats, spoken = 0.0, sum(len(m.content.encode()) for row in rows for m in row.messages if m.role == "assistant")
    with torch.inference_mode():
        for ids, positions in scored:
            if not positions:
                continue
            keep = torch.tensor(positions)
            logits = loaded.model(input_ids=torch.tensor([ids]), use_cache=False, logits_to_keep=keep).logits[0]
            targets = torch.tensor([ids[at + 1] for at in positions])
            nats += float(torch.nn.functional.cross_entropy(logits.float(), targets, reduction="sum"))
    return nats / (math.log(2) * spoken) if spoken else None
