"""Laws of what many replies show together: openers, catchphrases, variety; over-use is remarked, a good voice not."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from evaluation_samples import BUILTIN, HEAD, builtin_conversations, builtin_file, sample, small_suite, talk

from personatune.conversation import Conversation
from personatune.evaluation.signals import set_signals_for
from personatune.evaluation.signals.catchphrases import Catchphrases, recurring_phrases
from personatune.evaluation.signals.diversity import Diversity
from personatune.evaluation.signals.openers import Openers
from personatune.evaluation.signals.set_level import Figure, SetSignal
from personatune.evaluation.suite import load_suite
from personatune.generation.engine import Sample

WORDS = [
    *("river", "stone", "lamp", "winter", "bread", "ladder", "copper", "garden", "window", "thunder"),
    *("pocket", "feather", "kettle", "marble", "engine", "button", "harbour", "meadow", "candle", "whistle"),
]


def sentence(seed: int, length: int = 12) -> str:
    chance = random.Random(seed)
    return " ".join(chance.choice(WORDS) for _ in range(length)) + "."


DATA = [talk(f"Question {number}?", sentence(number)) for number in range(100)]


def replies(texts: list[str]) -> list[Sample]:
    return [sample(text, prompt=f"Prompt {number}") for number, text in enumerate(texts)]


def found(signal: SetSignal, samples: list[Sample]) -> dict[str, Figure]:
    return {figure.name: figure for figure in signal.figures(samples)}


def halves(persona: str, seed: int) -> tuple[list[Conversation], list[Sample]]:
    """Half of the data to calibrate on, and the other half's replies."""
    talks = builtin_conversations(persona)
    random.Random(seed).shuffle(talks)
    half = len(talks) // 2
    said = [
        sample(message.content, prompt=conversation.messages[place - 1].content)
        for conversation in talks[half:]
        for place, message in enumerate(conversation.messages)
        if message.role == "assistant"
    ]
    return talks[:half], said


@pytest.mark.parametrize("persona", BUILTIN)
@pytest.mark.parametrize("seed", range(3))
def test_the_characters_own_held_out_replies_bring_no_remark(persona: str, seed: int) -> None:
    talks, said = halves(persona, seed)
    suite = load_suite(builtin_file(persona, "suite.yaml"))
    remarks = [figure.remark for signal in set_signals_for(talks, suite) for figure in signal.figures(said)]
    # Half of the data may hold a rare phrase too seldom: that is about the data, and true.
    assert [remark for remark in remarks if remark and "The suite lists" not in remark] == []


def test_an_opener_that_comes_far_more_often_than_in_the_data_is_remarked() -> None:
    said = replies(["Well then, " + sentence(number) for number in range(12)] + [sentence(n) for n in range(20, 30)])
    figure = found(Openers(DATA), said)["opener:well then"]
    assert figure.remark == "Begins 12 of 22 replies with “well then”; the character begins 0 of 100 so."
    assert figure.replies == tuple(range(12)) and figure.value == 12 / 22
    taught = [talk("So?", "Well then, " + sentence(number)) for number in range(60)] + DATA[:40]
    assert found(Openers(taught), said)["opener:well then"].remark is None


def test_samples_of_one_prompt_do_not_make_an_opener_over_used() -> None:
    said = [sample("Well then, " + sentence(number), prompt="The same") for number in range(12)]
    assert Openers(DATA).figures(said) == ()


CATCH = HEAD + (
    "voice: {catchphrases: [{text: 'By the old Lamp!', expect: often}, {text: moss and marrow, expect: rare}]}\n"
    "cases: [{id: a, kind: everyday, input: Hello}]\n"
)


def test_catchphrases_are_over_used_missing_or_untaught(tmp_path: Path) -> None:
    suite = small_suite(tmp_path, CATCH)
    taught = [talk(f"Q {n}", sentence(n) + (" By the old lamp!" if n % 3 == 0 else "")) for n in range(120)]
    signal = Catchphrases(taught, suite)
    plain = found(signal, replies([sentence(900 + n) for n in range(60)]))
    lamp = plain["catchphrase:By the old Lamp!"]
    assert lamp.remark == "Says “By the old Lamp!” in 0 of 60 replies; the character does in 40 of 120."
    assert (lamp.value, lamp.data) == (0, 40 / 120)
    assert "no training reply holds it" in str(plain["catchphrase:moss and marrow"].remark)
    often = found(
        signal, replies([sentence(n) + " by the OLD lamp?" if n % 3 == 0 else sentence(n) for n in range(60)])
    )
    assert often["catchphrase:By the old Lamp!"].remark is None
    few = [talk(f"Q {n}", sentence(n) + (" By the old lamp!" if n % 24 == 0 else "")) for n in range(120)]
    always = found(Catchphrases(few, suite), replies(["By the old lamp, " + sentence(n) for n in range(30)]))
    assert always["catchphrase:By the old Lamp!"].remark == (
        "Says “By the old Lamp!” in 30 of 30 replies; the character does in 5 of 120."
    )
    assert always["catchphrase:By the old Lamp!"].replies == tuple(range(30))
    once = found(Catchphrases(few[:30], suite), replies([sentence(n) for n in range(30)]))
    assert "only 2 of 30 training replies hold it" in str(once["catchphrase:By the old Lamp!"].remark)


