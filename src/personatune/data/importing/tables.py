"""Tables: CSV with commas, semicolons, tabs or bars, and Parquet."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from personatune.data.importing.content import Content
from personatune.data.importing.shapes import add_row, check_columns, pair_of
from personatune.data.importing.understood import Gathering, Understood, Wish
from personatune.errors import DataError, ResourceError

_SEPARATORS = "\t;|,"
_NAME = re.compile(r"[^\W\d][\w .:/()-]{0,60}")
_LONGEST_NAME = 60
_TOLD = re.compile(r"\ufeff?\"?sep=(?P<separator>[\t;|,])\"?\s*", re.IGNORECASE)
"""What Excel writes over a table to say what separates its cells."""
_MOST_COLUMNS = 1000
_PARQUET = b"PAR1"
_MOST_UNPACKED = 512 << 20
_MOST_AT_ONCE = 256 << 20
_MOST_ROWS = 500_000
_BATCH = 500


def sniff_csv(content: Content) -> int:
    """A first line of names, and more lines with the same separator."""
    lines = [line for line in content.text_or_nothing[:65536].split("\n")[:50] if line.strip()]
    if lines and (is_told := _TOLD.fullmatch(lines[0]) is not None):
        lines = lines[1:]
    if not lines or lines[0].lstrip().startswith(("{", "[")):
        return 0
    names = _header(lines[0])
    if len(names) < 2 or (len(lines) < 2 and not pair_of(names)):
        return 0
    if not all(_NAME.fullmatch(name) for name in names):
        return 30 * is_told or 20 * (_is_even(lines[1:], names, separator_of(lines[0])))
    return 70 if pair_of(names) else 30


def read_csv(content: Content, wish: Wish) -> Understood:
    """The rows of a table as text. Raises `DataError` where quotes do not match, `UsageError` for unclear columns."""
    into = Gathering(content.name, wish)
    into.remarks += content.remarks
    records = _records(content)
    _, names = next(records, (1, []))
    if len(set(names)) < len(names):
        double = next(name for name in names if names.count(name) > 1)
        raise DataError(
            f"two columns are called {double!r}", where=f"{content.name}:1", fix="give each column a name of its own"
        )
    check_columns(names, wish, f"{content.name}:1")
    for line, cells in records:
        if into.is_full:
            break
        if len(cells) != len(names):
            into.skip(line, f"{len(cells)} cells where there are {len(names)} columns: a separator or a quote is amiss")
        else:
            add_row(dict(zip(names, cells, strict=True)), line, into)
    return into.understood("csv")


def sniff_parquet(content: Content) -> int:
    """Parquet's mark."""
    return 100 if content.raw.startswith(_PARQUET) else 0


def read_parquet(content: Content, wish: Wish) -> Understood:
    """The rows of a Parquet file. Raises `DataError` for a damaged one, `ResourceError` without pyarrow."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise ResourceError(
            "reading Parquet takes the Python package 'pyarrow'", fix="python -m pip install 'personatune[import]'"
        ) from error
    into = Gathering(content.name, wish)
    try:
        file = parquet.ParquetFile(
            io.BytesIO(content.raw), thrift_string_size_limit=16 << 20, thrift_container_size_limit=1 << 20
        )
        unpacked = sum(file.metadata.row_group(at).total_byte_size for at in range(file.metadata.num_row_groups))
        if unpacked > _MOST_UNPACKED:
            raise DataError(
                f"{content.name} unpacks to {unpacked >> 20} MiB; at most {_MOST_UNPACKED >> 20} are read",
                where=content.name,
                fix="cut it into parts and import one after the other",
            )
        names = list(file.schema_arrow.names)
        check_columns(names, wish, content.name)
        rows = (row for batch in file.iter_batches(batch_size=_batch(file.metadata)) for row in batch.to_pylist())
        for number, row in enumerate(rows, start=1):
            if into.is_full:
                break
            if number > _MOST_ROWS:
                into.remarks.append(f"only the first {_MOST_ROWS:,} rows were read")
                break
            add_row(row, number, into)
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError, OverflowError, ValueError) as error:
        raise DataError(
            f"{content.name} is a damaged Parquet file: {' '.join(str(error).split())[:200]}",
            where=content.name,
            fix="save it again, or export it as CSV or JSON lines",
        ) from error
    return into.understood("parquet")


def _batch(metadata: Any) -> int:
    """How many rows are unpacked at once: a value that is kept once can be said by every row."""
    groups = [metadata.row_group(at) for at in range(metadata.num_row_groups)]
    largest = max((g.column(at).total_uncompressed_size for g in groups for at in range(g.num_columns)), default=1)
    return max(1, min(_BATCH, _MOST_AT_ONCE // max(largest, 1)))


def _is_even(lines: Sequence[str], names: Sequence[str], separator: str) -> bool:
    """Whether names that could be sentences stand over a table all the same: no prose is parted by such signs."""
    if separator == "," or not all(0 < len(name) <= _LONGEST_NAME for name in names):
        return False
    records = csv.reader(io.StringIO("\n".join(lines)), delimiter=separator)
    try:
        return all(len(cells) == len(names) for cells in islice(records, 5))
    except csv.Error:
        return False


def _header(line: str) -> list[str]:
    try:
        return [name.strip() for name in next(csv.reader([line], delimiter=separator_of(line)), [])]
    except csv.Error:
        return []


def separator_of(line: str) -> str:
    """What separates the names of a header: what stands there most often outside of quotes."""
    bare = re.sub(r'"[^"]*"', "", line)
    return max(_SEPARATORS, key=bare.count) if any(sign in bare for sign in _SEPARATORS) else ","


def _records(content: Content) -> Iterator[tuple[int, list[str]]]:
    """Each record with the line it begins on, the names first; blank lines are none."""
    text = content.text.lstrip("\n")
    skipped = content.text.count("\n") - text.count("\n")
    first, _, rest = text.partition("\n")
    if told := _TOLD.fullmatch(first):
        text, skipped = rest, skipped + 1
    separator = told["separator"] if told else separator_of(first)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    names: Sequence[Any] | None = None
    while True:
        line = skipped + reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise DataError(
                f"{content.name} is no table that can be read from line {line} on: {error}",
                where=f"{content.name}:{line}",
                fix='put a text with quotes, separators or line breaks in "...", and write each " in it twice',
            ) from error
        if len(cells) > _MOST_COLUMNS:
            raise DataError(
                f"a record has {len(cells):,} cells", where=f"{content.name}:{line}", fix="look for a wrong separator"
            )
        if names is None and cells:
            names = cells = [name.strip() for name in cells]
        if any(cell.strip() for cell in cells):
            yield line, cells
