"""Replies of other lengths through a model: it says each anew in the character's voice, and its answers are checked."""

from __future__ import annotations

import random
import re
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from personatune.conversation import Conversation, Message
from personatune.data.doctor import unsound
from personatune.data.normalise import normalised, word_count
from personatune.data.vary import Lengths, Varied, vary
from personatune.generation.engine import Engine, Request, Sample
from personatune.generation.params import GenerationParams

TRIES = 2
_NEAR = 0.25
_TOKENS_A_WORD = 4
_ROOM = 200
_EXAMPLES = 5
_THOUGHTS = re.compile(r"^\s*<think(?:ing)?>.*?</think(?:ing)?>", re.DOTALL)
_TURN = re.compile(r"^[ \t*_]*(?:user|human|model|assistant|system)[ \t*_]*:", re.MULTILINE | re.IGNORECASE)
_MARKDOWN = re.compile(r"\*\*|__|```|^[ \t]*(?:#{1,6} |[-*•] |\d{1,2}[.)] )", re.MULTILINE)
_QUOTES = {'"': '"', "“": "”", "«": "»", "„": "“", "「": "」"}


@dataclass(frozen=True)
class Rewriting:
    """How replies are rewritten."""

    wanted: Lengths
    """The lengths."""
    seed: int = 0
    """Where chance comes from."""
    go_on: Sequence[str] = ()
    """What the user says to hear the rest, where a row is cut instead."""
    on_progress: Callable[[int, int], None] = lambda _done, _total: None
    """Told how many answers are there, and how many are wanted so far."""


@dataclass(frozen=True)
class _Wish:
    """One reply to be said anew."""

    row: int
    place: int
    prompt: str
    reply: str
    words: int
    examples: tuple[str, ...]

    def request(self, seed: int, fault: str = "") -> Request:
        shown = "\n\n".join(f"- {line}" for line in self.examples)
        examples = f"Other lines of this character, for the voice:\n\n{shown}\n\n" if shown else ""
        again = f"\n\nYour last attempt could not be used: {fault}." if fault else ""
        text = (
            "A character in a conversation says the line below. Write the same line again, in the same voice and "
            f"the same language, with about {self.words} words instead of {word_count(self.reply)}.\n\n"
            f"{examples}Somebody says:\n{self.prompt}\n\nThe character answers:\n{self.reply}\n\n"
            "It must still answer what was said, keep what is true in it, and end with a whole sentence. Write the "
            f"new answer of about {self.words} words and nothing else: no title, no list, no quotation marks around "
            f"it, no remark.{again}"
        )
        limit = min(_TOKENS_A_WORD * self.words + _ROOM, 32768)
        params = GenerationParams(max_new_tokens=limit, seed=seed)
        return Request(messages=(Message(role="user", content=text),), params=params)


def rewrite(conversations: Sequence[Conversation], engine: Engine, how: Rewriting) -> list[Varied]:
    """The conversations with replies of the wanted lengths, in the words of `engine`.

    Targets are spread evenly, by ratio, and given out by rank: short replies get short targets, so that as little
    as possible is changed; a reply near its target stays. An answer that cannot be used is asked for once more;
    then the whole row is cut and joined at sentence ends as `vary` does, and says why. Raises what the engine raises.
    """
    wishes = _wishes(conversations, how)
    said: dict[tuple[int, int], str] = {}
    faults: dict[int, str] = {}
    open_wishes = [(wish, "") for wish in wishes]
    done = 0
    for attempt in range(TRIES):
        requests = [wish.request(how.seed * TRIES + attempt, fault) for wish, fault in open_wishes]
        total = done + len(requests)
        how.on_progress(done, total)
        answered: set[int] = set()

        def count(index: int, _: Sample, before: int = done, total: int = total, answered: set[int] = answered) -> None:
            answered.add(index)
            how.on_progress(before + len(answered), total)

        samples = engine.generate(requests, on_sample=count)
        done = total
        rest = []
        for (wish, _), sample in zip(open_wishes, samples, strict=True):
            text = cleaned(sample.reply, wish.reply)
            fault = fault_of(sample.model_copy(update={"reply": text}), wish.reply, wish.words, how.wanted)
            if fault:
                rest.append((wish, fault))
            else:
                said[wish.row, wish.place] = text
        open_wishes = rest
    for wish, fault in open_wishes:
        faults.setdefault(wish.row, fault)
    return _put_together(conversations, said, faults, how)


