"""Dialogues as people type them: `PIP: ...` and `You: ...`, with `---` or blank lines between conversations."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from personatune.conversation import Message, Role
from personatune.data.importing.content import Content
from personatune.data.importing.understood import Gathering, Understood, Wish
from personatune.errors import DataError, UsageError

_LABEL = re.compile(
    r"[ \t>]*(?:\*\*|__)?(?P<name>[^\W\d_][^:：\n*!?,]{0,40}?)(?:\*\*|__)?[ \t]*[:：](?:\*\*|__)?(?:[ \t]+|$)"
)
_BREAK = re.compile(r"\s*(?:-{3,}|\*{3,}|={3,}|_{3,}|#{3,}|`{3,}\w{0,20}|<start>)\s*", re.IGNORECASE)
_STAMP = re.compile(
    r"[ \t]*[\[(]?(?:\d{1,4}[./-]\d{1,2}[./-]\d{1,4},?[ T]+)?\d{1,2}:\d{2}(?::\d{2})?(?:[.,]\d+)?"
    r"(?:[ \u202f]?[ap]\.?m\.?)?[\])]?[ \t]*(?:[-–—|][ \t]+)?",
    re.IGNORECASE,
)
_NICK = re.compile(r"<[@+ ]?(?P<name>[^<>\n]{1,40})>[ \t]+")
_DIRECTED = re.compile(
    r"[ \t>]*(?:\*\*|__)?(?P<name>[^\W\d_][^:：\n*!?,()\[\]]{0,40}?)[ \t]*[(\[][^()\[\]\n]{1,120}[)\]](?:\*\*|__)?"
    r"[ \t]*[:：](?:\*\*|__)?(?:[ \t]+|$)"
)
_NARRATORS = frozenset(("narrator", "narration", "erzähler", "erzählerin", "narrateur", "narratrice", "narrador"))
_USERS = frozenset(("you", "user", "human", "player", "anon", "me", "{{user}}", "<user>"))
MAX_CHARACTERS = 16 << 20
"""The longest script that is read."""
_MOST_SPEAKERS = 40
_MOST_WORDS = 4
_LEAST_SHARE = 0.1


class UnclearSpeakerError(UsageError):
    """Nobody said which of several speakers is the character."""

    def __init__(self, name: str, speakers: Sequence[str]) -> None:
        super().__init__(
            f"which speaker of {name} is the character? They are {', '.join(map(repr, speakers[:12]))}",
            where=name,
            fix=f"--character {_quoted(speakers[0])}" if speakers else "--character NAME",
        )
        self.speakers = tuple(speakers)


@dataclass(frozen=True)
class Speech:
    """What somebody says."""

    line: int
    """Where it begins, from 1."""
    speaker: str
    """Who, as it is written there."""
    text: str
    """What."""


@dataclass(frozen=True)
class Cast:
    """Who speaks."""

    character: str
    """The character's label."""
    users: tuple[str, ...]
    """The labels of everybody else."""
    nobody: tuple[str, ...] = ()
    """The labels of narrators, whose words are nobody's."""

    def role(self, speaker: str) -> Role:
        """The role of a speaker."""
        return "assistant" if speaker.casefold() == self.character.casefold() else "user"

    @property
    def labels(self) -> frozenset[str]:
        """All labels, in lower case."""
        return frozenset(name.casefold() for name in (self.character, *self.users, *self.nobody))

    def is_said(self, speech: Speech) -> bool:
        """Whether somebody says it to somebody."""
        return speech.speaker.casefold() not in {name.casefold() for name in self.nobody}


def sniff(content: Content) -> int:
    """Most blocks of text begin with a speaker, and there are at least two."""
    text = content.text_or_nothing[:65536]
    lines = text.split("\n")
    stamped = _without_stamps(lines)
    if stamped is None and text.lstrip().startswith(("{", "[")):
        return 0
    lines = [line for line in (stamped or lines) if line.strip() and not _BREAK.fullmatch(line)]
    names = Counter(_names(lines))
    often = {name for name, count in names.items() if count > 1 or name in _USERS}
    if len(names) < 2 or len(lines) == 0:
        return 0
    share = sum(names.values()) / len(lines)
    if share < _LEAST_SHARE:
        return 0
    return int(60 * share) if often or share > 0.5 else 0


