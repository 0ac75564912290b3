"""The fast engine of a contestant: made once, compared with the model in torch, kept in the cache.

What is kept is the folder that the target `onnx` writes, under the hash of all that it follows from. One that is too
far from its model is not kept, but the reason is, so that the next chat does not make it again.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from personatune import files, settings
from personatune.conversation import Conversation, Message
from personatune.data.load import load_lenient
from personatune.data.render import prompt_text
from personatune.errors import ModelError, ParityError, PersonatuneError, ResourceError, RunError, from_os_error
from personatune.export import merged, onnx_model, space
from personatune.export.target import part_of
from personatune.generation.contestants import UNTRAINED, untrained_model
from personatune.models.gguf_file import Stage
from personatune.models.resolve import ModelSource, read_config, resolve
from personatune.persona import Persona

KL = 0.01
"""The highest mean divergence from the model in torch, in nats."""
CACHE = 2_000_000_000
"""Bytes that fast engines may take together; those unused for longest go."""
_LAYOUT = 1
"""Raised when what making writes changes: folders of another layout are made again."""
_MARK = "engine.json"
_ROWS = 6
"""Conversations that are compared."""
_POSITIONS = 40
"""Positions in the replies of each."""
_DAY = 86_400


@dataclass(frozen=True)
class Place:
    """Where a contestant's fast engine lies, or would."""

    folder: Path
    """The folder of the engine."""
    key: str
    """The hash of all that it follows from."""
    run: str | None
    """The run, or None for an untrained model."""
    source: ModelSource | None
    """The untrained model."""


def place_of(persona: Persona, which: str, model: str | None, on_stage: Stage) -> Place:
    """Where the fast engine of a contestant lies, as `check` gives it. Loads no torch.

    Raises `PersonatuneError` where the contestant itself cannot be opened.
    """
    made_by = f"{_LAYOUT}\n{onnx_model.BUILDER}\n{onnx_model.CONTEXT}"
    if which in UNTRAINED:
        source = resolve(model or untrained_model(persona), on_stage)
        words = [path.read_bytes().decode("utf-8", "replace") for path in _words_of(source.folder)]
        key = files.content_hash("base", made_by, source.sha256, *words)
        return Place(_home() / key[:16], key, None, source)
    key = files.content_hash("run", made_by, merged.identity(persona, which))
    return Place(_home() / key[:16], key, which, None)


def is_ready(place: Place) -> bool:
    """Whether the engine is there, whole. Raises `ParityError` when it was made and refused."""
    mark = _mark(place.folder)
    if mark is None or mark.get("key") != place.key:
        return False
    if mark.get("refused"):
        raise ParityError(str(mark["refused"]))
    sizes: dict[str, int] = mark["sizes"]
    try:
        return bool(sizes) and all((place.folder / name).stat().st_size == size for name, size in sizes.items())
    except OSError:
        return False


def make(persona: Persona, place: Place, on_stage: Stage) -> None:
    """Make the engine: merge, write, compare, keep. Raises `PersonatuneError` with the reason when it cannot be."""
    _refuse_early(persona, place)
    home = place.folder.parent
    staging = home / f"{place.folder.name}.new"
    busy = RunError("another command is making the same fast engine", fix="wait until it is done")
    try:
        with files.locked(home / f"{place.folder.name}.lock", busy):
            try:
                refused = _make(persona, place, staging, on_stage)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        raise from_os_error(error, "making the fast engine") from error
    if refused:
        raise ParityError(refused)


def _make(persona: Persona, place: Place, staging: Path, on_stage: Stage) -> str | None:
    """Write into `staging`, compare, and put it in its place; why it was refused, if it was."""
    shutil.rmtree(staging, ignore_errors=True)
    shutil.rmtree(place.folder, ignore_errors=True)
    staging.mkdir(parents=True)
    begun = time.monotonic()
    source = _model_folder(persona, place, staging, on_stage)
    onnx_model.write(source, staging, "q8", part_of(on_stage, 0.3, 0.75))
    on_stage("comparing it with torch", 0.75)
    divergence, refused = _compared(persona, source, staging), None
    if not divergence <= KL:
        refused = f"its replies would be too far from the model's: {divergence:.4f} nats; the limit is {KL:g}"
        shutil.rmtree(staging)
        staging.mkdir()
    sizes = {str(path.relative_to(staging)): path.stat().st_size for path in _files(staging)}
    seconds = round(time.monotonic() - begun, 1)
    files.write_json(
        staging / _MARK,
        {"key": place.key, "kl": divergence, "refused": refused, "seconds": seconds, "sizes": sizes},
    )
    staging.rename(place.folder)
    on_stage("ready", 1.0)
    return refused


def forget(place: Place) -> None:
    """Remove an engine that is there but cannot be used."""
    shutil.rmtree(place.folder, ignore_errors=True)


