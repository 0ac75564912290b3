"""Long talks through the fast engine, with every reply kept: memory after a quarter of them is memory at the end."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

import onnx_folders
from personatune.generation.contestant import Contestant
from personatune.generation.engine import Sample
from personatune.generation.keeping import keep_reply
from personatune.generation.onnx import open_engine
from personatune.generation.params import GenerationParams
from personatune.generation.talk import Talk
from personatune.models.load import load_base
from personatune.models.resolve import resolve
from personatune.persona import Persona, create

TURNS = 160
ROOM = 4.0
"""MB: what the allocator rounds up is less; 100 KB a turn are 12, of which freed pieces may hold a few."""


@pytest.fixture(scope="module")
def engine(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory):
    home = tmp_path_factory.mktemp("engine")
    base = load_base(resolve(str(tiny_llama)), onnx_folders.FP32)
    return open_engine(onnx_folders.write(onnx_folders.save(base, home / "merged"), home / "onnx"))


def grown(persona: Persona, contestant: Contestant, leak: Callable[[Sample], object]) -> float:
    """MB more at the end than after a quarter."""
    talk = Talk(contestant, GenerationParams(max_new_tokens=12, seed=1), context=contestant.engine.context)  # type: ignore[attr-defined]
    last, marks = None, []
    for turn in range(TURNS):
        if turn % 7 == 0:
            talk.messages.clear()
            last = None
        pieces = talk.retry() if turn % 7 == 5 else talk.say(f"What of {turn}?")
        (sample,) = (piece for piece in pieces if isinstance(piece, Sample))
        last = keep_reply(persona, contestant, sample, parent=last)
        leak(sample)
        if turn in (TURNS // 4, TURNS - 1):
            gc.collect()
            marks.append(psutil.Process().memory_full_info().uss / 2**20)
    return marks[1] - marks[0]


def test_memory_stays_and_a_leak_would_be_seen(engine, tmp_path: Path) -> None:
    persona = create(tmp_path / "dot", display_name="Dot", train_jsonl="", suite_yaml=None)
    contestant = Contestant("dot@base", engine)
    held: list[bytearray] = []

    assert grown(persona, contestant, lambda _sample: None) < ROOM
    assert grown(persona, contestant, lambda _sample: held.append(bytearray(b"x" * 100_000))) > ROOM
