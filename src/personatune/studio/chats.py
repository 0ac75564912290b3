"""Chats: talks with one contestant or two that live on the server, each kept in a file, answered in a thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from personatune import files
from personatune.conversation import Message
from personatune.errors import PersonatuneError, ResourceError, UsageError, from_os_error
from personatune.evaluation.replies import chips_of, marked
from personatune.evaluation.signals.signal import faults
from personatune.generation.engine import Sample
from personatune.generation.keeping import keep_reply
from personatune.generation.params import GenerationParams
from personatune.generation.talk import Talk
from personatune.numbers import whole_number
from personatune.persona import Persona
from personatune.studio.calibrations import Calibrations, nearby
from personatune.studio.voices import Voices

_FROZEN = ConfigDict(frozen=True, extra="forbid")


class Reply(BaseModel):
    """What is known of one reply."""

    model_config = _FROZEN

    sample: str
    """Its number in the store; empty where nothing may be recorded."""
    finish: str
    """`stop` when the model ended its turn itself, `length` when it was cut off."""
    tokens: int
    """How many tokens it took; 0 for engines without tokens."""
    seconds: float
    """How long it took."""
    params: dict[str, Any]
    """The generation parameters, with the seed."""
    chips: tuple[tuple[str, str, str], ...] = ()
    """What the signals saw: label, detail, tone."""
    segments: tuple[tuple[str, bool], ...] = ()
    """The reply in pieces, and whether each is marked; empty when nothing is."""
    unheeded: str = ""
    """Parameters that the server which answered did not take."""
    corrected: bool = False
    """Whether the author wrote what stands there now."""


class Side(BaseModel):
    """One contestant's half of a talk."""

    model_config = _FROZEN

    which: str
    """Who answers: `r3`, `base`, `prompted`."""
    messages: tuple[Message, ...] = ()
    """What was said, user and character in turns."""
    replies: tuple[Reply, ...] = ()
    """One for each message of the character."""
    drawn: int = 0
    """Replies drawn so far, retries included: added to the seed."""
    forgotten: int = 0
    """Messages at the beginning that the model no longer reads."""


class Chat(BaseModel):
    """A talk, as its file keeps it."""

    model_config = _FROZEN

    id: str = Field(pattern=r"^c[0-9]{1,18}$")
    """`c1`, `c2`, ..."""
    sides: tuple[Side, ...]
    """One contestant, or two that answer the same words."""
    params: dict[str, Any] = {}
    """Generation parameters that were set here, over each contestant's own."""
    touched: datetime
    """When something was said last."""

    @property
    def exchanges(self) -> int:
        """How many times the user has been answered."""
        return len(self.sides[0].replies)

    @property
    def title(self) -> str:
        """The user's first words."""
        return next((message.content for message in self.sides[0].messages if message.role == "user"), "")[:80]


@dataclass(frozen=True)
class Wish:
    """What a contestant is asked to do."""

    text: str | None = None
    """What the user says; None to answer the last words again."""
    side: int | None = None
    """Which side answers again; None for all."""


@dataclass
class Answering:
    """An answer on its way: what happened so far, for everybody who watches."""

    said: str
    """The user's words."""
    again: int | None
    """Which side is answering again; None when the words are new."""
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    """`loading`, `begins`, `piece`, then `end`: with what each says."""
    error: PersonatuneError | None = None
    """Why there is no answer."""
    stopped: bool = False
    """Whether somebody asked it to stop."""
    over: bool = False
    """Whether nothing more will come."""
    ended: threading.Event = field(default_factory=threading.Event)
    """Set when nothing more will come."""

    def tell(self, what: str, **more: Any) -> None:
        """Let those who watch know."""
        self.events.append((what, more))


class _StoppedError(Exception):
    """Somebody pressed stop."""


