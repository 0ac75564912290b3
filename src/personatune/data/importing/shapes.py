"""The shapes of a row that is an object: ShareGPT, OpenAI messages, Alpaca, or columns of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from personatune.conversation import Message, Origin, Role, Source
from personatune.data.formats.messages import origin_of, text_of
from personatune.data.importing.turns import Unusable
from personatune.data.importing.understood import Gathering, Wish
from personatune.errors import DataError, UsageError

_ROLES: dict[str, Role] = {
    **dict.fromkeys(("user", "human", "prompter", "customer", "you", "player", "question"), "user"),
    **dict.fromkeys(("assistant", "gpt", "bot", "ai", "model", "character", "char", "chatgpt", "answer"), "assistant"),
    **dict.fromkeys(("system", "developer"), "system"),
}
_TOOLS = frozenset(("tool", "function", "function_call", "function_response", "observation", "tool_call", "ipython"))
_LISTS = ("conversations", "conversation", "messages", "dialog", "dialogue", "turns")
_WHO = ("from", "role", "speaker", "author")
_WHAT = ("value", "content", "text", "message")
_PAIRS = (
    ("instruction", "output"),
    ("instruction", "response"),
    ("prompt", "completion"),
    ("prompt", "response"),
    ("prompt", "output"),
    ("question", "answer"),
    ("question", "response"),
    ("query", "response"),
    ("query", "answer"),
    ("input", "output"),
    ("input", "response"),
    ("user", "assistant"),
    ("user", "character"),
    ("user", "reply"),
    ("user", "bot"),
    ("human", "assistant"),
    ("human", "gpt"),
    ("human", "bot"),
    ("message", "reply"),
    ("context", "response"),
)
_CONTEXTS = ("input", "context")
_SYSTEMS = ("system", "system_prompt")
_SOURCE = Source(path="row", line=1)


def shape_of(row: Mapping[str, Any]) -> str | None:
    """`sharegpt`, `messages` or `alpaca`, or None for a row that is none of them."""
    key = _list_key(row)
    if key is not None:
        items = row[key]
        first = items[0] if items else None
        return "messages" if isinstance(first, dict) and "role" in first and "from" not in first else "sharegpt"
    return "alpaca" if pair_of(row) else None


def pair_of(names: Sequence[str] | Mapping[str, Any]) -> tuple[str, str] | None:
    """The well-known names of what was asked and what was answered, as the columns spell them."""
    spelled = {str(name).strip().lower(): str(name) for name in names}
    return next(((spelled[a], spelled[b]) for a, b in _PAIRS if a in spelled and b in spelled), None)


def check_columns(names: Sequence[str], wish: Wish, where: str) -> None:
    """Raise `UsageError` when what is asked and what is answered cannot be told from the names of the columns."""
    for flag, column in (("--user", wish.user), ("--character", wish.character), ("--system", wish.system)):
        if column is not None and column not in names:
            raise UsageError(
                f"there is no column {column!r} for {flag}", where=where, fix=f"choose from: {_shown(names)}"
            )
    if (wish.user and wish.character) or pair_of(names) or any(name in _LISTS for name in names):
        return
    raise UsageError(
        "which columns hold what the user says and what the character answers?",
        where=where,
        fix=f"--user COLUMN --character COLUMN, of: {_shown(names) or '(there are none)'}",
    )


def add_row(row: Mapping[str, Any], line: int, into: Gathering) -> None:
    """Take one object as a conversation, or skip it with the reason."""
    try:
        messages = messages_of(row, into.wish)
    except Unusable as error:
        into.skip(line, str(error))
    except DataError as error:
        into.skip(line, error.what)
    else:
        before = origin_of(dict(row))
        into.count("reply", "replies", "with the weight 0 taken like any other: look at them", by=_weightless(row))
        into.add(line, messages, origin=Origin(before=before.as_dict()) if before else None)


def messages_of(row: Mapping[str, Any], wish: Wish) -> list[Message]:
    """The messages of a row in any of the shapes. Raises `Unusable` or `DataError` saying what is wrong with it."""
    key = _list_key(row)
    if key is not None and not (wish.user in row and wish.character in row):
        return [*_system(row, wish), *_turns(row[key], key, wish)]
    asked, answered = (wish.user, wish.character) if wish.user and wish.character else pair_of(row) or (None, None)
    if asked is None or answered is None:
        raise Unusable(f"a row of unknown shape (its keys: {_shown(list(row)) or 'none'})")
    for column in (asked, answered):
        if column not in row:
            raise Unusable(f"no {column!r} in it")
    prompt = _text(row[asked], asked)
    context = next((row[name] for name in _CONTEXTS if name != asked and row.get(name)), None)
    if context is not None and asked.lower() == "instruction":
        prompt = f"{prompt}\n\n{_text(context, 'input')}"
    said = [*_history(row.get("history")), (prompt, _text(row[answered], answered))]
    turns = [
        Message(role=role, content=text)
        for exchange in said
        for role, text in zip(("user", "assistant"), exchange, strict=True)
    ]
    return [*_system(row, wish), *turns]


def _weightless(row: Mapping[str, Any]) -> int:
    """How many replies say that they are only there to be read."""
    items = row.get(_list_key(row) or "", ())
    return sum(isinstance(item, dict) and item.get("weight") == 0 for item in items)


def _list_key(row: Mapping[str, Any]) -> str | None:
    return next((key for key in _LISTS if isinstance(row.get(key), list)), None)


def _turns(items: list[Any], key: str, wish: Wish) -> list[Message]:
    if not items:
        raise Unusable(f"{key!r} is empty")
    return [_turn(item, f"{key!r}, message {number}", wish) for number, item in enumerate(items, start=1)]


def _turn(item: Any, place: str, wish: Wish) -> Message:
    if not isinstance(item, dict):
        raise Unusable(f"{place} is no object with a speaker and a text")
    who = next((item[name] for name in _WHO if name in item), None)
    what = next((name for name in _WHAT if name in item), None)
    if not isinstance(who, str) or what is None:
        raise Unusable(
            f"{place} has no {'text' if isinstance(who, str) else 'speaker'} ({_shown(list(item)) or 'empty'})"
        )
    role = role_of(who, wish, place)
    if item.get("tool_calls") or item.get("function_call"):
        raise Unusable(f"{place} calls a tool, and characters have none here")
    return Message(role=role, content=_text(item[what], place))


def role_of(who: str, wish: Wish, place: str) -> Role:
    """The role that a speaker's name means. Raises `Unusable` for a name that means none."""
    name = who.strip().casefold()
    if name in {known.casefold() for known in (wish.character, wish.persona_name) if known}:
        return "assistant"
    if wish.user and name == wish.user.casefold():
        return "user"
    if name in _TOOLS:
        raise Unusable(f"{place}: a tool speaks ({who[:40]!r}), and characters have none here")
    if name not in _ROLES:
        raise Unusable(f"{place}: unknown speaker {who[:40]!r} (--character or --user says who that is)")
    return _ROLES[name]


def _text(value: Any, place: str) -> str:
    if isinstance(value, bytes):
        try:
            value = value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise Unusable(f"{place!r} holds bytes that are no UTF-8") from error
    if value is None or isinstance(value, (bool, int, float, dict)):
        kind = "nothing" if value is None else "an object" if isinstance(value, dict) else "a number"
        raise Unusable(f"{place if ',' in place else repr(place)} holds {kind} where a text belongs")
    return text_of(value, place, _SOURCE)


def _system(row: Mapping[str, Any], wish: Wish) -> list[Message]:
    names = (wish.system,) if wish.system else _SYSTEMS
    value = next((row[name] for name in names if row.get(name)), None)
    text = _text(value, "system") if value is not None else ""
    return [Message(role="system", content=text)] if text else []


def _history(value: Any) -> list[tuple[str, str]]:
    if not value:
        return []
    if not isinstance(value, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in value):
        raise Unusable("'history' is no list of pairs")
    return [(_text(pair[0], "history"), _text(pair[1], "history")) for pair in value]


def _shown(names: Sequence[Any]) -> str:
    shown = ", ".join(repr(str(name)[:40]) for name in names[:20])
    return f"{shown}, and {len(names) - 20} more" if len(names) > 20 else shown
