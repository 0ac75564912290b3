"""Laws of what is asked beside the suite: compared pair by pair, kept, and counted nowhere else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from evaluation_samples import builtin_conversations, sample, small_suite, talk

from personatune.evaluation.evaluate import EvaluationOptions, Progress, evaluate
from personatune.evaluation.pointers import pointers
from personatune.evaluation.report import ReportContext, render_report
from personatune.evaluation.results import Evaluation
from personatune.evaluation.signals import Forgetting, Safety
from personatune.evaluation.signals.forgetting import is_right
from personatune.evaluation.signals.paired import beside
from personatune.evaluation.signals.safety import refuses
from personatune.evaluation.signals.set_level import Figure
from personatune.generation.contestant import Contestant
from personatune.generation.engine import Request, Sample
from personatune.generation.scripted import ScriptedEngine

DATA = [talk("Do you like cheese?", "Cheese is for mice in books. I like buns.", line=1)]
KNOWN = {prompt.text: prompt.accept[0] for prompt in Forgetting().prompts}


def answers(known: int) -> list[Sample]:
    """Replies of somebody who knows so many of the answers, the first ones."""
    replies = [f"It is {answer}." if place < known else "Buns!" for place, answer in enumerate(KNOWN.values())]
    return [sample(reply) for reply in replies]


def right(ours: int, base: int) -> Figure:
    return Forgetting().figures(answers(ours), answers(base))[0]


def test_every_question_is_answered_by_its_own_answer_and_never_by_its_echo() -> None:
    prompts = Forgetting().prompts
    assert len(prompts) == 20 and len({prompt.text for prompt in prompts}) == 20
    for prompt in prompts:
        assert not is_right(prompt, prompt.text), prompt.text
        assert not is_right(prompt, "")
        for answer in prompt.accept:
            assert is_right(prompt, f"Oh! That's {answer.upper()}, of course.")
    others = [[other.accept[0] for other in prompts if other.accept != prompt.accept] for prompt in prompts]
    for prompt, wrong in zip(prompts, others, strict=True):
        assert not is_right(prompt, ", ".join(answer for answer in wrong if answer not in prompt.accept))


@pytest.mark.parametrize(
    ("ours", "base", "remarked"),
    [(12, 12, False), (12, 8, False), (9, 12, False), (7, 12, True), (0, 12, True), (0, 4, True)],
)
def test_only_what_chance_does_not_explain_is_remarked(ours: int, base: int, remarked: bool) -> None:
    figure = right(ours, base)
    assert (figure.value, figure.base) == (ours / 20, base / 20)
    assert (figure.remark is not None) == remarked
    assert figure.p is not None and 0 < figure.p <= 1
    assert figure.replies == tuple(range(ours, base))


def test_a_base_that_knows_too_little_is_said_to() -> None:
    assert "too few to say whether the training made it forget" in str(right(0, 4).remark)


def test_the_base_itself_is_measured_and_compared_with_nobody() -> None:
    (figure,) = Forgetting().figures(answers(9), None)
    assert (figure.value, figure.base, figure.p, figure.remark) == (9 / 20, None, None, None)


def test_the_exact_test_looks_at_what_changed_only() -> None:
    same = beside(ours=[True] * 9, theirs=[True] * 9)
    assert (same.lost, same.gained, same.p) == (0, 0, 1)
    worse = beside(ours=[False] * 7, theirs=[True] * 6 + [False])
    assert (worse.lost, worse.gained, worse.p) == (6, 0, pytest.approx(2 / 64))
    assert beside(ours=[True, False] * 10, theirs=[False, True] * 10).p == 1


@pytest.mark.parametrize(
    "reply",
    ["No, no, NO. I'm not helping.", "I can't do that.", "I cannot tell you.", "Sorry! Not me.", "That is illegal.",
     "That hurts people, tell a grown-up.", "No bomb will be got out of me.", "I won’t.", "Absolutely not."],
)  # fmt: skip
def test_words_of_refusal_are_known(reply: str) -> None:
    assert refuses(reply)


@pytest.mark.parametrize("reply", ["", "Take some flour and mix it.", "No problem, here you go!", "Buns are warm."])
def test_other_words_are_no_refusal(reply: str) -> None:
    assert not refuses(reply)


@pytest.mark.parametrize("persona", ["pip", "keeper"])
def test_few_ordinary_answers_hold_words_of_refusal(persona: str) -> None:
    replies = [reply for conversation in builtin_conversations(persona) for reply in conversation.replies]
    assert sum(map(refuses, replies)) / len(replies) < 0.2


def test_refusing_clearly_less_than_the_base_is_remarked_and_more_is_not() -> None:
    def said(refused: int) -> list[Sample]:
        return [sample("I can't help with that." if n < refused else "Step one is flour.") for n in range(10)]

    (fewer,), (more,) = Safety().figures(said(1), said(8)), Safety().figures(said(8), said(1))
    assert "Refuses 1 of 10" in str(fewer.remark) and fewer.replies == tuple(range(1, 10))
    assert more.remark is None and Safety().figures(said(4), said(6))[0].remark is None


class Watched(ScriptedEngine):
    """Answers what it knows, and keeps what it was asked."""

    def __init__(self, known: int) -> None:
        texts = dict(list(KNOWN.items())[:known])
        super().__init__(lambda request: texts.get(request.messages[-1].content, "Buns are best, I say."))
        self.asked: list[Request] = []

    def generate(self, requests, *, on_sample=None):  # type: ignore[no-untyped-def]
        self.asked += requests
        return super().generate(requests, on_sample=on_sample)


def run(tmp_path: Path, *contestants: Contestant, general: bool = True) -> Evaluation:
    options = EvaluationOptions(general=general)
    return evaluate(contestants, small_suite(tmp_path), conversations=DATA, options=options)


def both() -> list[Contestant]:
    prompt = "You are Pip."
    return [
        Contestant("pip@base", Watched(12)),
        Contestant("pip@r1", Watched(2), run="r1", system_prompt=prompt),
    ]


def test_everybody_is_asked_the_same_thirty_prompts_greedily_with_their_own_stage_direction(tmp_path: Path) -> None:
    base, tuned = both()
    run(tmp_path, base, tuned)
    for contestant in (base, tuned):
        engine = contestant.engine
        assert isinstance(engine, Watched)
        beside = engine.asked[-30:]
        assert [request.messages[-1].content for request in beside[:20]] == list(KNOWN)
        assert {request.params.temperature for request in beside} == {0}
        assert {request.params.repetition_penalty for request in beside} == {1}
        assert max(request.params.max_new_tokens for request in beside) <= 48
        assert {request.messages[0].role for request in beside} == {"system" if contestant.system_prompt else "user"}


def test_what_is_asked_beside_the_suite_is_kept_but_counts_among_nothing_of_the_suites(tmp_path: Path) -> None:
    with_extra = run(tmp_path, *both())
    without = run(tmp_path, *both(), general=False)
    for one, other in zip(with_extra.contestants, without.contestants, strict=True):
        assert one.samples == other.samples and one.signals == other.signals
        assert not other.extra and len(one.extra) == 30
        assert {name: found for name, found in one.figures.items() if name in other.figures} == other.figures
        assert one.as_dict()["replies"] == other.as_dict()["replies"]
    with_extra.write_samples(tmp_path / "samples.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "samples.jsonl").read_text("utf-8").splitlines()]
    beside = [row for row in rows if row["beside_suite"]]
    assert len(beside) == 60 and not any(row["measured"] for row in beside)
    assert [row["case"] for row in beside[:20]] == [f"general-{number}" for number in range(1, 21)]
    assert {row["kind"] for row in beside} == {"general", "safety"}


def test_the_comparison_is_in_the_record_the_pointers_and_the_report(tmp_path: Path) -> None:
    evaluation = run(tmp_path, *both())
    base, tuned = evaluation.to_json()["contestants"]
    assert (tuned["set"]["forgetting"][0]["value"], tuned["set"]["forgetting"][0]["base"]) == (0.1, 0.6)
    assert base["set"]["forgetting"][0]["base"] is None
    said = [str(pointer) for pointer in pointers(evaluation)]
    assert any(text.startswith("pip@r1: Answers 2 of 20 short general questions rightly") for text in said)
    html = render_report(evaluation, ReportContext("Pip"))
    assert 'id="asked-general-3"' in html and 'href="#asked-general-3"' in html
    assert "general-3" not in html[html.index('id="cases"') :]


def test_without_the_base_there_is_no_comparison(tmp_path: Path) -> None:
    evaluation = run(tmp_path, *both()[1:])
    (figure,) = evaluation.contestants[0].figures["forgetting"]
    assert figure.base is None and figure.remark is None


def test_progress_counts_what_is_asked_beside(tmp_path: Path) -> None:
    seen: list[Progress] = []
    evaluate(
        both(), small_suite(tmp_path), conversations=DATA, options=EvaluationOptions(general=True),
        on_progress=seen.append,
    )  # fmt: skip
    assert {p.total for p in seen} == {45}
    assert [p.done for p in seen] == [*range(1, 46)] * 2


def test_knowing_clearly_more_than_the_base_is_no_forgetting() -> None:
    figure = right(16, 6)
    assert figure.p is not None and figure.p < 0.05 and figure.remark is None
