"""Edits are kept beside the file and taken back; nobody's work is lost."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from personatune.conversation import Conversation, Message
from personatune.data import journal
from personatune.data.edit import RowPlace, Splice, added, deleted, raw_rows
from personatune.errors import DataError, PersonatuneError

ROWS = b'{"prompt": "a", "completion": "b"}\n{"prompt": "c", "completion": "\xc3\xa4"}\n'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "train.jsonl"
    path.write_bytes(ROWS)
    return path


def add(path: Path, said: str) -> None:
    row = Conversation(messages=(Message(role="user", content="q"), Message(role="assistant", content=said)))
    journal.apply(path, f"{said} added", lambda content: added(content, row))


def drop_first(path: Path) -> None:
    (row, *_) = raw_rows(path.read_bytes())
    journal.apply(path, "row deleted", lambda content: deleted(content, RowPlace(1, row.key)))


def test_edits_are_taken_back_one_by_one_to_the_very_bytes(path: Path):
    states = [path.read_bytes()]
    for said in ("x", "ä\u2028b", "z"):
        add(path, said)
        states.append(path.read_bytes())
    drop_first(path)

    for state in reversed(states):
        journal.undo(path)
        assert path.read_bytes() == state
    with pytest.raises(DataError, match="nothing to undo"):
        journal.undo(path)


def test_an_edit_after_an_undo_is_taken_back_first(path: Path):
    add(path, "x")
    journal.undo(path)
    add(path, "y")
    assert journal.undo(path).what == "y added"
    assert path.read_bytes() == ROWS


def test_bytes_that_are_no_text_come_back(path: Path):
    path.write_bytes(b"\xff\xfe broken\n" + ROWS)
    before = path.read_bytes()
    journal.apply(path, "cut", lambda content: Splice(0, content[:10], b"\x80"))
    journal.undo(path)
    assert path.read_bytes() == before


def test_what_another_program_wrote_is_never_undone_away(path: Path):
    add(path, "x")
    path.write_bytes(path.read_bytes() + b'{"prompt": "by hand", "completion": "y"}\n')
    by_hand = path.read_bytes()

    with pytest.raises(DataError, match="changed by something else"):
        journal.undo(path)
    assert path.read_bytes() == by_hand
    assert journal.undoable(path, by_hand) is None


def test_an_entry_whose_file_was_never_written_and_a_torn_line_stop_nothing(path: Path):
    add(path, "x")
    kept = path.read_bytes()
    add(path, "lost")
    path.write_bytes(kept)  # the machine went down between the journal and the file
    with journal.journal_of(path).open("a") as file:
        file.write('{"what": "torn')

    assert journal.undo(path).what == "x added"
    assert path.read_bytes() == ROWS


def test_an_edit_that_changes_nothing_is_no_edit(path: Path):
    journal.apply(path, "nothing", lambda content: Splice(0, b"", b""))
    assert not journal.journal_of(path).exists()


def test_a_refused_edit_writes_nothing(path: Path):
    def refuse(_: bytes) -> Splice:
        raise DataError("no")

    with pytest.raises(DataError):
        journal.apply(path, "refused", refuse)
    assert path.read_bytes() == ROWS
    assert not journal.journal_of(path).exists()


def test_edits_at_once_all_arrive(path: Path):
    def many(name: str) -> None:
        for number in range(10):
            add(path, f"{name}{number}")

    threads = [threading.Thread(target=many, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    said = [line.split(b'"')[7] for line in path.read_bytes().splitlines()[2:]]
    assert sorted(said) == sorted(f"{name}{number}".encode() for name in "abcd" for number in range(10))
    for _ in range(40):
        journal.undo(path)
    assert path.read_bytes() == ROWS


def test_a_link_is_written_through(path: Path, tmp_path: Path):
    link = tmp_path / "elsewhere" / "train.jsonl"
    link.parent.mkdir()
    link.symlink_to(path)
    add(link, "x")
    assert link.is_symlink()
    journal.undo(link)
    assert path.read_bytes() == ROWS


def test_a_folder_that_may_not_be_written_is_told(tmp_path: Path):
    path = tmp_path / "no" / "train.jsonl"
    path.parent.mkdir()
    path.write_bytes(ROWS)
    (path.parent / journal.FOLDER).write_text("a file where a folder belongs")
    with pytest.raises(PersonatuneError):
        add(path, "x")
    assert path.read_bytes() == ROWS


def spoilt(path: Path, spoil) -> None:
    kept = journal.journal_of(path)
    kept.write_bytes(spoil(kept.read_bytes()))


@pytest.mark.parametrize(
    "line",
    [b"\x90\xff", b'{"at": 3}', b'{"at": "x", "removed": 1, "inserted": []}', b"[" * 100_000, b'{"undoes": []}',
     b'{"at": 0, "removed": "\\ud800", "inserted": ""}'],
)  # fmt: skip
def test_damaged_lines_of_the_journal_are_passed_over(path: Path, line: bytes):
    add(path, "x")
    spoilt(path, lambda raw: raw + line + b"\n")
    journal.undo(path)
    assert path.read_bytes() == ROWS


def test_what_was_kept_damaged_is_not_written_back(path: Path):
    drop_first(path)
    now = path.read_bytes()
    spoilt(path, lambda raw: raw.replace(b"completion", b"completiom"))
    with pytest.raises(DataError, match="damaged") as caught:
        journal.undo(path)
    assert caught.value.fix
    assert path.read_bytes() == now
