"""From `pip@r3` to something that answers: which weights, which stage direction, which parameters."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from personatune import manifest
from personatune.errors import ModelError, PersonaError, RunError, UsageError
from personatune.files import content_hash
from personatune.generation import chosen, published
from personatune.generation.contestant import Contestant
from personatune.generation.engine import Engine
from personatune.generation.params import GenerationParams
from personatune.generation.published import HUB, id_of, is_hub
from personatune.generation.remote.address import Remote, is_remote
from personatune.models import weights
from personatune.models.device import Compute, DeviceChoice, choose
from personatune.models.gguf_file import Stage
from personatune.models.resolve import DEFAULT_MODEL, ModelSource, resolve
from personatune.persona import PERSONA_FILE, Persona

_RUN = re.compile(r"r[1-9][0-9]{0,8}")
UNTRAINED = ("base", "prompted")
_ELSEWHERE = Compute("cpu", "fp32", "computed by a server")
_PATIENCE = 600.0
"""Seconds that a server may take for a reply: on a processor, several at once are slow."""


def run_names(persona: Persona) -> list[str]:
    """The runs whose weights are there, oldest first."""
    entries = os.scandir(persona.runs_folder) if persona.runs_folder.is_dir() else ()
    # Paths as text: every page asks, and there may be a thousand.
    names = [one.name for one in entries if _RUN.fullmatch(one.name) and os.access(f"{one.path}/model", os.F_OK)]
    return sorted(names, key=lambda name: int(name[1:]))


def check(persona: Persona, which: str | None) -> str:
    """`which` as a full reference's second half; the newest run when it is None.

    Raises before anything slow is loaded: `UsageError` for what cannot be one, `RunError` for a run that is
    not there or not finished.
    """
    names = run_names(persona)
    if which is None:
        if not names:
            raise RunError(
                f"{persona.name} has not been trained yet",
                fix=f"personatune train {persona.folder}   or talk to the untrained model: {persona.folder}@base",
            )
        return names[-1]
    if which in UNTRAINED or which in names:
        return which
    if is_hub(which):
        return f"{HUB}{id_of(which)}"
    if is_remote(which):
        if not (wanted := Remote.read(which)).model:
            raise UsageError(f"{which} does not say which model", fix="name it after a #, as in: .../v1#gemma")
        return wanted.which
    if not _RUN.fullmatch(which):
        near = difflib.get_close_matches(which, [*UNTRAINED, *names], n=1)
        raise UsageError(
            f"{which!r} is no contestant of {persona.name}",
            fix=f"did you mean: {persona.folder}@{near[0]}"
            if near
            else f"after the @ stands a run, a server (remote:http://127.0.0.1:8080/v1#MODEL), a model on the hub "
            f"(hub:OWNER/NAME) or one of: "
            f"{', '.join(UNTRAINED)}; runs: {', '.join(names) or 'none yet'}",
        )
    if (persona.runs_folder / which).is_dir():
        raise RunError(f"{persona.name}@{which} is not finished", fix="run the command that began it again")
    raise RunError(f"{persona.name} has no run {which}", fix=f"its runs: {', '.join(names) or 'none yet'}")


def is_run(which: str) -> bool:
    """Whether a contestant, as `check` gives it, is a run: something here was trained for it."""
    return _RUN.fullmatch(which) is not None


def require_run(persona: Persona, which: str, *, purpose: str) -> None:
    """Raise `UsageError` for a contestant that is no run of this persona: nothing is here for this `purpose`."""
    if is_hub(which):
        raise UsageError(
            f"{persona.name}@{which} is a finished model on the hub: there is no run of it here to {purpose}",
            fix=f"name a run: {', '.join(run_names(persona)) or f'personatune train {persona.folder}'}",
        )
    if is_remote(which):
        raise UsageError(
            f"{persona.name}@{which} is a model on a server: nothing of it is here to {purpose}",
            fix=f"name a run: {', '.join(run_names(persona)) or f'personatune train {persona.folder}'}",
        )


@dataclass(frozen=True)
class Asking:
    """How servers are asked."""

    parallel: int = 4
    """How many requests are under way at once."""
    key_name: str | None = None
    """The environment variable that holds the key; left out, PERSONATUNE_API_KEY."""
    say: Callable[[str], None] = lambda _text: None
    """Told what a user should know, above all which parameters a server does not take."""


@dataclass(frozen=True)
class Opening:
    """How contestants are opened."""

    compute: Compute
    """The device and number format."""
    model: str | None = None
    """The base model of untrained contestants; left out, the newest run's, or the persona's own choice."""
    on_stage: Stage = lambda _what, _fraction: None
    """Told when a model has to be prepared first."""
    fast: Path | None = None
    """The folder of the contestant's fast engine; None for torch."""
    asking: Asking = field(default_factory=Asking)
    """How a server is asked, when it is one that answers."""


def open_contestant(persona: Persona, which: str, opening: Opening | None = None) -> Contestant:
    """Load a contestant that `check` has accepted; without an `opening`, as the machine suggests."""
    params = params_of(persona, which)  # before anything slow
    if is_remote(which):
        return _remote(persona, which, params, opening.asking if opening else Asking())
    opening = opening or default_opening()
    run = which if _RUN.fullmatch(which) else None
    system_prompt = persona.system_prompt if which == "prompted" else None
    if is_hub(which):
        system_prompt = published.system_prompt(which)
    if run:
        made = manifest.read(persona.runs_folder / run)
        weights.refuse_changed(persona.runs_folder / run, made)
        system_prompt = made.get("system_prompt")
    return Contestant(
        name=f"{persona.name}@{which}",
        engine=_fast_engine(opening.fast) if opening.fast else _torch_engine(persona, which, opening),
        params=params,
        system_prompt=system_prompt,
        run=run,
    )


