"""Hostile files as hypothesis draws them: whole ones of the corpus, spoiled where readers are weak."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence

from hypothesis import strategies as st

Spoiling = bytes | str | tuple[int, list[tuple[int, int, int]], int]
DEEP = 100_000
WORDS = (
    b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-0", b"1" * 400, b"9" * 5000, b"0x1p3", b"18446744073709551616",
    b"-1", b"null", b"true", b"[]", b"{}", b'""', b"[[1]]", b'{"a": {}}', b'"\\ud800"', b'"\\udfff\\ud800"',
    b'"\\u0000"', b"\0", b"\xff\xfe", b"\xed\xa0\x80", b"\xc3", b"\xef\xbb\xbf", b"\r", b"\r\n", b"\n\n",
    b"\xe2\x80\xa8", b"\xc2\x85", b"\x1b[2J", b"../../../etc/passwd", b"/etc/passwd", b"..", b"C:\\con", b"a/../b",
    b"!!python/object/apply:os.system [id]", b"!!binary a", b"&a [*a]", b"<<: *a", b"? : ", b"--- \n...\n",
    b"%YAML 9.9\n", b"2026-13-45", b"0o7", b"1:2:3", b"=", b"'''", b'"""', b"[a.b]\n", b"{{ 'a' * 99999999 }}",
    b"{% for x in range(99999) %}{% for y in range(99999) %}{% endfor %}{% endfor %}",
    b"{{ self.__init__.__globals__ }}", b"{{user}}", b"{{char}}", b"{{random::a::b}}", b"<START>", b"[" * 2000,
    b"{\"a\":" * 2000, b"(" * 500, b"- " * 1000, "\u202e\U000e0001\ufeff".encode(), "ſK İ ß".encode(), b"%s%n",
    b"__proto__", b"__class__",
)  # fmt: skip
_VALUE = re.compile(rb'"(?:[^"\\\n]|\\.){0,60}"|-?\d+(?:\.\d+)?|\btrue\b|\bfalse\b|\bnull\b')


def spoiling(seeds: int) -> st.SearchStrategy[Spoiling]:
    """A file of the corpus with up to four things wrong with it; now and then bytes of no file at all."""
    place = st.integers(0, 1 << 32)
    steps = st.lists(st.tuples(st.integers(0, len(_STEPS) - 1), place, place), max_size=4)
    whole = st.integers(0, seeds - 1)
    made = st.tuples(whole, steps, whole)
    return st.one_of(made, made, made, made, st.binary(max_size=300), st.text(max_size=200))


def spoiled(spoiling: Spoiling, seeds: Sequence[bytes]) -> bytes:
    """The file that was drawn; made only when it is wanted."""
    if isinstance(spoiling, bytes):
        return spoiling
    if isinstance(spoiling, str):
        return spoiling.encode("utf-8", "surrogatepass")
    at, steps, other = spoiling
    raw = seeds[at]
    for step, where, what in steps:
        raw = _STEPS[step](raw, where, what, seeds[other])[: 1 << 20]
    return raw


def _cut(raw: bytes, where: int, _what: int, _other: bytes) -> bytes:
    return raw[: where % (len(raw) + 1)]


def _flip(raw: bytes, where: int, what: int, _other: bytes) -> bytes:
    at = where % max(1, len(raw))
    return raw[:at] + bytes([what & 255]) + raw[at + 1 :]


def _put(raw: bytes, where: int, what: int, _other: bytes) -> bytes:
    at = where % (len(raw) + 1)
    return raw[:at] + WORDS[what % len(WORDS)] + raw[at:]


def _value(raw: bytes, where: int, what: int, _other: bytes) -> bytes:
    found = list(_VALUE.finditer(raw))
    if not found:
        return raw
    place = found[where % len(found)]
    return raw[: place.start()] + WORDS[what % len(WORDS)] + raw[place.end() :]


def _swap(raw: bytes, where: int, what: int, _other: bytes) -> bytes:
    """One value in the place of another."""
    found = list(_VALUE.finditer(raw))
    if not found:
        return raw
    to, given = found[where % len(found)], found[what % len(found)]
    return raw[: to.start()] + given[0] + raw[to.end() :]


def _without(raw: bytes, where: int, what: int, _other: bytes) -> bytes:
    at = where % max(1, len(raw))
    return raw[:at] + raw[at + what % 64 :]


