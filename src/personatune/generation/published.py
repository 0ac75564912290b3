"""Contestants out of Hugging Face's hub: `hub:owner/name`, an export that somebody put there, computed here."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from personatune import files, settings
from personatune.errors import UsageError
from personatune.persona import PERSONA_FILE, Persona, template_toml

if TYPE_CHECKING:
    from personatune.models.gguf_file import Stage
    from personatune.models.resolve import ModelSource

HUB = "hub:"
"""What a contestant from the hub begins with, after the @."""
ABOUT = "export.json"
_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
_LARGEST = 1 << 20


def is_hub(which: str | None) -> bool:
    """Whether a contestant, as what stands after the @, is a model on the hub."""
    return which is not None and which.startswith(HUB)


def id_of(which: str) -> str:
    """`owner/name` of `hub:owner/name`. Raises `UsageError` for what is none."""
    found = which.strip().removeprefix(HUB)
    if not _ID.fullmatch(found):
        raise UsageError(f"{which[:100]!r} is no model on the hub", fix="write hub:OWNER/NAME")
    return found


@lru_cache(maxsize=8)
def _fetched(model: str, _offline: bool) -> ModelSource:
    from personatune.models.resolve import resolve

    return resolve(model)


def fetch(which: str, on_stage: Stage | None = None) -> ModelSource:
    """The model's files on this machine, fetched where they are not. Raises `ModelError` when they cannot be had."""
    model = id_of(which)
    if on_stage is not None:
        on_stage(f"looking for {model}", 0.0)
    return _fetched(model, settings.is_offline())


def about(which: str) -> dict[str, Any]:
    """What an export says of itself; nothing for a model that is none."""
    path = fetch(which).folder / ABOUT
    try:
        if path.stat().st_size > _LARGEST:
            return {}
        found: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def system_prompt(which: str) -> str | None:
    """The stage direction that it was trained with, when it says one."""
    said = about(which).get("system_prompt")
    return _writable(said) if isinstance(said, str) and said else None


def persona_of(which: str) -> Persona:
    """A persona to talk with when none is named: it stands in the cache folder, and is called what the export says."""
    model = id_of(which)
    said = about(which)
    folder = settings.cache_folder() / "hub" / model
    if not (folder / PERSONA_FILE).is_file():
        name, greeting = said.get("character"), said.get("greeting")
        title = name if isinstance(name, str) and 0 < len(name) <= 100 else model.partition("/")[2]
        text = template_toml(title)
        if isinstance(greeting, str) and greeting.strip():
            text = _with_greeting(text, _writable(greeting[:2000]))
        files.write_text(folder / PERSONA_FILE, _writable(text))
    return Persona.open(folder)


def _writable(text: str) -> str:
    """Half characters, which JSON can name and no file can hold, as question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _with_greeting(text: str, greeting: str) -> str:
    import tomllib

    import tomli_w

    return tomli_w.dumps({**tomllib.loads(text), "greeting": greeting})


def model_folder(which: str) -> Path:
    """Where its files lie."""
    return fetch(which).folder
