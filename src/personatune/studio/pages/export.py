"""Export: a run packed for other programs, its own files with the terms that travel along, and the author's texts."""

from __future__ import annotations

import re
import shlex
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse

from personatune import manifest
from personatune.errors import PersonatuneError, UsageError
from personatune.generation.contestants import run_names
from personatune.models.starter import STARTERS
from personatune.persona import PERSONA_FILE, Persona
from personatune.store import artefacts
from personatune.store.of_persona import open_store
from personatune.store.records import ArtefactRecord
from personatune.studio.asking import Form, Who, text
from personatune.studio.live import live
from personatune.studio.rendering import command_line, page, text_of
from personatune.studio.verbs import at_work, begin, stop
from personatune.terminal.quantities import size

router = APIRouter(prefix="/p/{persona}/export")

TARGETS = {
    "web": "a page of its own, in any browser: static files",
    "ollama": "Ollama: a file and a Modelfile",
    "gguf": "llama.cpp, LM Studio, KoboldCpp: one GGUF file",
    "hf": "transformers: a whole model folder",
    "onnx": "Transformers.js and onnxruntime: an ONNX file",
}
"""What a run can be packed for, and what that is."""
_LIVE = 0.5
_AT_ONCE = 10
"""Runs whose files one page lists."""
_BLOCK = 1 << 20
_NOTICE = re.compile(r"terms|licen[cs]e|notice", re.IGNORECASE)
_RECORD = ("manifest.json", "recipe.toml", "report.html")
_ABOUT = {
    "adapter_model.safetensors": "what was learned: the adapter, in PEFT's form",
    "README.md": "PEFT's card of the adapter",
    "adapter_config.json": "which model it belongs on, and how",
    "model.safetensors": "all weights",
    "tokenizer.json": "the tokens",
    "tokenizer_config.json": "the tokenizer's settings",
    "chat_template.jinja": "how a conversation is written for the model",
    "generation_config.json": "where replies end, and the parameters chosen for the run",
    "manifest.json": "what made the run",
    "recipe.toml": "every training choice, to train it again",
    "report.html": "the latest evaluation",
}


@dataclass(frozen=True)
class RunFile:
    """A file of a run."""

    name: str
    """Its path inside the run's folder."""
    bytes: int
    """How large it is."""
    about: str
    """What it is, in a few words."""

    @property
    def size(self) -> str:
        """How large it is, for people."""
        return sized(self.bytes)


@dataclass(frozen=True)
class Bundle:
    """A run as it can be taken along."""

    run: str
    """The run."""
    folder: Path
    """Where it lies."""
    model: str
    """The model it stands on."""
    licence: str
    """That model's licence, where it is known."""
    method: str
    """How it was trained: a small adapter, or all weights."""
    notices: tuple[str, ...]
    """Files with terms that must travel along."""
    files: tuple[RunFile, ...]
    """What there is."""
    fault: str = ""
    """Why its record cannot be read."""

    @property
    def size(self) -> str:
        """How large it is in all."""
        return sized(sum(file.bytes for file in self.files))


@router.get("")
def export(request: Request, persona: Who, start: Annotated[int, Query(ge=0, le=10**9)] = 0) -> Response:
    """The runs' files, some runs at a time, and the author's texts."""
    names = run_names(persona)[::-1]
    bundles = [bundle_of(persona, run) for run in names[start : start + _AT_ONCE]]
    texts = [(path.name, sized(path.stat().st_size)) for path in _texts(persona)]
    newest = names[0] if names else "r1"
    return page(
        request,
        "export.html",
        who=persona,
        bundles=bundles,
        names=names,
        start=start,
        at_once=_AT_ONCE,
        texts=texts,
        targets=TARGETS,
        command=command_line(["export", f"{persona.name}@{newest}", "--to", next(iter(TARGETS))]),
        **_packed(request, persona),
    )


@router.get("/events")
def events(request: Request, persona: Who) -> Response:
    """What is being packed and what was, as it changes."""
    return live(request, lambda: {"packed": text_of(request, "export-packed.html", who=persona,
                                                    **_packed(request, persona))}, _LIVE)  # fmt: skip


@router.post("/pack")
def pack(request: Request, persona: Who, form: Form) -> Response:
    """Put the packing of a run into the queue."""
    run, target = _trained(persona, text(form, "run")), text(form, "to")
    if target not in TARGETS:
        raise UsageError(f"a run cannot be packed for {target[:40]!r}", fix=f"one of: {', '.join(TARGETS)}")
    return begin(request, persona, ["export", f"{persona.name}@{run}", "--to", target], "export")


@router.post("/jobs/{number}/stop")
def stop_job(request: Request, persona: Who, number: int) -> Response:
    """Stop a packing; the same command goes on with what is whole."""
    return stop(request, persona, number, "export")


@router.get("/texts/{name}")
def text_file(persona: Who, name: str) -> Response:
    """One of the author's texts."""
    for path in _texts(persona):
        if path.name == name:
            return _download(path)
    raise UsageError(f"there is no file {name[:80]!r} to take along", fix="load the page again")


