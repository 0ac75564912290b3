"""page.json: all that the page of a web export knows of its characters."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from personatune import files, manifest
from personatune.conversation import Message
from personatune.data.render import prompt_text
from personatune.errors import DataError, PersonaError
from personatune.evaluation.selection import spread
from personatune.evaluation.suite import load_suite
from personatune.export import built_page, pieces
from personatune.export.notices import base_of
from personatune.export.self_test import SelfTest
from personatune.export.target import Work
from personatune.models.light_tokenizer import LightTokenizer

FILE = "page.json"
SCHEMA = "personatune-page/1"
CONTEXT = 4096
"""Tokens that a page talks with at most, where the model reads so many."""
STARTERS = 4
LONGEST_STARTER = 120
"""Characters of a starter at most: it stands on a button."""
LARGEST_PICTURE = 5_000_000
COLOUR = "#3b5f7a"
"""Of a character that has none."""
_BEGINNINGS = {".png": b"\x89PNG\r\n\x1a\n", ".jpg": b"\xff\xd8\xff", ".jpeg": b"\xff\xd8\xff", ".gif": b"GIF8"}
_TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".gif": "image/gif", ".webp": "image/webp"}
_TALK = (
    "  Hello there — is it \u201clate\u201d? 🦊\n",
    "It is, <b>a little</b>.\n\nSleep well!",
    "Größe, 日本, {{ x }}",
)


def names(work: Work) -> list[str]:
    """A folder's name for each character, in the order of `work.everyone`: fit for an address, and none twice."""
    found: list[str] = []
    for one in work.everyone:
        stem = re.sub(r"[^a-z0-9_-]+", "-", one.persona.name.lower()).strip("-_")[:40] or "character"
        name, number = stem, 1
        while name in found:
            number += 1
            name = f"{stem}-{number}"
        found.append(name)
    return found


def picture_of(work: Work) -> Path | None:
    """The character's picture. Raises `PersonaError` when what `persona.toml` names is not there or is none."""
    named = work.persona.character.look.picture
    if named is None:
        return None
    path = work.persona.folder / named
    where = work.persona.folder / "persona.toml"
    try:
        inside = path.resolve().is_relative_to(work.persona.folder.resolve())
        head, size = (path.read_bytes()[:16], path.stat().st_size) if inside and path.is_file() else (b"", 0)
    except OSError as error:
        raise PersonaError(f"the picture {named} cannot be read: {error.strerror}", where=path) from error
    if not inside:
        raise PersonaError(f"the picture {named} lies outside the persona's folder", where=where, fix="copy it there")
    if not size:
        raise PersonaError(
            f"there is no picture {named}", where=where, fix="put it into the persona's folder, or change look.picture"
        )
    suffix = path.suffix.lower()
    is_picture = head[:4] == b"RIFF" and head[8:12] == b"WEBP" if suffix == ".webp" else None
    if not (head.startswith(_BEGINNINGS[suffix]) if is_picture is None else is_picture):
        raise PersonaError(f"{named} is no {suffix[1:].upper()} picture", where=path, fix="save it again as PNG")
    if size > LARGEST_PICTURE:
        raise PersonaError(
            f"the picture {named} has {size / 1e6:.1f} MB, which every visitor would fetch",
            where=path,
            fix=f"make it smaller than {LARGEST_PICTURE / 1e6:.0f} MB",
        )
    return path


def starters(work: Work) -> list[str]:
    """What a visitor may begin with: prompts of the suite, short ones of different kinds."""
    if not work.persona.suite_file.is_file():
        return []
    try:
        suite = load_suite(work.persona.suite_file)
    except DataError:
        return []  # evaluate says what is wrong with it; a page does not need it
    asked = [*spread(suite, STARTERS).cases, *suite.cases]
    fitting = [text for case in asked if (text := case.turns[0].strip()) and len(text) <= LONGEST_STARTER]
    return list(dict.fromkeys(fitting))[:STARTERS]


def ingredients(work: Work) -> list[str]:
    """What a page follows from beside its runs."""
    found = []
    for one in work.everyone:
        picture = picture_of(one)
        found += [json.dumps(starters(one)), files.sha256_of(picture) if picture else ""]
    digest = hashlib.sha256()
    for path in built_page.paths():
        digest.update(f"{path.as_posix()} {files.sha256_of(built_page.FOLDER / path)}\n".encode())
    return [*found, digest.hexdigest()]


def render_test(work: Work, tokenizer: Any) -> dict[str, Any]:
    """A conversation and the text that the run's template makes of it."""
    asked, said, again = _TALK
    before = [Message(role="system", content=work.system_prompt)] if work.system_prompt else []
    messages = [
        *before,
        Message(role="user", content=asked),
        Message(role="assistant", content=said),
        Message(role="user", content=again),
    ]
    shown = [{"role": one.role, "content": one.content} for one in messages]
    return {"messages": shown, "text": prompt_text(tokenizer, messages)}


