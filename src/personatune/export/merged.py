"""A run's weights as one model folder, merged once and shared by all targets."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from personatune import files, manifest, settings
from personatune.errors import ModelError, RunError, from_os_error
from personatune.export import space
from personatune.generation.contestants import named_by
from personatune.models import weights
from personatune.models.gguf_file import Stage
from personatune.persona import Persona

if TYPE_CHECKING:
    from personatune.models.load import Loaded

WEIGHTS = "model.safetensors"
_MARK = "merged.json"
_LAYOUT = 1
"""Raised when what merging writes changes: folders of another layout are made again."""
KEPT = 2
"""So many merged models stay in the cache; the oldest go."""
_NOT_WEIGHTS = ("README.md", "generation_config.json")


@dataclass(frozen=True)
class Merged:
    """A run as one model: fp32 safetensors, config, tokenizer, chat template, generation config with all stop ids."""

    folder: Path
    """Where it lies: a folder that transformers loads."""
    hash: str
    """Of all that its weights and its tokenizer follow from."""
    stop_ids: tuple[int, ...]
    """Every token that ends a reply."""
    config: dict[str, Any]
    """Its `config.json`."""
    trimmed: dict[str, Any] | None = None
    """What trimming its vocabulary at export left and lost; None for the vocabulary that the run was trained with."""

    @property
    def weights(self) -> Path:
        """The one file with all weights, in fp32."""
        return self.folder / WEIGHTS

    @property
    def tokenizer(self) -> dict[str, Any]:
        """Its `tokenizer.json`, read anew each time: it can be big."""
        read: dict[str, Any] = json.loads((self.folder / "tokenizer.json").read_text(encoding="utf-8"))
        return read

    @property
    def chat_template(self) -> str:
        """The Jinja template that training and generation use."""
        return (self.folder / "chat_template.jinja").read_text(encoding="utf-8")


def identity(persona: Persona, run: str) -> str:
    """The hash of all that the run's weights, tokenizer and stop ids follow from. Raises `RunError`, `ModelError`."""
    folder = persona.runs_folder / run / "model"
    if not any(folder.glob("*.safetensors")):
        raise ModelError("the run has no weights", where=folder, fix="put them back, or train again with: --fresh")
    if not (folder / "tokenizer.json").is_file():
        raise ModelError(
            "the run has no tokenizer.json, which every export is written from",
            where=folder,
            fix="put it back, or train again with: --fresh",
        )
    made = manifest.read(persona.runs_folder / run)
    weights.refuse_changed(persona.runs_folder / run, made)
    parts = [str(_LAYOUT), str(made["model"].get("hash")), json.dumps(_stop_ids(folder))]
    try:
        for path in sorted(folder.iterdir()):
            if path.is_file() and path.name not in _NOT_WEIGHTS:
                parts += [path.name, files.sha256_of(path)]
    except OSError as error:
        raise from_os_error(error, f"reading the weights of {run}") from error
    return files.content_hash(*parts)


def merge(persona: Persona, run: str, on_stage: Stage, keep: int = KEPT) -> Merged:
    """The run's merged model from the cache, made first when it is not there whole.

    So many merged models as `keep` says stay in the cache. Raises `ModelError` when the base model is gone or another
    one, `ResourceError` when the disk is too small.
    """
    key = identity(persona, run)
    made = manifest.read(persona.runs_folder / run)
    octets = 4 * int((made.get("parameters") or {}).get("total") or 0)

    def make(folder: Path) -> dict[str, Any]:
        _make(persona.runs_folder / run, made, folder, on_stage)
        return {}

    return cached(key, octets, make, keep)


