"""Data: the conversations as rows to read, search, change, add and take back, with the check's findings beside them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from personatune.charts.lengths import lengths
from personatune.conversation import ROLES, Conversation, Message
from personatune.data import drafts, edit, journal
from personatune.data.catalogue import Catalogue, Placed, Remark, RowFindings
from personatune.data.edit import RowPlace, Splice
from personatune.data.findings import counted
from personatune.data.jsonl import is_one_array
from personatune.errors import DataError, PersonatuneError, UsageError
from personatune.numbers import whole_number
from personatune.persona import Persona
from personatune.studio.asking import Form, Who, text, texts
from personatune.studio.catalogues import catalogues
from personatune.studio.rendering import command_line, page, part

router = APIRouter(prefix="/p/{persona}/data")

PAGE = 50
_SHOWN_CHARACTERS = 1500
"""Of a longer message the beginning is shown; the whole of it stands in the editor."""
_CHANGED = "data-changed"


@dataclass(frozen=True)
class Filter:
    """Which rows are looked at."""

    q: str = ""
    """Words that must occur."""
    finding: str = ""
    """The finding that must stand beside them; `any` for one at all."""

    @property
    def query(self) -> str:
        """As it stands in a URL."""
        return urlencode({name: value for name, value in (("q", self.q), ("finding", self.finding)) if value})


@dataclass(frozen=True)
class RowView:
    """One row as it is shown."""

    placed: Placed
    """The row and where it stands."""
    remarks: tuple[Remark, ...]
    """What the check found in it."""

    @property
    def turns(self) -> list[tuple[str, str, int]]:
        """Each message: who says it, what of it is shown, and how many characters are left out."""
        said = self.placed.row.conversation
        return [
            (m.role, m.content[:_SHOWN_CHARACTERS], max(0, len(m.content) - _SHOWN_CHARACTERS))
            for m in (said.messages if said else ())
        ]

    @property
    def facts(self) -> str:
        """Its length in a few words."""
        said = self.placed.row.conversation
        if said is None:
            return "cannot be read"
        words = sum(self.placed.row.words)
        turns = f"{len(said.replies)} replies, " if len(said.replies) > 1 else ""
        return f"{turns}{counted(words, 'word')}"


@router.get("")
def data(request: Request, persona: Who, q: str = "", finding: str = "") -> Response:
    """The page."""
    where = Filter(q[:1000], finding)
    known = catalogues(request)
    try:
        catalogue = known.of(persona.train_file)
    except DataError as error:
        is_array = is_one_array(journal.content_of(persona.train_file)[:65536])
        return page(request, "data-unreadable.html", who=persona, error=error, is_array=is_array)
    return page(
        request,
        "data.html",
        who=persona,
        catalogue=catalogue,
        has_lengths=bool(catalogue.conversations),
        drafts=len(
            drafts.waiting(drafts.read(persona.folder), catalogue.conversations, drafts.discarded(persona.folder))
        ),
        command=command_line(["data", "check", persona.name]),
        **_about(request, persona, catalogue),
        **_listed(request, persona, catalogue, where, 0),
    )


@router.get("/rows")
def rows(request: Request, persona: Who, q: str = "", finding: str = "", start: int = 0) -> Response:
    """The next rows that match."""
    catalogue = catalogues(request).of(persona.train_file)
    return part(
        request, "data-rows.html", who=persona, **_listed(request, persona, catalogue, Filter(q[:1000], finding), start)
    )


@router.get("/about")
def about(request: Request, persona: Who) -> Response:
    """The figures, the findings and what can be taken back, as they are now."""
    catalogue = catalogues(request).of(persona.train_file)
    found = _about(request, persona, catalogue)
    answer = part(request, "data-about.html", who=persona, catalogue=catalogue, **found)
    if not found["checking"]:
        answer.headers["HX-Trigger-After-Swap"] = "found"
    return answer


@router.get("/remarks")
def remarks(request: Request, persona: Who, rows: str = "") -> Response:
    """What the check found in these rows, each for its place on the page: `12.KEY,13.KEY`."""
    catalogue = catalogues(request).of(persona.train_file)
    by_key = {placed.row.key: placed for placed in catalogue.rows}
    found = catalogues(request).checked(persona, catalogue, wait=0).findings
    views = []
    for word in rows.split(",")[:1000]:
        number, _, key = word.partition(".")
        place = whole_number(number)
        placed = catalogue.row(place) if place is not None else None
        if placed is None or placed.row.key != key:
            placed = by_key.get(key)
        if placed is not None:
            views.append((f"{number}-{key}", _beside(placed, found)))
    return part(request, "data-remarks.html", views=views, who=persona)


@router.get("/lengths.json")
def lengths_chart(request: Request, persona: Who) -> Response:
    """How long the replies are, as a chart."""
    catalogue = catalogues(request).of(persona.train_file)
    return JSONResponse(lengths([], _reply_words(catalogue)))


@router.get("/new")
def new(request: Request, persona: Who) -> Response:
    """The form of a new row."""
    shared = catalogues(request).of(persona.train_file).shared_system_prompt
    messages = [("system", shared)] if shared else []
    turns = [*messages, ("user", ""), ("assistant", "")]
    return part(request, "data-form.html", who=persona, place=None, turns=turns, broken=None)


@router.post("/new")
def add(request: Request, persona: Who, form: Form) -> Response:
    """Write a new row; the answer is the row, with another form above it."""
    conversation = _said(form)

    def change(content: bytes) -> Splice:
        return edit.added(content, conversation, persona.train_file.name)

    journal.apply(persona.train_file, "row added", change)
    catalogue = catalogues(request).of(persona.train_file)
    view = _view(request, persona, catalogue, catalogue.rows[-1])
    return _told(part(request, "data-added.html", who=persona, view=view), f"Row {len(catalogue.rows)} is written")


@router.post("/form")
def form_again(request: Request, persona: Who, form: Form) -> Response:
    """The form as it is filled, with a turn more or less."""
    turns = list(zip(texts(form, "role"), texts(form, "content"), strict=False))
    op, _, which = text(form, "op").partition("-")
    if op == "remove" and (at := whole_number(which, len(turns) - 1)) is not None:
        del turns[at]
    elif op == "system":
        turns.insert(0, ("system", ""))
    elif op == "add":
        last = turns[-1][0] if turns else "assistant"
        turns.append(("assistant" if last == "user" else "user", ""))
    place = _place(form) if text(form, "key") else None
    return part(
        request, "data-form.html", who=persona, place=place, turns=turns, broken=None, line=0, grown=op == "add"
    )


@router.get("/rows/{number}")
def row(request: Request, persona: Who, number: int, key: str = "") -> Response:
    """One row, as it is read."""
    catalogue = catalogues(request).of(persona.train_file)
    return part(
        request, "data-row.html", who=persona, view=_view(request, persona, catalogue, _find(catalogue, number, key))
    )


@router.get("/rows/{number}/edit")
def form_of(request: Request, persona: Who, number: int, key: str = "") -> Response:
    """The form that changes a row."""
    placed = _find(catalogues(request).of(persona.train_file), number, key)
    said = placed.row.conversation
    turns = [(m.role, m.content) for m in said.messages] if said else []
    broken = None if said else placed.row
    return part(request, "data-form.html", who=persona, place=placed.place, turns=turns, broken=broken)


@router.post("/rows/{number}")
def change(request: Request, persona: Who, number: int, form: Form) -> Response:
    """Write a row as the form has it; the answer is the row."""
    path, place = persona.train_file, RowPlace(number, text(form, "key"))
    after: list[RowPlace] = []

    def changed(content: bytes) -> Splice:
        if "raw" in form:
            splice = edit.replaced_text(content, place, text(form, "raw"), path.name)
        else:
            splice = edit.replaced(content, place, _as_it_was(_said(form), content, place), path.name)
        found = edit.find(content, place, path.name)
        new = next(row for row in edit.raw_rows(splice.applied(content), path.name) if row.number == found.number)
        after.append(RowPlace(new.number, new.key))
        return splice

    journal.apply(path, f"row {number} changed", changed)
    catalogue = catalogues(request).of(path)
    view = _view(request, persona, catalogue, _find(catalogue, after[-1].number, after[-1].key))
    return _told(part(request, "data-row.html", who=persona, view=view, focus=True), f"Row {number} is written")


@router.post("/rows/{number}/delete")
def delete(request: Request, persona: Who, number: int, form: Form) -> Response:
    """Take a row out."""
    path, place = persona.train_file, RowPlace(number, text(form, "key"))
    journal.apply(path, f"row {number} taken out", lambda content: edit.deleted(content, place, path.name))
    return _told(part(request, "data-gone.html", who=persona, number=number), f"Row {number} is taken out")


@router.post("/undo")
def undo(request: Request, persona: Who, form: Form) -> Response:
    """Take back the last edit; the answer is the list of rows from its beginning."""
    entry = journal.undo(persona.train_file)
    try:
        catalogue = catalogues(request).of(persona.train_file)
    except DataError:  # it is no longer one row a line: another page altogether
        where_to = request.url.path.removesuffix("/undo")
        return RedirectResponse(where_to, 303, {"HX-Redirect": where_to} if "hx-request" in request.headers else None)
    where = Filter(text(form, "q")[:1000], text(form, "finding"))
    answer = part(request, "data-rows.html", who=persona, **_listed(request, persona, catalogue, where, 0))
    return _told(answer, f"Taken back: {entry.what}")


@router.post("/lines")
def lines(request: Request, persona: Who) -> Response:
    """Lay one big JSON array out as one row a line."""
    path = persona.train_file
    journal.apply(path, "laid out as one row a line", lambda content: edit.as_lines(content, path.name))
    return RedirectResponse(request.url.path.removesuffix("/lines"), 303)


def _about(request: Request, persona: Persona, catalogue: Catalogue) -> dict[str, Any]:
    known = catalogues(request)
    checked = known.checked(persona, catalogue)
    found = checked.findings
    examination = found.examination if found else None
    words = sorted(_reply_words(catalogue))
    findings = examination.findings if examination else ()
    errors = [finding for finding in findings if finding.level == "error"]
    return {
        "checking": found is None,
        "examination": examination,
        "shown": [(finding, bool(found and found.lines_of(finding.code))) for finding in findings],
        "errors": errors,
        "suite_fault": checked.fault,
        "middle": words[len(words) // 2] if words else None,
        "ends": (words[0], words[-1]) if words else None,
        "multi": sum(len(placed.row.words) > 1 for placed in catalogue.rows),
        "version": checked.version,
        "unreadable": len(catalogue.rows) - len(catalogue.conversations),
        "undoable": journal.undoable(persona.train_file, known.content(persona.train_file)),
        "codes": _codes(found),
    }


def _codes(found: RowFindings | None) -> list[tuple[str, int]]:
    """Each kind of finding that stands beside rows, and beside how many."""
    if found is None:
        return []
    codes = dict.fromkeys(finding.code for finding in found.examination.findings)
    return [(code, len(lines)) for code in codes if (lines := found.lines_of(code))]


def _listed(request: Request, persona: Persona, catalogue: Catalogue, where: Filter, start: int) -> dict[str, Any]:
    wait = 0.06 if where.finding else 0.0
    found = catalogues(request).checked(persona, catalogue, wait).findings
    only = found.lines_of(where.finding) if found and where.finding else None
    matching = catalogue.search(where.q, lines=only)
    start = max(0, start)
    shown = matching[start : start + PAGE]
    more = start + PAGE if start + PAGE < len(matching) else None
    return {
        "views": [_beside(placed, found) for placed in shown],
        "matching": len(matching),
        "total": len(catalogue.rows),
        "start": start,
        "more": more,
        "filter": where,
        "still_checking": bool(where.finding) and found is None,
    }


def _view(request: Request, persona: Persona, catalogue: Catalogue, placed: Placed) -> RowView:
    return _beside(placed, catalogues(request).checked(persona, catalogue, wait=0).findings)


def _beside(placed: Placed, found: RowFindings | None) -> RowView:
    return RowView(placed, found.by_line.get(placed.line, ()) if found else ())


def _find(catalogue: Catalogue, number: int, key: str) -> Placed:
    """The row that a page means. Raises `DataError` when it is not there any more."""
    placed = catalogue.row(number)
    if placed is None or placed.row.key != key:
        same = [one for one in catalogue.rows if one.row.key == key]
        if len(same) != 1:
            raise DataError(
                f"row {number} was changed or taken out since this page was loaded", fix="load the page again"
            )
        placed = same[0]
    return placed


def _place(form: FormData) -> RowPlace:
    number = whole_number(text(form, "number"))
    if number is None:
        raise UsageError("the form does not say which row it is about", fix="load the page again")
    return RowPlace(number, text(form, "key"))


def _said(form: FormData) -> Conversation:
    """The conversation that a form holds. Raises `UsageError` when a field is missing."""
    roles, contents = texts(form, "role"), texts(form, "content")
    if len(roles) != len(contents) or any(role not in ROLES for role in roles):
        raise UsageError("the form is not whole", fix="load the page again")
    said = zip(roles, contents, strict=True)
    return Conversation(messages=tuple(Message(role=role, content=words.strip()) for role, words in said))


def _as_it_was(said: Conversation, content: bytes, place: RowPlace) -> Conversation:
    """The conversation with its messages as the file has them where only line ends differ: forms change those."""
    try:
        before = edit.read_row(edit.find(content, place).raw, "row:1").messages
    except PersonatuneError:
        return said
    messages = tuple(
        before[at] if at < len(before) and _same(before[at], message) else message
        for at, message in enumerate(said.messages)
    )
    return said.model_copy(update={"messages": messages})


def _same(before: Message, now: Message) -> bool:
    same_text: Callable[[str], str] = lambda words: words.replace("\r\n", "\n").replace("\r", "\n")  # noqa: E731
    return before.role == now.role and same_text(before.content) == same_text(now.content)


def _reply_words(catalogue: Catalogue) -> list[int]:
    return [words for placed in catalogue.rows for words in placed.row.words]


def _told(answer: Response, what: str) -> Response:
    """The answer, and what was done said aloud."""
    answer.headers["HX-Trigger"] = json.dumps({"say": what, _CHANGED: True})
    return answer
