"""Laws of the report: it stands alone, nothing a model says becomes markup, and it shows what was measured."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path

import pytest
from evaluation_samples import CASES, HEAD, small_suite, talk
from hypothesis import given
from hypothesis import strategies as st

from personatune.evaluation.evaluate import evaluate
from personatune.evaluation.pointers import percent, pointers
from personatune.evaluation.replies import case_views, marked
from personatune.evaluation.report import ReportContext, render_report, write_report
from personatune.evaluation.results import Evaluation
from personatune.evaluation.sheets import Sheet
from personatune.evaluation.suggestions import Suggestion
from personatune.evaluation.words import word_count
from personatune.generation.contestant import Contestant
from personatune.generation.scripted import ScriptedEngine
from personatune.store.lineage import Node

LONG = "I once carried a currant across the whole yard in the rain and nobody, not one beetle, said well done."
DATA = [talk(f"Question {number}?", f"Answer number {number} is this one here.", line=number) for number in range(9)]
DATA.append(talk("Rain?", LONG, line=57))
METRICS = [{"step": step, "epoch": step / 4, "loss": 3 / step} for step in range(1, 9)]
METRICS += [{"step": 4, "epoch": 1, "heldout_nll": 2.0}, {"step": 8, "epoch": 2, "heldout_nll": 3.0}]
HOSTILE = '<script>alert(1)</script><img src=x onerror="alert(2)">\'"&{{ 7 * 7 }}</blockquote>'
VOID = {"meta", "input"}


class Page(HTMLParser):
    """What a browser would see: the tags in order, their attributes, the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture
def evaluation(tmp_path: Path) -> Evaluation:
    replies = {
        "base": lambda request: "" if request.messages[-1].content == "Explain quarks" else "So I said and",
        "r1": lambda request: LONG if request.messages[-1].content == "Rain again?" else HOSTILE + " Done.",
    }
    contestants = [Contestant(f"pip@{name}", ScriptedEngine(reply)) for name, reply in replies.items()]
    return evaluate(contestants, small_suite(tmp_path), conversations=DATA)


def context(**changes: object) -> ReportContext:
    made = {"personatune": "0.1.0", "versions": {"torch": "2.11"}, "notes": [HOSTILE, 2], "gpu": None}
    return ReportContext(**{"character": f"Pip {HOSTILE}", "metrics": METRICS, "made": made, **changes})  # type: ignore[arg-type]


def test_the_page_is_well_formed_and_its_ids_are_unique(evaluation: Evaluation) -> None:
    page = Page(render_report(evaluation, context()))
    assert page.open == []
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in page.tags:
        for name in ("aria-labelledby", "aria-describedby"):
            assert set((attributes.get(name) or "").split()) <= set(ids)


def test_nothing_that_is_said_becomes_markup(evaluation: Evaluation) -> None:
    page = Page(render_report(evaluation, context()))
    assert sum(tag == "script" for tag, _ in page.tags) == 1
    assert not [tag for tag, _ in page.tags if tag in ("img", "iframe", "link", "object", "embed")]
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert HOSTILE in "".join(page.text)


