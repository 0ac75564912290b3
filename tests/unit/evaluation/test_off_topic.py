"""Laws of the off-topic signal, with vectors of words in place of a model's."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy
import pytest
from evaluation_samples import sample, talk

from personatune.conversation import Conversation, Message
from personatune.evaluation.signals import calibrate
from personatune.evaluation.signals.off_topic import OffTopic
from personatune.evaluation.signals.signal import flags

# Words of one theme share a direction; a reply never holds its prompt's own words.
THEMES = {
    "sea": ("boats", "sailing", "harbour", "waves", "anchors", "tide"),
    "bread": ("baking", "flour", "loaves", "dough", "ovens", "crusts"),
    "sleep": ("dreams", "pillows", "yawning", "blankets", "snoring", "nightfall"),
    "garden": ("roses", "digging", "weeds", "worms", "spades", "seedlings"),
    "music": ("fiddles", "singing", "drums", "melodies", "concerts", "choirs"),
}


class Themes:
    """Vectors by theme, a little of each word's own; counts what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, texts: Sequence[str]) -> numpy.ndarray:
        self.asked += texts
        return numpy.stack([self._vector(text) for text in texts]) if texts else numpy.zeros((0, 64))

    def _vector(self, text: str) -> numpy.ndarray:
        vector = numpy.full(64, 0.01)
        for word in text.lower().replace("?", " ").replace(".", " ").split():
            for place, theme in enumerate(THEMES.values()):
                if word in theme:
                    vector[place] += 1
            vector[8 + zlib.crc32(word.encode()) % 56] += 0.4
        return vector / numpy.linalg.norm(vector)


def themed(count: int = 40) -> list[Conversation]:
    words = list(THEMES.values())
    return [
        talk(
            f"Tell me of {words[n % 5][n // 5 % 3]} number{n}",
            f"Mostly {words[n % 5][3 + n // 5 % 3]} matter here in case{n}x.",
        )
        for n in range(count)
    ]


def test_a_reply_to_something_else_is_flagged_and_one_to_the_prompt_is_not() -> None:
    signals = calibrate(themed(), embed=Themes()).signals
    assert "off_topic" in flags(sample("Blankets and pillows.", prompt="What of waves and sailing?"), signals)
    assert "off_topic" not in flags(sample("The tide and anchors.", prompt="What of waves and sailing?"), signals)


@pytest.mark.parametrize("prompt", ["ok", "hmm", "why?", "And then?", "no", "tell me", "...", "你好吗"])
def test_a_prompt_without_content_is_not_judged(prompt: str) -> None:
    assert OffTopic(themed(), Themes()).fires(sample("Blankets and pillows.", prompt=prompt)) is None


def test_a_reply_that_takes_up_a_word_of_the_prompt_is_on_topic() -> None:
    signal = OffTopic(themed(), Themes())
    assert signal.fires(sample("Pillows, blankets, snoring.", prompt="Do boats sail?")) is not None
    assert signal.fires(sample("A boat of pillows, blankets, snoring.", prompt="Do boats sail?")) is None


def test_in_a_longer_talk_the_reply_may_be_about_what_was_said_before() -> None:
    signal = OffTopic(themed(), Themes())
    history = (Message(role="user", content="Hi"), Message(role="assistant", content="Flour dough ovens crusts."))
    assert signal.fires(sample("Loaves.", prompt="Something with roses?")) is not None
    assert signal.fires(sample("Loaves.", prompt="Something with roses?", history=history)) is None


def test_it_is_off_where_the_data_cannot_teach_it_and_says_why() -> None:
    few = OffTopic(themed(12), Themes())
    assert few.off is not None and "12" in few.off
    shuffled = [talk(a.prompts[0], b.replies[0]) for a, b in zip(themed(), themed()[1:], strict=False)]
    mixed = calibrate(shuffled, embed=Themes())
    assert "not alike enough" in mixed.off["off_topic"]
    assert "off_topic" not in {signal.name for signal in mixed.signals}
    wordless = OffTopic([talk("ok?", f"Flour {n}.") for n in range(30)], Themes())
    assert wordless.off is not None and "0 of the 30" in wordless.off
    for signal in (few, wordless):
        assert signal.fires(sample("Blankets.", prompt="What of waves?")) is None
    assert OffTopic([], Themes()).off is not None
    monologue = Conversation(messages=tuple(message for one in themed(25) for message in one.messages), source=None)
    assert OffTopic([monologue], Themes()).off == "all prompts stand in one conversation"


def test_of_its_own_training_pairs_at_most_one_in_a_hundred_is_flagged() -> None:
    conversations = themed(200)
    signal = OffTopic(conversations, Themes())
    assert signal.off is None
    fired = [c for c in conversations if signal.fires(sample(c.replies[0], prompt=c.prompts[0]))]
    assert len(fired) <= 2
    assert 0.1 < signal.found <= 1
    assert f"{100 * signal.found:.0f} %" in signal.meaning


def test_looking_ahead_embeds_everything_that_is_needed_and_changes_nothing() -> None:
    embed = Themes()
    calibrated = calibrate(themed(), embed=embed)
    samples = [sample("Blankets and pillows.", prompt="What of waves?"), sample("Yes.", prompt="ok")]
    embed.asked.clear()
    calibrated.look_ahead(samples)
    assert embed.asked == ["What of waves?", "Blankets and pillows."]
    assert [flags(one, calibrated.signals) for one in samples] == [("off_topic",), ()]


def test_many_pairs_are_calibrated_on_a_sample_that_is_the_same_each_time() -> None:
    conversations = themed(1650)
    embed = Themes()
    signal = OffTopic(conversations, embed)
    assert len(embed.asked) == 4 * 1500 and signal.auc == OffTopic(conversations, Themes()).auc