@pytest.mark.parametrize(
    ("persona", "phrase"), [("pip", ("for", "crumbs", "sake")), ("keeper", ("so", "it", "goes", "in", "the", "log"))]
)
def test_the_characters_phrases_are_found_in_the_data(persona: str, phrase: tuple[str, ...]) -> None:
    phrases = recurring_phrases(builtin_conversations(persona))
    assert phrases[0] == phrase
    assert len(phrases) <= 5


def test_no_phrase_is_found_where_none_recurs_or_where_the_user_says_it_too() -> None:
    assert recurring_phrases(DATA) == []
    assert recurring_phrases([]) == []
    echo = [talk(f"{n} of the tin soldier club", sentence(n) + " The tin soldier club!") for n in range(40)]
    assert ("the", "tin", "soldier", "club") not in recurring_phrases(echo)


def test_less_varied_wording_is_remarked_and_as_varied_is_not() -> None:
    signal = Diversity(DATA)
    same = found(signal, replies([sentence(500 + n) for n in range(60)]))
    assert [figure.remark for figure in same.values() if figure.remark] == []
    assert same["distinct_2"].value == pytest.approx(same["distinct_2"].data, abs=0.03)
    poor = found(signal, replies([sentence(n % 6) for n in range(60)]))
    assert "less varied" in str(poor["distinct_2"].remark)
    assert "Repeats itself" in str(poor["zlib"].remark)
    assert "share 6 words in a row" in str(poor["repeated_runs"].remark)


def test_more_replies_of_the_same_kind_are_not_less_varied() -> None:
    signal = Diversity(DATA)
    few, many = (found(signal, replies([sentence(500 + n) for n in range(count)])) for count in (40, 800))
    assert few["distinct_2"].remark is None and many["distinct_2"].remark is None
    few_data = few["distinct_2"].data or 0
    assert (few["distinct_2"].value or 0) - few_data == pytest.approx(
        (many["distinct_2"].value or 0) - (many["distinct_2"].data or 0), abs=0.03
    )


def test_samples_of_one_prompt_that_say_the_same_are_remarked() -> None:
    same = [sample(sentence(n // 3), prompt=f"P {n // 3}") for n in range(45)]
    other = [sample(sentence(n), prompt=f"P {n // 3}") for n in range(45)]
    assert "nearly the same" in str(found(Diversity(DATA), same)["same_prompt"].remark)
    assert found(Diversity(DATA), other)["same_prompt"].remark is None


ODD = ["", " ", "!?", "🐭", "word", "Ein Satz. Noch einer.", "今日は雨です。", "half \ud83d sign", "a " * 3000]


@pytest.mark.parametrize(
    "data", [[], DATA[:1], DATA, [talk("雨?", "今日は雨です。")] * 60, [talk(t, t) for t in ODD if t]]
)
@pytest.mark.parametrize("said", [[], ODD, ODD * 4, [""] * 20, ["今日は雨です。"] * 20])
def test_any_data_and_any_replies_give_figures_that_can_be_kept(data: list[Conversation], said: list[str]) -> None:
    samples = replies(said)
    for signal in set_signals_for(data):
        figures = signal.figures(samples)
        names = [figure.name for figure in figures]
        assert len(names) == len(set(names))
        assert "NaN" not in json.dumps([figure.as_dict() for figure in figures])
        assert figures == signal.figures(samples)
        for figure in figures:
            assert all(0 <= place < len(samples) for place in figure.replies)
            if figure.unit in ("share", "percentile"):
                for value in (figure.value, figure.low, figure.high, figure.data):
                    assert value is None or 0 <= value <= 1


def test_one_or_two_prompts_have_no_interval_and_no_remark_on_their_samples() -> None:
    for prompts in (1, 2, 3):
        same = [sample(sentence(n // 4), prompt=f"P {n // 4}") for n in range(4 * prompts)]
        figure = found(Diversity(DATA), same)["same_prompt"]
        assert figure.value == 1
        assert (figure.low is None, figure.high is None, figure.remark is None) == (prompts < 3,) * 3