class Chats:
    """The talks of a studio; each answers one thing at a time, and none waits for another page."""

    def __init__(self, voices: Voices, calibrations: Calibrations) -> None:
        self._voices, self._calibrations = voices, calibrations
        self._answering: dict[tuple[Path, str], Answering] = {}
        self._lock = threading.Lock()

    # Talks and their files

    def listed(self, persona: Persona) -> list[Chat]:
        """Every talk that can be read, the latest first."""
        found = []
        for path in _folder(persona).glob("c*.json") if _folder(persona).is_dir() else ():
            try:
                found.append(Chat.model_validate_json(path.read_bytes()))
            except (OSError, ValidationError):
                continue  # a torn or foreign file hides no other talk
        return sorted(found, key=lambda chat: (chat.touched, int(chat.id[1:])), reverse=True)

    def get(self, persona: Persona, chat_id: str) -> Chat:
        """The talk of this number. Raises `UsageError` when there is none, or its file is damaged."""
        path = _folder(persona) / f"{chat_id}.json"
        try:
            if not (chat_id[:1] == "c" and whole_number(chat_id[1:]) is not None):
                raise FileNotFoundError
            return Chat.model_validate_json(path.read_bytes())
        except FileNotFoundError as error:
            raise UsageError(f"there is no talk {chat_id[:40]!r}", fix="begin a new one") from error
        except OSError as error:
            raise from_os_error(error, f"reading {path.name}") from error
        except ValidationError as error:
            raise UsageError(f"the talk {chat_id} is damaged", where=path, fix="begin a new one") from error

    def begin(self, persona: Persona, which: Sequence[str], params: dict[str, Any]) -> Chat:
        """A new talk with one contestant or two."""
        folder = _folder(persona)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            number = max((whole_number(path.stem[1:]) or 0 for path in folder.glob("c*.json")), default=0)
            while True:
                number += 1
                try:
                    (folder / f"c{number}.json").open("x").close()  # no other page gets the same number
                    break
                except FileExistsError:
                    continue
        except OSError as error:
            raise from_os_error(error, "beginning a talk") from error
        sides = tuple(Side(which=name) for name in which)
        return self._keep(persona, Chat(id=f"c{number}", sides=sides, params=params, touched=datetime.now(UTC)))

    def undo(self, persona: Persona, chat_id: str) -> Chat:
        """Forget the last exchange. Raises `UsageError` when there is none."""
        chat = self._idle(persona, chat_id)
        if not chat.exchanges:
            raise UsageError("there is nothing to undo")
        sides = tuple(
            side.model_copy(update={"messages": side.messages[:-2], "replies": side.replies[:-1]})
            for side in chat.sides
        )
        return self._keep(persona, chat.model_copy(update={"sides": sides}))

    def set_params(self, persona: Persona, chat_id: str, params: dict[str, Any]) -> Chat:
        """Answer with other generation parameters from now on."""
        return self._keep(persona, self._idle(persona, chat_id).model_copy(update={"params": params}))

    def correct(self, persona: Persona, chat_id: str, side: int, turn: int, text: str) -> Chat:
        """Go on as if a reply had been `text`."""
        chat = self._idle(persona, chat_id)
        reply_of(chat, side, turn)
        known = chat.sides[side]
        messages, replies = list(known.messages), list(known.replies)
        messages[2 * turn + 1] = Message(role="assistant", content=text)
        replies[turn] = replies[turn].model_copy(update={"corrected": True, "chips": (), "segments": ()})
        changed = known.model_copy(update={"messages": tuple(messages), "replies": tuple(replies)})
        sides = tuple(changed if number == side else other for number, other in enumerate(chat.sides))
        return self._keep(persona, chat.model_copy(update={"sides": sides}))

    # Answers

    def answering(self, persona: Persona, chat_id: str) -> Answering | None:
        """The answer that is on its way, or the last one when it failed and nobody has seen it."""
        with self._lock:
            return self._answering.get((persona.folder.resolve(), chat_id))

    def answer(self, persona: Persona, chat_id: str, wish: Wish, seen: int | None = None) -> Answering:
        """Begin to answer, in a thread; the talk is changed when the answer is whole.

        `seen` is how many exchanges the page showed: a talk that went on elsewhere is not mixed up with it. Raises
        `UsageError` when the talk is being answered already.
        """
        key = (persona.folder.resolve(), chat_id)
        chat = self.get(persona, chat_id)
        if seen is not None and seen != chat.exchanges:
            raise UsageError(
                "this talk went on in another window: nothing was said", fix="load the page again, or begin a new talk"
            )
        if wish.text is None and not chat.exchanges:
            raise UsageError("there is no reply to try again", fix="say something first")
        with self._lock:
            busy = self._answering.get(key)
            if busy is not None and not busy.over:
                raise UsageError("the last words are still being answered", fix="wait for the end, or stop it")
            said = wish.text if wish.text is not None else chat.sides[0].messages[-2].content
            answering = self._answering[key] = Answering(said, wish.side if wish.text is None else None)
        threading.Thread(
            target=self._run, args=(persona, chat, wish, answering), name=f"chat {chat_id}", daemon=True
        ).start()
        return answering

    def stop(self, persona: Persona, chat_id: str, wait: float = 3.0) -> Answering | None:
        """Stop the answer that is on its way; the talk is then as it was before."""
        answering = self.answering(persona, chat_id)
        if answering is not None:
            answering.stopped = True
            answering.ended.wait(wait)
        return answering

    def forget(self, persona: Persona, chat_id: str) -> None:
        """The end of the last answer has been shown."""
        with self._lock:
            key = (persona.folder.resolve(), chat_id)
            known = self._answering.get(key)
            if known is not None and known.over:
                del self._answering[key]

    def _run(self, persona: Persona, chat: Chat, wish: Wish, answering: Answering) -> None:
        try:
            sides = [
                self._answered(persona, chat, number, wish, answering)
                if wish.side in (None, number) or wish.text is not None
                else side
                for number, side in enumerate(chat.sides)
            ]
            self._keep(persona, chat.model_copy(update={"sides": tuple(sides), "touched": datetime.now(UTC)}))
        except _StoppedError:
            pass
        except Exception as error:
            answering.error = explained(error)
        finally:
            answering.over = True
            answering.tell("end")
            answering.ended.set()

    def _answered(self, persona: Persona, chat: Chat, number: int, wish: Wish, answering: Answering) -> Side:
        """One side with its reply. The voice is ours alone meanwhile."""
        side = chat.sides[number]
        if not self._voices.is_open(persona, side.which):
            answering.tell("loading", side=number, doing=f"loading {side.which}")

        def tell(doing: str) -> None:
            answering.tell("loading", side=number, doing=doing)

        with self._voices.voice(persona, side.which, tell) as contestant:
            answering.tell("begins", side=number)
            began = time.monotonic()
            talk = Talk(
                contestant,
                over(contestant.params, chat.params),
                context=getattr(contestant.engine, "context", None),
                messages=list(side.messages),
                replies=side.drawn,
            )
            pieces = talk.say(wish.text) if wish.text is not None else talk.retry()
            sample = _drawn(pieces, number, answering)
        seconds = time.monotonic() - began
        sample = sample.model_copy(update={"reply": _whole(sample.reply)})
        messages = [m.model_copy(update={"content": _whole(m.content)}) for m in talk.messages]
        last = side.replies[-1].sample if side.replies else None
        kept = keep_reply(persona, contestant, sample, parent=last)
        before = side.replies if wish.text is not None else side.replies[:-1]
        reply = self._looked_at(persona, side.which, sample, kept, seconds)
        return Side(
            which=side.which,
            messages=tuple(messages),
            replies=(*before, reply),
            drawn=talk.replies,
            forgotten=talk.forgotten,
        )

    def _looked_at(self, persona: Persona, which: str, sample: Sample, kept: str, seconds: float) -> Reply:
        found = faults(sample, self._calibrations.signals(persona, which))
        spans = [fired.span for fired in found.values() if fired.span]
        return Reply(
            sample=kept,
            finish=sample.finish_reason,
            tokens=len(sample.token_ids),
            seconds=round(seconds, 2),
            params=sample.params.model_dump(),
            unheeded=sample.unheeded,
            chips=tuple((chip.label, nearby(chip.detail, persona), chip.tone) for chip in chips_of(found)),
            segments=marked(sample.reply, spans) if spans else (),
        )

    def _idle(self, persona: Persona, chat_id: str) -> Chat:
        answering = self.answering(persona, chat_id)
        if answering is not None and not answering.over:
            raise UsageError("the last words are still being answered", fix="wait for the end, or stop it")
        return self.get(persona, chat_id)

    def _keep(self, persona: Persona, chat: Chat) -> Chat:
        files.write_text(_folder(persona) / f"{chat.id}.json", chat.model_dump_json())
        return chat


