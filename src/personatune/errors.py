"""Every error a user can meet, each saying what happened, where, and what to do.

PersonatuneError                what every command catches and prints, without a traceback
├── UsageError                  a flag, name or reference that makes no sense
├── DataError                   conversations, suite or samples that cannot be read
├── PersonaError                a persona folder or persona.toml that cannot be used
├── RecipeError                 training choices that contradict each other or the model
├── ModelError                  a model that is missing, gated, damaged or of the wrong kind
├── RunError                    a run that is missing, damaged or busy
├── StopTokenError              the proof that the stop token is trained failed
├── ParityError                 an export is further from its run than its number format allows
├── StoreError                  the record of runs and samples cannot be read or written
└── ResourceError               the machine said no: disk, memory, permission, network
"""

from __future__ import annotations

import errno
from pathlib import Path


class PersonatuneError(Exception):
    """What went wrong, where, and the way out; the command line prints exactly these three.

    `what` is one sentence. `where` is a file, optionally with a line. `fix` is a command or an action.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str | Path | None = None, fix: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.where = str(where) if where is not None else None
        self.fix = fix

    def __str__(self) -> str:
        lines = [self.what]
        if self.where:
            lines.append(f"  at:  {self.where}")
        if self.fix:
            lines.append(f"  fix: {self.fix}")
        return "\n".join(lines)


class UsageError(PersonatuneError):
    """A flag, a name or a reference that makes no sense."""

    exit_code = 2


class DataError(PersonatuneError):
    """Conversations, a suite or samples that cannot be read."""


class PersonaError(PersonatuneError):
    """A persona folder or `persona.toml` that cannot be used."""


class RecipeError(PersonatuneError):
    """Training choices that contradict each other or the model."""


class ModelError(PersonatuneError):
    """A model that is missing, gated, damaged or of the wrong kind."""


class RunError(PersonatuneError):
    """A run that is missing, damaged or busy."""


class StopTokenError(PersonatuneError):
    """The proof that the stop token is trained, or is the same in training and generation, failed."""


class ParityError(PersonatuneError):
    """An export is further from its run than its number format allows."""


class StoreError(PersonatuneError):
    """The record of runs and samples cannot be read or written."""

    damaged = False
    """Whether the file's content is broken, so that it has to be made anew from what can still be read."""


class ResourceError(PersonatuneError):
    """The machine said no: disk, memory, permission, network."""


def from_os_error(error: OSError, doing: str) -> ResourceError:
    """Turn an `OSError` met while `doing` something into an error with a way out."""
    where = error.filename if isinstance(error.filename, str | Path) else None
    if error.errno == errno.ENOSPC or error.errno == errno.EDQUOT:
        return ResourceError(
            f"the disk is full while {doing}",
            where=where,
            fix="free some space and run the same command again; what was saved before is intact",
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return ResourceError(
            f"no permission while {doing}",
            where=where,
            fix="choose a folder that you may write to, or correct its permissions",
        )
    if error.errno == errno.ENOENT:
        return ResourceError(f"a file is missing while {doing}", where=where, fix="check the path")
    fix = "look at that place and its disk, then run the same command again"
    if error.errno in (errno.ENOTDIR, errno.EISDIR, errno.EEXIST):
        fix = "a file stands where a folder belongs, or a folder where a file does: move it away"
    return ResourceError(f"{error.strerror or error} while {doing}", where=where, fix=fix)
