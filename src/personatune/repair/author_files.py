"""What the author wrote: persona.toml, train.jsonl, suite.yaml. A torn end is cut off; the words are left alone."""

from __future__ import annotations

import json
from pathlib import Path

from personatune import files
from personatune.data import journal
from personatune.data.findings import counted
from personatune.data.jsonl import breaks_off, is_one_array, parse_line, refuse_other_kinds
from personatune.data.load import load_lenient
from personatune.errors import PersonatuneError
from personatune.evaluation.suite import load_suite
from personatune.persona import PERSONA_FILE, read_character, template_toml, title_of
from personatune.repair.visit import Visit


def look(visit: Visit) -> None:
    """Look at the three files."""
    _character(visit)
    for path in sorted(visit.folder.glob("*.jsonl")):
        _conversations(visit, path)
    if not (visit.folder / "train.jsonl").exists():
        visit.broken(
            "there are no conversations",
            visit.folder / "train.jsonl",
            "put the file back from a copy; what runs learned from is kept: personatune data diff "
            f"{visit.folder} names the states there are",
        )
    suite = visit.folder / "suite.yaml"
    if suite.exists():
        try:
            load_suite(suite)
        except PersonatuneError as error:
            visit.refused(error, suite)


def _character(visit: Visit) -> None:
    path = visit.folder / PERSONA_FILE
    if not path.exists():

        def write() -> str:
            files.write_text(path, template_toml(title_of(visit.folder.resolve().name)))
            return "one with the folder's name was written, for you to fill in"

        visit.mends(f"{PERSONA_FILE} is missing", path, write)
        return
    try:
        read_character(path)
    except PersonatuneError as error:
        visit.refused(error, path)
    except ValueError as error:
        visit.broken(f"{PERSONA_FILE} cannot be read: {error}", path, "put it back from a copy")


def _conversations(visit: Visit, path: Path) -> None:
    try:
        content = path.read_bytes()
    except OSError as error:
        visit.broken(f"{path.name} cannot be read: {error.strerror}", path, "correct its permissions")
        return
    try:
        refuse_other_kinds(content[:4096], path)
        torn = b"" if is_one_array(content[:4096]) else _torn_end(content)
        if torn and _mend_end(visit, path, content, torn):
            content = path.read_bytes()
        problems = load_lenient(path).problems if content.strip() else []
    except PersonatuneError as error:
        visit.refused(error, path)
        return
    if not content.strip():
        visit.broken(
            f"{path.name} is empty",
            path,
            f"put it back from a copy, or take the last edit back: personatune data undo {visit.folder}",
        )
    elif problems:
        unreadable = sum(problem.count for problem in problems)
        visit.broken(
            f"{counted(unreadable, 'row')} of {path.name} cannot be read", path, f"personatune data check {path}"
        )


def _torn_end(content: bytes) -> bytes:
    """What stands after the last whole line, when a crash left it: half a row, or zeros, and none before them."""
    last = content[content.rfind(b"\n") + 1 :]
    if b"\0" in content[: len(content) - len(last)] + last.rstrip(b"\0"):
        return b""
    return last if last.endswith(b"\0") or breaks_off(last) else b""


def _mend_end(visit: Visit, path: Path, content: bytes, torn: bytes) -> bool:
    whole = _whole_row(path, torn)
    zeros = torn.startswith(whole or b"\0")

    def cut() -> str:
        visit.keep(path)
        files.write_bytes(path, content[: len(content) - len(torn)] + (whole + b"\n" if whole else b""))
        if zeros:
            return "they were taken out"
        return "the whole row was found among the edits and put back" if whole else "the half row was taken out"

    ends = "in zeros that a crash left" if zeros else "in the middle of a row"
    return visit.mends(f"{path.name} ends {ends}", path, cut)


def _whole_row(path: Path, torn: bytes) -> bytes | None:
    """The row itself, if only zeros follow it; else the one among those ever edited here that begins as it does."""
    start = torn.rstrip(b"\0")
    if isinstance(parse_line(start), dict):
        return start
    if len(start) < 20:
        return None
    found = set()
    try:
        lines = journal.journal_of(path).read_bytes().split(b"\n")
    except OSError:
        return None
    for line in lines:
        try:
            entry = json.loads(line)
            texts = [str(entry.get("inserted", "")), str(entry.get("removed", ""))]
        except (ValueError, AttributeError):
            continue
        for row in (row for text in texts for row in text.encode("utf-8", "surrogateescape").split(b"\n")):
            if row.startswith(start) and isinstance(parse_line(row), dict):
                found.add(row)
    return found.pop() if len(found) == 1 else None