def _remote(persona: Persona, which: str, params: GenerationParams, asking: Asking) -> Contestant:
    from personatune.generation.remote.engine import RemoteEngine
    from personatune.generation.remote.server import Server

    wanted = Remote.read(which)
    server = Server(wanted.address, wanted.model, _PATIENCE, asking.parallel, asking.key_name, openai_key=False)
    engine = RemoteEngine(server, say=asking.say)
    engine.greet()
    system_prompt = persona.system_prompt if wanted.directed else None
    return Contestant(f"{persona.name}@{which}", engine, params, system_prompt)


def _fast_engine(folder: Path) -> Engine:
    from personatune.generation.onnx import open_engine

    return open_engine(folder)


def _torch_engine(persona: Persona, which: str, opening: Opening) -> Engine:
    from personatune.generation.local import LocalEngine
    from personatune.models.load import load_base, load_run

    if _RUN.fullmatch(which):
        folder = persona.runs_folder / which
        source = _base_of(manifest.read(folder), opening.on_stage)
        loaded = load_run(source, folder / "model", opening.compute)
    elif is_hub(which):
        loaded = load_base(published.fetch(which, opening.on_stage), opening.compute)
    else:
        source = resolve(opening.model or untrained_model(persona), opening.on_stage)
        loaded = load_base(source, opening.compute)
    return LocalEngine(loaded.model, loaded.tokenizer, loaded.stop_ids)


def _base_of(made: dict[str, Any], on_stage: Stage) -> ModelSource:
    try:
        return resolve(named_by(made), on_stage)
    except ModelError as error:
        raise ModelError(
            f"the model that {made['run']} was trained on is not to be had: {error.what}",
            where=error.where,
            fix=f"bring it back to {made['model'].get('folder') or 'where it was'}, or train again with: --fresh",
        ) from error


def untrained_model(persona: Persona) -> str:
    """The model that `@base` and `@prompted` mean: the newest run's, or what the persona would train."""
    names = run_names(persona)
    if names:
        return named_by(manifest.read(persona.runs_folder / names[-1]))
    return str(persona.character.training.get("model", DEFAULT_MODEL))


def params_of(persona: Persona, which: str) -> GenerationParams:
    """What a contestant answers with: what was chosen for the run, over the persona's own, over the defaults."""
    params = default_params(persona)
    if is_hub(which):
        return chosen.over(params, published.model_folder(which))
    if not _RUN.fullmatch(which):
        return params
    return chosen.over(params, persona.runs_folder / which / "model")


def identity(persona: Persona, which: str, opening: Opening) -> str:
    """The hash of what a contestant's replies follow from, beside prompt, parameters and seed: weights and numbers."""
    if is_remote(which):  # what computes there is the server's own affair
        return identity_of_remote(persona, which)
    if _RUN.fullmatch(which):
        weights = str(manifest.read(persona.runs_folder / which).get("trained"))
    elif is_hub(which):
        weights = f"{published.fetch(which, opening.on_stage).sha256}\n{published.system_prompt(which) or ''}"
    else:
        weights = resolve(opening.model or untrained_model(persona), opening.on_stage).sha256
        if which == "prompted":
            weights += f"\n{persona.system_prompt}"
    return content_hash(which, weights, opening.compute.device, opening.compute.dtype)


def identity_of_remote(persona: Persona, which: str) -> str:
    """The same for a contestant that a server answers for: its address, the model's name, the stage direction."""
    return content_hash(which, persona.system_prompt if Remote.read(which).directed else "")


def default_opening() -> Opening:
    """As the machine suggests: the quickest device, its own number format."""
    return Opening(choose())


def compute_for(names: Iterable[str], device: DeviceChoice = "auto") -> Compute:
    """Where contestants are computed, as `choose` says; without torch, when servers answer for all of them."""
    return _ELSEWHERE if all(map(is_remote, names)) else choose(device)


def model_of(persona: Persona, which: str, model: str | None = None) -> str:
    """The model that a contestant, as `check` gives it, stands on; `model` is the base of untrained ones."""
    if _RUN.fullmatch(which):
        return named_by(manifest.read(persona.runs_folder / which))
    if is_remote(which):
        return Remote.read(which).model
    if is_hub(which):
        return id_of(which)
    return model or untrained_model(persona)


def default_params(persona: Persona) -> GenerationParams:
    """The persona's generation parameters over the defaults. Raises `PersonaError` for unknown or bad ones."""
    try:
        return GenerationParams(**persona.character.generation)
    except ValidationError as error:
        first = error.errors()[0]
        name, message = ".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            near = difflib.get_close_matches(name, GenerationParams.model_fields, n=1)
            message = "there is no such parameter" + (f"; did you mean {near[0]!r}?" if near else "")
        raise PersonaError(
            f"[generation] in {PERSONA_FILE}: {f'{name}: ' if name else ''}{message}",
            where=persona.folder / PERSONA_FILE,
            fix=f"parameters: {', '.join(GenerationParams.model_fields)}",
        ) from error


def named_by(made: dict[str, Any]) -> str:
    """A path is remembered as the folder it was, since commands run from anywhere; other names stay names."""
    model = made["model"]
    folder = Path(str(model.get("folder", "")))
    is_path = not str(model["id"]).startswith("starter/") and Path(str(model["id"])).expanduser().exists()
    if is_path or (folder.is_dir() and not str(model["id"]).startswith("starter/")):
        return str(folder)
    return str(model["id"])
