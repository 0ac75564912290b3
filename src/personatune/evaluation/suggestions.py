"""What to change in the data: sentences that name rows and test prompts, each with its evidence; never a grade."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from personatune.conversation import Conversation
from personatune.data.duplicates import near_pairs
from personatune.data.findings import Placed, counted, placed, quoted
from personatune.data.habits import ENOUGH_REPLIES, PHRASE_SHARE
from personatune.data.lengths import measure_replies, one_length
from personatune.data.normalise import normalised
from personatune.evaluation.cases import Case
from personatune.evaluation.signals.copying import Copying
from personatune.evaluation.signals.finished import ends_a_sentence
from personatune.evaluation.words import words

if TYPE_CHECKING:
    from personatune.evaluation.results import EvaluatedSample, Evaluation

_SHOWN = 6
_FEW_NEIGHBOURS = 2
"""Rows like a test prompt, of which fewer teach nothing that lasts."""
_BAD_SHARE = 0.5
"""A case is failing when at least this share of its replies has a fault."""
_COMMON_ROWS, _COMMON_CASES = 0.05, 0.1
"""A word in more than this share of the rows, and of the suite's prompts, is a word of the language, not a topic."""
_NEAR_LENGTH = 0.1
_STEM = 4
_NOT_THE_CHARACTERS = ("safety", "general")
"""Kinds of prompts that ask what the model knows and does, whoever it plays."""


@dataclass(frozen=True)
class Suggestion:
    """One thing that could be changed in the data."""

    text: str
    """What was seen, and what would help."""
    rows: tuple[str, ...] = ()
    """The rows it is about, as `file:line`, the first first."""
    cases: tuple[str, ...] = ()
    """The suite's cases it is about."""
    flag: str | None = None
    """The flag of the replies that it follows from; `check` for failed checks."""

    def as_dict(self) -> dict[str, Any]:
        """The suggestion as records keep it."""
        return {**asdict(self), "rows": list(self.rows), "cases": list(self.cases)}


def suggestions(evaluation: Evaluation, conversations: Sequence[Conversation]) -> list[Suggestion]:
    """What the replies of runs, the suite and the data together say about the data; empty when that is nothing.

    Untrained contestants do not count: the data has no part in what they say.
    """
    rows = placed(conversations)
    if not rows:
        return []
    replies = [sample for result in evaluation.contestants if result.run for sample in result.measured]
    return [
        *_recited(evaluation, replies),
        *_kinds(evaluation.suite.cases, replies, rows),
        *_untouched(evaluation.suite.cases, rows),
        *_single_exchanges(evaluation.suite.cases, rows),
        *_openers(replies, rows),
        *_without_end(replies, rows),
        *_lengths(conversations, rows),
        *_alike(rows),
    ]


