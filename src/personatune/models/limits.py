"""Models from strangers: what their files claim is held against their sizes before anything is allocated or run."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from personatune.errors import ModelError, from_os_error
from personatune.models import weights

LARGEST = {
    "config.json": 4 << 20,
    "tokenizer.json": 256 << 20,
    "*.model": 256 << 20,
    "*.json": 64 << 20,
    "*.jinja": 1 << 20,
}
"""Bytes that a file may have, by the first of these that fits its name: several times the largest known."""
_AT_MOST: dict[str, int] = {
    "vocab_size": 4_000_000, "hidden_size": 262_144, "intermediate_size": 2_097_152, "num_hidden_layers": 2_000,
    "num_attention_heads": 4_096, "num_key_value_heads": 4_096, "head_dim": 16_384, "num_experts": 16_384,
    "num_local_experts": 16_384, "max_position_embeddings": 1 << 30, "sliding_window": 1 << 30,
}  # fmt: skip
_FEWEST_BITS = 2
_MOST_TENSORS = 1_000_000


def refuse_unreasonable(folder: Path) -> None:
    """Raise `ModelError` for a model folder whose files claim what cannot be: sizes, lengths, places of other files.

    Only the beginnings of weight files are read. What passes can still be no model; loading says so.
    """
    try:
        _refuse_strays(folder)
        for path in sorted(folder.iterdir()):
            limit = next((size for pattern, size in LARGEST.items() if path.match(pattern)), None)
            if limit is not None and path.is_file() and path.stat().st_size > limit:
                raise _refused(path, f"has {path.stat().st_size:,} bytes, where {limit:,} are plenty")
        parts = sorted(folder.glob("*.safetensors"))
        for path in parts:
            if wrong := weights.torn(path):
                raise _refused(path, wrong)
        index = folder / "model.safetensors.index.json"
        if index.is_file():
            _refuse_places(index)
        config = folder / "config.json"
        if config.is_file():
            _refuse_claims(config, 8 * sum(path.stat().st_size for path in parts) // _FEWEST_BITS)
    except OSError as error:
        raise from_os_error(error, f"looking at {folder.name}") from error


def refuse_gguf(path: Path) -> None:
    """Raise `ModelError` for a GGUF file whose first bytes promise more than the file can hold."""
    try:
        with path.open("rb") as file:
            head = file.read(24)
        size = path.stat().st_size
    except OSError as error:
        raise from_os_error(error, f"reading {path.name}") from error
    if len(head) < 24:
        raise _refused(path, "is a GGUF file that breaks off in its first bytes")
    tensors, keys = struct.unpack("<QQ", head[8:24])
    if tensors > min(_MOST_TENSORS, size // 24) or keys > min(_MOST_TENSORS, size // 13):
        raise _refused(path, f"is a GGUF file of {size:,} bytes that promises {tensors:,} tensors and {keys:,} keys")


def _refuse_strays(folder: Path) -> None:
    """Files that are read, and perhaps published with an export, lie in the folder: none is a link to a secret.

    Weights may lie on another disk; they are read as weights only. The hub's cache links every file to its blobs.
    """
    within = [folder.resolve()]
    if folder.resolve().parent.name == "snapshots":
        within.append(folder.resolve().parent.parent / "blobs")
    for path in sorted(folder.iterdir()):
        target = path.resolve()
        if target.exists() and not target.is_file() and not target.is_dir():
            raise _refused(path, "is neither a file nor a folder")
        stays = path.suffix in (".safetensors", ".gguf") or any(target.is_relative_to(one) for one in within)
        if path.is_symlink() and target.is_file() and not stays:
            raise ModelError(
                f"{path.name} of the model is a link to a file elsewhere: {str(target)[:200]}",
                where=path,
                fix="put a copy of that file in its place, if it belongs to the model",
            )


def _refuse_claims(path: Path, weights_at_most: int) -> None:
    config = _json(path)
    for claims in (config, *(part for part in config.values() if isinstance(part, dict))):
        for key, limit in _AT_MOST.items():
            value = claims.get(key)
            if isinstance(value, int | float) and not isinstance(value, bool) and not -limit <= value <= limit:
                raise _refused(path, f"says {key} = {_short(value)}, where {limit:,} is plenty")
        sizes = [claims.get(key) for key in ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers")]
        vocabulary, hidden, inner, layers = (value if isinstance(value, int) else 0 for value in sizes)
        needed = max(vocabulary * hidden, layers * hidden * inner, layers * hidden * hidden)
        if weights_at_most and needed > weights_at_most:
            raise _refused(
                path, f"describes {_short(needed)} weights and more, and the files hold {weights_at_most:,} at most"
            )


def _refuse_places(path: Path) -> None:
    places = _json(path).get("weight_map")
    names: Iterable[Any] = set(places.values()) if isinstance(places, dict) else ()
    for name in names:
        if not isinstance(name, str) or Path(name).name != name or "\\" in name or not name.endswith(".safetensors"):
            raise _refused(path, f"names a file that is none of this folder's: {str(name)[:80]!r}")


def _json(path: Path) -> dict[str, Any]:
    try:
        found: Any = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"the model's {path.name} cannot be read", where=path, fix="download it again") from error
    return found if isinstance(found, dict) else {}


def _short(value: float) -> str:
    try:
        return f"{value:.3g}"
    except OverflowError:
        return "a number of hundreds of digits"


def _refused(path: Path, why: str) -> ModelError:
    return ModelError(
        f"the model cannot be what it claims: {path.name} {why}",
        where=path,
        fix="download the model again, whole, and from somebody you trust",
    )
