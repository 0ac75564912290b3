"""Laws of what is said of a sweep: a learned length is said where there is one, and the page keeps to itself."""

from __future__ import annotations

import random
import re
from html import unescape

import pytest
from swept import data_of, sweep_of, words_of

from personatune.conversation import Message
from personatune.evaluation.signals.length_shift import learned_length
from personatune.sweeping.page import render_page
from personatune.sweeping.report import report_of

POINTS = [{"temperature": t, "min_new_tokens": m} for t in (0.6, 1.0) for m in (0, 50)]


def report(sweep, lengths):
    return report_of(sweep, data_of(lengths), character="Dot", reference="dot@r1")


def one_length(seed: int, low: int = 52, high: int = 76, n: int = 111) -> list[int]:
    chance = random.Random(seed)
    return [chance.randint(low, high) for _ in range(n)]


@pytest.mark.parametrize("seed", range(5))
def test_replies_that_keep_to_the_one_length_of_the_data_are_said_to_have_learned_it(seed):
    chance = random.Random(seed)
    sweep = sweep_of(POINTS, lambda p, prompt, k: words_of(round(chance.gauss(66, 13)), prompt))

    (text,) = (s.text for s in report(sweep, one_length(seed)).sentences if s.kind == "length")
    assert "the length was learned from the data" in text
    assert "whatever `min_new_tokens` says" in text
    band = re.search(r"within (\d+) to (\d+) words", text)
    assert band is not None
    assert 30 <= int(band[1]) <= 60 <= int(band[2]) <= 100


@pytest.mark.parametrize("seed", range(5))
def test_on_data_of_many_lengths_nothing_is_said_to_be_learned(seed):
    chance = random.Random(seed)
    lengths = [chance.randint(3, 130) for _ in range(111)]
    for answer in (lambda: chance.randint(3, 130), lambda: chance.randint(52, 76)):
        sweep = sweep_of(POINTS, lambda p, prompt, k, answer=answer: words_of(answer(), prompt))
        assert "learned" not in render_page(report(sweep, lengths))


def test_replies_of_another_length_than_the_data_have_not_learned_it():
    assert learned_length(one_length(1, 10, 14), one_length(2)) is None
    assert learned_length(one_length(1, 140, 180), one_length(2)) is None
    assert learned_length([random.Random(n).randint(3, 130) for n in range(50)], one_length(2)) is None
    assert learned_length([60] * 5, one_length(2)) is None


def test_a_parameter_that_forces_another_length_is_named():
    points = [{"min_new_tokens": m} for m in (0, 20, 200)]
    chance = random.Random(3)
    sweep = sweep_of(
        points, lambda p, prompt, k: words_of(chance.randint(20, 190) if p["min_new_tokens"] == 200 else 64, prompt)
    )

    (text,) = (s.text for s in report(sweep, one_length(4)).sentences if s.kind == "length")
    assert "At min_new_tokens 200 they leave that length." in text or "learned" not in text


def test_points_without_faults_are_named_to_listen_to_first():
    sweep = sweep_of(POINTS, lambda p, prompt, k: words_of(9, prompt) if p["temperature"] < 1 else "and then the")

    (text,) = (s.text for s in report(sweep, range(3, 60)).sentences if s.kind == "points")
    assert text.startswith("Points 1 and 2 have no reply with a fault.")


def test_the_page_loads_nothing_and_escapes_what_models_say():
    sweep = sweep_of(POINTS, lambda p, prompt, k: f"<script>alert({prompt})</script> & <img src=x onerror=y>")

    html = render_page(report(sweep, one_length(1)))
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert(0)&lt;/script&gt;" in html
    assert "<img" not in html
    assert not re.search(r"""(?:src|href)=["'](?!#)""", html)
    assert " style=" not in html
    assert "default-src 'none'" in unescape(html)


def test_every_reply_and_the_command_that_chooses_a_point_are_on_the_page():
    sweep = sweep_of(POINTS, lambda p, prompt, k: words_of(12, 100 * prompt + k))

    html = render_page(report(sweep, one_length(1)))
    assert html.count('<blockquote class="reply"') == len(sweep.samples)
    assert "personatune use dot@r1 --from-sweep w1 --point N" in html
    assert all(f">{one.point}<" in html for one in sweep.samples)


def test_the_record_holds_every_point_with_its_signals_and_intervals():
    sweep = sweep_of(POINTS, lambda p, prompt, k: words_of(12, prompt))

    record = report(sweep, one_length(1)).as_dict()
    assert [point["point"] for point in record["points"]] == [1, 2, 3, 4]
    finished = record["points"][0]["signals"]["finished"]
    assert (finished["count"], finished["n"]) == (12, 12)
    assert 0 < finished["low"] < finished["high"] == 1


def test_prompts_that_stand_in_the_training_data_are_named():
    data = data_of(one_length(1))
    asked = data[3].model_copy(update={"messages": (Message(role="user", content="question 2"), data[3].messages[1])})
    sweep = sweep_of(POINTS, lambda p, prompt, k: words_of(12, prompt))

    def leaks(conversations):
        found = report_of(sweep, conversations, character="Dot", reference="dot@r1").sentences
        return [sentence.text for sentence in found if sentence.kind == "leak"]

    assert leaks(data) == []
    (text,) = leaks([*data, asked])
    assert text.startswith("1 of the prompts") and text.endswith("by heart: case-2.")
