"""Conversations proposed by a model in the character's voice: what it is asked, and its answers read."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from personatune.conversation import Conversation, Message, Source
from personatune.data.findings import quoted
from personatune.data.formats.messages import turns
from personatune.data.normalise import word_count
from personatune.errors import DataError
from personatune.generation.engine import Request, Sample
from personatune.generation.params import GenerationParams
from personatune.generation.remote.completion import whole

LONGEST_ANSWER = 20_000
"""Characters of an answer that are read."""
MOST_MESSAGES = 12
EXAMPLES = 5
_EXAMPLE_CHARACTERS = 1500
_TOKENS = 1500
_OBJECTS = 20
_THOUGHTS = re.compile(r"^\s*<think(?:ing)?>.*?</think(?:ing)?>", re.DOTALL)
_ROLES = {"human": "user", "person": "user", "somebody": "user", "model": "assistant", "character": "assistant",
          "bot": "assistant", "ai": "assistant", "gpt": "assistant"}  # fmt: skip


@dataclass(frozen=True)
class Topic:
    """What a conversation should be about."""

    text: str
    """In the author's words, or a test prompt."""
    case: str = ""
    """The suite's case, when it is a test prompt: then the draft must be near it and not the same."""


@dataclass(frozen=True)
class Writer:
    """What the model is told about the character."""

    name: str
    """The character's name."""
    description: str
    """Who the character is, as `persona.toml` says."""
    rows: Sequence[Conversation]
    """Real rows, of which some are shown as examples."""

    def request(self, topic: Topic, seed: int, fault: str = "") -> Request:
        """Ask for one conversation; everything drawn follows from `seed`."""
        draw = random.Random(seed)
        exchanges = draw.choice((1, 1, 1, 2, 2, 3))
        shown = "\n".join(_shown(row) for row in _examples(self.rows, draw))
        examples = f"Real conversations of {self.name}, one a line:\n\n{shown}\n\n" if shown else ""
        about = (
            "Somebody says something near this, in other words and on another occasion, never this itself:\n"
            f"{topic.text}"
            if topic.case
            else f"It is about: {topic.text}"
        )
        again = f"\n\nYour last attempt could not be used: {fault}." if fault else ""
        text = (
            f"You write example conversations for a character called {self.name}. Who the character is:\n\n"
            f"{self.description}\n\n{examples}"
            f"Write one new conversation between somebody and {self.name}, with {exchanges} "
            f"{'exchange' if exchanges == 1 else 'exchanges'}, in the language of the real ones. {about}\n\n"
            f"{self.name} speaks exactly as in the real ones: the same voice, lengths as varied as there, no sentence "
            f"taken from them, never as an assistant or a program. What {self.name} cannot know stays unknown. Plain "
            "text without any formatting. Answer with one JSON object and nothing else: "
            '{"messages": [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}]}, where '
            f"user is whoever talks to {self.name}, and assistant is {self.name}.{again}"
        )
        params = GenerationParams(max_new_tokens=_TOKENS, seed=seed)
        return Request(messages=(Message(role="user", content=text),), params=params)


def read_answer(sample: Sample, name: str) -> tuple[Message, ...] | str:
    """The conversation in an answer, or in a few words why there is none."""
    text = _THOUGHTS.sub("", sample.reply[: 4 * LONGEST_ANSWER]).strip()
    if not text:
        return "the answer was empty"
    if len(text) > LONGEST_ANSWER:
        return f"the answer was far too long (over {LONGEST_ANSWER:,} characters)"
    found = _messages_in(text)
    if found is None:
        if sample.finish_reason == "length":
            return "the answer was cut off"
        if "{" in text or "[" in text:
            return f"the answer was broken JSON: {quoted(text)}"
        return f"the answer was no conversation: {quoted(text)}"
    try:
        said = turns([_named(item, name) for item in found], "messages", Source(path="the answer", line=1))
    except DataError as error:
        return f"the answer was no conversation: {error.what}"
    said = tuple(
        Message(role=message.role, content=whole(message.content).strip())
        for message in said
        if message.role != "system"
    )
    if not 2 <= len(said) <= MOST_MESSAGES:
        return f"it had {len(said)} messages"
    return said


def _messages_in(text: str) -> list[Any] | None:
    """The list of messages in a text that may hold other things around it."""
    decoder = json.JSONDecoder()
    for start in [at for at, sign in enumerate(text) if sign in "{["][:_OBJECTS]:
        try:
            value, _ = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            value = value.get("messages")
        if isinstance(value, list) and value and all(isinstance(item, dict) and "content" in item for item in value):
            return value
    return None


def _named(item: dict[str, Any], name: str) -> dict[str, Any]:
    role = str(item.get("role", "")).strip().casefold()
    known = "assistant" if role == name.casefold() else _ROLES.get(role, role)
    return {"role": known, "content": item.get("content")}


def _examples(rows: Sequence[Conversation], draw: random.Random) -> list[Conversation]:
    """Some rows of short to long replies, so that one length is not learned from them."""
    usable = [row for row in rows if row.replies and sum(map(len, row.replies)) <= _EXAMPLE_CHARACTERS]
    ordered = sorted(usable, key=lambda row: sum(map(word_count, row.replies)))
    step = len(ordered) / EXAMPLES
    if step < 1:
        return ordered
    return [
        ordered[draw.randrange(int(at * step), max(int(at * step) + 1, int((at + 1) * step)))] for at in range(EXAMPLES)
    ]


def _shown(row: Conversation) -> str:
    said = [message for message in row.as_dicts() if message["role"] != "system"]
    return json.dumps({"messages": said}, ensure_ascii=False)
