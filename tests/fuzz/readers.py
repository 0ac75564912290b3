"""Every reader of files from elsewhere, each as one function of bytes that may only raise personatune's own errors."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from personatune import manifest
from personatune.conversation import Conversation
from personatune.data import catalogue, doctor, drafts, edit, journal, load, preferences, template
from personatune.data.importing import keeping
from personatune.data.importing.content import content_of_file
from personatune.data.importing.reading import FORMATS, understand
from personatune.data.importing.understood import Wish
from personatune.errors import PersonatuneError
from personatune.evaluation.sample_file import read_samples
from personatune.evaluation.suite import load_suite
from personatune.generation import chosen
from personatune.generation.params import GenerationParams
from personatune.generation.remote.completion import completion
from personatune.generation.remote.server import Connection, Server
from personatune.jobs.plan import read_plan
from personatune.jobs.queue import JobQueue
from personatune.models import limits, resolve, vocabulary, weights
from personatune.models.light_tokenizer import LightTokenizer
from personatune.persona import PERSONA_FILE, Persona
from personatune.repair.examine import examine
from personatune.store import recovery
from personatune.studio import persona_text
from personatune.studio.chats import Chat
from personatune.sweeping import plan as sweep_plan
from personatune.training import checkpoints, live, recipe

CORPUS = Path(__file__).parent / "corpus"
WISHES = (Wish(), Wish(character="Odo", user="Nel", persona_name="Odo", user_name="Nel", opening="Hi.", exchanges=2))


class BrokenLawError(Exception):
    """A reader took what it should not have, or made something that cannot be read back."""


@dataclass(frozen=True)
class Reader:
    """One way in."""

    name: str
    seeds: tuple[str, ...]
    """The folders of the corpus to begin from."""
    read: Callable[[bytes, Path], None]
    """Reads the bytes in an empty folder. Raises `PersonatuneError` where it refuses them."""

    def corpus(self) -> list[bytes]:
        return [path.read_bytes() for name in self.seeds for path in sorted((CORPUS / name).iterdir())]


def _importer(name: str | None) -> Callable[[bytes, Path], None]:
    def read(raw: bytes, place: Path) -> None:
        content = content_of_file(_file(place / "given.bin", raw))
        for wish in WISHES:
            try:
                found = understand(content, wish, name)
            except PersonatuneError:
                continue
            _readable_again(found.conversations)
            if found.card is not None:
                keeping.keep(place / "kept", found.card, wish, "given.bin")
                if keeping.kept_card(place / "kept") is None:
                    raise BrokenLawError("the card was kept and is not there")
                shutil.rmtree(place / "kept")

    return read


def _readable_again(rows: tuple[Conversation, ...]) -> None:
    """What an import understood is what a training reads."""
    text = load.to_jsonl(rows).encode()
    again = catalogue.read_catalogue(text)
    if broken := [row.row.fault for row in again.rows if row.row.conversation is None]:
        raise BrokenLawError(f"an imported row cannot be read again: {broken[0]}")
    if len(again.rows) != len(rows):
        raise BrokenLawError(f"{len(rows)} rows were understood, {len(again.rows)} are read again")


def _rows(raw: bytes, place: Path) -> None:
    path = _file(place / "train.jsonl", raw)
    _allowed(lambda: load.load(path))
    _allowed(lambda: _examined(path))
    catalogue.read_catalogue(raw)
    found = list(edit.raw_rows(raw))
    if found:
        first = edit.RowPlace(found[0].number, found[0].key)
        journal.apply(path, "a row goes", lambda content: edit.deleted(content, first))
        journal.undo(path)
        if path.read_bytes() != raw:
            raise BrokenLawError("an edit was taken back, and the file is another")


def _examined(path: Path) -> None:
    found = load.load_lenient(path)
    doctor.examine(found.conversations, problems=found.problems)


def _persona(raw: bytes, place: Path) -> None:
    _file(place / "robin" / PERSONA_FILE, raw)
    persona = Persona.open(place / "robin")
    text = persona_text.read(persona.folder)
    persona_text.values_of(text, persona.character)
    persona_text.edited(text, {"display_name": "Odo", "greeting": 'He said "no".'}, persona.folder / PERSONA_FILE)


def _model(raw: bytes, place: Path, name: str) -> None:
    for seed in sorted((CORPUS / "model").iterdir()):
        if seed.name != name:
            _file(place / "model" / seed.name, seed.read_bytes())
    _file(place / "model" / name, raw)
    _allowed(lambda: resolve.resolve(str(place / "model")))
    _allowed(lambda: LightTokenizer(place / "model").apply_chat_template([{"role": "user", "content": "Hello"}]))
    _allowed(lambda: resolve.read_config(place / "model"))
    _allowed(lambda: limits.refuse_unreasonable(place / "model"))


def _safetensors(raw: bytes, place: Path) -> None:
    path = _file(place / "model.safetensors", raw)
    if weights.torn(path) is None:
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="numpy") as file:
                file.keys()
        except SafetensorError as error:
            if "offset" in str(error).lower() or "overlap" in str(error).lower():
                raise BrokenLawError(f"taken as whole, and is not: {error}") from error


def _template(raw: bytes, place: Path) -> None:
    text = raw.decode("utf-8", "replace")
    template.refuse_runaway(text, {"bos_token": "<s>", "eos_token": "</s>"})


def _run(raw: bytes, place: Path) -> None:
    folder = place / "robin" / "runs" / "r1"
    _file(folder / "manifest.json", raw)
    _allowed(lambda: manifest.read(folder))
    found = recovery.runs_in(folder.parent, set())
    for one in found.runs:
        recovery.dataset_of(one)
    made = _allowed(lambda: manifest.read(folder))
    if isinstance(made, dict):
        _file(folder / "model" / "model.safetensors", b"\0")
        weights.faults(folder, made)


def _beside_a_run(raw: bytes, place: Path) -> None:
    """The small files that a training leaves: each is read by itself."""
    folder = place / "r1"
    for name in ("vocabulary.json", "live.json", "metrics.jsonl", "generation_config.json"):
        _file(folder / name, raw)
    _allowed(lambda: vocabulary.read(folder))
    live.latest(folder)
    checkpoints.read_metrics(folder)
    checkpoints.loss_range(folder)
    checkpoints.last_heldout(folder)
    _allowed(lambda: chosen.over(GenerationParams(), folder))
    _allowed(lambda: chosen.write(folder, GenerationParams(temperature=0.0)))


def _drafts(raw: bytes, place: Path) -> None:
    _file(place / drafts.FILE, raw)
    _file(place / journal.FOLDER / drafts.DECISIONS, raw)
    found = drafts.read(place)
    drafts.waiting(found, [one.conversation for one in found], drafts.discarded(place))
    drafts.last_discard(place)
    drafts.next_number(found)
    for one in found:
        one.as_line()
        if one.conversation.messages:
            _readable_again((one.conversation,))


def _journal(raw: bytes, place: Path) -> None:
    path = _file(place / "train.jsonl", b'{"prompt": "a", "completion": "b"}\n')
    _file(journal.journal_of(path), raw)
    journal.undoable(path, path.read_bytes())
    journal.undo(path)


def _queue(raw: bytes, place: Path) -> None:
    _file(place / "jobs" / "1.json", raw)
    _allowed(lambda: JobQueue(place / "jobs").jobs())
    with contextlib.suppress(ValueError):
        Chat.model_validate_json(raw)


def _plans(raw: bytes, place: Path) -> None:
    _allowed(lambda: read_plan(_file(place / "plan.json", raw)))
    _allowed(lambda: read_plan(_file(place / "plan.toml", raw)))
    path = _file(place / "sweep.toml", raw)
    _allowed(lambda: sweep_plan.make_plan(sweep_plan.read_plan(path), where=path).wanted())


def _gguf(raw: bytes, place: Path) -> None:
    from personatune.models import gguf_file

    limits.refuse_gguf(_file(place / "model.gguf", raw))
    gguf_file._refuse_other_files(place / "model.gguf")


def _remote(raw: bytes, place: Path) -> None:
    completion(raw, Connection(Server("http://127.0.0.1:9/v1", "m")))


def _doctor(raw: bytes, place: Path, name: str) -> None:
    """The whole look over a persona, one of whose files is this one."""
    from whole_persona import whole_persona

    original = place.parent / "whole"
    if not original.is_dir():
        whole_persona(original)
    shutil.copytree(original, place / "robin")
    _file(place / "robin" / name, raw)
    examine(place / "robin", mend=True)


def _file(path: Path, raw: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(raw)
    return path


def _allowed(read: Callable[[], object]) -> object:
    try:
        return read()
    except PersonatuneError:
        return None


def _parts() -> Iterator[Reader]:
    tables = {"card": "card", "sillytavern": "sillytavern", "webui": "webui", "parquet": "parquet", "csv": "csv",
              "script": "script", "sharegpt": "rows", "messages": "rows", "alpaca": "rows", "rows": "rows"}  # fmt: skip
    everything = tuple(dict.fromkeys(tables.values()))
    yield Reader("import by looking", everything, _importer(None))
    for known in FORMATS:
        yield Reader(f"import {known.name}", (tables[known.name],), _importer(known.name))
    yield Reader("train.jsonl", ("rows",), _rows)
    yield Reader("persona.toml", ("persona",), _persona)
    yield Reader("suite.yaml", ("suite",), lambda raw, place: _done(load_suite(_file(place / "suite.yaml", raw))))
    yield Reader("recipe", ("toml",), lambda raw, place: _done(recipe.read_recipe(_file(place / "r.toml", raw))))
    yield Reader("plans", ("toml",), _plans)
    yield Reader("samples", ("samples",), lambda raw, place: _done(read_samples(_file(place / "s.jsonl", raw))))
    yield Reader("preferences", ("samples",), lambda raw, place: _done(preferences.load(_file(place / "p.jsonl", raw))))
    yield Reader("drafts", ("drafts",), _drafts)
    yield Reader("edits", ("journal",), _journal)
    yield Reader("manifest.json", ("run",), _run)
    yield Reader("files beside a run", ("run",), _beside_a_run)
    yield Reader("jobs and talks", ("run",), _queue)
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors.index.json"):
        yield Reader(f"model {name}", ("model",), lambda raw, place, name=name: _model(raw, place, name))
    for name in ("persona.toml", "train.jsonl", "suite.yaml", "runs/r1/manifest.json", "exports/r1-hf/export.json",
                 ".personatune/votes.jsonl", ".personatune/train.jsonl.edits"):  # fmt: skip
        yield Reader(
            f"doctor {name}",
            ("persona", "suite", "run", "journal"),
            lambda raw, place, name=name: _doctor(raw, place, name),
        )
    yield Reader("safetensors", ("model",), _safetensors)
    yield Reader("GGUF", ("gguf",), _gguf)
    yield Reader("chat template", ("template",), _template)
    yield Reader("answer of a server", ("remote",), _remote)


def _done(_: object) -> None:
    """What was read is not looked at."""


READERS = {reader.name: reader for reader in _parts()}