def cleaned(answer: str, original: str) -> str:
    """An answer without thoughts in front of it and without quotation marks around it that the original has not."""
    text = _THOUGHTS.sub("", answer).strip()
    if len(text) > 1 and _QUOTES.get(text[0]) == text[-1] and original.strip()[:1] != text[0]:
        inner = text[1:-1]
        if text[0] not in inner and text[-1] not in inner:
            text = inner.strip()
    return text


def fault_of(answer: Sample, original: str, words: int, wanted: Lengths) -> str | None:
    """Why an answer cannot stand for the original, in a few words, or None."""
    text = answer.reply
    if not text.strip():
        return "it was empty"
    if answer.finish_reason == "length":
        return "it did not come to an end"
    if normalised(text) == normalised(original):
        return "it was the same as before"
    if _TURN.search(text) or unsound([Conversation(messages=(Message(role="user", content="?"), _said(text)))]):
        return "it held the name of a speaker or a control string"
    if _MARKDOWN.search(text) and not _MARKDOWN.search(original):
        return "it held markdown"
    if text.split("\n")[0].rstrip().endswith(":") and not original.split("\n")[0].rstrip().endswith(":"):
        return "it began with a remark"
    count = word_count(text)
    near = max(2.0, _NEAR * words)
    if abs(count - words) > near or (count not in wanted and abs(count - words) > 0.1 * words):
        return f"it had {'too many' if count > words else 'too few'} words"
    return None


def _wishes(conversations: Sequence[Conversation], how: Rewriting) -> list[_Wish]:
    """Every reply that is not near its target, with its target and examples of about the target's length."""
    draw = random.Random(how.seed)
    replies = [
        (row, place, conversation.messages[place - 1].content, message.content)
        for row, conversation in enumerate(conversations, start=1)
        for place, message in enumerate(conversation.messages)
        if message.role == "assistant"
    ]
    by_length = sorted(replies, key=lambda reply: (word_count(reply[3]), draw.random()))
    lengths = [word_count(reply[3]) for reply in by_length]
    low, high = how.wanted.low, how.wanted.high
    wishes = []
    for rank, (row, place, prompt, reply) in enumerate(by_length):
        target = round(low * (high / low) ** ((rank + 0.5) / len(by_length)))
        count = word_count(reply)
        if count in how.wanted and abs(count - target) <= _NEAR * target:
            continue
        at = bisect_left(lengths, target)
        near = [other[3] for other in by_length[max(0, at - 2 * _EXAMPLES) : at + 2 * _EXAMPLES] if other[0] != row]
        examples = tuple(draw.sample(near, min(_EXAMPLES, len(near))))
        wishes.append(_Wish(row, place, prompt, reply, target, examples))
    return sorted(wishes, key=lambda wish: (wish.row, wish.place))


def _put_together(
    conversations: Sequence[Conversation], said: dict[tuple[int, int], str], faults: dict[int, str], how: Rewriting
) -> list[Varied]:
    made = []
    for row, conversation in enumerate(conversations, start=1):
        if row in faults:
            continue
        messages = tuple(
            _said(said[row, place]) if (row, place) in said else message
            for place, message in enumerate(conversation.messages)
        )
        changed = messages != conversation.messages
        text = conversation.model_copy(update={"messages": messages}) if changed else conversation
        made.append(Varied(text, (row,), "rewrite" if changed else "keep"))
    rows = sorted(faults)
    for varied in vary([conversations[row - 1] for row in rows], how.wanted, seed=how.seed, go_on=how.go_on):
        of = tuple(rows[number - 1] for number in varied.rows)
        made.append(replace(varied, rows=of, not_rewritten=faults[of[0]]))
    return sorted(made, key=lambda varied: min(varied.rows))


def _said(text: str) -> Message:
    return Message(role="assistant", content=text)