def used(place: Place) -> list[str]:
    """Note that the engine is in use, and remove what has been unused for longest where all take too much.

    The names of the removed.
    """
    gone = []
    try:
        (place.folder / _MARK).touch()
        kept = sorted(_home().glob(f"*/{_MARK}"), key=lambda mark: mark.stat().st_mtime, reverse=True)
        total = 0
        for mark in kept:
            total += sum(path.stat().st_size for path in _files(mark.parent))
            if total > CACHE and mark.parent != place.folder:
                shutil.rmtree(mark.parent, ignore_errors=True)
                gone.append(mark.parent.name)
        for left in _home().glob("*.new"):  # of a command that was killed
            if time.time() - left.stat().st_mtime > _DAY:
                shutil.rmtree(left, ignore_errors=True)
    except OSError:  # a cache that cannot be cleaned does not keep anybody from talking
        pass
    return gone


def _home() -> Path:
    return settings.cache_folder() / "onnx"


def _mark(folder: Path) -> dict[str, Any] | None:
    try:
        mark = json.loads((folder / _MARK).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return mark if isinstance(mark, dict) and isinstance(mark.get("sizes"), dict) else None


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file() and path.name != _MARK)


def _words_of(folder: Path) -> list[Path]:
    names = ("chat_template.jinja", "tokenizer_config.json", "generation_config.json")
    return [folder / name for name in names if (folder / name).is_file()]


def _refuse_early(persona: Persona, place: Place) -> None:
    """Raise for what would fail later, before anything slow is done."""
    if reason := onnx_model.missing():
        raise ModelError(reason)
    if place.source is not None:
        config = read_config(place.source.folder)
        weights = sum(path.stat().st_size for path in place.source.folder.glob("*.safetensors"))
        parameters = weights // (4 if config.get("dtype") == "float32" else 2)
    else:
        from personatune import manifest
        from personatune.generation.contestants import named_by

        made = manifest.read(persona.runs_folder / str(place.run))
        config = read_config(resolve(named_by(made)).folder)
        parameters = int((made.get("parameters") or {}).get("total") or 0)
    if reason := onnx_model.unknown(config):
        raise ModelError(reason)
    needed, free = 1_000_000_000 + 12 * parameters, psutil.virtual_memory().available
    if needed > free:
        raise ResourceError(f"making it takes {needed / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free")
    space.require(_home(), 100_000_000 + parameters * 5 // 4, "the fast engine")


def _model_folder(persona: Persona, place: Place, folder: Path, on_stage: Stage) -> Path:
    """The model folder to write from; its words are put into `folder`."""
    if place.source is None:
        whole = merged.merge(persona, str(place.run), part_of(on_stage, 0.0, 0.3))
        onnx_model.copy_words(whole.folder, folder)
        files.write_json(folder / "generation_config.json", {"eos_token_id": list(whole.stop_ids)})
        return whole.folder
    from personatune.models import tokenizer_files
    from personatune.models.load import load_words

    on_stage("reading the vocabulary", 0.1)
    tokenizer, stop_ids = load_words(place.source)
    tokenizer_files.save(tokenizer, folder)
    if not (folder / "chat_template.jinja").is_file():
        files.write_text(folder / "chat_template.jinja", str(tokenizer.chat_template))
    files.write_json(folder / "generation_config.json", {"eos_token_id": list(stop_ids)})
    return place.source.folder


def _compared(persona: Persona, source: Path, folder: Path) -> float:
    """The mean divergence on replies of the character. Raises `ParityError` when texts are split otherwise."""
    from personatune.export.divergence import divergence
    from personatune.export.onnx import OnnxModel
    from personatune.export.parity import scored_positions
    from personatune.export.reference import TorchModel
    from personatune.export.texts import OWN

    run, fast = TorchModel(source), OnnxModel(folder, "q8")
    try:
        for text in OWN:
            ids = run.token_ids(text)
            if fast.token_ids(text) != ids or fast.tokenizer.decode(ids) != run.tokenizer.decode(ids):
                raise ParityError(f"it splits texts into other tokens, as {text[:40]!r}")
        scored = []
        for conversation in _conversations(persona):
            try:
                ids, positions = scored_positions(run.tokenizer, conversation)
            except PersonatuneError:  # a template that refuses this one; another will do
                continue
            before = conversation.messages[:-1]
            if prompt_text(run.tokenizer, before) != prompt_text(fast.tokenizer, before):
                raise ParityError("it fills the chat template otherwise")
            scored.append((ids, positions[:: -(-len(positions) // _POSITIONS)]))
        return divergence(run, fast, scored)
    finally:
        run.close()
        fast.close()


def _conversations(persona: Persona) -> list[Conversation]:
    """A few of the character's conversations; something simple where there are none."""
    try:
        rows = load_lenient(persona.train_file).conversations
    except PersonatuneError:
        rows = []
    step = max(1, len(rows) // _ROWS)
    said = "I keep the light, and when the weather lets me I mend what the last storm broke."
    talk = (Message(role="user", content="What do you do all day?"), Message(role="assistant", content=said))
    return [*rows[::step][:_ROWS], Conversation(messages=talk)]
