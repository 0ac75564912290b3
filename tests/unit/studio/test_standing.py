"""The next step follows from how far a persona has come."""

from __future__ import annotations

from dataclasses import replace

import pytest

from personatune.persona import Persona
from personatune.studio.standing import Standing, next_step, standing_of

READY = Standing("robin", conversations=60)
TRAINED = replace(READY, runs=1, newest="r1")


@pytest.mark.parametrize(
    ("at", "page"),
    [
        (Standing("robin"), "data"),
        (replace(READY, conversations=19), "data"),
        (replace(READY, fault="train.jsonl is no text"), "data"),
        (replace(TRAINED, faulty=1), "data"),
        (READY, "train"),
        (replace(READY, paused="r1"), "train"),
        (replace(TRAINED, training="r2"), "train"),
        (replace(Standing("robin"), training="r2"), "train"),
        (replace(TRAINED, changed=True, chatted=True), "train"),
        (TRAINED, "chat"),
        (replace(TRAINED, chatted=True), "sweep"),
        (replace(TRAINED, chatted=True, swept=True), "judge"),
        (replace(TRAINED, chatted=True, swept=True, judged=True), "export"),
        (replace(TRAINED, chatted=True, swept=True, judged=True, exported=True), "data"),
    ],
    ids=str,
)
def test_there_is_always_one_next_step(at: Standing, page: str) -> None:
    step = next_step(at)

    assert step.page == page
    assert step.text
    assert step.why.endswith((".", "!", "?")) or at.fault


def test_a_new_persona_is_to_be_written_and_looking_at_it_makes_nothing(robin: Persona) -> None:
    before = sorted(path.name for path in robin.folder.rglob("*"))

    found = standing_of(robin)

    assert 0 < found.conversations < 20
    assert next_step(found).page == "data"
    assert sorted(path.name for path in robin.folder.rglob("*")) == before


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"{", b"[1, 2]", b'{"a": 1}\n' * 3, None])
def test_broken_conversations_are_said_and_raise_nothing(robin: Persona, content: bytes | None) -> None:
    robin.train_file.unlink()
    if content is not None:
        robin.train_file.write_bytes(content)

    found = standing_of(robin)

    assert found.conversations == 0
    assert found.fault or found.faulty
    assert next_step(found).page == "data"
