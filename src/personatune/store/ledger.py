"""votes.jsonl: every vote with all that it was given on, beside the store, so that a lost store can be filled again.

A line a vote, flushed to the disk before the vote is confirmed: the vote, the pair, both replies, the judge, the
judging. The store is what is read; this file is only appended to, and read when the store knows less than it.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from personatune import files
from personatune.errors import PersonatuneError, from_os_error
from personatune.store.rows import at_least, insert

if TYPE_CHECKING:
    from personatune.store.store import Store

FILE = "votes.jsonl"
_TABLES = {  # in an order in which parents come first: a line's key, its table, the columns that tell rows apart
    "judgings": ("judgings", ("id",)),
    "pairs": ("judging_pairs", ("judging", "number")),
    "samples": ("samples", ("id",)),
    "replies": ("judging_replies", ("judging", "pair", "contestant")),
    "judges": ("judging_judges", ("judging", "judge")),
    "showings": ("judging_showings", ("key",)),
    "votes": ("judging_votes", ("id",)),
    "reasons": ("judging_reasons", ("number",)),
}
_TAIL = 256
_COUNTERS = {"judgings": "judging", "samples": "sample", "votes": "vote"}

Row = dict[str, Any]


@dataclass
class Noted:
    """What a ledger holds, as far as it was read."""

    offset: int = 0
    """Bytes that were read."""
    tail: bytes = b""
    """The last of them: another file has others there."""
    vote: int = 0
    """The highest number of a vote."""
    reason: int = 0
    """The highest number of a reason."""
    judgings: set[str] = field(default_factory=set)
    """The judgings whose plan is in it."""
    closed: set[str] = field(default_factory=set)
    """The judgings that it knows to be closed."""


def file_of(store_file: Path) -> Path:
    """Where the votes of a store are kept once more."""
    return store_file.with_name(FILE)


def keep(store: Store) -> None:
    """Bring the ledger up to what the store holds; first the store up to the ledger, when the store knows less.

    A disk that takes no more is no reason to refuse a vote that the store has: what is missing is written next time.
    """
    if store.read_only or not store.on_disk:
        return
    with store.alone(), contextlib.suppress(OSError, PersonatuneError):
        if not _noted(store):
            restore(store)
            _noted(store)


def _noted(store: Store) -> bool:
    """Write what the ledger lacks; False when the store knows less than the ledger, and nothing was written.

    Whoever writes the store is alone with it, so two who vote at the same moment cannot both find the same line
    missing. What was read of the ledger is remembered for the whole process: it grows with every vote.
    """
    path = store.ledger_file
    with store.writing("keeping the votes twice"):
        noted = _known(path)
        _read_on(path, noted)
        if noted.vote > _highest(store, "judging_votes"):
            return False
        lines = list(_missing(store, noted))
        for line in lines:
            files.append_line(path, json.dumps(line, ensure_ascii=False), flushed=line is lines[-1])
        _read_on(path, noted)
    return True


_read: dict[Path, Noted] = {}
"""What this process has read of each ledger."""


def _known(path: Path) -> Noted:
    """What is known of a ledger; nothing of one that was replaced or cut off since."""
    noted = _read.setdefault(path, Noted())
    if noted.offset:
        try:
            with path.open("rb") as file:
                file.seek(noted.offset - len(noted.tail))
                if file.read(len(noted.tail)) == noted.tail:
                    return noted
        except FileNotFoundError:
            pass
        noted = _read[path] = Noted()
    return noted


def behind(store: Store) -> tuple[int, int]:
    """(votes that the ledger has and the store has not, votes that the store has and the ledger has not)."""
    known = {str(row[0]) for row in store.query("SELECT id FROM judging_votes")}
    noted = {str(row.get("id")) for line in lines_of(store.ledger_file) for row in _rows(line, "votes")}
    return len(noted - known), len(known - noted)


def complete(store: Store) -> None:
    """Write every vote of the store that the ledger lacks, wherever in the order it stands."""
    noted = {str(row.get("id")) for line in lines_of(store.ledger_file) for row in _rows(line, "votes")}
    for row in store.query("SELECT * FROM judging_votes ORDER BY number"):
        if str(row["id"]) not in noted:
            line = {"votes": [dict(row)], **_about(_finder(store), dict(row))}
            files.append_line(store.ledger_file, json.dumps(line, ensure_ascii=False), flushed=True)
    keep(store)


def restore(store: Store) -> int:
    """Put back into the store what the ledger has and it has not; return how many votes came back.

    Rows that are there stay as they are. What a row was made from is left open where the store does not know it.
    """
    before = _highest(store, "judging_votes", "count(*)")
    taken = {str(row[0]) for row in store.query("SELECT id FROM samples")}
    renamed: dict[str, str] = {}
    with store.writing("putting votes back") as connection:
        connection.execute("PRAGMA defer_foreign_keys = ON")
        for line in lines_of(store.ledger_file):
            for key, (table, names) in _TABLES.items():
                for row in _rows(line, key):
                    with _passed_over_if_damaged(connection):
                        _put(connection, table, names, _fitted(connection, key, row, taken, renamed))
            for judging, at in _closed(line):
                connection.execute("UPDATE judgings SET closed = ? WHERE id = ? AND closed IS NULL", (at, judging))
        for key, kind in _COUNTERS.items():
            last = connection.execute(f"SELECT max(number) FROM {_TABLES[key][0]}").fetchone()[0]
            at_least(connection, kind, last or 0)
        drop_orphans(connection)
    return _highest(store, "judging_votes", "count(*)") - before


def drop_orphans(connection: sqlite3.Connection) -> int:
    """Make every row's parents known: open what may be open, leave out rows that cannot be without theirs."""
    dropped = 0
    for _ in range(20):
        faults = connection.execute("PRAGMA foreign_key_check").fetchall()
        if not faults:
            break
        for table, rowid, parent, number in faults:
            keys = [row for row in connection.execute(f"PRAGMA foreign_key_list({table})") if row[0] == number]
            may_be_open = {row[1]: not row[3] for row in connection.execute(f"PRAGMA table_info({table})")}
            if len(keys) == 1 and may_be_open.get(keys[0][3]) and (table, parent) not in _TOGETHER:
                connection.execute(f'UPDATE {table} SET "{keys[0][3]}" = NULL WHERE rowid = ?', (rowid,))
            else:
                connection.execute(f"DELETE FROM {table} WHERE rowid = ?", (rowid,))
                dropped += 1
    return dropped


