"""What judge does: find the judging, sit down to it, close it, show what it came to."""

from __future__ import annotations

import getpass
import re
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from personatune import files
from personatune.cli.console import err, out, print_json
from personatune.cli.references import parse_things
from personatune.cli.servers import with_model
from personatune.errors import UsageError, from_os_error
from personatune.generation.contestant import Contestant
from personatune.generation.contestants import Asking, Opening, compute_for, open_contestant
from personatune.judging.beginning import find_judging, open_judging
from personatune.judging.export import as_jsonl, preferences, votes
from personatune.judging.maker import Maker
from personatune.judging.measured import measured, mechanical
from personatune.judging.order import SITTING
from personatune.judging.plan import REAL, JudgingOptions, which
from personatune.judging.prompts import read_prompts
from personatune.judging.replies import Making, Voices, prepare
from personatune.judging.rows import read
from personatune.judging.sentences import remedy_for_broken
from personatune.judging.session import REASONS, Closed, Enough, Session, Shown, Waiting
from personatune.models import embedder
from personatune.models.device import DeviceChoice
from personatune.numbers import whole_number
from personatune.persona import Persona
from personatune.store import judgings
from personatune.store.judging_records import Choice, JudgingRecord
from personatune.store.of_persona import open_store
from personatune.store.records import now
from personatune.store.store import Store
from personatune.terminal.judge_report import print_judgings, print_result
from personatune.terminal.judge_view import FIRST_REASON, JudgeView, ReplyProgress
from personatune.terminal.keys import END, read_key

_CHOICES: dict[str, Choice] = {
    "left": "left", "l": "left", "1": "left", "right": "right", "r": "right", "2": "right",
    "down": "tie", "t": "tie", "x": "broken",
}  # fmt: skip
_POLL = 0.1


@dataclass(frozen=True)
class Asked:
    """What the command line asks for."""

    words: tuple[str, ...]
    """The contestants, a persona, or a judging."""
    judge: str | None = None
    """Who judges."""
    wrote_lines: bool | None = None
    """Whether they wrote the real lines."""
    new: bool = False
    """Begin another judging."""
    prompts: int | None = None
    """The most prompts."""
    prompts_file: Path | None = None
    """A file of own prompts."""
    include_faults: bool = False
    """Judge faulty replies too."""
    result: bool = False
    """Show the result."""
    close: bool = False
    """Close the judging."""
    preferences: Path | None = None
    """Where preference pairs go."""
    votes: Path | None = None
    """Where votes go."""
    model: str | None = None
    """The base model."""
    device: DeviceChoice = "auto"
    """Where to compute."""
    asking: Asking = field(default_factory=Asking)
    """How servers are asked."""
    json: bool = False
    """Print JSON."""

    @property
    def looks_back(self) -> bool:
        """Whether only what is there is wanted."""
        return self.result or self.close or self.json or self.preferences is not None or self.votes is not None


def run(
    asked: Asked,
    voices: Callable[[Persona, JudgingRecord], Voices] | None = None,
    clock: Callable[[], datetime] = now,
) -> int:
    """Do what `asked` says; return the exit code. `voices` stands in for the contestants' own engines."""
    if not asked.words:
        raise UsageError("name the contestants", fix="as in: personatune judge pip@r1 pip@prompted")
    persona, things = parse_things(asked.words)
    names = [with_model(thing, asked.asking.key_name) or thing for thing in things]
    with open_store(persona) as store:
        judging = _judging(store, persona, names, asked)
        if judging is None:
            return _listed(store, persona, asked)
        if asked.close:
            judging = Session(store, judging).close()
        elif judging.closed is None and not asked.looks_back:
            made = (voices or _Opened.of(asked))(persona, judging)
            judging = Sitting(Session(store, judging, clock), persona, asked).hold(made)
        if judging.closed is not None or asked.looks_back:
            _show(store, persona, judging, asked)
    return 0


