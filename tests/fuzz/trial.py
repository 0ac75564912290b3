"""One input given to one reader, and what it may not do: raise anything else, take long, take much memory."""

from __future__ import annotations

import faulthandler
import hashlib
import itertools
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
for folder in (HERE, HERE.parent, HERE.parents[1] / "src"):
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
os.environ.setdefault("PERSONATUNE_HOME", tempfile.mkdtemp(prefix="fuzz-home-"))

from readers import READERS  # noqa: E402

from personatune.errors import PersonatuneError  # noqa: E402

SECONDS = 2.0
"""Of computing, for an input of a few kilobytes; chat templates have their own limit of 3."""
SECONDS_OF = {"chat template": 30.0}
HANGS = 60
MEMORY = 1 << 30
warnings.simplefilter("ignore")


@dataclass(frozen=True)
class Finding:
    """What an input did that it may not do."""

    reader: str
    what: str
    where: str
    raw: bytes

    @property
    def key(self) -> str:
        """The same for all inputs that do the same at the same place."""
        return hashlib.sha256(f"{self.reader}{self.what[:24]}{self.where.splitlines()[-1]}".encode()).hexdigest()[:10]

    def keep(self, folder: Path) -> bool:
        """Write it down; False when it is known already."""
        folder.mkdir(parents=True, exist_ok=True)
        place = folder / f"{self.reader.replace(' ', '-')}-{self.key}"
        if place.exists():
            return False
        place.write_bytes(self.raw)
        place.with_name(place.name + ".txt").write_text(f"{self.reader}\n{self.what}\n{self.where}\n", errors="replace")
        return True


class HangsError(Exception):
    """A reader does not come back."""


class Trials:
    """Gives inputs to readers, in folders that are gone afterwards."""

    def __init__(self) -> None:
        shared = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self._place = Path(tempfile.mkdtemp(prefix="fuzz-", dir=shared))
        self._numbers = itertools.count()
        self.counts = dict.fromkeys(READERS, 0)
        signal.signal(signal.SIGALRM, _hangs)

    def close(self) -> None:
        shutil.rmtree(self._place, ignore_errors=True)

    def give(self, name: str, raw: bytes) -> Finding | None:
        """What the reader does wrong with these bytes."""
        self.counts[name] += 1
        place = self._place / str(next(self._numbers))
        place.mkdir()
        before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
        signal.alarm(HANGS)
        faulthandler.dump_traceback_later(15)
        try:
            READERS[name].read(raw, place)
        except PersonatuneError as error:
            if not ((error.what and str(error).isprintable()) or str(error).encode("utf-8", "replace")):
                return Finding(name, "an error without words", "-", raw)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # also what a library written in Rust panics with
            return Finding(name, f"{type(error).__name__}: {str(error)[:300]}", _place_of(error), raw)
        finally:
            signal.alarm(0)
            faulthandler.cancel_dump_traceback_later()
            shutil.rmtree(place, ignore_errors=True)
        took = time.process_time() - began
        if took > SECONDS_OF.get(name, SECONDS):
            return Finding(name, f"takes {took:.0f} s", "-", raw)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        if grown << 10 > MEMORY:
            return Finding(name, f"takes {grown >> 10} MB", "-", raw)
        return None


def _hangs(*_: Any) -> None:
    raise HangsError(f"not back after {HANGS} s")


def _place_of(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "personatune" in frame.filename] or frames[-1:]
    return "\n".join(f"{frame.filename}:{frame.lineno} {frame.name}" for frame in [*frames[-6:], ours[-1]])