def read(content: Content, wish: Wish) -> Understood:
    """The conversations of a script. Raises `UnclearSpeakerError` when nothing tells who the character is."""
    into = Gathering(content.name, wish)
    into.remarks += content.remarks
    if len(content.text) > MAX_CHARACTERS:
        raise DataError(
            f"{content.name} has over {MAX_CHARACTERS >> 20} MiB of text, too much for a script",
            where=content.name,
            fix="cut it into parts and import one after the other, or say what the file is with --format",
        )
    lines = _plain(content.text.split("\n"), into)
    cast = _cast(lines, content.name, wish)
    if len(cast.users) > 1:
        into.remarks.append(f"several speakers count as the user: {', '.join(cast.users[:8])}")
    for block in _blocks(lines, cast):
        if into.is_full:
            break
        speeches, before = speeches_of(block, cast.labels)
        into.count("line", "lines", "before the first speaker left out", by=before)
        into.count("speech", "speeches", "of a narrator left out", by=sum(not cast.is_said(one) for one in speeches))
        speeches = [speech for speech in speeches if cast.is_said(speech)]
        if speeches:
            messages = [Message(role=cast.role(speech.speaker), content=speech.text) for speech in speeches]
            into.add(speeches[0].line, messages, is_chat=True)
    return into.understood("script")


def speeches_of(lines: Iterable[tuple[int, str]], labels: frozenset[str]) -> tuple[list[Speech], int]:
    """The speeches of some numbered lines, and how many lines stand before the first."""
    speeches: list[tuple[int, str, list[str]]] = []
    before = 0
    for number, line in lines:
        name, rest = labelled(line)
        if name is not None and name.casefold() in labels:
            speeches.append((number, name, [rest]))
        elif speeches:
            speeches[-1][2].append(line.rstrip())
        else:
            before += bool(line.strip())
    return [Speech(number, who, _tidied(said)) for number, who, said in speeches], before


def labelled(line: str) -> tuple[str | None, str]:
    """The label that a line begins with and what follows it; None and the line for one without."""
    found = _LABEL.match(line)
    if found is None or len(found["name"].split()) > _MOST_WORDS:
        return None, line
    return found["name"].strip(), line[found.end() :]


def is_break(line: str) -> bool:
    """Whether a line only parts two conversations."""
    return bool(_BREAK.fullmatch(line))


def _plain(lines: list[str], into: Gathering) -> list[str]:
    """The lines without times of day and without what stands in brackets beside a name."""
    stamped = _without_stamps(lines)
    if stamped is not None:
        dropped = sum(bool(old.strip()) and not new.strip() for old, new in zip(lines, stamped, strict=True))
        into.remarks.append("times before the names left out")
        into.count("line", "lines", "with a time and without a speaker left out", by=dropped)
    return _without_directions(stamped or lines, into)


def _without_directions(lines: list[str], into: Gathering) -> list[str]:
    """The lines without what stands in brackets between a speaker's name and its colon."""
    directed = [_directed(line) for line in lines]
    plain = _names(line for line, found in zip(lines, directed, strict=True) if found is None)
    often = Counter([*plain, *(found[0].casefold() for found in directed if found)])
    speakers = {name for name, count in often.items() if count > 1} | _USERS | _wished(into.wish)
    made = []
    for line, found in zip(lines, directed, strict=True):
        if found and found[0].casefold() in speakers:
            into.count("stage direction", "stage directions", "beside a name left out")
            made.append(f"{found[0]}: {found[1]}")
        else:
            made.append(line)  # somebody else's words, such as `He said (softly): ...`
    return made


def _directed(line: str) -> tuple[str, str] | None:
    found = _DIRECTED.match(line)
    if found is None or len(found["name"].split()) > _MOST_WORDS:
        return None
    return found["name"].strip(), line[found.end() :]


def _wished(wish: Wish) -> set[str]:
    """Whoever was named, in lower case."""
    names = (wish.user, wish.character, wish.persona_name, wish.folder_name)
    return {name.strip().casefold() for name in names if name}


