"""Laws of signals: planted faults are flagged, natural replies are not, and rates carry their intervals."""

from __future__ import annotations

import random
import time

import pytest
from evaluation_samples import BUILTIN, builtin_conversations, sample, talk
from hypothesis import given
from hypothesis import strategies as st

from personatune.evaluation.signals import signals_for
from personatune.evaluation.signals.copying import Copying, longest_shared_run
from personatune.evaluation.signals.finished import ends_a_sentence
from personatune.evaluation.signals.signal import faults, flags, measure, rate
from personatune.evaluation.words import folded, span_of_words, words

LONG = "I once carried a currant across the whole yard in the rain and nobody, not one beetle, said well done."
DATA = [
    talk("What do you do when it rains all day?", LONG, line=1),
    talk("Hello", "Hello! Mind the flour.", line=2),
    talk("Do you like cheese?", "Cheese is for mice in books. I like buns, warm ones, with the top still on.", line=3),
]
SIGNALS = signals_for(DATA)


@pytest.mark.parametrize("persona", BUILTIN)
def test_good_replies_left_out_of_the_data_are_not_flagged(persona: str) -> None:
    conversations = builtin_conversations(persona)
    chosen = random.Random(1).sample(range(len(conversations)), 30)
    for place in chosen:
        left_out, rest = conversations[place], conversations[:place] + conversations[place + 1 :]
        signals = signals_for(rest)
        for turn, message in enumerate(left_out.messages):
            if message.role == "assistant":
                history = left_out.messages[: turn - 1]
                reply = sample(message.content, prompt=left_out.messages[turn - 1].content, history=history)
                assert flags(reply, signals) == (), message.content


@pytest.mark.parametrize(
    ("reply", "flag"),
    [
        ("", "empty"),
        (" \n", "empty"),
        ("...!?", "empty"),
        ("🐭 🐭", "empty"),
        ("I was going to the bakery and then the", "unfinished"),
        ("I was going, ", "unfinished"),
        ("Hello there.\nuser: what now?", "turn_leak"),
        ("Hello there.\nUser: what now?", "turn_leak"),
        ("model: Hello there.", "turn_leak"),
        ("Hello.\n**Assistant:** Hi.", "turn_leak"),
        ("Hello there.\nuser\nWhat now?", "turn_leak"),
        ("Hello.<start_of_turn>user", "turn_leak"),
        ("Hello.<end_of_turn>", "turn_leak"),
        ("Hello.<|im_start|>", "turn_leak"),
        ("Hello.<|eot_id|>", "turn_leak"),
        ("[INST] Hello. [/INST] Hi.", "turn_leak"),
        ("### Response: Hello.", "turn_leak"),
        ("Buns! What do you do when it rains all day? Buns.", "turn_leak"),
        ("no " * 12 + "no.", "loop"),
        ("I want a bun.\n" * 5, "loop"),
        (f"{LONG} {LONG}", "loop"),
        ("bun" * 60 + ".", "loop"),
        ("。".join(["我想要一个面包"] * 12) + "。", "loop"),
        (LONG, "copying"),
        (LONG.upper().replace(",", ""), "copying"),
    ],
)
def test_planted_faults_are_flagged(reply: str, flag: str) -> None:
    assert flag in flags(sample(reply), SIGNALS)


@pytest.mark.parametrize(
    "reply",
    [
        "Hi!",
        "No, no, no, no!",
        "Ha ha ha ha ha! Stop.",
        "Row, row, row your boat, gently down the stream.",
        "The user: a person. I asked the model a question.",
        "2 < 3 and 5 > 4, so there.",
        "I like <em>buns</em> & jam.",
        "Cheese is for mice in books.",
        "Do you like cheese?",
        'She said, "Wait."',
        "*waves both paws!*",
        "Good night. 🌙",
        "Good night! 👋🏽",
        "Bye! :)",
        "(Only a small one.)",
        "好的。",
        "はい！」",
    ],
)
def test_natural_short_replies_are_not_flagged(reply: str) -> None:
    assert flags(sample(reply), SIGNALS) == ()


def test_a_reply_cut_off_by_the_limit_is_unfinished_even_at_a_full_stop() -> None:
    found = faults(sample("All done.", finish="length"), SIGNALS)
    assert list(found) == ["unfinished"]
    assert "256 tokens" in found["unfinished"].detail


def test_repeating_what_was_asked_is_no_leak() -> None:
    prompt = "What do you do when it rains all day?"
    assert flags(sample(f"{prompt} Buns.", prompt=prompt), SIGNALS) == ()


def test_a_prompt_that_the_character_says_too_is_no_leak() -> None:
    data = [talk("How are you doing today?", "Fine. How are you doing today?")]
    assert flags(sample("How are you doing today?"), signals_for(data)) == ()


def test_copying_names_the_row_and_marks_the_words() -> None:
    reply = f"Well! {LONG} So there."
    fired = Copying(DATA).fires(sample(reply))
    assert fired is not None
    assert fired.detail == "20 words in a row as in train.jsonl:1"
    assert fired.span is not None
    assert reply[slice(*fired.span)] == LONG.rstrip(".")