def test_the_page_reaches_for_nothing_outside_itself(evaluation: Evaluation) -> None:
    html = render_report(evaluation, context())
    assert "http" not in html.replace("http-equiv", "")
    assert "url(" not in html and "@import" not in html
    page = Page(html)
    assert not [attributes for _, attributes in page.tags if "src" in attributes]
    links = [attributes["href"] or "" for _, attributes in page.tags if "href" in attributes]
    ids = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    assert links[0] == "#replies"
    assert all(link.startswith("#") and link[1:] in ids for link in links)
    policy = next(a["content"] for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None and policy.startswith("default-src 'none'") and "unsafe" not in policy
    assert not [attributes for _, attributes in page.tags if "style" in attributes]


def test_the_page_says_what_it_is_and_shows_every_measured_thing(evaluation: Evaluation) -> None:
    html = render_report(evaluation, context(character="Pip"))
    text = re.sub(r"\s+", " ", "".join(Page(html).text))
    assert "Not judged yet: signals say where to look; only your ear can say whether it is them." in text
    assert text.index("Signals") < text.index("What to look at") < text.index("Replies side by side")
    assert text.index("Replies side by side") < text.index("How long the replies are")
    assert text.index("How the training went") < text.index("How it was made")
    for words in (
        "pip@base",
        "pip@r1",
        "Listen for a game",
        "20 words in a row as in train.jsonl:57",
        "versions",
    ):
        assert words in text
    for contestant in evaluation.contestants:
        for sample in contestant.samples:
            assert str(sample.sample.params.seed) in text


def test_every_link_of_a_remark_leads_to_the_reply_that_it_is_about(tmp_path: Path) -> None:
    suite = small_suite(tmp_path, HEAD + "defaults: {samples: 6}\n" + CASES)
    long, short = " ".join(["word"] * 90) + ".", "Buns are warm, said the smaller mouse."
    rambling = ScriptedEngine(lambda request: short if request.params.seed % 3 else f"{request.params.seed} {long}")
    evaluation = evaluate(
        [Contestant("a@r1", ScriptedEngine(lambda _: short)), Contestant("a@r2", rambling)], suite, conversations=DATA
    )
    html = render_report(evaluation, context())
    figure = next(f for f in evaluation.contestants[1].figures["length_shift"] if f.name == "length_inside")
    assert figure.replies
    for place in figure.replies:
        sample = evaluation.contestants[1].measured[place]
        shown = re.search(rf'<blockquote id="reply-1-{place}"[^>]*>(.*?)</blockquote>', html)
        assert shown is not None and shown[1] == sample.sample.reply
        assert f'<a class="way" href="#reply-1-{place}">{sample.case} {sample.k + 1}' in html


def test_all_replies_together_stand_beside_the_data_with_their_remarks(tmp_path: Path) -> None:
    talks = [talk(f"Question {number}?", "So I went there. " + "word " * (number + 3) + "end.") for number in range(60)]
    suite = small_suite(tmp_path, HEAD + "defaults: {samples: 4}\n" + CASES)
    replies = ScriptedEngine(lambda request: "Buns! " + "word " * 30 + f"{request.params.seed}.")
    base, tuned = Contestant("pip@base", replies), Contestant("pip@r1", replies, run="r1")
    evaluation = evaluate([base, tuned], suite, conversations=talks)
    text = re.sub(r"\s+", " ", "".join(Page(render_report(evaluation, context())).text))
    together = text[text.index("All replies together") : text.index("Replies side by side")]
    look = text[text.index("What to look at") : text.index("All replies together")]
    remark = "Varies its length less than the data"
    assert "Words, median pip@base 32 32 to 32 pip@r1 32 32 to 32 training data 38" in together
    # The untrained base is not meant to be the character: its remarks are no pointers.
    assert (together.count(remark), look.count(remark)) == (2, 1)


def test_the_worst_case_comes_first(evaluation: Evaluation) -> None:
    views = case_views(evaluation)
    assert [view.case.id for view in views] == ["quantum", "rainy", "friend"]
    assert [view.severity for view in views] == sorted((view.severity for view in views), reverse=True)
    rainy = views[1]
    assert "copying@1" in rainy.tokens and "copying@0" not in rainy.tokens
    assert [[cell.contestant for cell in row] for row in rainy.rows] == [["pip@base", "pip@r1"]] * 3


def test_a_report_needs_no_metrics_no_record_and_no_training_data(tmp_path: Path) -> None:
    suite = small_suite(tmp_path, HEAD + CASES)
    one = evaluate([Contestant("pip@r1", ScriptedEngine(lambda _: "Fine."))], suite, conversations=[])
    path = tmp_path / "report.html"
    write_report(path, one, ReportContext("Pip"))
    html = path.read_text("utf-8")
    assert Page(html).open == []
    assert "How the training went" not in html
    assert 'class="who data"' not in html


def test_a_reply_with_half_a_sign_is_still_written(tmp_path: Path) -> None:
    suite = small_suite(tmp_path)
    one = evaluate([Contestant("a", ScriptedEngine(lambda _: "Half \ud83d."))], suite, conversations=DATA)
    write_report(tmp_path / "report.html", one, ReportContext("Pip"))
    assert "Half ?." in (tmp_path / "report.html").read_text("utf-8")


def test_pointers_say_what_to_look_at(evaluation: Evaluation) -> None:
    said = [str(pointer) for pointer in pointers(evaluation, METRICS)]
    assert "pip@base: 3 of 12 replies say nothing at all." in said
    assert "pip@base: 12 of 12 replies are unfinished: 12 without a sentence's end." in said
    assert (
        "pip@r1: 3 of 12 replies recite a training reply; the longest has 20 words in a row as in train.jsonl:57."
        in said
    )
    assert any(text.startswith("Between pip@base and pip@r1") and "finished (0 % and 100 %)" in text for text in said)
    assert any("lowest at step 4 (2.00) and rose to 3.00" in text for text in said)


def test_a_faultless_contestant_is_not_praised(tmp_path: Path) -> None:
    one = evaluate([Contestant("a", ScriptedEngine(lambda _: "Fine."))], small_suite(tmp_path), conversations=DATA[:3])
    assert "That is no praise yet" in str(pointers(one)[0])


@given(st.text(max_size=60), st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=5))
def test_marking_keeps_every_letter(text: str, spans: list[tuple[int, int]]) -> None:
    inside = [(min(pair), max(pair)) for pair in spans if max(pair) <= len(text)]
    pieces = marked(text, inside)
    assert "".join(piece for piece, _ in pieces) == text
    place = 0
    for piece, mark in pieces:
        for offset in range(place, place + len(piece)):
            assert mark == any(low <= offset < high for low, high in inside)
        place += len(piece)