_TOGETHER = {("judging_votes", "judging_showings"), ("judging_votes", "judging_votes")}
"""A vote without what it was on says nothing, though its columns may be open."""


_DAMAGED = (
    KeyError,
    TypeError,
    ValueError,
    OverflowError,
    sqlite3.IntegrityError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
)
"""What a row of a damaged ledger raises. Not what the disk does: then nothing is written at all."""


def lines_of(path: Path) -> Iterator[Row]:
    """The lines of a ledger; torn ones are passed over."""
    try:
        text = path.read_bytes() if path.exists() else b""
    except OSError as error:
        raise from_os_error(error, f"reading {path.name}") from error
    yield from _parsed(text)


def _parsed(text: bytes) -> Iterator[Row]:
    for line in text.split(b"\n"):
        with contextlib.suppress(ValueError, RecursionError):
            value = json.loads(line)
            if isinstance(value, dict):
                yield value


def _read_on(path: Path, noted: Noted) -> None:
    """Take in what was appended since, by whomever."""
    if not path.exists():
        return
    with path.open("rb") as file:
        file.seek(noted.offset)
        text = file.read()
    text = text[: text.rfind(b"\n") + 1]
    for line in _parsed(text):
        noted.vote = max([noted.vote, *(_number(row) for row in _rows(line, "votes"))])
        noted.reason = max([noted.reason, *(_number(row) for row in _rows(line, "reasons"))])
        if "pairs" in line and "votes" not in line:
            noted.judgings.update(str(row.get("id")) for row in _rows(line, "judgings"))
        noted.closed.update(judging for judging, _ in _closed(line))
    noted.offset += len(text)
    noted.tail = (noted.tail + text)[-_TAIL:]


def _missing(store: Store, noted: Noted) -> Iterator[Row]:
    """The lines that the ledger lacks."""

    found = _finder(store)
    for judging in found("SELECT * FROM judgings ORDER BY number"):
        if judging["id"] not in noted.judgings:
            pairs = found("SELECT * FROM judging_pairs WHERE judging = ? ORDER BY number", judging["id"])
            yield {"judgings": [judging | {"closed": None}], "pairs": [pair | {"state": "planned"} for pair in pairs]}
    for vote in found("SELECT * FROM judging_votes WHERE number > ? ORDER BY number", noted.vote):
        yield {"votes": [vote], **_about(found, vote)}
    for reason in found("SELECT * FROM judging_reasons WHERE number > ? ORDER BY number", noted.reason):
        yield {"reasons": [reason]}
    for judging in found("SELECT id, closed FROM judgings WHERE closed IS NOT NULL ORDER BY number"):
        if judging["id"] not in noted.closed:
            yield {"closed": [[judging["id"], judging["closed"]]]}


