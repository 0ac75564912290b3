"""personatune data draft, drafts: conversations proposed by a model, and the author's decision about each."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from personatune.cli.console import err, out, print_json
from personatune.cli.servers import DEFAULT, Servers

if TYPE_CHECKING:
    from personatune.conversation import Message
    from personatune.data.drafts import Draft
    from personatune.persona import Persona
    from personatune.terminal.draft_view import DraftView

_MOST_TOPICS, _LONGEST_TOPIC = 100, 500


def draft(
    persona: str,
    /,
    *,
    endpoint: str,
    model: str = "",
    topics: tuple[str, ...] = (),
    count: int = 8,
    servers: Servers = DEFAULT,
    json_: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """Let a model propose conversations in the character's voice. None of them is learned until you accept it.

    Without --topics, they are about what the test prompts ask and no row talks of. The endpoint is sent who the
    character is, some of your rows as examples, and the topics; nobody else is asked. The same command goes on after an
    interruption.

    Parameters
    ----------
    persona
        A persona folder, or a built-in character.
    endpoint
        The address of a server up to /v1: any that speaks OpenAI's chat completions, on this machine or elsewhere.
    model
        The model's name there; left out, its only one.
    topics
        What the conversations should be about, with commas between: --topics "the sea, a bad night".
    count
        How many conversations to ask for.
    json_
        Print one JSON object.
    """
    from personatune.cli.references import open_persona
    from personatune.cli.servers import said, server
    from personatune.errors import UsageError
    from personatune.evaluation import drafting
    from personatune.terminal.draft_view import DraftProgress, print_drafted

    wanted = tuple(topic.strip() for words in topics for topic in words.split(",") if topic.strip())
    if not 1 <= count <= 1000:
        raise UsageError(f"--count {count}: from 1 to 1,000 conversations can be asked for", fix="--count 8")
    if len(wanted) > _MOST_TOPICS or any(len(topic) > _LONGEST_TOPIC for topic in wanted):
        raise UsageError(
            f"--topics takes up to {_MOST_TOPICS} topics of up to {_LONGEST_TOPIC} characters", fix="name fewer"
        )
    if topics and not wanted:
        raise UsageError("--topics names none", fix='--topics "the sea, a bad night"')
    who = open_persona(persona, adopt=True)
    wish = drafting.Wish(server(endpoint, model, servers), wanted, count)
    try:
        with DraftProgress(err()) as progress:
            made = drafting.draft(who, wish, drafting.Listener(said, progress))
    except KeyboardInterrupt:
        err().print("\nthe drafts so far are kept; the same command goes on from there", markup=False)
        raise
    waiting = drafting.waiting(who)
    if json_:
        print_json(
            {
                "file": str(who.folder / "drafts.jsonl"),
                "topics": [topic.case or topic.text for topic in made.topics],
                "drafts": [one.as_json() for one in made.made],
                "usable": len(made.usable),
                "waiting": len(waiting),
            }
        )
        return 0
    print_drafted(made, out())
    out().print(f"next: personatune data drafts {who.folder}   ({len(waiting)} wait)", markup=False, soft_wrap=True)
    return 0


def review(persona: str, /, *, json_: Annotated[bool, Parameter(name="--json", negative="")] = False) -> int:
    """Decide about drafted conversations one by one: accept, edit and accept, discard, or later.

    What you accept becomes the last row of train.jsonl, marked as drafted. Everything can be taken back: here with u,
    later with personatune data undo.

    Parameters
    ----------
    persona
        The persona folder.
    json_
        Only list the drafts and what became of each, as one JSON object.
    """
    from personatune.cli.references import open_persona
    from personatune.evaluation import drafting
    from personatune.terminal.draft_view import DraftView

    who = open_persona(persona)
    if json_:
        listed = [{**one.as_json(), "state": state} for one, state in drafting.states(who)]
        print_json({"file": str(who.folder / "drafts.jsonl"), "drafts": listed})
        return 0
    waiting = drafting.waiting(who)
    if not waiting:
        out().print("no draft waits", markup=False)
        out().print(f"ask for some: personatune data draft {who.folder} --endpoint URL --model NAME", markup=False)
        return 0
    return _Review(who, DraftView(out(), who.character.name)).run(waiting)


class _Review:
    """One pass over the drafts that wait."""

    def __init__(self, persona: Persona, view: DraftView) -> None:
        self._persona, self._view = persona, view
        self._done = {"accepted": 0, "discarded": 0}
        self._places: list[int] = []
        """Where each decision of this sitting was taken, the latest last."""

    def run(self, waiting: Sequence[Draft]) -> int:
        """Show one after the other until all are decided about or the author stops."""
        from personatune.errors import PersonatuneError

        self._view.opening(len(waiting))
        queue, place = list(waiting), 0
        while place < len(queue):
            self._view.draft(queue[place], place + 1, len(queue))
            try:
                after = self._decide(queue[place], place)
            except PersonatuneError as error:
                self._view.remark(f"error: {error}", "red")
                continue
            if after is None:
                break
            place = after
        done = f"accepted {self._done['accepted']}, discarded {self._done['discarded']}"
        self._view.remark(f"\n{done}; undo: personatune data undo {self._persona.folder}")
        return 0

    def _decide(self, one: Draft, place: int) -> int | None:
        """Do what the next key says; return the place of the draft that comes then, None to stop."""
        from personatune.evaluation import drafting
        from personatune.terminal.draft_view import KEYS
        from personatune.terminal.keys import END, read_key

        key = read_key()
        if key in (END, "q"):
            return None
        if key == "a":
            return self._accept(one, place, None)
        if key == "e":
            edited = _edited(one, self._persona.character.name)
            if edited is None:
                self._view.remark("left as it was", "dim")
                return place
            return self._accept(one, place, edited)
        if key == "d":
            drafting.discard(self._persona, one)
            self._done["discarded"] += 1
            self._places.append(place)
            self._view.remark("discarded", "dim")
            return place + 1
        if key == "s":
            return place + 1
        if key == "u":
            return self._undo(place)
        self._view.remark(KEYS, "dim")
        return place

    def _accept(self, one: Draft, place: int, edited: Sequence[Message] | None) -> int:
        from personatune.evaluation import drafting

        drafting.accept(self._persona, one, edited)
        self._done["accepted"] += 1
        self._places.append(place)
        self._view.remark("added to train.jsonl", "green")
        return place + 1

    def _undo(self, place: int) -> int:
        """Take back the last decision of this sitting, never what was done before it."""
        from personatune.evaluation import drafting

        if not self._places:
            self._view.remark("there is nothing of this sitting to take back", "yellow")
            return place
        undone = drafting.undo(self._persona)
        which = "discarded" if undone.endswith("discarded") else "accepted"
        self._done[which] -= 1
        self._view.remark(f"taken back: {undone}", "yellow")
        return self._places.pop()


def _edited(one: Draft, character: str) -> tuple[Message, ...] | None:
    """The draft as the author wants it: out of the editor, or the last reply typed where there is no terminal."""
    from personatune.conversation import Message
    from personatune.errors import UsageError

    said = one.conversation.messages
    if not sys.stdin.isatty():
        line = sys.stdin.readline().strip()
        return (*said[:-1], Message(role="assistant", content=line)) if line else None
    from personatune.cli.editor import edit

    script = as_script(said, character)
    try:
        text = edit(script, [f"{one.id}, about {one.mark.get('topic')}: each line begins with who says it"])
    except UsageError as error:  # no editor here
        err().print(f"{error.what}\ntype what {character} should say instead, on one line:", markup=False)
        line = sys.stdin.readline().strip()
        return (*said[:-1], Message(role="assistant", content=line)) if line else None
    return None if not text or text == script.strip() else from_script(text, character)


def as_script(messages: Sequence[Message], character: str) -> str:
    """Messages as an author edits them: `User: ...`, then the character."""
    return "\n\n".join(f"{character if m.role == 'assistant' else 'User'}: {m.content}" for m in messages)


def from_script(text: str, character: str) -> tuple[Message, ...]:
    """The same read back. Raises `UsageError` when it does not begin with who speaks."""
    from personatune.conversation import Message
    from personatune.errors import UsageError

    marks = list(re.finditer(rf"^(User|{re.escape(character)}):[ \t]*", text, re.MULTILINE))
    if not marks or text[: marks[0].start()].strip():
        raise UsageError(
            "the text does not say who speaks", fix=f"begin each turn with User: or {character}: at the line's start"
        )
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    return tuple(
        Message(role="user" if mark[1] == "User" else "assistant", content=text[mark.end() : end].strip())
        for mark, end in zip(marks, ends, strict=True)
    )
