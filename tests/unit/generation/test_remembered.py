from pathlib import Path

import pytest

from personatune.conversation import Message
from personatune.generation.engine import Request
from personatune.generation.params import GenerationParams
from personatune.generation.remembered import RememberedEngine
from personatune.generation.scripted import ScriptedEngine


def request(text: str, seed: int = 0) -> Request:
    return Request(messages=(Message(role="user", content=text),), params=GenerationParams(seed=seed))


class Counting:
    def __init__(self, fail_at: int | None = None) -> None:
        self.asked: list[str] = []
        self._fail_at = fail_at

    def engine(self) -> ScriptedEngine:
        return ScriptedEngine(self._answer)

    def _answer(self, wanted: Request) -> str:
        if len(self.asked) == self._fail_at:
            raise KeyboardInterrupt
        self.asked.append(wanted.messages[-1].content)
        return f"re {wanted.messages[-1].content} {wanted.params.seed}"


def test_an_interrupted_batch_goes_on_without_asking_twice(tmp_path: Path):
    wanted = [request("a"), request("b"), request("a", seed=1), request("c")]
    uninterrupted = ScriptedEngine(Counting()._answer).generate(wanted)
    first, second = Counting(fail_at=2), Counting()
    with pytest.raises(KeyboardInterrupt):
        RememberedEngine(first.engine(), tmp_path / "s.jsonl").generate(wanted)
    seen: list[int] = []
    samples = RememberedEngine(second.engine(), tmp_path / "s.jsonl").generate(
        wanted, on_sample=lambda index, _: seen.append(index)
    )
    assert samples == uninterrupted
    assert first.asked + second.asked == ["a", "b", "a", "c"]
    assert sorted(seen) == [0, 1, 2, 3]


def test_a_torn_last_line_is_asked_again(tmp_path: Path):
    file = tmp_path / "s.jsonl"
    RememberedEngine(Counting().engine(), file).generate([request("a"), request("b")])
    file.write_text(file.read_text()[:-20])
    again = Counting()
    RememberedEngine(again.engine(), file).generate([request("a"), request("b")])
    assert again.asked == ["b"]
