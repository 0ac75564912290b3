"""The generation parameters chosen for a run: in its `generation_config.json`, where every other program looks too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from personatune import files
from personatune.errors import RunError
from personatune.generation.params import GenerationParams

FILE = "generation_config.json"
_NAMES = tuple(name for name in GenerationParams.model_fields if name != "seed")
_OF_SAMPLING = ("temperature", "top_p", "top_k", "min_p")


def over(params: GenerationParams, model_folder: Path) -> GenerationParams:
    """`params` with what was chosen for the run in their place. Raises `RunError` when the file is damaged."""
    config = _config(model_folder)
    found = {name: config[name] for name in _NAMES if config.get(name) is not None}
    if config.get("do_sample") is False:
        found["temperature"] = 0.0
    try:
        return GenerationParams.model_validate({**params.model_dump(), **found})
    except ValidationError as error:
        raise _damaged(model_folder / FILE, str(error.errors()[0]["msg"])) from error


def write(model_folder: Path, params: GenerationParams | None) -> None:
    """Choose parameters for a run, or none again; what else the file says, such as the stop ids, stays."""
    config = {name: value for name, value in _config(model_folder).items() if name not in _NAMES}
    config["do_sample"] = True
    if params is not None:
        config |= params.model_dump(exclude={"seed"})
        if params.temperature == 0:  # transformers says greedy so, and refuses what belongs to sampling beside it
            config = {name: value for name, value in config.items() if name not in _OF_SAMPLING} | {"do_sample": False}
    files.write_json(model_folder / FILE, config)


def _config(model_folder: Path) -> dict[str, Any]:
    path = model_folder / FILE
    try:
        config: Any = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(path, str(error)) from error
    if not isinstance(config, dict):
        raise _damaged(path, "it is not a JSON object")
    return config


def _damaged(path: Path, reason: str) -> RunError:
    return RunError(
        f"{path.name} is damaged: {reason.splitlines()[0]}",
        where=path,
        fix="copy that file from another run of the same model, or train again with: --fresh",
    )
