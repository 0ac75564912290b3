"""Turn leak: a reply that goes on to write the next turn, or shows the chat template's machinery.

Definition: the reply holds a control string of a chat template; or a line that opens a turn ("User:", "model:",
"You:", the character's own name with a colon, or a role alone, which is what is left of `<start_of_turn>user`
when control tokens are not printed); or a training user prompt that is not in the conversation being answered.
A prompt of 7 words or more counts wherever it stands as whole sentences outside quotation marks; one of 5 or 6
words when it is asked or stands on a line of its own; one of 3 or 4 on a line of its own after the first.
Source: the public experiment, where loss on the user's words and a missing stop token made 24 of 24 replies
run on.
Calibration: on the persona's own data, each time. Labels and prompts that the character says in the training
data too are not counted; of the two built-in characters' 629 replies none fires.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import ClassVar

from personatune.conversation import Conversation
from personatune.evaluation.signals.signal import Fired, SignalKind
from personatune.evaluation.words import span_of_words, words
from personatune.generation.engine import Sample

MIN_PROMPT_WORDS = 3
_WHEREVER = 7
_ASKED = 5
_CONTROL = re.compile(
    r"</?(?:start_of_turn|end_of_turn|bos|eos|s|pad|unk|mask|start_of_image|end_of_image|unused\d+)>"  # Gemma, Llama 2
    r"|\b(?:start|end)_of_turn\b|\bim_(?:start|end)\b"  # the same with its brackets lost
    r"|<\|[A-Za-z][\w ]{0,30}\|?>|<[A-Za-z]\w{0,30}\|>"  # ChatML, Llama 3, Phi, Gemma 4
    r"|<｜[^｜>\n]{1,40}｜>"  # DeepSeek
    r"|\[/?(?:INST|SYS|PAD|UNK|SEP|CLS|BOS|EOS)\]|<</?SYS>>"  # Mistral, Llama 2, BERT
    r"|</?(?:user|human|assistant|system)>|\[/?(?:USER|HUMAN|ASSISTANT|SYSTEM)\]"
    r"|<0x[0-9A-F]{2}>"  # bytes that a tokenizer could not join
    r"|^[ \t]*#{2,}[ \t]*(?:Instructions?|Response|Input|Output|User|Human|Assistant|System)\b:?",  # Alpaca
    re.MULTILINE,
)
_ROLES = (
    "user",
    "human",
    "model",
    "assistant",
    "system",
    "ai",
    "bot",
    "chatbot",
    "instruction",
    "response",
    "you",
    "me",
)
_PLAIN_WORDS = ("you", "me")  # a reply may well begin "Me: one. Tuck: nil."; a second line rarely does
_ROLE_LINE = re.compile(r"^(?:user|model|assistant)[ \t]*$", re.MULTILINE | re.IGNORECASE)
_BEFORE_SENTENCE = re.compile(r"(?:^|[.!?…:;\n。！？*_>)-])[\s*_>-]*$")
_AFTER_SENTENCE = re.compile(r"\s*(?:$|[.!?…\n。！？~*_])")
_QUOTES = '"“”„«»「」'


class TurnLeak:
    """Fires on replies that do not keep to the character's own turn."""

    name: ClassVar[str] = "turn_leak"
    flag: ClassVar[str] = "turn_leak"
    title: ClassVar[str] = "Leaks another turn"
    meaning: ClassVar[str] = "Replies that write the user's next turn or show the chat template's control strings."
    kind: ClassVar[SignalKind] = "mechanical"
    good: ClassVar[bool] = False

    def __init__(self, conversations: Sequence[Conversation], name: str | None = None) -> None:
        replies = [reply for conversation in conversations for reply in conversation.replies]
        labels = [label for label in (*_ROLES, *_labels(name)) if not any(_line_of(label).search(r) for r in replies)]
        # Without any label the pattern is one that is never found.
        self._turn_line = re.compile("|".join(_line_of(label).pattern for label in labels) or r"(?!)", _LINE_FLAGS)
        said = "\n".join(_joined(_bare(reply)) for reply in replies)
        self._by_start: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
        for prompt in sorted({_bare(prompt) for conversation in conversations for prompt in conversation.prompts}):
            if len(prompt) >= MIN_PROMPT_WORDS and _joined(prompt) not in said:
                self._by_start.setdefault(prompt[:MIN_PROMPT_WORDS], []).append(prompt)

    def fires(self, sample: Sample) -> Fired | None:
        """What leaked, or None."""
        if found := _CONTROL.search(sample.reply):
            return Fired(f"shows the control string {found.group().strip()}", found.span())
        if found := self._turn_line.search(sample.reply) or _ROLE_LINE.search(sample.reply):
            return Fired(f"opens another turn: “{found.group().strip()}”", found.span())
        return self._training_prompt(sample)

    def _training_prompt(self, sample: Sample) -> Fired | None:
        reply = _bare(sample.reply)
        hits = [
            (start, prompt)
            for start in range(len(reply) - MIN_PROMPT_WORDS + 1)
            for prompt in self._by_start.get(reply[start : start + MIN_PROMPT_WORDS], ())
            if reply[start : start + len(prompt)] == prompt
        ]
        if not hits:
            return None
        answered = "\n".join(_joined(_bare(message.content)) for message in sample.messages)
        for start, prompt in hits:
            span = span_of_words(sample.reply, start, len(prompt))
            if _joined(prompt) not in answered and (span is None or _stands_alone(sample.reply, span, len(prompt))):
                return Fired(f"says a training prompt of the user's: “{' '.join(prompt)}”", span)
        return None


_LINE_FLAGS = re.MULTILINE | re.IGNORECASE


def _line_of(label: str) -> re.Pattern[str]:
    """The beginning of a line that gives the word to `label`."""
    number = r"(?:[ \t]*\d)?" if label in ("user", "human") else ""
    begin = r"(?<=\n)" if label in _PLAIN_WORDS else "^"
    return re.compile(
        rf"{begin}[ \t]*(?:[*_\[]{{1,2}})?{label}{number}(?:[*_\]]{{1,2}})?[ \t]*[:：](?!//)", _LINE_FLAGS
    )


def _labels(name: str | None) -> list[str]:
    """A character's whole name, and its parts, as they would stand before a colon."""
    whole = " ".join((name or "").split())
    parts = [part for part in whole.split() if len(part) > 2 and part.casefold() not in ("the", "von", "van", "der")]
    return [re.escape(label) for label in dict.fromkeys([whole, *parts]) if label]


def _stands_alone(text: str, span: tuple[int, int], length: int) -> bool:
    """Whether the words are a turn of their own and not part of what the character says."""
    before, after = text[: span[0]], text[span[1] :]
    if before.rstrip(" \t")[-1:] and before.rstrip(" \t")[-1] in _QUOTES + "‘'":
        return False
    if not (_BEFORE_SENTENCE.search(before) and _AFTER_SENTENCE.match(after)):
        return False
    if length >= _WHEREVER:
        return True
    on_own_line = bool(re.search(r"\n[ \t*_>-]*$", before)) and bool(re.match(r"[^\w\n]*(?:\n|$)", after))
    asked = bool(re.match(r"\s*[?？]", after))
    return on_own_line if length < _ASKED else asked or on_own_line


def _bare(text: str) -> tuple[str, ...]:
    """Words without apostrophes: whoever types `whats` means `what's`."""
    return tuple(word.replace("'", "") for word in words(unicodedata.normalize("NFC", text)))


def _joined(text_words: tuple[str, ...]) -> str:
    return f" {' '.join(text_words)} "
