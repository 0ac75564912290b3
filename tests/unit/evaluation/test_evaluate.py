"""Laws of evaluating: what is asked, in which order, with which seeds and parameters, and what is kept."""

from __future__ import annotations

import gc
import json
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest
from evaluation_samples import CASES, HEAD, small_suite, talk

from personatune.conversation import Message
from personatune.errors import DataError, UsageError
from personatune.evaluation.evaluate import EvaluationOptions, Progress, evaluate, seed_for
from personatune.evaluation.results import Evaluation
from personatune.evaluation.signals.resampling import quantile
from personatune.evaluation.suite import Suite
from personatune.generation.contestant import Contestant
from personatune.generation.engine import Request, Sample
from personatune.generation.params import GenerationParams
from personatune.generation.scripted import ScriptedEngine

DATA = [talk("Do you like cheese?", "Cheese is for mice in books. I like buns.", line=1)]


class Watched(ScriptedEngine):
    """A scripted engine that keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__(lambda request: f"Reply {request.params.seed} to {request.messages[-1].content}")
        self.calls: list[list[Request]] = []

    def generate(self, requests, *, on_sample=None):  # type: ignore[no-untyped-def]
        self.calls.append(list(requests))
        return super().generate(requests, on_sample=on_sample)


def run(suite: Suite, *contestants: Contestant, **options: object) -> Evaluation:
    return evaluate(contestants, suite, conversations=DATA, options=EvaluationOptions.model_validate(options))


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    return small_suite(tmp_path, HEAD + "defaults: {samples: 2, seeds: [5, 6], parameters: {top_p: 0.5}}\n" + CASES)


def test_each_turn_level_is_one_call_and_goes_on_from_the_contestants_own_replies(suite: Suite) -> None:
    engine = Watched()
    run(suite, Contestant("pip@r1", engine))
    assert [len(call) for call in engine.calls] == [6, 2, 2]
    first, second, third = (engine.calls[level][-1] for level in (0, 1, 2))
    assert [message.role for message in third.messages] == ["user", "assistant", "user", "assistant", "user"]
    assert third.messages[1].content == f"Reply {first.params.seed} to I'm sad."
    assert third.messages[3].content == f"Reply {second.params.seed} to She moved."
    assert third.messages[:3] == second.messages


def test_samples_come_in_the_order_of_the_suite(suite: Suite) -> None:
    evaluation = run(suite, Contestant("pip@r1", Watched()))
    places = [(s.case, s.k, s.turn, s.measured) for s in evaluation.contestants[0].samples]
    assert places == [
        ("rainy", 0, 1, True),
        ("rainy", 1, 1, True),
        ("quantum", 0, 1, True),
        ("quantum", 1, 1, True),
        ("friend", 0, 1, True),
        ("friend", 0, 2, False),
        ("friend", 0, 3, True),
        ("friend", 1, 1, True),
        ("friend", 1, 2, False),
        ("friend", 1, 3, True),
    ]


def test_seeds_are_stable_alike_for_all_contestants_and_differ_everywhere_else(suite: Suite) -> None:
    one, other = run(suite, Contestant("a", Watched()), Contestant("b", Watched())).contestants
    seeds = [s.sample.params.seed for s in one.samples]
    assert seeds == [s.sample.params.seed for s in other.samples]
    assert len(set(seeds)) == len(seeds)
    assert seeds[:2] == [seed_for(5, "rainy", 1, 0), seed_for(6, "rainy", 1, 1)]
    assert seed_for(5, "rainy", 1, 0) == 538935585  # kept samples can be made again only while this holds
    more = run(suite, Contestant("a", Watched()), samples=5).contestants[0]
    assert {s.sample.params.seed for s in more.samples} > set(seeds)
    assert len({s.sample.params.seed for s in more.samples}) == len(more.samples)
    own = run(suite, Contestant("a", Watched()), seed=9).contestants[0]
    assert not {s.sample.params.seed for s in own.samples} & set(seeds)


def test_the_suites_parameters_lie_over_the_contestants_and_the_options_over_both(suite: Suite) -> None:
    contestant = Contestant("a", Watched(), params=GenerationParams(temperature=0.1, top_p=0.9, top_k=7))
    params = run(suite, contestant, parameters={"temperature": 1.5}).contestants[0].params
    assert (params.temperature, params.top_p, params.top_k) == (1.5, 0.5, 7)


def test_parameters_that_contradict_each_other_or_do_not_exist_are_refused(suite: Suite) -> None:
    contestant = Contestant("a", Watched(), params=GenerationParams(max_new_tokens=10))
    with pytest.raises(UsageError, match=r"min_new_tokens \(20\) is over max_new_tokens \(10\)"):
        run(suite, contestant, parameters={"min_new_tokens": 20})
    with pytest.raises(UsageError, match="did you mean 'temperature'"):
        run(suite, contestant, parameters={"temprature": 1})
    with pytest.raises(UsageError, match="temperature"):
        run(suite, contestant, parameters={"temperature": 9})


def test_the_stage_direction_goes_before_every_turn_and_is_kept(suite: Suite) -> None:
    evaluation = run(suite, Contestant("a@prompted", Watched(), system_prompt="You are Pip."))
    samples = evaluation.contestants[0].samples
    assert {s.sample.messages[0] for s in samples} == {Message(role="system", content="You are Pip.")}
    assert sum(m.role == "system" for m in samples[-1].sample.messages) == 1


def test_an_engine_is_let_go_before_the_next_is_made(suite: Suite) -> None:
    alive: list[weakref.ref[Watched]] = []

    def contestants() -> Iterator[Contestant]:
        for name in ("a", "b", "c"):
            gc.collect()
            assert [reference() for reference in alive] == [None] * len(alive)
            engine = Watched()
            alive.append(weakref.ref(engine))
            contestant = Contestant(name, engine)
            del engine
            yield contestant
            del contestant

    evaluation = evaluate(contestants(), suite, conversations=DATA)
    assert [result.name for result in evaluation.contestants] == ["a", "b", "c"]


def test_a_contestant_asked_twice_is_numbered(suite: Suite) -> None:
    evaluation = run(suite, *(Contestant("a", Watched()) for _ in range(3)))
    assert [result.name for result in evaluation.contestants] == ["a", "a (2)", "a (3)"]
    assert evaluation.contestants[1].samples[0].contestant == "a (2)"


def test_nobody_to_ask_is_refused(suite: Suite) -> None:
    with pytest.raises(UsageError, match="nobody"):
        run(suite)


def test_a_suite_that_stands_in_the_data_is_refused_unless_allowed(suite: Suite) -> None:
    engine = Watched()
    leaking = [*DATA, talk("RAIN again", "Yes.")]
    with pytest.raises(DataError, match=r"1 of the suite's prompts.*rainy: “Rain again\?”") as caught:
        evaluate([Contestant("a", engine)], suite, conversations=leaking)
    assert "--allow-leak" in str(caught.value.fix)
    assert engine.calls == []
    options = EvaluationOptions(allow_leak=True)
    assert evaluate([Contestant("a", engine)], suite, conversations=leaking, options=options).contestants


def test_progress_counts_every_reply_of_each_contestant(suite: Suite) -> None:
    seen: list[Progress] = []
    evaluate(
        [Contestant("a", Watched()), Contestant("b", Watched())], suite, conversations=DATA, on_progress=seen.append
    )
    assert [(p.contestant, p.done) for p in seen] == [(name, done) for name in "ab" for done in range(1, 11)]
    assert {p.total for p in seen} == {10}


def test_rates_count_measured_replies_only(suite: Suite) -> None:
    engine = ScriptedEngine(lambda request: "" if request.messages[-1].content == "She moved." else "Fine.")
    result = run(suite, Contestant("a", engine)).contestants[0]
    assert (result.signals["empty"].count, result.signals["empty"].n) == (0, 8)
    assert [s.flags for s in result.samples if not s.measured] == [("unfinished", "empty")] * 2


def test_checks_are_kept_and_counted_by_level(suite: Suite) -> None:
    engine = ScriptedEngine(lambda request: "A gluon, you silly ROBOT.")
    result = run(suite, Contestant("a", engine)).contestants[0]
    failed = {level: (found.count, found.n) for level, found in result.failed_checks.items()}
    assert failed == {"info": (0, 2), "warn": (4, 4), "fail": (2, 2)}


def test_the_record_has_its_shape(suite: Suite, tmp_path: Path) -> None:
    evaluation = run(suite, Contestant("pip@r1", Watched(), run="r1"))
    record = json.loads(json.dumps(evaluation.to_json(samples_file="s.jsonl", report="r.html")))
    assert {key: record[key] for key in ("suite", "samples_file", "report")} == {
        "suite": str(tmp_path / "suite.yaml"),
        "samples_file": "s.jsonl",
        "report": "r.html",
    }
    contestant = record["contestants"][0]
    assert (contestant["contestant"], contestant["run"], contestant["samples"]) == ("pip@r1", "r1", 8)
    assert set(contestant["signals"]) == {*("finished", "empty", "turn_leak", "loop", "copying", "breaks_character")}
    assert set(contestant["signals"]["finished"]) == {"count", "n", "rate", "low", "high"}
    assert contestant["signals"]["finished"]["n"] == contestant["samples"]


def test_a_samples_file_makes_every_reply_again(suite: Suite, tmp_path: Path) -> None:
    engine = ScriptedEngine(lambda request: "Line\u2028break, half a sign \ud83d and\x85more\nthan one line.")
    evaluation = run(suite, Contestant("pip@r1", engine))
    evaluation.write_samples(tmp_path / "samples.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "samples.jsonl").read_text("utf-8").splitlines()]
    kept = evaluation.contestants[0].samples
    assert len(rows) == len(kept)
    for row, sample in zip(rows, kept, strict=True):
        assert (
            Sample(
                messages=row["messages"],
                reply=row["reply"],
                finish_reason=row["finish_reason"],
                token_ids=row["token_ids"],
                params=GenerationParams(**row["parameters"], seed=row["seed"]),
            )
            == sample.sample
        )
        assert (row["contestant"], row["case"], row["turn"]) == ("pip@r1", sample.case, sample.turn)
        assert row["flags"] == list(sample.flags)
        assert [check["passed"] for check in row["checks"]] == [result.passed for result in sample.checks]


def test_the_reference_is_the_training_data_itself(suite: Suite) -> None:
    reference = run(suite, Contestant("a", Watched())).reference
    assert reference.words == (9,)
    assert "copying" not in reference.signals
    assert (reference.signals["finished"].count, reference.signals["finished"].n) == (1, 1)


def test_quantiles() -> None:
    assert quantile([], 0.5) == 0
    assert [quantile([1, 2, 3, 4], share) for share in (0, 0.5, 1)] == [1, 2.5, 4]
