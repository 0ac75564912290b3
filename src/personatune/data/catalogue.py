"""A conversations file to look through: its rows in order, searched quickly, with what the check found beside each."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256

from personatune.conversation import Conversation, Source, shared_system_prompt
from personatune.data.doctor import Examination, examine
from personatune.data.edit import RowPlace, raw_rows, read_row
from personatune.data.findings import Finding, counted
from personatune.data.leaks import SuitePrompt
from personatune.data.normalise import word_count
from personatune.data.version import version_of
from personatune.errors import DataError


@dataclass(frozen=True, slots=True)
class CatalogueRow:
    """One row: what it says, or why it cannot be read."""

    key: str
    """The beginning of the hash of its bytes."""
    raw: str
    """Its line as text."""
    conversation: Conversation | None
    """What it says."""
    fault: str | None
    """Why it cannot be read."""
    folded: str
    """What is searched."""
    words: tuple[int, ...] = ()
    """The length of each reply."""


@dataclass(frozen=True)
class Placed:
    """A row and where it stands."""

    row: CatalogueRow
    """The row."""
    number: int
    """Its place among the rows, from 1."""
    line: int
    """Its line, from 1."""

    @property
    def place(self) -> RowPlace:
        """What an edit of it names."""
        return RowPlace(self.number, self.row.key)


@dataclass(frozen=True)
class Catalogue:
    """The rows of a file as it was read."""

    name: str
    """The file's name."""
    hash: str
    """The SHA-256 of its content."""
    rows: tuple[Placed, ...]
    """Every row, in order."""

    @cached_property
    def version(self) -> str:
        """The data version that its conversations are; empty when a row cannot be read."""
        read = self.conversations
        return version_of(read) if len(read) == len(self.rows) else ""

    @property
    def conversations(self) -> list[Conversation]:
        """What can be read."""
        return [placed.row.conversation for placed in self.rows if placed.row.conversation is not None]

    @cached_property
    def shared_system_prompt(self) -> str | None:
        """The stage direction that every row begins with, when there is one: a new row gets it too."""
        read = self.conversations
        return shared_system_prompt(read) if read else None

    def search(self, words: str, *, lines: frozenset[int] | None = None) -> list[Placed]:
        """The rows that hold every one of the words, case aside; of those on `lines` where given."""
        wanted = words.casefold().split()
        return [
            placed
            for placed in self.rows
            if (lines is None or placed.line in lines) and all(word in placed.row.folded for word in wanted)
        ]

    def row(self, number: int) -> Placed | None:
        """The row at a place from 1."""
        return self.rows[number - 1] if 0 < number <= len(self.rows) else None

    def examined(self, suite_prompts: Sequence[SuitePrompt] = ()) -> RowFindings:
        """What the check finds, row by row. Slow for thousands of rows: keep it for as long as the file stays."""
        sourced = [
            placed.row.conversation.model_copy(update={"source": Source(path=self.name, line=placed.line)})
            for placed in self.rows
            if placed.row.conversation is not None
        ]
        return RowFindings.of(self.name, examine(sourced, suite_prompts=suite_prompts, problems=self._problems()))

    def _problems(self) -> list[Finding]:
        places: dict[str, list[str]] = defaultdict(list)
        for placed in self.rows:
            if placed.row.fault is not None:
                places[placed.row.fault].append(f"{self.name}:{placed.line}")
        return [
            Finding.at(
                where,
                code="unreadable-row",
                level="error",
                message=f"{counted(len(where), 'row')} cannot be read: {fault}",
                remedy="correct or remove those lines",
            )
            for fault, where in places.items()
        ]


@dataclass(frozen=True)
class Remark:
    """One finding as it stands beside a row."""

    finding: Finding
    """The finding."""
    other_line: int | None = None
    """The line of the row it is like, for findings of pairs."""


@dataclass(frozen=True)
class RowFindings:
    """What the check found, and beside which rows."""

    examination: Examination
    """All of it."""
    by_line: Mapping[int, tuple[Remark, ...]] = field(default_factory=dict)
    """The remarks beside each row, by its line."""

    @classmethod
    def of(cls, name: str, examination: Examination) -> RowFindings:
        """Findings of the file `name` by the lines that their places name."""
        named = re.compile(re.escape(name) + r":(\d+)")
        beside: dict[int, list[Remark]] = defaultdict(list)
        for finding in examination.findings:
            for place in finding.everywhere or finding.places:
                lines = [int(number) for number in named.findall(place)][:2]
                for line in dict.fromkeys(lines):
                    if all(remark.finding is not finding for remark in beside[line]):
                        other = next((one for one in lines if one != line), None)
                        beside[line].append(Remark(finding, other))
        return cls(examination, {line: tuple(found) for line, found in beside.items()})

    def lines_of(self, code: str) -> frozenset[int]:
        """The lines beside which a finding of this kind stands; `any` for every kind."""
        return frozenset(
            line
            for line, remarks in self.by_line.items()
            if any(code in ("any", remark.finding.code) for remark in remarks)
        )


def read_catalogue(content: bytes, name: str = "train.jsonl", known: Catalogue | None = None) -> Catalogue:
    """A catalogue of the file's content; rows that `known` has already are not read again.

    Raises `DataError` for one big JSON array and for other kinds of files.
    """
    have = {placed.row.key: placed.row for placed in known.rows} if known else {}
    rows = []
    for raw in raw_rows(content, name):
        key = raw.key
        row = have.get(key)
        if row is None:
            row = have[key] = _read(key, raw.raw, name, raw.line)
        rows.append(Placed(row, raw.number, raw.line))
    return Catalogue(name, sha256(content).hexdigest(), tuple(rows))


def _read(key: str, raw: bytes, name: str, line: int) -> CatalogueRow:
    text = raw.decode("utf-8", "replace")
    try:
        conversation = read_row(raw, f"{name}:{line}")
    except DataError as error:
        return CatalogueRow(key, text, None, error.what, text.casefold())
    said = "\n".join(message.content for message in conversation.messages)
    words = tuple(word_count(reply) for reply in conversation.replies)
    return CatalogueRow(key, text, conversation, None, said.casefold(), words)
