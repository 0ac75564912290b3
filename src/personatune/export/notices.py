"""The licence texts that travel with what is made from a model."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from personatune import files
from personatune.export.target import Work
from personatune.models.starter import STARTERS

NOTICE = "NOTICE.txt"
_LEGAL = re.compile(r"(?i)(.*_)?(licen[cs]e|notice|terms|.*use[_-]policy|copying)([._-].*)?")
_GEMMA = "Gemma is provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms"


def write(work: Work, folder: Path) -> list[str]:
    """Copy the base model's licence texts into `folder` and say what was changed; the names of the files."""
    written = [NOTICE]
    for one in work.everyone:
        written += _copied(one, folder)
    files.write_text(folder / NOTICE, "\n".join(text(one) for one in work.everyone))
    return sorted(set(written))


def _copied(work: Work, folder: Path) -> list[str]:
    """Copy one base model's licence texts; texts of the same name that differ stand beside each other."""
    found: dict[str, Path] = {}
    for place in (work.manifest["model"].get("folder"), work.persona.runs_folder / work.run):  # the run's own win
        for path in sorted(Path(str(place)).glob("*")) if place and Path(str(place)).is_dir() else ():
            if path.is_file() and path.name != NOTICE and _LEGAL.fullmatch(path.name):
                found[path.name] = path
    written = []
    for name, path in found.items():
        there = folder / name
        if there.is_file() and there.read_bytes() != path.read_bytes():
            there = folder / f"{there.stem}-{work.persona.name}{there.suffix}"
        shutil.copyfile(path, there)
        written.append(there.name)
    return written


def licence_of(work: Work) -> str:
    """The licence of the base model as model cards name it; `other` where we do not know it."""
    if is_gemma(work):
        return "gemma"
    starter = STARTERS.get(str(work.manifest["model"]["id"]).removeprefix("starter/"))
    return starter.licence.lower() if starter else "other"


def is_gemma(work: Work) -> bool:
    """Whether the Gemma Terms of Use apply."""
    return str(work.manifest["model"].get("type", "")).startswith("gemma")


def base_of(work: Work) -> str:
    """What the base model is called: on Hugging Face where it is known there."""
    name = str(work.manifest["model"]["id"])
    starter = STARTERS.get(name.removeprefix("starter/")) if name.startswith("starter/") else None
    if starter:
        return starter.hub
    return Path(name).name if Path(name).is_absolute() or name.startswith((".", "~")) else name


def text(work: Work) -> str:
    """What was changed, and under which terms the result stands."""
    lines = [_GEMMA + ".", ""] if is_gemma(work) else []
    lines += [
        f"The weights in this folder were modified: {base_of(work)} was fine-tuned with personatune on",
        f"conversations of the character {work.persona.character.name}, and written in another file format.",
    ]
    if not is_gemma(work):
        licence = licence_of(work)
        said = "personatune does not know its licence: see where the model came from" if licence == "other" else licence
        lines += [f"Licence of {base_of(work)}: {said}."]
    return "\n".join(lines) + "\n"