def listed(names: Sequence[str], most: int = _SHOWN) -> str:
    """The first names, and how many there are beside."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


# --- from the replies -------------------------------------------------------------------------------------------


def _recited(evaluation: Evaluation, replies: Sequence[EvaluatedSample]) -> Iterator[Suggestion]:
    copying = next((signal for signal in evaluation.signals if isinstance(signal, Copying)), None)
    if copying is None:
        return
    found: Counter[str] = Counter()
    cases: list[str] = []
    for sample in replies:
        if run := copying.longest_run(words(sample.sample.reply)):
            found[run.row] += 1
            cases.append(sample.case)
    if found:
        most = found.most_common()
        times = [f"{row} ({count} times)" if count > 1 else row for row, count in most]
        yield Suggestion(
            f"{counted(len(most), 'row is', 'rows are')} recited{', the worst first' if len(most) > 1 else ''}: "
            f"{listed(times)}. Say the same there in several ways, or write more rows of "
            "that kind, so that no line has to serve for all.",
            rows=tuple(row for row, _ in most),
            cases=tuple(dict.fromkeys(cases)),
            flag="copying",
        )


def _kinds(cases: Sequence[Case], replies: Sequence[EvaluatedSample], rows: Sequence[Placed]) -> Iterator[Suggestion]:
    """Kinds of prompts that go wrong and that the data hardly has."""
    topics = _Topics(cases, rows)
    of_case: defaultdict[str, list[EvaluatedSample]] = defaultdict(list)
    for sample in replies:
        of_case[sample.case].append(sample)
    for kind in dict.fromkeys(case.kind for case in cases):
        if kind == "multi-turn" or kind in _NOT_THE_CHARACTERS:
            continue
        failing = [c for c in cases if c.kind == kind and _share_of_bad(of_case[c.id]) >= _BAD_SHARE]
        lonely = [case for case in failing if len(topics.neighbours(case)) < _FEW_NEIGHBOURS]
        if not lonely:
            continue
        flags = Counter(flag for case in lonely for sample in of_case[case.id] for flag in _faults(sample))
        near = tuple(dict.fromkeys(place for case in lonely for place in topics.neighbours(case)))
        few = f"little like {'it' if len(lonely) == 1 else 'them'} ({listed(near)})" if near else "nothing like "
        few += "" if near else "it" if len(lonely) == 1 else "them"
        half = "at least half of their replies" if len(lonely) > 1 else "at least half of its replies"
        names = [case.id for case in lonely]
        yield Suggestion(
            f"{kind}: {counted(len(lonely), 'test prompt')} ({listed(names)}) with a fault in {half}, and the data has "
            f"{few}. Rows of that kind would show what the character says there.",
            rows=near,
            cases=tuple(names),
            flag=flags.most_common(1)[0][0],
        )


def _openers(replies: Sequence[EvaluatedSample], rows: Sequence[Placed]) -> Iterator[Suggestion]:
    said = [opener for sample in replies if (opener := _opener(sample.sample.reply))]
    if len(said) < ENOUGH_REPLIES:
        return
    places = defaultdict[str, list[str]](list)
    for place, conversation in rows:
        for opener in dict.fromkeys(_opener(reply) for reply in conversation.replies):
            places[opener].append(place)
    for opener, count in Counter(said).most_common():
        if count / len(said) <= PHRASE_SHARE:
            break
        if taught := places.get(opener):
            yield Suggestion(
                f"{count} of {len(said)} replies open with {quoted(opener)}, as {counted(len(taught), 'row')} "
                f"{'does' if len(taught) == 1 else 'do'}: {listed(taught)}. Open some of those otherwise.",
                rows=tuple(taught),
                cases=tuple(dict.fromkeys(s.case for s in replies if _opener(s.sample.reply) == opener)),
            )


def _without_end(replies: Sequence[EvaluatedSample], rows: Sequence[Placed]) -> Iterator[Suggestion]:
    cut = [s for s in replies if "unfinished" in s.faults and s.sample.finish_reason == "stop"]
    taught = [
        place
        for place, conversation in rows
        if any(reply.strip() and not ends_a_sentence(reply) for reply in conversation.replies)
    ]
    if cut and taught:
        yield Suggestion(
            f"{counted(len(cut), 'reply stops', 'replies stop')} without a sentence's end, and so "
            f"{'does' if len(taught) == 1 else 'do'} {counted(len(taught), 'row')} of the data: {listed(taught)}. "
            "End them as sentences end, unless the character talks that way.",
            rows=tuple(taught),
            cases=tuple(dict.fromkeys(sample.case for sample in cut)),
            flag="unfinished",
        )


# --- from the suite and the data --------------------------------------------------------------------------------


def _untouched(cases: Sequence[Case], rows: Sequence[Placed]) -> Iterator[Suggestion]:
    topics = _Topics(cases, rows)
    names = [c.id for c in cases if c.kind not in _NOT_THE_CHARACTERS and topics.knows_nothing_of(c)]
    if names:
        yield Suggestion(
            f"{counted(len(names), 'test prompt')} of the suite {'touches' if len(names) == 1 else 'touch'} nothing in "
            f"the data, by {'its' if len(names) == 1 else 'their'} words: {listed(names)}. What the character says "
            "there comes from the model alone.",
            cases=tuple(names),
        )


def _single_exchanges(cases: Sequence[Case], rows: Sequence[Placed]) -> Iterator[Suggestion]:
    talks = [case.id for case in cases if len(case.turns) > 1]
    if talks and all(len(conversation.replies) < 2 for _, conversation in rows):
        yield Suggestion(
            f"The suite has {counted(len(talks), 'talk')} of several turns ({listed(talks)}), and every row of the "
            "data is a single exchange. Staying in a conversation is learned from rows of two or three.",
            cases=tuple(talks),
        )


def _lengths(conversations: Sequence[Conversation], rows: Sequence[Placed]) -> Iterator[Suggestion]:
    lengths = measure_replies(conversations)
    if not one_length(lengths):
        return
    near = [
        place
        for place, conversation in rows
        if any(abs(len(reply.split()) - lengths.mean) <= _NEAR_LENGTH * lengths.mean for reply in conversation.replies)
    ]
    yield Suggestion(
        f"{counted(len(near), 'row')} of {len(rows)} within a tenth of {lengths.mean:.0f} words teach one length: "
        f"{listed(near)}. Cut some to a sentence, and let some run on.",
        rows=tuple(near),
    )


def _alike(rows: Sequence[Placed]) -> Iterator[Suggestion]:
    replies = [(place, at, normalised(reply)) for at, (place, c) in enumerate(rows) for reply in c.replies]
    first: dict[str, tuple[str, int]] = {}
    pairs = []
    for place, at, text in replies:
        original = first.setdefault(text, (place, at))
        if original[1] != at and text:
            pairs.append((original[0], place))
    distinct = list(first)
    for pair in near_pairs(distinct):
        (one, at), (other, beside) = first[distinct[pair.first]], first[distinct[pair.second]]
        if at != beside:
            pairs.append((one, other))
    if pairs:
        shown = [f"{one} and {other}" for one, other in pairs]
        yield Suggestion(
            f"{counted(len(pairs), 'pair')} of rows {'gives' if len(pairs) == 1 else 'give'} the same reply, or "
            f"nearly: {listed(shown)}. Such lines are learned by heart first; let each say something of its own.",
            rows=tuple(dict.fromkeys(itertools.chain.from_iterable(pairs))),
        )


class _Topics:
    """Which rows share a topic with a test prompt: words beside those that any text in the language has.

    Words are compared by their first four letters, so that `rain` and `raining` are the same; where that finds too
    much, less is suggested.
    """

    def __init__(self, cases: Sequence[Case], rows: Sequence[Placed]) -> None:
        self._asked = [(place, _stems(conversation.prompts)) for place, conversation in rows]
        said = [_stems(message.content for message in conversation.messages) for _, conversation in rows]
        self._known = frozenset(itertools.chain.from_iterable(said))
        prompts = [_stems(case.turns) for case in cases]
        in_rows, in_cases = (Counter(itertools.chain.from_iterable(sets)) for sets in (said, prompts))
        self._common = {
            word
            for word, count in in_cases.items()
            if count > max(1, _COMMON_CASES * len(cases)) and in_rows[word] > _COMMON_ROWS * len(rows)
        }
        self._of = {case.id: words_of - self._common for case, words_of in zip(cases, prompts, strict=True)}

    def neighbours(self, case: Case) -> list[str]:
        """The rows in which the user says at least two of the case's words, or its only one."""
        topic = self._of[case.id]
        return [place for place, asked in self._asked if len(topic & asked) >= min(2, len(topic))] if topic else []

    def knows_nothing_of(self, case: Case) -> bool:
        """Whether none of the case's words stands anywhere in the data."""
        topic = self._of[case.id]
        return bool(topic) and not topic & self._known


def _stems(texts: Iterable[str]) -> frozenset[str]:
    return frozenset(word[:_STEM] for text in texts for word in words(text) if len(word) > 2 or not word.isascii())


def _faults(sample: EvaluatedSample) -> list[str]:
    failed = any(result.check.level != "info" for result in sample.failed)
    return [*sample.flags, *(["check"] if failed else [])]


def _share_of_bad(samples: Sequence[EvaluatedSample]) -> float:
    return sum(bool(_faults(sample)) for sample in samples) / len(samples) if samples else 0.0


def _opener(reply: str) -> str:
    found = words(reply[:200])[:2]
    return " ".join(found) if len(found) == 2 else ""
