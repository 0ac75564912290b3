"""Turn leak: a reply that goes on to write the next turn, or shows the chat template's machinery.

Definition: the reply holds a control string of a chat template, or a line that opens a turn ("User:",
"model:", or the role alone, which is what is left of `<start_of_turn>user` when control tokens are not
printed), or, word for word, a training user prompt of 5 words or more that is not in the conversation being
answered.
Source: the public experiment, where loss on the user's words and a missing stop token made 24 of 24 replies
run on.
Calibration: prompts that the character says in the training data too are not counted; of the two built-in
characters' 629 replies none fires.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar

from personatune.conversation import Conversation
from personatune.evaluation.signals.signal import Fired, SignalKind
from personatune.evaluation.words import span_of_words, words
from personatune.generation.engine import Sample

MIN_PROMPT_WORDS = 5
_CONTROL = re.compile(
    r"</?(?:start_of_turn|end_of_turn|bos|eos|s|pad|unk|start_of_image)>"  # Gemma, Llama 2
    r"|<\|[A-Za-z][\w ]{0,30}\|?>|<[A-Za-z]\w{0,30}\|>"  # ChatML, Llama 3, Phi, Gemma 4
    r"|<｜[^｜>\n]{1,40}｜>"  # DeepSeek
    r"|\[/?INST\]|<</?SYS>>"  # Mistral, Llama 2
    r"|^###\s*(?:Instruction|Response|Input|User|Human|Assistant)\b:?",  # Alpaca
    re.MULTILINE,
)
_TURN_LINE = re.compile(
    r"^[ \t]*(?:[*_]{1,2})?(?:user|human|model|assistant)(?:[*_]{1,2})?[ \t]*:"
    r"|^(?:user|model|assistant)[ \t]*$",
    re.MULTILINE | re.IGNORECASE,
)


class TurnLeak:
    """Fires on replies that do not keep to the character's own turn."""

    name: ClassVar[str] = "turn_leak"
    flag: ClassVar[str] = "turn_leak"
    title: ClassVar[str] = "Leaks another turn"
    meaning: ClassVar[str] = "Replies that write the user's next turn or show the chat template's control strings."
    kind: ClassVar[SignalKind] = "mechanical"
    good: ClassVar[bool] = False

    def __init__(self, conversations: Sequence[Conversation]) -> None:
        prompts = {words(prompt) for conversation in conversations for prompt in conversation.prompts}
        own = [_joined(words(reply)) for conversation in conversations for reply in conversation.replies]
        said = "\n".join(own)
        self._by_start: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
        for prompt in sorted(prompts):
            if len(prompt) >= MIN_PROMPT_WORDS and _joined(prompt) not in said:
                self._by_start.setdefault(prompt[:MIN_PROMPT_WORDS], []).append(prompt)

    def fires(self, sample: Sample) -> Fired | None:
        """What leaked, or None."""
        if found := _CONTROL.search(sample.reply):
            return Fired(f"shows the control string {found.group().strip()}", found.span())
        if found := _TURN_LINE.search(sample.reply):
            return Fired(f"opens another turn: “{found.group().strip()}”", found.span())
        return self._training_prompt(sample)

    def _training_prompt(self, sample: Sample) -> Fired | None:
        reply = words(sample.reply)
        starts = range(len(reply) - MIN_PROMPT_WORDS + 1)
        hits = [
            (start, prompt)
            for start in starts
            for prompt in self._by_start.get(reply[start : start + MIN_PROMPT_WORDS], ())
            if reply[start : start + len(prompt)] == prompt
        ]
        if not hits:
            return None
        answered = "\n".join(_joined(words(message.content)) for message in sample.messages)
        for start, prompt in hits:
            if _joined(prompt) not in answered:
                return Fired(
                    f"says a training prompt of the user's: “{' '.join(prompt)}”",
                    span_of_words(sample.reply, start, len(prompt)),
                )
        return None


def _joined(text_words: tuple[str, ...]) -> str:
    return f" {' '.join(text_words)} "