def cached(key: str, octets: int, make: Callable[[Path], dict[str, Any]], keep: int) -> Merged:
    """The model folder of this hash from the cache; where it is not there whole, `make` writes it.

    What `make` returns is kept as `Merged.trimmed`.
    """
    home = settings.cache_folder() / "merged"
    folder = home / key[:16]
    busy = RunError("another export is merging the same run", fix="wait until it is done, then run this command again")
    try:
        with files.locked(home / f"{key[:16]}.lock", busy):
            if not _is_whole(folder, key):
                space.require(home, int(1.05 * octets) + 50_000_000, "merging the run's weights")
                staging = folder.with_name(f"{folder.name}.new")
                shutil.rmtree(staging, ignore_errors=True)
                shutil.rmtree(folder, ignore_errors=True)
                try:
                    about = make(staging)
                except BaseException:
                    shutil.rmtree(staging, ignore_errors=True)  # half a file is of no use, and may fill the disk
                    raise
                staging.rename(folder)
                hashes = {path.name: files.sha256_of(path) for path in sorted(folder.iterdir())}
                files.write_json(folder / _MARK, {"hash": key, "files": hashes, "trimmed": about or None})
            (folder / _MARK).touch()
            _forget_oldest(home, keep)
            trimmed = json.loads((folder / _MARK).read_text(encoding="utf-8")).get("trimmed")
    except OSError as error:
        raise from_os_error(error, "merging the run's weights") from error
    return replace(opened(folder, key), trimmed=trimmed)


def opened(folder: Path, key: str) -> Merged:
    """A folder that `save` wrote."""
    config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return Merged(folder, key, tuple(_stop_ids(folder)), config)


def save(loaded: Loaded, folder: Path) -> None:
    """Write a model in fp32 with its tokenizer, its template and all its stop ids."""
    from personatune.models import tokenizer_files

    loaded.model.generation_config.eos_token_id = list(loaded.stop_ids)
    loaded.model.generation_config.do_sample = True
    loaded.model.config.dtype = "float32"
    loaded.model.save_pretrained(folder, max_shard_size="1TB")
    tokenizer_files.save(loaded.tokenizer, folder)
    if not (folder / "chat_template.jinja").is_file():
        files.write_text(folder / "chat_template.jinja", str(loaded.tokenizer.chat_template))


def _make(run_folder: Path, made: dict[str, Any], folder: Path, on_stage: Stage) -> None:
    """Load the run in fp32 and save it."""
    from personatune.models import memory
    from personatune.models.device import Compute
    from personatune.models.load import load_run
    from personatune.models.resolve import resolve

    on_stage("loading the base model", 0.0)
    try:
        source = resolve(named_by(made), on_stage)
    except ModelError as error:
        raise ModelError(
            f"the model that {run_folder.name} was trained on is not to be had: {error.what}",
            where=error.where,
            fix=f"bring it back to {made['model'].get('folder') or 'where it was'}, or train again with: --fresh",
        ) from error
    if (run_folder / "model" / "adapter_config.json").is_file() and source.sha256 != made["model"].get("hash"):
        raise ModelError(
            f"the model {source.id} has changed since {run_folder.name} was trained on it",
            where=source.folder,
            fix="bring back the model as it was, or train again with: --fresh",
        )
    on_stage("merging the run's weights", 0.3)
    loaded = load_run(source, run_folder / "model", Compute("cpu", "fp32", "to merge"))
    on_stage("saving the merged model", 0.7)
    save(loaded, folder)
    del loaded
    memory.release()
    on_stage("ready", 1.0)


def _is_whole(folder: Path, key: str) -> bool:
    try:
        mark = json.loads((folder / _MARK).read_text(encoding="utf-8"))
        return mark["hash"] == key and all(files.sha256_of(folder / n) == h for n, h in mark["files"].items())
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return False


def _forget_oldest(home: Path, keep: int) -> None:
    def used(mark: Path) -> float:
        return mark.stat().st_mtime

    marks: Iterable[Path] = sorted(home.glob(f"*/{_MARK}"), key=used, reverse=True)
    for mark in list(marks)[keep:]:
        shutil.rmtree(mark.parent, ignore_errors=True)
        for beside in home.glob(f"{mark.parent.name}.measured.*"):  # what the run said
            beside.unlink(missing_ok=True)


def _stop_ids(folder: Path) -> list[int]:
    path = folder / "generation_config.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8")).get("eos_token_id")
    except (OSError, ValueError, RecursionError, AttributeError) as error:
        raise RunError(
            "the run's generation_config.json, which holds its stop tokens, cannot be read",
            where=path,
            fix="put it back, or train again with: --fresh",
        ) from error
    ids = [found] if isinstance(found, int) else list(found or ())
    if not ids:
        raise RunError(
            "the run's generation_config.json names no stop token, so replies would never end",
            where=path,
            fix="put it back as training wrote it, or train again with: --fresh",
        )
    return [int(i) for i in ids]