def _twice(raw: bytes, where: int, what: int, _other: bytes) -> bytes:
    at = where % max(1, len(raw))
    piece = raw[at : at + what % 200]
    return raw[:at] + piece * (2 + what % 50) + raw[at:]


def _spliced(raw: bytes, where: int, what: int, other: bytes) -> bytes:
    return raw[: where % (len(raw) + 1)] + other[what % (len(other) + 1) :]


def _lines(raw: bytes, where: int, what: int, _other: bytes) -> bytes:
    lines = raw.splitlines(keepends=True) or [b""]
    line = lines[where % len(lines)]
    lines.insert(what % (len(lines) + 1), line)
    return b"".join(lines)


def _line_ends(raw: bytes, where: int, _what: int, _other: bytes) -> bytes:
    return raw.replace(b"\n", (b"\r\n", b"\r", b"\n\r", b"\x0b", b"\xe2\x80\xa9", b"")[where % 6])


def _saved_as(raw: bytes, where: int, _what: int, _other: bytes) -> bytes:
    encoding = ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig", "cp1252", "utf-7", "cp037")[where % 8]
    return raw.decode("utf-8", "replace").encode(encoding, "replace")


def _deep(raw: bytes, where: int, what: int, _other: bytes) -> bytes:
    opened, closed = ((b"[", b"]"), (b'{"a":', b"}"), (b"- ", b""), (b"{a: ", b"}"), (b"[[", b""))[where % 5]
    depth = (50, 990, 5_000, DEEP)[what % 4]
    found = list(_VALUE.finditer(raw))
    if not found:
        return raw + opened * depth + closed * depth
    place = found[what % len(found)]
    return raw[: place.start()] + opened * depth + b"1" + closed * depth + raw[place.end() :]


def _long(raw: bytes, where: int, what: int, _other: bytes) -> bytes:
    at = where % (len(raw) + 1)
    return (
        raw[:at]
        + (b"a", b" ", b"\n", b"\t", b'"', b"\\", b":", b"a: ", b"\xf0\x9f\x90\xbe")[what % 9] * 50_000
        + raw[at:]
    )


def _laughs(raw: bytes, _where: int, what: int, _other: bytes) -> bytes:
    """YAML whose aliases multiply; with a cycle now and then."""
    lines = [b"a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [b"a%d: &a%d [%s]" % (at, at, b", ".join([b"*a%d" % (at - 1)] * 9)) for at in range(1, 9)]
    return raw.rstrip(b"\n") + b"\n" + b"\n".join(lines) + (b"\nname: &z {a: *z}\n" if what % 3 == 0 else b"\n")


def _packed(raw: bytes, where: int, what: int, _other: bytes) -> bytes:
    """A PNG whose compressed chunk unpacks to much, with its checksum right."""
    said = b"chara\0\0" + zlib.compress(b"A" * (1 << (10 + what % 17)))
    kind = (b"zTXt", b"iTXt")[where % 2]
    chunk = len(said).to_bytes(4, "big") + kind + said + zlib.crc32(kind + said).to_bytes(4, "big")
    return raw[:33] + chunk + raw[33:]


def _checked(raw: bytes, _where: int, _what: int, _other: bytes) -> bytes:
    """The checksums of a PNG made right again, so that what is spoiled gets read."""
    at, made = 8, raw[:8]
    while at + 12 <= len(raw):
        length = int.from_bytes(raw[at : at + 4], "big")
        body = raw[at + 4 : at + 8 + length]
        made += raw[at : at + 4] + body + zlib.crc32(body).to_bytes(4, "big")
        at += 12 + length
    return made + raw[at:]


def _header(raw: bytes, where: int, what: int, _other: bytes) -> bytes:
    """A length of eight bytes overwritten: safetensors and GGUF begin with such."""
    at = (0, 4, 8, 16, 24)[where % 5]
    value = (0, 1, 1 << 31, 1 << 62, (1 << 64) - 1, len(raw), what)[what % 7]
    return raw[:at] + value.to_bytes(8, "little") + raw[at + 8 :]


_STEPS = (
    _cut, _flip, _flip, _put, _put, _put, _value, _value, _value, _value, _swap, _swap, _without, _twice, _spliced,
    _lines, _line_ends, _saved_as, _deep, _deep, _long, _laughs, _packed, _checked, _checked, _header,
)  # fmt: skip
