"""Catalogues of conversations files, kept while their files stay as they are; the check runs beside, once a state."""

from __future__ import annotations

import threading
from collections import OrderedDict
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request

from personatune.data.catalogue import Catalogue, RowFindings, read_catalogue
from personatune.data.journal import content_of
from personatune.data.leaks import SuitePrompt
from personatune.errors import PersonatuneError
from personatune.evaluation.suite import load_suite
from personatune.persona import Persona

_MOST = 4
"""Files kept at once: ten thousand rows take some 50 MB."""

_Stamp = tuple[int, int, int] | None


@dataclass
class _Known:
    """A file as it was read last."""

    stamp: _Stamp
    catalogue: Catalogue
    content: bytes


@dataclass(frozen=True)
class Checked:
    """What the check of a file found, as far as it is known."""

    findings: RowFindings | None
    """None while it is still looking."""
    version: str | None = None
    """The data version; None while it is not known, empty when a row cannot be read."""
    fault: PersonatuneError | None = None
    """Why the test prompts could not be compared with the rows."""


class Catalogues:
    """The catalogues of this studio; safe to ask from several threads."""

    def __init__(self) -> None:
        self._known: OrderedDict[Path, _Known] = OrderedDict()
        self._checks: OrderedDict[tuple[str, _Stamp], Future[Checked]] = OrderedDict()
        self._lock = threading.Lock()
        self._one_check = threading.Lock()

    def of(self, path: Path) -> Catalogue:
        """The file's catalogue; read again only when the file has changed, and then only the rows that have.

        Raises `DataError` for a file that is not one row a line.
        """
        return self._read(path).catalogue

    def content(self, path: Path) -> bytes:
        """The bytes that the catalogue was read from."""
        return self._read(path).content

    def _read(self, path: Path) -> _Known:
        path = path.resolve()
        with self._lock:
            stamp = _stamp(path)
            known = self._known.get(path)
            if known is None or known.stamp != stamp:
                content = content_of(path)
                catalogue = read_catalogue(content, path.name, known.catalogue if known else None)
                known = self._known[path] = _Known(stamp, catalogue, content)
                while len(self._known) > _MOST:
                    self._known.popitem(last=False)
            self._known.move_to_end(path)
            return known

    def checked(self, persona: Persona, catalogue: Catalogue, wait: float = 0.06) -> Checked:
        """What the check finds in this state of the file; after `wait` seconds, that it is still looking."""
        key = (catalogue.hash, _stamp(persona.suite_file))
        with self._lock:
            check = self._checks.get(key)
            if check is None:
                check = self._checks[key] = Future()
                while len(self._checks) > _MOST:
                    self._checks.popitem(last=False)
                threading.Thread(
                    target=self._check, args=(check, persona, catalogue), name="data check", daemon=True
                ).start()
        if not wait and not check.done():
            return Checked(None)  # waiting for no time at all would still let the check's thread go first
        try:
            return check.result(wait)
        except NotYet:
            return Checked(None)

    def _check(self, check: Future[Checked], persona: Persona, catalogue: Catalogue) -> None:
        prompts: list[SuitePrompt] = []
        fault = None
        with self._one_check:  # every state of a file that is being edited asks for one
            try:
                if persona.suite_file.is_file():
                    prompts = load_suite(persona.suite_file).suite_prompts()
            except PersonatuneError as error:
                fault = error
            try:
                check.set_result(Checked(catalogue.examined(prompts), catalogue.version, fault))
            except BaseException as error:
                check.set_exception(error)


def catalogues(request: Request) -> Catalogues:
    """The catalogues of the studio that answers this request."""
    state = request.app.state
    if not hasattr(state, "catalogues"):
        state.catalogues = Catalogues()
    found: Catalogues = state.catalogues
    return found


def _stamp(path: Path) -> _Stamp:
    """What changes when a file does."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino
