"""Visit: one look over a folder; what it finds, and how anything is mended only after a copy was kept."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from personatune.errors import PersonatuneError, from_os_error

QUARANTINE = Path(".personatune") / "quarantine"
State = Literal["mended", "mendable", "broken", "note"]
"""`mended` now, `mendable` when it may be, `broken` until somebody else mends it, `note` where nothing is wrong."""


@dataclass(frozen=True)
class Found:
    """One thing that was found."""

    state: State
    """What became of it."""
    what: str
    """A sentence for people."""
    where: str
    """The file or folder, from the persona's folder."""
    fix: str = ""
    """What to do about it, where it is broken."""
    kept: str = ""
    """Where the damaged file lies now, where it was mended."""


@dataclass
class Visit:
    """One look over a persona's folder."""

    folder: Path
    """The persona's folder."""
    mend: bool = True
    """Whether what is safe is mended; else it is only said."""
    found: list[Found] = field(default_factory=list)
    """Everything found so far."""
    _kept: list[Path] = field(default_factory=list)
    _place: Path | None = None

    @property
    def sound(self) -> bool:
        """Whether nothing is left to be mended."""
        return all(one.state in ("mended", "note") for one in self.found)

    def note(self, what: str, where: Path) -> None:
        """Say what is no damage."""
        self.found.append(Found("note", what, self._named(where)))

    def broken(self, what: str, where: Path, fix: str) -> None:
        """Say what cannot be mended here."""
        self.found.append(Found("broken", what, self._named(where), fix))

    def refused(self, error: PersonatuneError, where: Path) -> None:
        """Say what an error says."""
        self.broken(error.what, Path(error.where or where), error.fix or "see where it lies")

    def mends(self, what: str, where: Path, how: Callable[[], str | None]) -> bool:
        """Mend something, or say that it could be; whether it is mended now. `how` may return what more to say."""
        if not self.mend:
            self.found.append(Found("mendable", what, self._named(where), f"personatune doctor {self.folder}"))
            return False
        self._kept.clear()
        try:
            more = how()
        except PersonatuneError as error:
            self.broken(f"{what}; mending it failed: {error.what}", where, error.fix or "try again")
            return False
        except OSError as error:
            failed = from_os_error(error, "mending it")
            self.broken(f"{what}; {failed.what}", where, failed.fix or "try again")
            return False
        kept = ", ".join(self._named(path) for path in self._kept)
        self.found.append(Found("mended", f"{what}: {more}" if more else what, self._named(where), kept=kept))
        return True

    def keep(self, path: Path) -> Path:
        """Copy a file into the quarantine before it is changed."""
        place = self._place_of(path)
        shutil.copy2(path, place)
        self._kept.append(place)
        return place

    def move(self, path: Path) -> None:
        """Move a file or folder into the quarantine."""
        place = self._place_of(path)
        shutil.move(path, place)
        self._kept.append(place)

    def as_dict(self) -> dict[str, Any]:
        """All of it as JSON."""
        return {"folder": str(self.folder), "sound": self.sound, "found": [asdict(one) for one in self.found]}

    def _place_of(self, path: Path) -> Path:
        if self._place is None:
            stamp = f"{datetime.now(UTC):%Y%m%d-%H%M%S}"
            self._place, number = self.folder / QUARANTINE / stamp, 1
            while self._place.exists():
                number += 1
                self._place = self.folder / QUARANTINE / f"{stamp}-{number}"
        place = self._place / self._named(path)
        number = 1
        while place.exists():
            number += 1
            place = place.with_name(f"{path.name}.{number}")
        place.parent.mkdir(parents=True, exist_ok=True)
        return place

    def _named(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix() if path.is_relative_to(self.folder) else str(path)