def _judging(store: Store, persona: Persona, names: list[str], asked: Asked) -> JudgingRecord | None:
    """The judging that is meant; None when a persona alone was named and nothing is open."""
    if not names:
        mine = [one for one in judgings.listed(store) if one.closed is None or asked.looks_back]
        return mine[-1] if mine else None
    if len(names) == 1 and re.fullmatch(r"j[1-9][0-9]*", names[0]):
        return judgings.get(store, names[0])
    own: tuple[str, ...] = ()
    if asked.prompts_file is not None:
        own = read_prompts(_text_of(asked.prompts_file), str(asked.prompts_file))
    if asked.prompts is not None and asked.prompts < 1:
        raise UsageError(f"--prompts: {asked.prompts} prompts ask nothing", fix="give 1 or more")
    options = JudgingOptions(
        prompts=asked.prompts,
        own_prompts=own,
        include_faults=asked.include_faults,
        model=asked.model,
        anew=asked.new,
    )
    if asked.looks_back:
        found = find_judging(store, persona, names, options)
        if found is None:
            raise UsageError("these were never judged", fix="leave out the flag to begin")
        return found
    before = {one.id for one in judgings.listed(store)}
    judging = open_judging(store, persona, names, options)
    if judging.id in before and judging.closed is None and (own or asked.prompts or asked.include_faults):
        err().print(f"{judging.id} goes on as it began; flags about its prompts count for a new one", style="yellow")
    return judging


def _listed(store: Store, persona: Persona, asked: Asked) -> int:
    found = judgings.listed(store)
    if not found or asked.looks_back:
        raise UsageError(
            f"nothing of {persona.name} has been judged yet",
            fix=f"personatune judge {persona.folder}@r1 {persona.folder}@prompted",
        )
    print_judgings(found, out())
    return 0


def _show(store: Store, persona: Persona, judging: JudgingRecord, asked: Asked) -> None:
    rows = read(store, judging.id)
    if asked.preferences:
        _write(asked.preferences, as_jsonl(one.as_dict() for one in preferences(rows)))
    if asked.votes:
        _write(asked.votes, as_jsonl(votes(rows)))
    if (asked.preferences or asked.votes) and not (asked.result or asked.json or asked.close):
        return
    embed = None if embedder.missing() else embedder.open_embedder()
    shown = measured(persona, rows, embed)
    if asked.json:
        print_json(shown.to_json())
    else:
        print_result(shown, out())


def _write(path: Path, text: str) -> None:
    if path.is_dir():
        raise UsageError(f"{path} is a folder", fix=f"name a file: {path / 'votes.jsonl'}")
    files.write_text(path, text)
    err().print(f"wrote {path}: {text.count(chr(10))} lines", markup=False)


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise from_os_error(error, f"reading {path}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text", fix="save it as UTF-8") from error


@dataclass(frozen=True)
class _Opened:
    """Contestants opened when they are first asked, and kept."""

    asked: Asked

    @classmethod
    def of(cls, asked: Asked) -> _Opened:
        return cls(asked)

    def __call__(self, persona: Persona, judging: JudgingRecord) -> Voices:
        compute = compute_for([which(one) for one in judging.contestants if which(one) != REAL], self.asked.device)
        model = judging.plan.get("model") or self.asked.model
        kept: dict[str, Contestant] = {}

        def voice(name: str) -> AbstractContextManager[Contestant]:
            if name not in kept:
                kept[name] = open_contestant(persona, name, Opening(compute, model, asking=self.asked.asking))
            return nullcontext(kept[name])

        return voice