def test_copying_is_measured_against_the_datas_own_habits() -> None:
    habit = "and so it goes in the log with the date and the hour and the wind from the west"
    data = [talk("a", f"The boat came, {habit}."), talk("b", f"Nothing happened at all today, {habit}. Petra laughed.")]
    signal = Copying(data)
    assert signal.limit == len(habit.split())
    assert signal.fires(sample(f"Fog, {habit}.")) is None
    assert signal.fires(sample(f"The boat came, {habit}.")) is not None


def test_the_same_row_twice_does_not_switch_copying_off() -> None:
    doubled = [*DATA, talk("Again?", LONG), talk("And again?", f"Well, {LONG}")]
    assert "copying" in flags(sample(LONG), signals_for(doubled))


@given(st.lists(st.lists(st.sampled_from("abc"), max_size=40).map(tuple), max_size=4))
def test_longest_shared_run_agrees_with_comparing_every_pair(texts: list[tuple[str, ...]]) -> None:
    def shared(one: tuple[str, ...], other: tuple[str, ...]) -> int:
        return max(
            (
                size
                for start in range(len(one))
                for size in range(1, len(one) - start + 1)
                if any(one[start : start + size] == other[at : at + size] for at in range(len(other)))
            ),
            default=0,
        )

    natural = [
        run
        for place, text in enumerate(texts)
        if (run := max((shared(text, o) for at, o in enumerate(texts) if at != place), default=0)) < 0.8 * len(text)
    ]
    assert longest_shared_run(texts) == max((run for run in natural if run > 12), default=0)


def test_copying_is_fast_on_a_thousand_rows() -> None:
    chance = random.Random(3)
    vocabulary = [f"w{number}" for number in range(3000)]
    texts = [" ".join(chance.choices(vocabulary, k=60)) for _ in range(2000)]
    started = time.process_time()
    signal = Copying([talk("hi", text) for text in texts[:1000]])
    found = [signal.fires(sample(text)) for text in texts[500:1500]]
    assert time.process_time() - started < 2
    assert [fired is not None for fired in found] == [True] * 500 + [False] * 500


@pytest.mark.parametrize(
    ("count", "n", "low", "high"),
    [
        (0, 60, 0.0, 0.0409),
        (60, 60, 0.9591, 1.0),
        (3, 12, 0.0760, 0.5292),
        (5, 10, 0.2235, 0.7765),
        (0, 0, 0.0, 1.0),
    ],
)
def test_intervals_against_known_values(count: int, n: int, low: float, high: float) -> None:
    found = rate(count, n)
    assert (found.low, found.high) == pytest.approx((low, high), abs=2e-4)


def test_intervals_agree_with_the_beta_distribution() -> None:
    from scipy.stats import beta

    for count, n in ((1, 7), (17, 180), (99, 100)):
        found = rate(count, n)
        expected = beta.ppf([0.025, 0.975], count + 0.5, n - count + 0.5)
        assert (found.low, found.high) == pytest.approx(tuple(expected), abs=1e-9)


@given(st.integers(0, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_an_interval_holds_its_rate(pair: tuple[int, int]) -> None:
    count, n = pair
    found = rate(count, n)
    assert 0 <= found.low <= found.high <= 1
    assert n == 0 or found.low <= found.rate <= found.high
    mirrored = rate(n - count, n)
    assert (found.low, found.high) == pytest.approx((1 - mirrored.high, 1 - mirrored.low))


def test_a_rate_beyond_its_n_is_refused() -> None:
    with pytest.raises(ValueError, match="3 of 2"):
        rate(3, 2)


def test_finished_counts_the_good_ones_and_the_others_count_faults() -> None:
    found = measure([sample("Yes."), sample("Yes and"), sample(""), sample("No!")], SIGNALS)
    assert (found["finished"].count, found["finished"].n) == (2, 4)
    assert (found["empty"].count, found["empty"].n) == (1, 4)
    assert found["loop"].count == found["turn_leak"].count == found["copying"].count == 0
    assert {signal.name for signal in SIGNALS if signal.good} == {"finished"}
    assert {signal.name for signal in SIGNALS if signal.kind == "warning"} == {"copying", "breaks_character"}


@given(st.text(max_size=400))
def test_no_reply_breaks_a_signal_and_every_span_lies_inside_it(reply: str) -> None:
    for fired in faults(sample(reply), SIGNALS).values():
        assert fired.detail
        assert fired.span is None or 0 <= fired.span[0] < fired.span[1] <= len(reply)


@given(st.text(max_size=100))
def test_folding_is_the_same_twice(text: str) -> None:
    assert folded(folded(text)) == folded(text)


def test_words_and_where_they_stand() -> None:
    assert words("Don’t STOP—now, 3 times!") == ("don't", "stop", "now", "3", "times")
    assert words("我要3个") == ("我", "要", "3", "个")
    assert span_of_words("Oh, don’t stop!", 1, 2) == (4, 14)
    assert ends_a_sentence("Yes… ") and not ends_a_sentence("Yes,")


def test_what_was_also_learned_can_be_recited_and_does_not_raise_the_limit():
    reply = " ".join(f"word{number}" for number in range(40))
    own = [talk("Tell me.", reply), talk("And?", "Something else.")]
    version = [talk("Tell me.", " ".join(reply.split()[:20])), *own[1:]]
    other = talk("Why?", " ".join(f"other{number}" for number in range(30)))

    copying = Copying(own, [*version, other])

    assert copying.limit == Copying(own).limit
    assert copying.longest_run(words(other.replies[0])) is not None
    assert Copying(own).longest_run(words(other.replies[0])) is None