@pytest.mark.parametrize(
    ("share", "said"), [(0, "0 %"), (1, "100 %"), (0.5, "50 %"), (0.997, "99.7 %"), (0.002, "0.2 %"), (0.333, "33 %")]
)
def test_percent_never_rounds_to_none_or_all(share: float, said: str) -> None:
    assert percent(share) == said


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours, after WCAG 2.2."""

    def light(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    bright, dark = sorted((light(one), light(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_every_text_colour_reaches_aa_on_its_ground(scheme: int) -> None:
    css = resources.files("personatune.evaluation").joinpath("templates", "report.css").read_text("utf-8")
    block = re.findall(r":root \{(.*?)\}", css, re.DOTALL)[scheme]
    colour = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))
    pairs = [
        (text, ground) for text in ("ink", "quiet", *(f"c{n}" for n in range(6))) for ground in ("paper", "ground")
    ]
    pairs += [(tone, f"{tone}-ground") for tone in ("grave", "look", "note")]
    pairs += [("ink", "mark"), ("ink", "faint"), ("ink", "look-ground"), ("focus", "paper"), ("look", "look-ground")]
    pairs += [(text, "look-ground") for text in ("focus", *(f"c{n}" for n in range(6)))]
    for text, ground in pairs:
        assert contrast(colour[text], colour[ground]) >= 4.5, (text, ground)


def test_the_page_names_the_command_that_corrects_each_reply(evaluation: Evaluation) -> None:
    samples = [sample for contestant in evaluation.contestants for sample in contestant.samples]
    kept = evaluation.with_ids([f"s{number}" for number in range(5, 5 + len(samples))])
    text = "".join(Page(render_report(kept, context(reference="'my mice/pip'@"))).text)
    for number in range(5, 5 + len(samples)):
        assert f"personatune fix 'my mice/pip'@s{number}\n" in text
    assert [s.id for c in kept.contestants for s in c.samples] == [f"s{n}" for n in range(5, 5 + len(samples))]
    assert "personatune fix" not in render_report(evaluation, context())


def test_the_page_says_what_to_change_only_where_there_is_something(evaluation: Evaluation) -> None:
    said = (Suggestion(f"3 rows {HOSTILE}.", rows=tuple(f"a.jsonl:{n}" for n in range(9)), cases=("rainy",)),)
    text = "".join(Page(render_report(replace(evaluation, suggestions=said), context())).text)
    assert text.index("What to look at") < text.index("What to change in the data") < text.index("Replies side by")
    assert f"3 rows {HOSTILE}." in text
    assert "a.jsonl:7, a.jsonl:8; rainy" in text
    assert "What to change" not in render_report(replace(evaluation, suggestions=()), context())


def test_the_page_draws_what_the_evaluation_was_made_from(evaluation: Evaluation) -> None:
    made = [
        Node(kind="evaluation", id="e1", depth=0, reached_from=(), about=HOSTILE),
        Node(kind="run", id="r1", depth=1, reached_from=("e1",), about=f"{HOSTILE}, finished"),
    ]
    page = Page(render_report(evaluation, context(lineage=made)))
    assert page.open == []
    assert sum(attributes.get("class") == "box here" for _, attributes in page.tags) == 2  # for wide and narrow pages
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert not [attributes for _, attributes in page.tags if "style" in attributes]


def test_the_page_of_a_comparison_shows_replies_first_and_hides_nothing_of_them(evaluation: Evaluation) -> None:
    sheet = Sheet(
        f"Models {HOSTILE}", "How to read it.", ("model", "a", "b"), (("time", "1 s", HOSTILE),), frozenset({0})
    )
    names = {"pip@r1": "pip@r1 (gemma-3-270m)"}
    html = render_report(evaluation.renamed(names), context(character="Pip", layout="comparison", sheets=(sheet,)))
    page = Page(html)
    text = re.sub(r"\s+", " ", "".join(page.text))
    assert page.open == []
    assert sum(tag == "script" for tag, _ in page.tags) == 1
    assert not [attributes for _, attributes in page.tags if "style" in attributes]
    places = [
        text.index(words) for words in ("Models <script>", "Replies side by side", "Signals", "Generation parameters")
    ]
    assert places == sorted(places)
    ids = [a["id"] for tag, a in page.tags if tag == "article"]
    assert ids == [f"case-{case.id}" for case in evaluation.suite.cases]
    for words in ("pip@r1 (gemma-3-270m)", "top_k", "repetition_penalty", HOSTILE):
        assert words in text
    in_sight = "".join(re.sub(r"<details>.*?</details>", "", html, flags=re.DOTALL))
    for contestant in evaluation.contestants:
        for sample in contestant.samples:
            assert f"{word_count(sample.sample.reply)} word" in in_sight
            assert f"ended by itself, seed {sample.sample.params.seed}" in in_sight


def test_a_renamed_evaluation_says_the_same_of_others(evaluation: Evaluation) -> None:
    renamed = evaluation.renamed({"pip@r1": "the new one"})
    assert [c.name for c in renamed.contestants] == ["pip@base", "the new one"]
    assert {s.contestant for c in renamed.contestants for s in c.samples} == {"pip@base", "the new one"}
    assert [c.signals for c in renamed.contestants] == [c.signals for c in evaluation.contestants]
    assert evaluation.renamed({}) == evaluation


def test_each_run_s_held_out_loss_is_looked_at_alone(evaluation: Evaluation) -> None:
    falling = [("r1", 10, 3.0), ("r1", 20, 2.0), ("r2", 10, 3.5), ("r2", 20, 2.6)]
    rising = [*falling[:2], ("r2", 10, 2.6), ("r2", 20, 3.5)]

    def said(rows: list[tuple[str, int, float]]) -> list[str]:
        metrics = [{"run": run, "step": step, "heldout_nll": loss} for run, step, loss in rows]
        return [pointer.text for pointer in pointers(evaluation, metrics) if "by heart" in pointer.text]

    assert said(falling) == []
    assert [text.split(" was")[0] for text in said(rising)] == ["The held-out loss of r2"]
