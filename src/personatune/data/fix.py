"""A corrected reply as a row of a conversations file: added, or in the place of the reply's last correction."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from personatune.conversation import Conversation, Message, Origin, Source
from personatune.data.formats import format_of
from personatune.data.jsonl import MAX_ROW_BYTES, is_one_array, parse_line
from personatune.data.load import to_jsonl
from personatune.errors import DataError

_MARK = b"\xef\xbb\xbf"
_BLANK = b" \t\r\n"
_BLANKS = re.compile(r"[ \t\r\n]*")


@dataclass(frozen=True)
class Stage:
    """The stage directions around a reply: which one is not part of the conversation, and which belongs to it."""

    added: str | None = None
    """The system message that the contestant set before the conversation itself: it is taken off."""
    shared: str | None = None
    """The system message that all rows of the data have: the new row gets it too."""


def corrected(
    messages: Sequence[Message], reply: str, origin: Origin, *, stage: Stage | None = None, prompts: Sequence[str] = ()
) -> Conversation:
    """The whole conversation that was answered, with the corrected reply as its last message.

    `prompts` take the place of as many of the user's last messages. Signs that no row can hold are replaced.
    """
    stage = stage or Stage()
    kept = list(messages)
    if kept and kept[0].role == "system" and kept[0].content == stage.added:
        del kept[0]
    if stage.shared is not None and not (kept and kept[0].role == "system"):
        kept.insert(0, Message(role="system", content=stage.shared))
    asked = [place for place, message in enumerate(kept) if message.role == "user"]
    for place, prompt in zip(reversed(asked), reversed(prompts), strict=False):
        kept[place] = Message(role="user", content=prompt)
    kept.append(Message(role="assistant", content=reply))
    return Conversation(
        messages=tuple(message.model_copy(update={"content": _storable(message.content)}) for message in kept),
        origin=origin.model_copy(update={"was": _storable(origin.was or "")}),
    )


def is_fix_of(row: Conversation, sample_id: str, reply: str) -> bool:
    """Whether the row corrects this very reply: numbers alone begin anew with a new record."""
    origin = row.origin
    return origin is not None and origin.fix == sample_id and origin.was in (None, _storable(reply))


def with_earlier_fixes(messages: Sequence[Message], rows: Sequence[Conversation]) -> tuple[Message, ...]:
    """The conversation with the corrected text of each earlier reply that `rows` correct already."""
    mended = {row.origin.was: row.replies[-1] for row in rows if row.origin and row.origin.fix and row.replies}
    return tuple(
        message.model_copy(update={"content": mended[known]})
        if message.role == "assistant" and (known := _storable(message.content)) in mended
        else message
        for message in messages
    )


def _storable(text: str) -> str:
    """Without what a row of JSON lines cannot hold: outer white space, NUL, half of a surrogate pair."""
    return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8").strip()


@dataclass(frozen=True)
class Written:
    """A conversations file with one row more, or one replaced."""

    content: bytes
    """The whole file; all other rows stand byte for byte as they stood."""
    line: int
    """The line on which the row starts, from 1."""
    replaced: bool
    """Whether it took the place of an earlier correction of the same reply."""


def with_fix(content: bytes, conversation: Conversation, name: str = "train.jsonl") -> Written:
    """The file `content` with the corrected `conversation`, whose `origin` says which reply it corrects.

    `content` may be JSON lines or one JSON array, in any of the shapes of a row, with any line ends, or empty.
    Raises `DataError` when an array is broken, or when the row could not be read back; `name` is the file's.
    """
    row = _one_line(conversation, name)
    if is_one_array(content):
        return _in_array(content, row, conversation, name)
    lines = content.split(b"\n")  # the last is what follows the last line break
    for number, line in enumerate(lines, start=1):
        mark = _MARK if number == 1 and line.startswith(_MARK) else b""
        if _corrects_the_same(line.removeprefix(_MARK), conversation):
            lines[number - 1] = mark + row + (b"\r" if line.endswith(b"\r") else b"")
            return Written(b"\n".join(lines), number, replaced=True)
    ending = b"\r\n" if b"\r\n" in content and lines[0].endswith(b"\r") else b"\n"
    before = content if not content.removeprefix(_MARK) or content.endswith(b"\n") else content + ending
    return Written(before + row + ending, before.count(b"\n") + 1, replaced=False)


def _in_array(content: bytes, row: bytes, conversation: Conversation, name: str) -> Written:
    spans = list(_elements(content, name))
    for start, end in spans:
        if _corrects_the_same(content[start:end], conversation):
            return Written(content[:start] + row + content[end:], content.count(b"\n", 0, start) + 1, replaced=True)
    if not spans:
        start = content.index(b"[") + 1
        return Written(content[:start] + row + content[start:], content.count(b"\n", 0, start) + 1, replaced=False)
    start, end = spans[-1]
    gap = content[len(content[:start].rstrip(_BLANK)) : start]  # the new row is set off as the last one is
    rest = content[end:]
    comma, tail = rest.lstrip(_BLANK).startswith(b","), rest
    if comma:  # one after the last element is read too, and must not become two
        tail = rest[rest.index(b",") + 1 :]
    before = content[:end] + b"," + gap
    return Written(before + row + tail, before.count(b"\n") + 1, replaced=False)


def _elements(content: bytes, name: str) -> Iterator[tuple[int, int]]:
    """Where each element of the array stands, as byte offsets."""
    text = content.decode("utf-8", "surrogateescape")
    decoder = json.JSONDecoder()
    at, byte = text.index("[") + 1, content.index(b"[") + 1
    while True:
        start = _end_of_blanks(text, at)
        if text[start : start + 1] == "]":
            return
        try:
            _, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError) as error:
            raise _broken(name, text, start) from error
        byte_start = byte + len(text[at:start].encode("utf-8", "surrogateescape"))
        byte = byte_start + len(text[start:end].encode("utf-8", "surrogateescape"))
        yield byte_start, byte
        at = _end_of_blanks(text, end)
        if text[at : at + 1] not in (",", "]"):
            raise _broken(name, text, at)
        at += text[at] == ","
        byte += len(text[end:at].encode("utf-8", "surrogateescape"))


def _broken(name: str, text: str, at: int) -> DataError:
    return DataError(
        f"{name} is a JSON array that cannot be read to its end, so no row can be added",
        where=f"{name}:{text.count(chr(10), 0, at) + 1}",
        fix="correct it first; what is wrong with it: personatune data check FILE",
    )


def _end_of_blanks(text: str, at: int) -> int:
    found = _BLANKS.match(text, at)
    return found.end() if found else at


def _corrects_the_same(raw: bytes, conversation: Conversation) -> bool:
    """Whether a row, as it stands in the file, is an earlier correction of the same reply."""
    wanted = conversation.origin
    if wanted is None or wanted.fix is None or b'"fix"' not in raw:
        return False
    value = parse_line(raw)
    origin = value.get("origin") if isinstance(value, dict) else None
    if isinstance(origin, dict) and "rows" in origin:
        return False  # data vary made it of several rows: in its place, the words of the others would be lost
    return isinstance(origin, dict) and (origin.get("fix"), origin.get("was", wanted.was)) == (wanted.fix, wanted.was)


def _one_line(conversation: Conversation, name: str) -> bytes:
    text = to_jsonl([conversation]).removesuffix("\n")
    for breaks in "\x85\u2028\u2029":  # a line for every reader, not for ours alone
        text = text.replace(breaks, f"\\u{ord(breaks):04x}")
    raw = text.encode("utf-8", "replace")
    value = parse_line(raw)
    known = format_of(value) if isinstance(value, dict) else None
    fault = value if isinstance(value, str) else None
    if len(raw) > MAX_ROW_BYTES:
        fault = f"the row would have {len(raw):,} bytes, too many for one conversation"
    if fault is None and known is not None and isinstance(value, dict):
        read = known.read(value, Source(path=name, line=1))
        if read.messages == conversation.messages:
            return raw
        fault = "it would be read back as another text: it begins or ends with white space, or holds half a sign"
    raise DataError(f"the corrected row cannot be kept: {fault}", fix="write it without those signs")
