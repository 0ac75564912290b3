"""The files of a run's model/ and their hashes: a run answers with what its training saved, or not at all."""

from __future__ import annotations

import contextlib
import json
import math
import struct
from pathlib import Path
from typing import Any

from personatune import files
from personatune.errors import ResourceError, RunError, from_os_error

KEY = "files"
"""Where a run's manifest keeps them."""
_CHOSEN_LATER = "generation_config.json"
_SEEN = Path(".personatune") / "weights.json"
_LONGEST_HEADER = 100_000_000


def described(run_folder: Path) -> dict[str, dict[str, Any]]:
    """Size and SHA-256 of every file of `model/` that does not change once it is saved, for the manifest."""
    folder = run_folder / "model"
    found = {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": files.sha256_of(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != _CHOSEN_LATER and not path.name.startswith(".")
    }
    _remember(run_folder, {name: _state(folder / name) for name in found})
    return found


def refuse_changed(run_folder: Path, made: dict[str, Any]) -> None:
    """Raise `RunError` when a file of `model/` is not the one that the manifest `made` knows.

    Size and date are looked at; content is read only where they are not those of the last time.
    """
    if not any((run_folder / "model").glob("*.safetensors")):
        raise RunError(
            "the run has no weights", where=run_folder / "model", fix="put them back, or train again with: --fresh"
        )
    fault = next(iter(faults(run_folder, made)), None)
    if fault is not None:
        name, why = fault
        raise RunError(
            f"the weights of {run_folder.name} are not those that its training saved: {name} {why}",
            where=run_folder / "model" / name,
            fix=f"put that file back from a copy, or train again with: --fresh   (everything else of the folder: "
            f"personatune doctor {run_folder.parent.parent})",
        )


def faults(
    run_folder: Path, made: dict[str, Any], *, thorough: bool = False, place: Path | None = None
) -> list[tuple[str, str]]:
    """(file, what is wrong with it) for every file of `model/` that is missing, cut off or another one.

    With `thorough` every file is read. A run of an earlier personatune has no hashes: of its weights only the length
    is known. `place` is looked at in the place of `model/`.
    """
    folder, known = place or run_folder / "model", made.get(KEY)
    seen, fresh = {} if thorough else _seen(run_folder), {}
    found = []
    try:
        for name, about in known.items() if isinstance(known, dict) else ():
            path = folder / name
            if not path.is_file():
                found.append((name, "is missing"))
            elif (size := path.stat().st_size) != about["bytes"]:
                found.append((name, f"has {size:,} bytes instead of {about['bytes']:,}"))
            elif seen.get(name) != _state(path):
                if files.sha256_of(path) == about["sha256"]:
                    fresh[name] = _state(path)
                else:
                    found.append((name, "has another content"))
        if not isinstance(known, dict):
            found += [(path.name, why) for path in sorted(folder.glob("*.safetensors")) if (why := torn(path))]
    except OSError as error:
        raise from_os_error(error, f"reading the weights of {run_folder.name}") from error
    except (TypeError, KeyError, AttributeError):
        found.append(("", "cannot be compared: what the manifest says of them is damaged"))
    if fresh:
        _remember(run_folder, fresh)
    return found


_BITS = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2"), 8),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 16),
    **dict.fromkeys(("I32", "U32", "F32"), 32),
    **dict.fromkeys(("I64", "U64", "F64"), 64),
}
"""What one number takes; formats that are not named here are the library's to know."""


def torn(path: Path) -> str | None:
    """What is wrong with a safetensors file by its own header; None for a whole one. Its tensors are not read."""
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > min(size - 8, _LONGEST_HEADER):
                return f"is cut off, or is no safetensors file ({size:,} bytes)"
            header = json.loads(file.read(length))
        places = sorted(_place(about) for name, about in header.items() if name != "__metadata__")
    except (struct.error, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return "is no safetensors file, or its beginning is damaged"
    end = 0
    for start, stop in places:
        if not start == end <= stop:
            return "has tensors that lie over one another, or outside the file"
        end = stop
    whole = 8 + length + end
    return None if size == whole else f"has {size:,} bytes instead of {whole:,}"


def _place(about: dict[str, Any]) -> tuple[int, int]:
    start, stop = about["data_offsets"]
    sizes = about["shape"]
    if not all(isinstance(one, int) and 0 <= one < 1 << 62 for one in (start, stop, *sizes)) or len(sizes) > 64:
        raise ValueError("places and sizes are whole numbers")
    bits = _BITS.get(about["dtype"])
    if bits is not None and math.prod(sizes) * bits != 8 * (stop - start):
        raise ValueError("a tensor does not fill its place")
    return start, stop


def _state(path: Path) -> list[int]:
    about = path.stat()
    return [about.st_size, about.st_mtime_ns]


def _seen(run_folder: Path) -> dict[str, Any]:
    found = _all_seen(run_folder).get(run_folder.name)
    return found if isinstance(found, dict) else {}


def _all_seen(run_folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((run_folder.parent.parent / _SEEN).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _remember(run_folder: Path, fresh: dict[str, list[int]]) -> None:
    every = _all_seen(run_folder)
    every[run_folder.name] = {**_seen(run_folder), **fresh}
    with contextlib.suppress(ResourceError):  # it only saves the reading next time
        files.write_json(run_folder.parent.parent / _SEEN, every)