def _finder(store: Store) -> Callable[..., list[Row]]:
    return lambda sql, *values: [dict(row) for row in store.query(sql, values)]


def _about(found: Callable[..., list[Row]], vote: Row) -> Row:
    """What a vote was given on; nothing for one that takes another back."""
    showings = found("SELECT * FROM judging_showings WHERE key = ?", vote["showing"])
    if not showings:
        return {}
    of, pair, judge = (showings[0][name] for name in ("judging", "pair", "judge"))
    replies = found("SELECT * FROM judging_replies WHERE judging = ? AND pair = ?", of, pair)
    samples = [one for reply in replies for one in found("SELECT * FROM samples WHERE id = ?", reply["sample"])]
    return {
        "showings": showings,
        "judges": found("SELECT * FROM judging_judges WHERE judging = ? AND judge = ?", of, judge),
        "judgings": [one | {"closed": None} for one in found("SELECT * FROM judgings WHERE id = ?", of)],
        "pairs": found("SELECT * FROM judging_pairs WHERE judging = ? AND number = ?", of, pair),
        "replies": replies,
        "samples": samples,
    }


def _fitted(connection: sqlite3.Connection, key: str, row: Row, taken: set[str], renamed: dict[str, str]) -> Row:
    """A row as the store can take it: a reply whose id another has by now gets a new one."""
    if key == "samples":
        known = str(row["id"])
        if known in taken and known not in renamed:
            same = connection.execute("SELECT created FROM samples WHERE id = ?", (known,)).fetchone()
            if same and same[0] != row["created"]:
                last: int = connection.execute("SELECT max(number) FROM samples").fetchone()[0]
                renamed[known] = f"s{last + 1}"
        if known in renamed:
            row = row | {"id": renamed[known], "number": int(renamed[known][1:])}
        return row | {"parent": None}
    if key == "replies":
        return row | {"sample": renamed.get(str(row["sample"]), row["sample"])}
    return row


def _put(connection: sqlite3.Connection, table: str, names: tuple[str, ...], row: Row) -> None:
    have = {column[1] for column in connection.execute(f"PRAGMA table_info({table})")}
    row = {name: value for name, value in row.items() if name in have}
    if not row.keys() >= set(names):
        raise KeyError(f"a row of {table} without its name")
    insert(connection, table, [row], or_ignore=True)
    where = " AND ".join(f"{name} = ?" for name in names)
    key = [row[name] for name in names]
    if table == "judging_pairs":  # its plan comes first, and says nothing of what became of it
        if row["state"] != "planned":
            settle = f"UPDATE {table} SET state = ? WHERE {where} AND state = 'planned'"
            connection.execute(settle, [row["state"], *key])
        for contestant in (row["first"], row["second"]):
            connection.execute(
                "INSERT OR IGNORE INTO judging_replies (judging, pair, contestant) VALUES (?, ?, ?)", [*key, contestant]
            )
    if table == "judging_replies" and row["sample"] is not None:
        connection.execute(
            f"UPDATE OR IGNORE {table} SET sample = ?, faults = ? WHERE {where} AND sample IS NULL",
            [row["sample"], row["faults"], *key],
        )


def _rows(line: Row, key: str) -> list[Row]:
    rows = line.get(key)
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _closed(line: Row) -> Iterable[tuple[str, str]]:
    rows = line.get("closed")
    pairs = [row for row in rows if isinstance(row, list) and len(row) == 2] if isinstance(rows, list) else []
    return [(row[0], row[1]) for row in pairs if isinstance(row[0], str) and isinstance(row[1], str)]


def _number(row: Row) -> int:
    number = row.get("number")
    return number if isinstance(number, int) and 0 <= number < 1 << 62 else 0


@contextlib.contextmanager
def _passed_over_if_damaged(connection: sqlite3.Connection) -> Iterator[None]:
    """A row that the store cannot take leaves nothing behind; it stays where it was."""
    connection.execute("SAVEPOINT one_row")
    try:
        yield
    except _DAMAGED:
        connection.execute("ROLLBACK TO one_row")
    finally:
        connection.execute("RELEASE one_row")


def _highest(store: Store, table: str, what: str = "max(number)") -> int:
    return int(store.query(f"SELECT {what} FROM {table}")[0][0] or 0)