def _without_stamps(lines: Sequence[str]) -> list[str] | None:
    """The lines of a chat's record without their times; those that nobody says become empty. None for other scripts."""
    made, said, others = [], 0, 0
    for line in lines:
        found = _STAMP.match(line)
        rest = line[found.end() :] if found else line
        if found and (nick := _NICK.match(rest)):
            rest = f"{nick['name']}: {rest[nick.end() :]}"
        is_said = labelled(rest)[0] is not None
        said += bool(found and is_said)
        others += bool(found is None and is_said)
        made.append("" if found and not is_said else rest)
    return made if said > 1 and said > others else None


def _cast(lines: Sequence[str], name: str, wish: Wish) -> Cast:
    spelled: dict[str, str] = {}
    for line in lines:
        label = labelled(line)[0]
        if label is not None:
            spelled.setdefault(label.casefold(), label)
    counts = Counter(_names(lines))
    if not counts:
        raise DataError(
            f"{name} is no dialogue script: none of its lines begins with a name and a colon",
            where=name,
            fix="write `Name: what they say`, or say what the file is with --format",
        )
    nobody = tuple(spelled[label] for label in counts if label in _NARRATORS - _wished(wish))
    for label in nobody:
        del counts[label.casefold()]
    usual = [label for label, count in counts.items() if count > 1 or label in _USERS]
    speakers = usual if len(usual) > 1 else list(counts)
    character = _character(speakers, list(counts), wish)
    if character is None:
        shown = [spelled[label] for label, _ in counts.most_common(_MOST_SPEAKERS) if label in speakers]
        if wish.character is not None:
            raise UsageError(
                f"nobody in {name} is called {wish.character!r}",
                where=name,
                fix=f"--character with one of: {', '.join(map(repr, shown[:12]))}",
            )
        raise UnclearSpeakerError(name, shown)
    if wish.user is not None:
        if wish.user.casefold() not in counts:
            raise UsageError(
                f"nobody in {name} is called {wish.user!r}",
                where=name,
                fix=f"--user with one of: {', '.join(repr(spelled[label]) for label in speakers[:12])}",
            )
        others = [wish.user.casefold()]
    else:
        others = [label for label in speakers if label != character]
    return Cast(spelled[character], tuple(spelled[label] for label in others), nobody)


def _character(speakers: Sequence[str], everybody: Sequence[str], wish: Wish) -> str | None:
    if wish.character is not None:
        wanted = wish.character.casefold().strip()
        return wanted if wanted in everybody else None
    if not wish.persona_name and (wish.folder_name or "").casefold() in everybody:
        return (wish.folder_name or "").casefold()
    own = (wish.persona_name or "").casefold()
    if own in everybody:
        return own
    parts = [label for label in speakers if own and label in own.split()]
    if len(parts) == 1:
        return parts[0]
    rest = [label for label in speakers if label not in _USERS]
    return rest[0] if not own and len(rest) == 1 and len(speakers) > 1 else None


def _blocks(lines: Sequence[str], cast: Cast) -> list[list[tuple[int, str]]]:
    """The numbered lines of each conversation: parted by marks, else by blank lines where those part talks."""
    blocks: list[list[tuple[int, str]]] = [[]]
    by_blanks = not any(map(is_break, lines)) and _blanks_part(lines, cast)
    blank = True
    for number, line in enumerate(lines, start=1):
        label = labelled(line)[0]
        begins = by_blanks and blank and label is not None and label.casefold() in cast.labels
        if is_break(line) or begins:
            blocks.append([])
        if not is_break(line):
            blocks[-1].append((number, line))
        blank = not line.strip()
    return [block for block in blocks if block]


def _blanks_part(lines: Sequence[str], cast: Cast) -> bool:
    """Whether blank lines stand between talks, rather than between any two speeches."""
    speeches, starts, blank = 0, 0, True
    for line in lines:
        label = labelled(line)[0]
        if label is not None and label.casefold() in cast.labels:
            speeches += 1
            starts += blank
        blank = not line.strip()
    return starts > 1 and speeches >= 1.5 * starts


def _names(lines: Iterable[str]) -> list[str]:
    return [name.casefold() for line in lines if (name := labelled(line)[0]) is not None]


def _tidied(lines: Sequence[str]) -> str:
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def _quoted(name: str) -> str:
    import shlex

    return shlex.quote(name)
