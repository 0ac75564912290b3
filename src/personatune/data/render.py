"""Render conversations: chat template -> token ids and loss mask. The only place that knows both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from personatune.conversation import Conversation, Message
from personatune.errors import DataError, StopTokenError


class Tokenizer(Protocol):
    """What rendering needs of a Hugging Face tokenizer."""

    chat_template: Any
    all_special_ids: list[int]

    def apply_chat_template(self, conversation: list[dict[str, str]], **kwargs: Any) -> Any:
        """Render messages to text."""
        ...

    def __call__(self, text: str, *, add_special_tokens: bool) -> Any:
        """Encode text."""
        ...

    def decode(self, token_ids: Sequence[int] | int, **kwargs: Any) -> str:
        """Decode ids."""
        ...

    @property
    def added_tokens_decoder(self) -> dict[int, Any]:
        """The tokens added to the vocabulary, by id."""
        ...


@dataclass(frozen=True)
class Rendered:
    """One conversation as the model sees it."""

    token_ids: tuple[int, ...]
    """The whole conversation, up to and including the last end-of-turn token."""
    labelled: tuple[bool, ...]
    """Whether each token is the character's: a word of a reply, or the end-of-turn token that closes it."""
    turns: int
    """How many replies are labelled."""


def encode(tokenizer: Tokenizer, text: str) -> list[int]:
    """Token ids of text that already holds its special tokens."""
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def prompt_text(tokenizer: Tokenizer, messages: Sequence[Message]) -> str:
    """The text after which the model speaks next: what every engine feeds it."""
    rendered = tokenizer.apply_chat_template(
        [{"role": m.role, "content": m.content} for m in messages], add_generation_prompt=True, tokenize=False
    )
    return str(rendered)


def prompt_ids(tokenizer: Tokenizer, messages: Sequence[Message]) -> list[int]:
    """The token ids after which the model speaks next."""
    return encode(tokenizer, prompt_text(tokenizer, messages))


def end_of_turn(tokenizer: Tokenizer) -> int:
    """The token that the template closes a reply with.

    Raises `StopTokenError` when the template closes it with no special token: such a model never stops.
    """
    exchange = (Message(role="user", content="a"), Message(role="assistant", content="b"))
    closing = _reply_ids(tokenizer, exchange, 1)
    special = _special_ids(tokenizer)
    for token in closing:
        if token in special:
            return token
    raise StopTokenError(
        "the model's chat template does not close a reply with a special token, so replies could not end",
        fix="choose another model, or put a chat_template.jinja that ends replies into its folder",
    )


def stop_ids(tokenizer: Tokenizer, generation_config_eos: int | Sequence[int] | None = None) -> tuple[int, ...]:
    """Every token that ends a reply: the template's, the tokenizer's and the model's own, sorted."""
    found = {end_of_turn(tokenizer)}
    eos = getattr(tokenizer, "eos_token_id", None)
    if isinstance(eos, int):
        found.add(eos)
    if isinstance(generation_config_eos, int):
        found.add(generation_config_eos)
    elif generation_config_eos:
        found.update(generation_config_eos)
    return tuple(sorted(found))


def render(tokenizer: Tokenizer, conversation: Conversation, closing: int | None = None) -> Rendered:
    """Token ids and loss mask of a conversation; the mask covers every reply with its end-of-turn token.

    `closing` is that token, where the caller has asked `end_of_turn` for it already.

    Each reply is encoded apart from the prompt before it, exactly as generation meets it: the prompt as
    one text, then one token after the other. Raises `DataError` when the template refuses the
    conversation and `StopTokenError` when a reply is not closed by a special token.
    """
    where = str(conversation.source) if conversation.source else None
    closing = end_of_turn(tokenizer) if closing is None else closing
    ids: list[int] = []
    mask: list[bool] = []
    written = ""
    turns = 0
    for index, message in enumerate(conversation.messages):
        if message.role != "assistant":
            continue
        try:
            prompt = prompt_text(tokenizer, conversation.messages[:index])
            reply = _reply_text(tokenizer, conversation.messages, index, prompt)
        except Exception as error:  # templates raise whatever their author chose
            if isinstance(error, StopTokenError):
                raise
            raise DataError(
                f"the model's chat template refuses this conversation: {error}",
                where=where,
                fix="turns must alternate user / assistant; see: personatune data check FILE",
            ) from error
        if not prompt.startswith(written):
            raise StopTokenError(
                "the model's chat template rewrites earlier turns, so training and generation would differ",
                where=where,
                fix="choose another model, or keep to single-turn conversations",
            )
        between = encode(tokenizer, prompt[len(written) :])
        spoken = encode(tokenizer, reply)
        if closing not in spoken:
            raise StopTokenError("a reply is not closed by the end-of-turn token", where=where)
        end = len(spoken) - 1 - spoken[::-1].index(closing)  # some templates write more after it, never to be said
        ids += between + spoken
        mask += [False] * len(between) + [i <= end for i in range(len(spoken))]
        written = prompt + reply
        turns += 1
    last = max((i for i, labelled in enumerate(mask) if labelled), default=-1) + 1
    return Rendered(tuple(ids[:last]), tuple(mask[:last]), turns)


def last_reply(rendered: Rendered) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """What stands before the last reply, as generation would feed it, and the reply with its end-of-turn token."""
    start = len(rendered.token_ids)
    while start and rendered.labelled[start - 1]:
        start -= 1
    return rendered.token_ids[:start], rendered.token_ids[start:]


def _reply_text(tokenizer: Tokenizer, messages: Sequence[Message], index: int, prompt: str) -> str:
    """What the template adds to `prompt` for the reply at `index`, its closing included."""
    whole = str(
        tokenizer.apply_chat_template(
            [{"role": m.role, "content": m.content} for m in messages[: index + 1]],
            add_generation_prompt=False,
            tokenize=False,
        )
    )
    if not whole.startswith(prompt):
        raise StopTokenError(
            "the chat template of training and of generation differ: a finished turn does not begin as a prompt ends",
            fix="choose another model, or put a corrected chat_template.jinja into its folder",
        )
    return whole[len(prompt) :]


def _reply_ids(tokenizer: Tokenizer, messages: Sequence[Message], index: int) -> list[int]:
    return encode(tokenizer, _reply_text(tokenizer, messages, index, prompt_text(tokenizer, messages[:index])))


def _special_ids(tokenizer: Tokenizer) -> set[int]:
    """Special tokens: named ones and those added to the vocabulary as control tokens."""
    added = {i for i, token in tokenizer.added_tokens_decoder.items() if getattr(token, "special", False)}
    return set(tokenizer.all_special_ids) | added
