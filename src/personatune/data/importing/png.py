"""The text chunks of a PNG, read within bounds, and written back with every other chunk as it was."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from personatune.errors import DataError

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_INFLATED = 8 << 20
"""The most that one compressed text may unfold to."""

_FRAME = 12
_MOST_CHUNKS = 100_000


@dataclass(frozen=True)
class Chunk:
    """One chunk as it stands in the file."""

    start: int
    """Its first byte."""
    kind: bytes
    """Its four letters."""
    body: bytes
    """What it holds."""
    is_whole: bool
    """Whether its checksum is right."""

    @property
    def end(self) -> int:
        """The byte after its last one."""
        return self.start + _FRAME + len(self.body)


def chunks(raw: bytes, name: str) -> Iterator[Chunk]:
    """Every chunk up to the last. Raises `DataError` for what is no PNG or breaks off."""
    if not raw.startswith(SIGNATURE):
        raise DataError(f"{name} is no PNG", where=name, fix="name the picture itself, or the card as JSON")
    at = len(SIGNATURE)
    for _ in range(_MOST_CHUNKS):
        if at + _FRAME > len(raw):
            break
        length, kind = struct.unpack_from(">I4s", raw, at)
        if at + _FRAME + length > len(raw):
            break
        body = raw[at + 8 : at + 8 + length]
        (checksum,) = struct.unpack_from(">I", raw, at + 8 + length)
        chunk = Chunk(at, kind, body, zlib.crc32(body, zlib.crc32(kind)) == checksum)
        yield chunk
        if kind == b"IEND":
            return
        at = chunk.end
    raise DataError(
        f"{name} breaks off: the picture has no end after byte {at:,}",
        where=name,
        fix="get the file again: it was cut off on its way",
    )


def texts(raw: bytes, name: str, wanted: tuple[str, ...]) -> dict[str, bytes]:
    """The first text under each of the wanted keywords, in the file's order. Raises `DataError`."""
    found: dict[str, bytes] = {}
    for chunk in chunks(raw, name):
        keyword = _keyword(chunk)
        if keyword not in wanted or keyword in found:
            continue
        if not chunk.is_whole:
            raise DataError(
                f"{name} is damaged: the checksum of the text {keyword!r} is wrong",
                where=f"{name}, byte {chunk.start:,}",
                fix="get the file again",
            )
        found[keyword] = _text(chunk, keyword, name)
    return found


def with_texts(raw: bytes, name: str, wanted: Mapping[str, bytes]) -> bytes:
    """The file with other texts under these keywords, each where it stood, or before the end when it did not."""
    parts, at, written = [], 0, set()
    for chunk in chunks(raw, name):
        keyword = _keyword(chunk)
        if keyword in wanted:
            parts += [raw[at : chunk.start], _chunk(keyword, wanted[keyword])]
            at = chunk.end
            written.add(keyword)
        elif chunk.kind == b"IEND":
            parts.append(raw[at : chunk.start])
            parts += [_chunk(keyword, text) for keyword, text in wanted.items() if keyword not in written]
            at = chunk.start
    return b"".join([*parts, raw[at:]])


def _keyword(chunk: Chunk) -> str:
    """The keyword of a text chunk, in lower case; empty for all others."""
    if chunk.kind not in (b"tEXt", b"zTXt", b"iTXt"):
        return ""
    return chunk.body[:80].partition(b"\0")[0].decode("latin-1").lower()


def _text(chunk: Chunk, keyword: str, name: str) -> bytes:
    _, _, rest = chunk.body.partition(b"\0")
    if chunk.kind == b"tEXt":
        return rest
    if chunk.kind == b"zTXt":
        return _inflated(rest[1:], keyword, name)
    is_packed, rest = rest[:1] == b"\x01", rest[2:]
    _, _, rest = rest.partition(b"\0")
    _, _, rest = rest.partition(b"\0")
    return _inflated(rest, keyword, name) if is_packed else rest


def _inflated(packed: bytes, keyword: str, name: str) -> bytes:
    inflater = zlib.decompressobj()
    try:
        text = inflater.decompress(packed, MAX_INFLATED + 1)
    except zlib.error as error:
        raise DataError(
            f"{name} is damaged: its text {keyword!r} cannot be unpacked", where=name, fix="get the file again"
        ) from error
    if len(text) > MAX_INFLATED:
        raise DataError(
            f"the text {keyword!r} of {name} unpacks to over {MAX_INFLATED >> 20} MiB: that is no character",
            where=name,
            fix="do not use this file",
        )
    return text


def _chunk(keyword: str, text: bytes) -> bytes:
    body = keyword.encode("latin-1") + b"\0" + text
    return struct.pack(">I", len(body)) + b"tEXt" + body + struct.pack(">I", zlib.crc32(body, zlib.crc32(b"tEXt")))
