"""The chat itself: read a line, obey a command or stream a reply, keep every reply."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from personatune import files
from personatune.cli.console import err, out
from personatune.cli.editor import edit
from personatune.cli.fix import about, changed
from personatune.cli.flags import flag_faults
from personatune.cli.references import parse
from personatune.cli.servers import with_model
from personatune.errors import PersonatuneError, UsageError
from personatune.evaluation import fixing
from personatune.export import voice
from personatune.export.voice import Listener, Wish
from personatune.generation.contestants import check
from personatune.generation.engine import Sample
from personatune.generation.keeping import keep_reply
from personatune.generation.params import GenerationParams
from personatune.generation.talk import Talk
from personatune.persona import Persona
from personatune.terminal import chat_view
from personatune.terminal.training_progress import StageProgress


def run(reference: str, parameters: GenerationParams, wish: Wish) -> int:
    """Chat until /quit, the end of input or Ctrl-D; return the exit code."""
    persona, which = parse(reference, adopt=True)
    which = check(persona, with_model(which, wish.key_name))
    with StageProgress(err()) as stages:
        contestant = voice.opened(persona, which, wish, Listener(stages, stages.say))
    talk = Talk(
        contestant,
        _over(contestant.params, parameters.model_dump(include=parameters.model_fields_set)),
        context=getattr(contestant.engine, "context", None),
    )
    view = chat_view.ChatView(out(), persona.character.name)
    view.opening(contestant.name, persona.character.greeting)
    room = _Room(persona, talk, view)
    while (line := _read()) is not None:
        if not line.strip():
            continue
        try:
            if line.startswith("/"):
                if room.command(line.strip()):
                    return 0
            else:
                room.reply(talk.say(line.strip()))
        except PersonatuneError as error:
            view.error(str(error))
        except KeyboardInterrupt:
            view.notice("stopped; this exchange is forgotten")
    return 0


def _over(params: GenerationParams, given: dict[str, Any]) -> GenerationParams:
    """`params` with what was given on the command line. Raises `UsageError` when the two contradict each other."""
    try:
        return GenerationParams.model_validate({**params.model_dump(), **given})
    except ValidationError as error:
        raise UsageError(
            f"{flag_faults(error)}: one is the persona's own", fix="give both on the command line"
        ) from error


def _read() -> str | None:
    """One line of the user; None at the end of input."""
    try:
        if sys.stdin.isatty():
            return input("you: ")
        line = sys.stdin.readline()
        return line.rstrip("\n") if line else None
    except (EOFError, KeyboardInterrupt):
        return None


class _Room:
    """A talk, its view and the store that keeps what is said."""

    def __init__(self, persona: Persona, talk: Talk, view: chat_view.ChatView) -> None:
        self._persona, self._talk, self._view = persona, talk, view
        self._last: str | None = None
        self._replies: list[str] = []
        """The numbers of the replies that the talk is made of."""

    def reply(self, pieces: Iterator[str | Sample], *, instead: bool = False) -> None:
        """Stream a reply to the view and keep it; `instead` of the last one when it was drawn again."""
        sample = self._view.reply(pieces)
        if self._talk.forgotten:
            self._view.notice(f"the first {self._talk.forgotten} messages no longer fit and were left out")
        if sample is not None:
            self._last = keep_reply(self._persona, self._talk.contestant, sample, parent=self._last)
            self._replies[len(self._replies) - instead :] = [self._last]

    def command(self, line: str) -> bool:
        """Obey a command; True when it was /quit."""
        name, _, rest = line[1:].partition(" ")
        rest = rest.strip()
        if name in ("quit", "exit", "q"):
            return True
        if name == "help":
            self._view.help()
        elif name == "params":
            self._view.params(self._talk.params, self._talk.contestant.params)
        elif name == "set":
            self._set(rest)
        elif name == "retry":
            self.reply(self._talk.retry(), instead=True)
        elif name == "undo":
            self._talk.undo()
            self._replies = self._replies[:-1]
            self._view.notice("the last exchange is forgotten")
        elif name == "system":
            self._view.notice(self._talk.contestant.system_prompt or "no stage direction: the run speaks for itself")
        elif name == "reset":
            self._talk.messages.clear()
            self._replies = []
            self._last = None
            self._view.notice("the conversation starts afresh")
        elif name == "fix":
            self._fix(rest)
        elif name == "save":
            self._save(rest)
        else:
            raise UsageError(f"there is no command /{name}", fix="/help lists them")
        return False

    def _set(self, rest: str) -> None:
        name, _, value = rest.replace("=", " ").partition(" ")
        name = name.replace("-", "_")
        if name not in GenerationParams.model_fields or not value.strip():
            raise UsageError(
                f"/set takes a parameter and a value, not {rest!r}",
                fix=f"as in: /set temperature 0.6   parameters: {', '.join(GenerationParams.model_fields)}",
            )
        try:
            wanted = {**self._talk.params.model_dump(), name: value.strip()}
            self._talk.params = GenerationParams.model_validate(wanted)
        except ValidationError as error:
            raise UsageError(f"{name}: {error.errors()[0]['msg']}", fix="/params shows what is set") from error
        self._view.notice(f"{name} is now {getattr(self._talk.params, name)}")

    def _fix(self, text: str) -> None:
        if not self._replies:
            raise UsageError("there is no reply to correct yet", fix="say something first")
        if not self._replies[-1]:
            raise UsageError("this reply was not recorded: the record can only be read", fix="/save keeps the talk")
        bad = fixing.find_in(self._persona, self._replies[-1])
        if not text and sys.stdin.isatty():
            text = edit(bad.as_it_stands, about(bad))
            if changed(bad, text) is None:
                self._view.notice(f"the reply is as it was: {fixing.LEFT_OUT}")
                return
        fixed = fixing.write(bad, fixing.Better(text or (_read() or "")))
        self._talk.correct(fixed.conversation.replies[-1])
        for note in fixed.notes:
            self._view.notice(f"note: {note}")
        self._view.notice(f"{'changed' if fixed.replaced else 'added'} {fixed.place}; to learn from it: {fixed.next}")

    def _save(self, rest: str) -> None:
        if not self._talk.messages:
            raise UsageError("there is nothing to save yet")
        default = self._persona.folder / "chats" / f"{datetime.now():%Y-%m-%d-%H%M%S}.jsonl"
        path = Path(rest).expanduser() if rest else default
        if path.exists():
            raise UsageError(f"{path} exists already", fix="/save OTHER_NAME.jsonl")
        row = {"messages": [message.model_dump() for message in self._talk.messages]}
        files.write_text(path, json.dumps(row, ensure_ascii=False) + "\n")
        self._view.notice(f"saved to {path}, as a row that could go into train.jsonl")