def reply_of(chat: Chat, side: int, turn: int) -> Reply:
    """A reply of a talk, both counted from 0. Raises `UsageError` when there is none."""
    if not (0 <= side < len(chat.sides) and 0 <= turn < chat.exchanges):
        raise UsageError("there is no such reply in this talk", fix="load the page again")
    return chat.sides[side].replies[turn]


def over(params: GenerationParams, given: dict[str, Any]) -> GenerationParams:
    """A contestant's parameters with what was set here. Raises `UsageError` when the two contradict each other."""
    try:
        return GenerationParams.model_validate({**params.model_dump(), **given})
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        message = str(first["msg"]).removeprefix("Value error, ")
        raise UsageError(f"{name}: {message}" if name else message, fix="set it to something else") from error


def explained(error: Exception) -> PersonatuneError:
    """Any error as what happened and the way out."""
    if isinstance(error, PersonatuneError):
        return error
    if isinstance(error, ModuleNotFoundError):
        return ResourceError(
            f"the Python package {error.name!r} is not installed: models cannot answer without it",
            fix="python -m pip install 'personatune[train]'   then start the studio again",
        )
    if isinstance(error, OSError):
        return from_os_error(error, "answering")
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or "alloc" in str(error)[:200]:
        return ResourceError("the machine ran out of memory", fix="close other programs, or talk to a smaller model")
    return PersonatuneError(
        f"personatune met something it does not know: {type(error).__name__}: {str(error)[:300]}",
        fix="please report it with what the terminal of `personatune studio` shows",
    )


def _drawn(pieces: Iterator[str | Sample], number: int, answering: Answering) -> Sample:
    """The reply, told piece by piece. Raises `_StoppedError` as soon as somebody asks for it."""
    sample: Sample | None = None
    try:
        for piece in pieces:
            if answering.stopped:
                raise _StoppedError
            if isinstance(piece, Sample):
                sample = piece
            elif piece:
                answering.tell("piece", side=number, text=piece)
    finally:
        close = getattr(pieces, "close", None)
        if close is not None:
            close()  # the engine stops working on it
    if sample is None:
        raise UsageError("no reply came", fix="try again")
    if answering.stopped:
        raise _StoppedError
    return sample


def _whole(text: str) -> str:
    """Text that UTF-8 can hold: half an emoji can come out of a model."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _folder(persona: Persona) -> Path:
    return persona.store_file.parent / "chats"