@router.get("/{run}.zip")
def zipped(persona: Who, run: str) -> Response:
    """A run's files in one archive."""
    bundle = bundle_of(persona, _trained(persona, run))
    name = f"{persona.name}-{run}"
    headers = {"content-disposition": f'attachment; filename="{_plain(name)}.zip"'}
    return StreamingResponse(_archive(bundle, _plain(name)), media_type="application/zip", headers=headers)


@router.get("/{run}/{name:path}")
def file(persona: Who, run: str, name: str) -> Response:
    """One file of a run."""
    bundle = bundle_of(persona, _trained(persona, run))
    if name not in [one.name for one in bundle.files]:
        raise UsageError(f"{run} has no file {name[:80]!r} to take along", fix="load the page again")
    return _download(bundle.folder / name)


def _packed(request: Request, persona: Persona) -> dict[str, Any]:
    with open_store(persona) as store:
        found = list(reversed(artefacts.listed(store)))
    packed = [(one, *_where(persona, one)) for one in found]
    page = next(((one.id, folder) for one, folder, there in packed if one.target == "web" and there), None)
    command = ["python", "-m", "http.server", "-b", "127.0.0.1", "-d"]
    serve = (page[0], shlex.join([*command, str(page[1]), "8000"])) if page else None
    return {"packed": packed, "serve": serve, "work": at_work(request, persona, ("export",))}


def _where(persona: Persona, artefact: ArtefactRecord) -> tuple[Path, str]:
    """An export's folder, and how large it is; empty when it is not there any more."""
    folder = persona.folder / artefact.folder
    files = [path for path in folder.rglob("*") if path.is_file()] if folder.is_dir() else []
    return folder, sized(sum(path.stat().st_size for path in files)) if files else ""


def bundle_of(persona: Persona, run: str) -> Bundle:
    """What of a run can be taken along; a damaged record hides no weights."""
    folder = persona.runs_folder / run
    made: dict[str, object] = {}
    fault = ""
    try:
        made = manifest.read(folder)
    except PersonatuneError as error:
        fault = error.what
    model = made.get("model")
    name = str(model.get("id")) if isinstance(model, dict) else "unknown"
    starter = STARTERS.get(name.removeprefix("starter/"))
    notices = tuple(sorted(path.name for path in folder.iterdir() if path.is_file() and _NOTICE.search(path.name)))
    weights = sorted(path for path in (folder / "model").rglob("*") if path.is_file() and not path.is_symlink())
    named = [folder / one for one in (*notices, *_RECORD) if (folder / one).is_file()]
    files = tuple(
        RunFile(path.relative_to(folder).as_posix(), path.stat().st_size, _about(path, notices))
        for path in (*weights, *named)
    )
    is_adapter = any(file.name.endswith("adapter_model.safetensors") for file in files)
    method = "a LoRA adapter: small, and used on top of its model" if is_adapter else "all weights of the model"
    return Bundle(run, folder, name, starter.licence if starter else "", method, notices, files, fault)


def sized(count: int) -> str:
    """Bytes for people, also where they are few."""
    return f"{count:,} bytes" if count < 1000 else f"{count / 1000:.0f} kB" if count < 1_000_000 else size(count)


def _trained(persona: Persona, run: str) -> str:
    if run not in run_names(persona):
        raise UsageError(f"{persona.name} has no run {run[:40]!r} to take along", fix="load the page again")
    return run


def _about(path: Path, notices: tuple[str, ...]) -> str:
    return "the model's terms: keep them with it" if path.name in notices else _ABOUT.get(path.name, "")


def _texts(persona: Persona) -> list[Path]:
    """The author's own files: who the character is, the conversations, the test prompts, other JSON lines."""
    first = [persona.folder / PERSONA_FILE, persona.train_file, persona.suite_file]
    others = sorted(path for path in persona.folder.glob("*.jsonl") if path not in first)
    return [path for path in (*first, *others) if path.is_file()]


def _download(path: Path) -> Response:
    return FileResponse(path, filename=path.name, media_type="application/octet-stream")


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", name)


class _Sink:
    """Takes what an archive writes, until it is sent."""

    def __init__(self) -> None:
        self._waiting = bytearray()

    def write(self, data: bytes) -> int:
        """Keep some bytes."""
        self._waiting += data
        return len(data)

    def flush(self) -> None:
        """Nothing waits elsewhere."""

    def taken(self) -> bytes:
        """What was written since the last time."""
        data = bytes(self._waiting)
        self._waiting.clear()
        return data


def _archive(bundle: Bundle, top: str) -> Iterator[bytes]:
    """A zip file, made while it is sent; weights do not get smaller, so nothing is compressed."""
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:  # type: ignore[call-overload]
        for one in bundle.files:
            path = bundle.folder / one.name
            entry = zipfile.ZipInfo.from_file(path, f"{top}/{one.name}", strict_timestamps=False)
            with path.open("rb") as source, archive.open(entry, "w", force_zip64=True) as target:
                while block := source.read(_BLOCK):
                    target.write(block)
                    yield sink.taken()
    yield sink.taken()
