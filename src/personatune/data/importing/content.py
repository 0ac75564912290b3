"""A file to import: its bytes, bounded, and its text in whatever encoding it was saved."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from personatune.errors import DataError, from_os_error

MAX_BYTES = 64 << 20
"""The largest file that is read."""

_MARKS = (
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
    (b"\xef\xbb\xbf", "utf-8-sig"),
)
_USUAL = (".parquet", ".jsonl", ".json", ".csv", ".tsv")
_OF_DATASETS = ("dataset_info.json", "state.json", "dataset_dict.json", "dataset_infos.json")
_LOOKED_AT = 2000
_SHOWN_LINES = 5


@dataclass(frozen=True)
class Text:
    """What a file says."""

    text: str
    """Its text; every line ends in one `\\n`, and no NUL is in it."""
    remark: str | None = None
    """What had to be guessed to read it."""


@dataclass(frozen=True)
class Content:
    """A file to import."""

    name: str
    """How errors and rows name it."""
    raw: bytes
    """Its bytes."""

    @cached_property
    def decoded(self) -> Text:
        """Its text and what was guessed. Raises `DataError` when it is no text."""
        return decoded(self.raw, self.name)

    @property
    def text(self) -> str:
        """Its text. Raises `DataError` when it is no text."""
        return self.decoded.text

    @property
    def text_or_nothing(self) -> str:
        """Its text; empty when it is no text."""
        try:
            return self.text
        except DataError:
            return ""

    @cached_property
    def first_objects(self) -> list[dict[str, Any]]:
        """A few JSON objects from its beginning, to guess what it is; none when it holds no JSON."""
        from personatune.data.importing.objects import first_objects

        return first_objects(self)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What had to be guessed to read its text."""
        return (self.decoded.remark,) if self.decoded.remark else ()


def content_of_file(path: Path) -> Content:
    """The file as something to import. Raises `DataError` when there is none, or it is too large."""
    if path.is_dir():
        raise DataError(f"{path} is a folder, not a file", where=path, fix=_in_folder(path))
    if not path.exists():
        raise DataError(f"there is no file {str(path)!r}", where=path, fix="check the path; `ls` shows what is there")
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise from_os_error(error, f"reading {path.name}") from error
    if len(raw) > MAX_BYTES:
        raise DataError(
            f"{path.name} has over {MAX_BYTES >> 20} MiB",
            where=path,
            fix="cut it into parts and import one after the other",
        )
    if not raw.strip():
        raise DataError(f"{path.name} is empty", where=path, fix="look whether it was saved, or name another file")
    return Content(str(path), raw)


def _in_folder(folder: Path) -> str:
    """Which file of a folder could be named: those of a data set that was downloaded, or saved by `datasets`."""
    seen = islice(folder.rglob("*"), _LOOKED_AT)
    found = sorted(path for path in seen if path.suffix in (*_USUAL, ".arrow") and path.is_file())
    usual = [path for path in found if path.suffix in _USUAL and path.name not in _OF_DATASETS]
    if usual:
        return f"name one file in it, such as {usual[0]}" + (f" (of {len(usual)})" if len(usual) > 1 else "")
    if any(path.suffix == ".arrow" for path in found):
        return (
            "it was saved by `datasets`: "
            'python -c "import datasets; '
            f"datasets.load_from_disk('{folder}').to_parquet('rows.parquet')\", then name that"
        )
    return "name one file in it"


def decoded(raw: bytes, name: str) -> Text:
    """The text of some bytes: UTF-8, UTF-16 or UTF-32, else Windows-1252 where a line is no UTF-8.

    Raises `DataError` naming the line when it is no text.
    """
    encoding = next((encoding for mark, encoding in _MARKS if raw.startswith(mark)), None) or _without_mark(raw)
    remark = None
    try:
        text = raw.decode(encoding or "utf-8")
    except UnicodeDecodeError as error:
        if encoding not in (None, "utf-8-sig"):
            raise DataError(
                f"{name} begins as {str(encoding).upper()} text and breaks off at byte {error.start + 1:,}",
                where=name,
                fix="save it again, as UTF-8",
            ) from error
        text, remark = _by_lines(raw.removeprefix(b"\xef\xbb\xbf"), name)
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    if (at := text.find("\0")) >= 0:
        line = text.count("\n", 0, at) + 1
        raise DataError(
            f"{name} holds a NUL character: it is damaged, or no text",
            where=f"{name}:{line}",
            fix="save it as UTF-8 text",
        )
    return Text(text, remark)


def _without_mark(raw: bytes) -> str | None:
    """UTF-16 that does not say so: every other byte of European text is then NUL."""
    head = raw[:_LOOKED_AT]
    half = len(head) // 2
    for start, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        if half and head[start::2].count(0) > 0.7 * half and head[1 - start :: 2].count(0) < 0.1 * half:
            return encoding
    return None


def _by_lines(raw: bytes, name: str) -> tuple[str, str]:
    """Each line as UTF-8, else as Windows-1252, and the remark that says so."""
    lines, guessed = [], []
    for number, line in enumerate(raw.split(b"\n"), start=1):
        try:
            lines.append(line.decode("utf-8"))
        except UnicodeDecodeError:
            try:
                lines.append(line.decode("cp1252"))
            except UnicodeDecodeError as error:
                raise DataError(
                    f"{name} is no text: byte 0x{line[error.start]:02x} is neither UTF-8 nor Windows-1252",
                    where=f"{name}:{number}",
                    fix="save it as UTF-8, or name another file",
                ) from error
            guessed.append(number)
    shown = ", ".join(map(str, guessed[:_SHOWN_LINES])) + (" ..." if len(guessed) > _SHOWN_LINES else "")
    return "\n".join(lines), f"no UTF-8 on line {shown}: read there as Windows-1252; look at the accents"