class Sitting:
    """One judge before the terminal, until they stop, the votes are clear or nothing is left."""

    def __init__(self, session: Session, persona: Persona, asked: Asked) -> None:
        self._session = session
        self._signals = mechanical(persona, session.judging)
        self._asked = asked
        self._view = JudgeView(out(), persona.character.name)
        self._judge = ""
        self._go_on = False
        self._last: str | None = None

    def hold(self, voices: Voices) -> JudgingRecord:
        """Judge until it ends; return the judging as it is then."""
        session = self._session
        self._judge = self._asked.judge or _user()
        wrote = self._wrote_lines()
        self._judge = session.begin(self._judge, wrote_lines=wrote).judge
        self._view.opening(self._lines())
        with ReplyProgress(err()) as progress:
            prepare(session, Making(voices, self._signals, progress), ahead=1)
        maker = Maker(session, Making(voices, self._signals))
        maker.start()
        try:
            self._vote(maker)
        finally:
            if maker.alive:
                maker.stop()
        return judgings.get(session.store, session.judging.id)

    def _vote(self, maker: Maker) -> None:
        said_waiting = False
        while True:
            found = self._session.next_pair(self._judge, go_on=self._go_on)
            if isinstance(found, Closed):
                return
            if isinstance(found, Enough):
                if not self._ended(found):
                    return
                continue
            if isinstance(found, Waiting):
                if maker.error is not None:
                    raise maker.error
                if not said_waiting:
                    self._view.remark("the next replies are being made ...", "dim")
                    said_waiting = True
                maker.nudge()
                time.sleep(_POLL)
                continue
            said_waiting = False
            if found.at_a_break:
                self._view.remark(
                    f"That were {SITTING} votes: a good moment for a break. q stops, and the same command goes on.",
                    "green",
                )
            self._view.pair(found)
            if not self._obey(found):
                return
            maker.nudge()

    def _obey(self, shown: Shown) -> bool:
        """Read keys until there is a vote or an undo; False to stop."""
        while True:
            key = read_key()
            if key in ("q", END):
                self._view.remark("Stopped; the same command goes on from here.", "dim")
                return False
            if key == "u":
                self._last = None
                if self._session.undo(self._judge):
                    self._view.remark("Your last vote is taken back.", "dim")
                    return True
                self._view.remark("There is no vote to take back.", "dim")
            elif key in _CHOICES:
                voted = self._session.vote(shown.key, _CHOICES[key])
                self._last = None if voted.too_fast else voted.key
                self._view.voted(voted)
                return True
            elif (place := _reason(key)) is not None:
                self._explain(REASONS[place])
            elif key:
                self._view.remark(f"no such key: {key}", "dim")

    def _explain(self, reason: str) -> None:
        if self._last is None:
            self._view.remark("Reasons are given after a vote.", "dim")
        else:
            self._session.reason(self._last, reason)
            self._view.remark(f"noted: {reason}", "dim")

    def _ended(self, enough: Enough) -> bool:
        """Offer the end; True to go on judging."""
        said = {
            "verdict": "Your votes are clear enough for a verdict.",
            "votes": "That is as many votes as one judge gives.",
            "prompts": "Every prompt has been judged.",
            "same": "Nearly all replies are the same, word for word: there is nothing to tell apart.",
            "broken": "Nearly all replies of one contestant are mechanically broken: there is little to judge by ear.",
        }[enough.why]
        if enough.why == "broken":
            said = f"{said}\n{remedy_for_broken(self._session.judging.contestants)}"
        more = ", g: go on judging" if enough.why == "verdict" else ""
        self._view.remark(f"{said} c: close the judging for all and see who is who{more}, q: leave it open", "bold")
        while True:
            key = read_key()
            if key == "c":
                self._session.close()
                return True
            if key == "g" and more:
                self._go_on = True
                return True
            if (place := _reason(key)) is not None:
                self._explain(REASONS[place])
            elif key == "u" and self._session.undo(self._judge):
                return True
            elif key in ("q", END):
                self._view.remark("It stays open, with your votes; the same command asks again.", "dim")
                return False

    def _wrote_lines(self) -> bool:
        session = self._session
        if not session.has_real_lines or session.known(self._judge):
            return False
        if self._asked.wrote_lines is not None:
            return self._asked.wrote_lines
        self._view.remark(
            f"Some replies are real lines. Did you write them, {self._judge}? Then these votes are counted apart: y, n",
            "bold",
        )
        while (key := read_key()) not in ("y", "yes", "n", "no", END):
            pass
        if key == END:
            raise UsageError("somebody must say whether they wrote the lines", fix="--wrote-lines yes, or no")
        return key.startswith("y")

    def _lines(self) -> list[str]:
        session = self._session
        places = session.places()
        left_out = session.plan.left_out
        aside = f"; left out, since a contestant has learned from them: {left_out}" if left_out else ""
        among = " and ".join((", ".join(session.judging.contestants[:-1]), session.judging.contestants[-1]))
        return [
            f"{session.judging.id}: {among}, judged by {self._judge}; {len(places)} prompts{aside}",
            "You see two replies at a time, without who gave them. It takes up to 60 votes; when they are clear, fewer."
            if len(session.judging.contestants) == 2
            else "You see two replies at a time, without who gave them. Every vote makes the order clearer.",
        ]


def _reason(key: str) -> int | None:
    number = whole_number(key, FIRST_REASON + len(REASONS) - 1)
    return number - FIRST_REASON if number is not None and number >= FIRST_REASON else None


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return "me"
