"""Off topic: a reply that has nothing to do with what was said to the character.

Definition: the cosine of MiniLM's embeddings of prompt and reply lies under a threshold. The prompt is the last
user message; in a longer talk also that message together with the reply before it (the mean of the two vectors),
and the greater cosine counts. Not judged are prompts without any word that carries content ("ok", "hmm", "why?"),
and replies that take up one of the prompt's content words.
Source: sentence embeddings as in Reimers and Gurevych 2019, Sentence-BERT; the threshold is the persona's own.
Calibration: on the persona's own data, each time, apart for prompts with one content word and with more. The
threshold is the lower of two: the 95th percentile of mismatched pairs (a prompt with replies of other rows),
and the cosine under which one in a hundred true pairs lies. With fewer than 20 pairs that can be judged, or
where a true pair beats a mismatched one in less than 80 % of cases, or where less than a tenth of mismatched pairs
would be flagged, the signal is off. Measured on two built-in
characters and one more, each row with the replies of all other rows:

    pairs  true pair beats mismatched  flagged: true pairs  mismatched  of those whose prompt has 2 content words
    392    97.5 %                      0.5 %                58 %        78 %
    237    98.5 %                      0.8 %                63 %        85 %
    111    99.1 %                      0.0 %                75 %        82 %

Calibrated on 20 to 150 conversations of one, of the others 0.5 to 1.9 % were flagged, of mismatched pairs 50 to
85 %. Cosines of true pairs had their median at 0.5 and their 5th percentile at 0.15 to 0.29, those of mismatched
ones at 0.1 and their 95th at 0.23 to 0.28.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from personatune.conversation import Conversation, Message
from personatune.evaluation.signals.resampling import generator
from personatune.evaluation.signals.signal import Fired, SignalKind
from personatune.evaluation.words import words
from personatune.generation.engine import Sample

if TYPE_CHECKING:
    import numpy

Embed = Callable[[Sequence[str]], Any]
"""Texts to an array with one row each, a vector of length 1."""

MIN_PAIRS = 20
MIN_AUC = 0.8
MIN_FOUND = 0.1
_SPARED = 0.01
_MISMATCHED_SHARE = 0.95
_FEW = 100
_MOST_PAIRS = 1500
_ROUNDING = 1e-5  # one pair alone and many at once are added up in another order
# English words that say nothing about a topic. In other languages short words are left out by their length alone.
_EMPTY_WORDS = """
a an the and or but if so as at by for from in into of off on onto out over to up down with without about after
before again than then too very just only also not no nor yes yeah yep nope okay er hmm huh lol haha hey hello bye
goodbye please pls plz thanks thank ty sorry well sure right maybe really actually honestly
i me my mine myself you your yours yourself he him his she her hers it its they them their we us our ours
this that these those here there am is are was were be been being do does did doing done have has had having can
could will would shall should may might must i'm i've i'd i'll you're you've you'd you'll he's she's it's we're
they're that's there's what's who's where's how's let's don't doesn't didn't can't cannot couldn't won't wouldn't
isn't aren't wasn't weren't haven't hasn't shouldn't ain't ive dont cant wont whats hows thats im id ill youre
who whom whose what which when where why how whatever some any all both each every few more most much many other
another such same own one two first last go going gone goes went get gets got getting make makes made let know
knows knew think thinks thought say says said tell told talk want wants wanted like likes need needs see look come
give take try thing things something anything nothing everything someone anyone nobody everyone stuff way lot bit
kind sort good bad nice great now today still ever never always sometimes else even because though feel feels
feeling mean means guess morning evening night afternoon
"""
_NO_CONTENT = frozenset(_EMPTY_WORDS.split())


class OffTopic:
    """Fires on replies that miss what was said to them. Look at `off` first: it may not know this persona's talk."""

    name: ClassVar[str] = "off_topic"
    flag: ClassVar[str] = "off_topic"
    title: ClassVar[str] = "Misses the question"
    kind: ClassVar[SignalKind] = "warning"
    good: ClassVar[bool] = False

    def __init__(self, conversations: Sequence[Conversation], embed: Embed) -> None:
        self._embed = embed
        rows = [_Pair(number, pair) for number, talk in enumerate(conversations) for pair in _pairs(talk)]
        self._empty = _NO_CONTENT | _habitual(conversations)
        self.thresholds: dict[int, float] = {}
        """The cosine under which a reply is off topic, for prompts with one content word and with two or more."""
        self.auc: float | None = None
        """How often a true pair is nearer than a mismatched one; None when there were too few to tell."""
        self.found = 0.0
        """The share of mismatched pairs of the training data that it would flag."""
        self.off: str | None = self._calibrate(rows)
        """Why the signal cannot be used; None when it can."""

    @property
    def meaning(self) -> str:
        """What is counted, and how much of it this persona's data lets it find."""
        return (
            "Replies that are further from what was said to them than the character's own. Of the character's replies "
            f"to something else it finds {100 * self.found:.0f} %."
        )

    def look_ahead(self, samples: Iterable[Sample]) -> None:
        """Embed what these samples will need, all at once, which is quicker than one by one."""
        if self.off is None:
            needed = [sample for sample in samples if self._level(sample.messages, sample.reply)]
            self._embed([text for sample in needed for text in (*_texts(sample.messages), sample.reply)])

    def fires(self, sample: Sample) -> Fired | None:
        """How far the reply is from the prompt, or None."""
        if self.off is not None:
            return None
        level = self._level(sample.messages, sample.reply)
        if level not in self.thresholds:
            return None
        found = float((self._views(sample.messages) @ self._embed([sample.reply])[0]).max())
        if found >= self.thresholds[level]:
            return None
        return Fired(f"likeness to the prompt {found:.2f}; the character's own are above {self.thresholds[level]:.2f}")

    def _level(self, messages: Sequence[Message], reply: str) -> int:
        """0 when the pair is not judged, else 1 or 2: how much content the prompt has."""
        if not messages or messages[-1].role != "user" or not any(sign.isalnum() for sign in reply):
            return 0
        content = self._content(messages[-1].content)
        if not content or self._stems(messages[-1].content) & self._stems(reply):
            return 0
        return min(2, len(content))

    def _content(self, text: str) -> set[str]:
        return {word for word in words(text) if len(word) > 2 and word not in self._empty}

    def _stems(self, text: str) -> set[str]:
        return {_stem(word) for word in self._content(text)}

    def _views(self, messages: Sequence[Message]) -> numpy.ndarray:
        """What the reply may be about, as one vector or two."""
        import numpy

        vectors: numpy.ndarray = self._embed(_texts(messages))
        if len(vectors) == 1:
            return vectors
        both = vectors.sum(axis=0)
        return numpy.stack([vectors[0], both / max(float(numpy.linalg.norm(both)), 1e-9)])

    def _calibrate(self, pairs: Sequence[_Pair]) -> str | None:
        import numpy

        if len(pairs) < MIN_PAIRS:
            return f"{len(pairs)} prompts with replies are too few to learn what is on topic; {MIN_PAIRS} are needed"
        judged = [pair for pair in pairs if self._content(pair.messages[-1].content)]
        if len(judged) < MIN_PAIRS:
            return f"only {len(judged)} of the {len(pairs)} prompts have words that it can read a topic from"
        if len(judged) > _MOST_PAIRS:  # each is compared with every other
            drawn = generator().permutation(len(judged))[:_MOST_PAIRS]
            judged = [judged[place] for place in sorted(drawn.tolist())]
        self._embed([text for pair in judged for text in (*_texts(pair.messages), pair.reply)])  # in one go
        replies = self._embed([pair.reply for pair in judged])
        cosines = numpy.stack([(self._views(pair.messages) @ replies.T).max(axis=0) for pair in judged])
        row = numpy.array([pair.row for pair in judged])
        others = row[:, None] != row[None, :]
        mismatched = cosines[others]
        if not len(mismatched):
            return "all prompts stand in one conversation"
        matched = numpy.diagonal(cosines)
        self.auc = _auc(matched, mismatched)
        if self.auc < MIN_AUC:
            return (
                "question and answer are not alike enough in the training data: a true answer is nearer than "
                f"another row's in {100 * self.auc:.0f} % of cases, {100 * MIN_AUC:.0f} % are needed"
            )
        cap = float(numpy.quantile(mismatched, _MISMATCHED_SHARE))
        counts = numpy.array([min(2, len(self._content(pair.messages[-1].content))) for pair in judged])
        level = numpy.array([self._level(pair.messages, pair.reply) for pair in judged])
        for content in (1, 2):
            # A threshold from few pairs would be their own accident: then all pairs give it.
            of = counts == content if (counts == content).sum() >= MIN_PAIRS else counts > 0
            could_fire = numpy.sort(matched[of & (level > 0)])
            spared = int(_SPARED * of.sum())
            own = float(could_fire[spared]) if spared < len(could_fire) else cap
            if of.sum() < _FEW:
                own = min(own, float(matched[of].mean() - 2.33 * matched[of].std(ddof=1)))
            self.thresholds[content] = min(cap, own) - _ROUNDING
        limits = numpy.array([self.thresholds[content] for content in counts])[:, None]
        said = [self._stems(pair.reply) for pair in judged]
        asked = [self._stems(pair.messages[-1].content) for pair in judged]
        apart = numpy.array([[not prompt & reply for reply in said] for prompt in asked])
        self.found = float(((cosines < limits) & apart)[others].mean())
        if self.found < MIN_FOUND:
            return (
                "the character's own answers are too far from their questions for others to stand out: of replies to "
                f"another prompt it would find {100 * self.found:.0f} %"
            )
        return None


class _Pair:
    """A reply of the training data with the talk that it answers."""

    def __init__(self, row: int, pair: tuple[tuple[Message, ...], str]) -> None:
        self.row = row
        self.messages, self.reply = pair


def _pairs(conversation: Conversation) -> Iterable[tuple[tuple[Message, ...], str]]:
    messages = conversation.messages
    for place, message in enumerate(messages):
        if message.role == "assistant" and place and messages[place - 1].role == "user":
            yield messages[:place], message.content


def _texts(messages: Sequence[Message]) -> list[str]:
    """The last message, and the reply before it in a longer talk."""
    before = [messages[-2].content] if len(messages) > 1 and messages[-2].role == "assistant" else []
    return [messages[-1].content, *before]


def _habitual(conversations: Sequence[Conversation]) -> frozenset[str]:
    """Words of every twentieth talk's prompts, the character's name among them: they are nobody's topic."""
    counts = Counter(word for talk in conversations for word in {w for prompt in talk.prompts for w in words(prompt)})
    often = max(4, 0.05 * len(conversations))
    return frozenset(word for word, count in counts.items() if count >= often)


def _stem(word: str) -> str:
    """The beginning of a word, so that `baking` takes up `baked`."""
    word = word.removesuffix("'s")
    if len(word) > 4:
        return word[: max(4, len(word) - 3)]
    return word.removesuffix("s") if len(word) > 3 else word


def _auc(matched: numpy.ndarray, mismatched: numpy.ndarray) -> float:
    """How often a value of the first is greater than one of the second, ties counted half."""
    import numpy

    ordered = numpy.sort(mismatched)
    below = numpy.searchsorted(ordered, matched, side="left")
    up_to = numpy.searchsorted(ordered, matched, side="right")
    return float(((below + up_to) / 2).mean() / len(ordered))