def character(work: Work, name: str, folder: Path, tests: Mapping[str, SelfTest]) -> dict[str, Any]:
    """What page.json says of one character, whose files lie in `folder`/characters/`name`."""
    who, home = work.persona.character, f"characters/{name}"
    tokenizer = LightTokenizer(folder / home / "onnx")
    special = json.loads((folder / home / "onnx" / "tokenizer_config.json").read_text(encoding="utf-8"))
    picture = picture_of(work)
    params = work.params.model_dump(exclude={"seed"})
    described = "\n\n".join(part.strip() for part in (who.summary, who.description) if part.strip())
    vocabulary = work.vocabulary
    size = int(work.merged.config["vocab_size"])
    engines = {
        "wllama": {
            "files": _files(folder, [f"{home}/{path.name}" for path in sorted((folder / home).glob("*.gguf"))]),
            "self_test": tests["wllama"].as_dict(),
            "stop_logits": {str(token): logit for token, logit in tests["wllama"].stop_logits.items()},
        },
        "transformers": {
            "folder": f"{home}/onnx",
            "dtype": "q8",
            "files": _files(folder, _under(folder, f"{home}/onnx")),
            "self_test": tests["transformers"].as_dict(),
        },
    }
    return {
        "name": name,
        "title": who.name,
        "greeting": who.greeting.strip() or None,
        "description": described or None,
        "look": {
            "colour": who.look.colour,
            "emoji": who.look.emoji,
            "picture": f"{home}/picture{picture.suffix.lower()}" if picture else None,
        },
        "starters": starters(work),
        "system": work.system_prompt,
        "template": f"{home}/chat_template.jinja",
        "bos_token": _token(special, "bos_token"),
        "eos_token": _token(special, "eos_token"),
        "stop_ids": list(work.merged.stop_ids),
        "context": min(CONTEXT, int(work.merged.config["max_position_embeddings"])),
        "parameters": params,
        "vocabulary": {"size": size, "trimmed": bool(vocabulary.get("of")) and int(vocabulary["of"]) > size},
        "model": base_of(work).rpartition("/")[2],
        "run": f"{work.persona.name}@{work.run}",
        "render_test": render_test(work, tokenizer),
        "engines": engines,
    }


def write(characters: Sequence[dict[str, Any]], folder: Path) -> None:
    """Write page.json and the manifest that lets a browser install the page."""
    page = {
        "schema": SCHEMA,
        "characters": list(characters),
        "engine_files": built_page.engine_files(),
        "made": datetime.now(UTC).date().isoformat(),
        "personatune": manifest.versions().get("personatune"),
    }
    files.write_text(folder / FILE, json.dumps(page, ensure_ascii=False, indent=1) + "\n")
    first = characters[0]
    name = " & ".join(str(one["title"]) for one in characters)
    picture = first["look"]["picture"]
    shown = {
        "name": name,
        "short_name": name if len(name) <= 12 else str(first["title"])[:12],
        "description": first["description"] or f"Talk to {name}.",
        "start_url": "./",
        "scope": "./",
        "display": "standalone",
        "background_color": "#ffffff",
        "theme_color": first["look"]["colour"] or COLOUR,
        "icons": [_icon(first)] if not picture else [{"src": picture, "type": _TYPES[Path(picture).suffix]}],
    }
    files.write_json(folder / "manifest.webmanifest", shown)


def fetched(page: Mapping[str, Any], own: int) -> dict[str, int]:
    """How many bytes one visitor fetches with each engine, for the largest character; `own` is the page itself."""
    found = {}
    for engine, runtime in page["engine_files"].items():
        kind = "wllama" if engine.startswith("wllama") else "transformers"
        model = max(sum(file["bytes"] for file in one["engines"][kind]["files"]) for one in page["characters"])
        if runtime:
            found[engine] = own + sum(file["bytes"] for file in runtime) + model
    return found


def _icon(character: Mapping[str, Any]) -> dict[str, str]:
    """An icon of the character's emoji or first letter, as an address that holds the whole drawing."""
    sign = character["look"]["emoji"] or str(character["title"])[:1]
    colour = character["look"]["colour"] or COLOUR
    sign = sign.replace("&", "&amp;").replace("<", "&lt;")
    drawing = (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 100 100'><rect width='100' height='100' rx='22' "
        f"fill='{colour}'/><text x='50' y='70' font-size='56' text-anchor='middle' fill='white' "
        f"font-family='sans-serif'>{sign}</text></svg>"
    )
    return {"src": "data:image/svg+xml," + _quoted(drawing), "sizes": "any", "type": "image/svg+xml"}


def _quoted(text: str) -> str:
    from urllib.parse import quote

    return quote(text, safe=" ='/:<>")


def _token(config: Mapping[str, Any], role: str) -> str | None:
    found = config.get(role)
    if found is None:
        return None
    return str(found["content"] if isinstance(found, dict) else found)


def _under(folder: Path, place: str) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in sorted((folder / place).rglob("*")) if path.is_file()]


def _files(folder: Path, paths: Sequence[str]) -> list[dict[str, Any]]:
    found = []
    for path in paths:
        file = folder / path
        about = {"path": path, "bytes": file.stat().st_size, "sha256": files.sha256_of(file)}
        parts = pieces.described(file, path)
        found.append({**about, "parts": parts} if parts else about)
    return found
