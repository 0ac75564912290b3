"""personatune export --to web: a folder of static files, and what its page.json promises."""

from __future__ import annotations

import errno
import gzip
import hashlib
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from commands import COMMAND, QUICK, Run, assert_clear, contents, make_dot
from test_broken_machine import IN_OWN_MOUNTS, needs_mounts

from personatune import cli as command_line
from personatune.conversation import Message
from personatune.data.render import prompt_text
from personatune.export import built_page, llama_cpp, onnx, page_json, parity, pieces, web
from personatune.export import export as exporting
from personatune.export.onnx import OnnxModel
from personatune.models.light_tokenizer import LightTokenizer

pytest.importorskip("xllamacpp")
pytest.importorskip("onnxruntime")

PAGE = {
    "index.html": "<!doctype html><title>page</title><script type=module src=assets/page.js></script>",
    "assets/page.js": "export {}",
    "sw.js": "self.skipWaiting()",
    "engines/wllama.wasm": "wllama" * 10,
    "engines/wllama-compat.wasm": "compat" * 20,
    "engines/ort-wasm-simd-threaded.mjs": "export {}",
    "engines/ort-wasm-simd-threaded.wasm": "wasm" * 30,
    "engines/ort-wasm-simd-threaded.asyncify.wasm": "webgpu" * 40,
}
HASH = re.compile(r"[0-9a-f]{64}")


def make_page(folder: Path) -> Path:
    for name, text in PAGE.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def png(colour: bytes = b"\x20\x80\x40") -> bytes:
    """A picture of one pixel."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(b"\0" + colour))
        + chunk(b"IEND", b"")
    )


def give_a_look(persona: Path, look: str) -> None:
    path = persona / "persona.toml"
    path.write_text(path.read_text("utf-8") + f"\n[look]\n{look}\n")


@pytest.fixture(scope="session")
def page_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_page(tmp_path_factory.mktemp("built"))


@pytest.fixture(autouse=True)
def page(page_once: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The page as it was built, a small one."""
    monkeypatch.setattr(built_page, "FOLDER", page_once)
    return page_once


@pytest.fixture(scope="module")
def exported_once(dot_trained_once: Path, page_once: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The persona with its run as a page; only to be copied."""
    folder = Path(shutil.copytree(dot_trained_once, tmp_path_factory.mktemp("exported") / "dot"))
    (folder / "face.png").write_bytes(png())
    give_a_look(folder, 'colour = "#3b7a57"\nemoji = "🦊"\npicture = "face.png"')
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(built_page, "FOLDER", page_once)
        assert command_line.run(["export", f"{folder}@r1", "--to", "web"]) == 0
    return folder


@pytest.fixture
def exported(place: Path, exported_once: Path) -> Path:
    return Path(shutil.copytree(exported_once, place / "dot"))


def read(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "page.json").read_text("utf-8"))
    return found


def assert_lawful(folder: Path) -> dict[str, Any]:
    """Every file that page.json lists is there with these bytes; nothing points outside the folder."""
    page = read(folder)
    assert page["schema"] == "personatune-page/1"
    named = [
        *(file for files in page["engine_files"].values() for file in files),
        *(file for one in page["characters"] for engine in one["engines"].values() for file in engine["files"]),
    ]
    for file in named:
        if parts := file.get("parts"):
            assert not (folder / file["path"]).exists()
            assert sum(part["bytes"] for part in parts) == file["bytes"]
            joined = b"".join((folder / part["path"]).read_bytes() for part in parts)
            assert hashlib.sha256(joined).hexdigest() == file["sha256"]
    listed = [piece for file in named for piece in file.get("parts") or [file]]
    paths = [file["path"] for file in listed]
    for one in page["characters"]:
        paths += [one["template"], *([one["look"]["picture"]] if one["look"]["picture"] else [])]
        for engine in one["engines"].values():
            assert all(HASH.fullmatch(file["sha256"]) for file in engine["files"])
            test = engine["self_test"]
            assert test["prompt_ids"]
            assert 1 <= len(test["greedy_ids"]) <= 16
            assert all(0 <= token < one["vocabulary"]["size"] for token in (*test["prompt_ids"], *test["greedy_ids"]))
        told = {int(token) for token in one["engines"]["wllama"]["stop_logits"]}
        assert told, "the token that ends a turn stands in every prompt"
        assert told == set(one["stop_ids"]) & set(one["engines"]["wllama"]["self_test"]["prompt_ids"])
    for path in paths:
        assert (folder / path).is_file(), path
        assert re.fullmatch(r"[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*", path), path
        assert ".." not in path.split("/")
    for file in listed:
        assert (folder / file["path"]).stat().st_size == file["bytes"]
        if "sha256" in file:
            assert exporting.files.sha256_of(folder / file["path"]) == file["sha256"]
    for name in ("page.json", "manifest.webmanifest"):
        assert not re.search(r"(https?:)?//(?!www\.w3\.org)", (folder / name).read_text("utf-8"))
    about = json.loads((folder / "export.json").read_text("utf-8"))
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert set(about["files"]) == there - {"export.json"}
    assert all(exporting.files.sha256_of(folder / name) == known for name, known in about["files"].items())
    assert all(not one["failures"] and one["texts_same"] == one["texts"] >= 50 for one in about["parity"].values())
    return page


def test_the_folder_is_what_the_page_reads(exported: Path):
    folder = exported / "exports" / "r1-web"
    page = assert_lawful(folder)
    (one,) = page["characters"]

    assert {path.name for path in folder.iterdir()} == {
        "index.html", "assets", "sw.js", "engines", "page.json", "manifest.webmanifest", "characters", "README.md",
        "NOTICE.txt", "export.json",
    }  # fmt: skip
    assert {path.name for path in (folder / "characters/dot").iterdir()} == {
        "model-q8_0.gguf", "onnx", "chat_template.jinja", "picture.png"
    }  # fmt: skip
    assert {file["path"].removeprefix("characters/dot/onnx/") for file in one["engines"]["transformers"]["files"]} == {
        "config.json", "generation_config.json", "tokenizer.json.gz", "tokenizer_config.json",
        "onnx/model_quantized.onnx", "onnx/model_quantized.onnx_data",
    }  # fmt: skip
    assert (one["name"], one["title"], one["run"], one["context"]) == ("dot", "Dot", "dot@r1", 512)
    assert one["stop_ids"] == [1, 5]
    assert one["starters"] == ["It has been raining all day.", "I lost my hat."]
    assert one["look"] == {"colour": "#3b7a57", "emoji": "🦊", "picture": "characters/dot/picture.png"}
    assert one["vocabulary"] == {"size": 600, "trimmed": False}
    assert one["parameters"]["temperature"] == 0.8
    assert (one["bos_token"], one["eos_token"], one["greeting"], one["system"]) == ("<bos>", "<eos>", None, None)
    sizes = {engine: sum(file["bytes"] for file in files) for engine, files in page["engine_files"].items()}
    assert sizes == {"wllama": 60, "wllama-compat": 120, "transformers-wasm": 129, "transformers-webgpu": 240}


def test_the_tokenizer_is_packed_and_says_the_same(exported: Path):
    home = exported / "exports" / "r1-web" / "characters" / "dot"
    packed = json.loads(gzip.decompress((home / "onnx" / "tokenizer.json.gz").read_bytes()))
    assert packed == json.loads((exported / "runs/r1/model/tokenizer.json").read_text("utf-8"))
    template = (home / "chat_template.jinja").read_text("utf-8")
    assert json.loads((home / "onnx" / "tokenizer_config.json").read_text("utf-8"))["chat_template"] == template


def test_both_files_say_the_self_test_again_and_the_template_renders_its_test(exported: Path):
    folder = exported / "exports" / "r1-web"
    (one,) = read(folder)["characters"]
    home = folder / "characters" / "dot"
    models = {"wllama": llama_cpp.LlamaCpp(home / "model-q8_0.gguf"), "transformers": OnnxModel(home / "onnx", "q8")}
    for engine, model in models.items():
        test = one["engines"][engine]["self_test"]
        first, *others = test["greedy_ids"]
        rows = [model.read(test["prompt_ids"]), *(model.add(token) for token in (first, *others[:-1]))]
        assert [int(row.argmax()) for row in rows[: len(others) + 1]] == test["greedy_ids"]
        assert model.token_ids(test["prompt"]) == test["prompt_ids"]
        model.close()
    messages = [Message(**message) for message in one["render_test"]["messages"]]
    assert prompt_text(LightTokenizer(home / "onnx"), messages) == one["render_test"]["text"]
    assert "🦊" in one["render_test"]["text"]


def test_what_it_prints_last_is_how_to_serve_it_and_what_a_visitor_fetches(exported: Path, run: Run):
    outcome = run("export", "dot@r1", "--to", "web")

    assert outcome.code == 0
    assert "there already, whole and unchanged" in outcome.out
    assert "next:   python -m http.server -b 127.0.0.1 -d dot/exports/r1-web 8000" in outcome.out
    assert "one visitor fetches" in outcome.out
    assert "dot, GGUF" in outcome.out
    assert "dot, ONNX" in outcome.out
    assert "--vocab" not in outcome.out  # 600 tokens are not many


@pytest.mark.parametrize("change", ["picture", "greeting", "suite", "page"])
def test_what_the_page_shows_is_written_anew_when_it_changes(
    change: str, exported: Path, page: Path, run: Run, monkeypatch: pytest.MonkeyPatch
):
    before = read(exported / "exports" / "r1-web")
    if change == "picture":
        (exported / "face.png").write_bytes(png(b"\xff\0\0"))
    elif change == "greeting":
        text = (exported / "persona.toml").read_text("utf-8")
        (exported / "persona.toml").write_text(text.replace('greeting = ""', 'greeting = "Mind the step."'))
    elif change == "suite":
        text = (exported / "suite.yaml").read_text("utf-8")
        (exported / "suite.yaml").write_text(text.replace("raining", "snowing"))
    else:
        other = make_page(exported.parent / "other-page")
        (other / "assets" / "page.js").write_text("export default 1")
        monkeypatch.setattr(built_page, "FOLDER", other)

    outcome = run("export", "dot@r1", "--to", "web", "--json")

    assert (outcome.code, outcome.json["new"]) == (0, True), outcome.err
    after = assert_lawful(exported / "exports" / "r1-web")
    assert (after == before) == (change in ("picture", "page"))
    if change == "picture":
        assert (exported / "exports/r1-web/characters/dot/picture.png").read_bytes() == png(b"\xff\0\0")


def test_two_characters_on_one_page(exported: Path, run: Run, tiny_llama: Path, place: Path):
    other = make_dot(place / "others" / "dot")
    text = (other / "persona.toml").read_text("utf-8").replace('name = "Dot"', 'name = "Dash"')
    (other / "persona.toml").write_text(text)
    assert run("train", "others/dot", "--model", tiny_llama, *QUICK).code == 0

    outcome = run("export", "dot@r1", "--to", "web", "--with", "others/dot@r1", "--output", "page", "--json")

    assert outcome.code == 0, outcome.err
    both = assert_lawful(place / "page")
    assert [(one["name"], one["title"]) for one in both["characters"]] == [("dot", "Dot"), ("dot-2", "Dash")]
    assert [one["look"]["emoji"] for one in both["characters"]] == ["🦊", None]
    assert list(outcome.json["parity"]) == ["dot, GGUF", "dot, ONNX", "dot-2, GGUF", "dot-2, ONNX"]
    assert [one["character"] for one in outcome.json["beside"]] == ["Dash"]
    card = (place / "page" / "README.md").read_text("utf-8")
    assert "# Dot" in card
    assert "# Dash" in card
    shown = json.loads((place / "page" / "manifest.webmanifest").read_text("utf-8"))
    assert shown["name"] == "Dot & Dash"


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (["dot@r1", "--to", "web", "--quantization", "f32"], ["no quantization 'f32'", "q8"]),
        (["dot@r1", "--to", "gguf", "--with", "dot@r1"], ["only one character at a time", "--to web"]),
        (["dot@r1", "--to", "web", "--with", "dot@r1"], ["named twice"]),
        (["dot@r1", "--to", "web", "--with", "dot@base"], ["nothing of dot in it"]),
        (["dot@r1", "--to", "web", "--with", "nobody@r1"], ["nobody"]),
        (["dot@r1", "--to", "web", "--vocab", "many"], ["many", "64k"]),
        (["dot@r1", "--to", "web", "--vocab", "9"], ["no size of a vocabulary"]),
    ],
)
def test_what_no_page_is_made_of(argv: list[str], named: list[str], trained: Path, run: Run):
    before = contents(trained)

    assert_clear(run("export", *argv), *named)
    assert contents(trained) == before


@pytest.mark.parametrize(
    ("look", "named"),
    [
        ('colour = "green"', ["look.colour", "'green' is no colour", "persona.toml:"]),
        ('color = "#112233"', ["look.color", "did you mean 'look.colour'"]),
        ('emoji = "fox"', ["look.emoji", "no emoji"]),
        ('picture = "../face.png"', ["look.picture", "must lie in the persona's folder"]),
        ('picture = "/etc/face.png"', ["must lie in the persona's folder"]),
        ('picture = "face.svg"', ["face.svg", "is no picture"]),
        ('picture = "face.png"', ["there is no picture face.png"]),
        ('picture = "suite.png"', ["is no PNG picture"]),
        ('picture = "link.png"', ["outside the persona's folder"]),
    ],
)
def test_a_look_that_cannot_be_shown(look: str, named: list[str], trained: Path, run: Run, place: Path):
    shutil.copyfile(trained / "suite.yaml", trained / "suite.png")
    (place / "secret.png").write_bytes(png())
    (trained / "link.png").symlink_to(place / "secret.png")
    give_a_look(trained, look)

    assert_clear(run("export", "dot@r1", "--to", "web"), *named)
    assert not (trained / "exports" / "r1-web").exists()


def test_without_a_built_page_it_says_so(trained: Path, run: Run, place: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(built_page, "FOLDER", place / "nowhere")

    assert_clear(run("export", "dot@r1", "--to", "web"), "lacks the page", "index.html")


def test_without_llama_cpp_there_is_no_page(trained: Path, run: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(llama_cpp, "_library", lambda: None)

    assert_clear(run("export", "dot@r1", "--to", "web"), "llama.cpp", "not installed", "personatune[gguf]")


@pytest.mark.parametrize("absent", ["onnxruntime", "onnxruntime_genai"])
def test_without_onnxruntime_there_is_no_page(absent: str, trained: Path, run: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, absent, None)

    assert_clear(run("export", "dot@r1", "--to", "web"), absent, "personatune[")


def test_interrupted_while_comparing_it_goes_on_with_what_is_whole(
    exported: Path, run: Run, monkeypatch: pytest.MonkeyPatch
):
    place = exported / "exports" / "r1-web"
    before = contents(place)
    assert run("use", "dot@r1", "--temperature", "0.3").code == 0
    compare, compared = parity.compare, list[str]()

    def stop_at_the_second(measured: Any, candidate: Any, *rest: Any) -> Any:
        compared.append(type(candidate).__name__)
        if len(compared) == 2:
            raise KeyboardInterrupt
        return compare(measured, candidate, *rest)

    monkeypatch.setattr(parity, "compare", stop_at_the_second)
    with pytest.raises(SystemExit, match="130"):
        run("export", "dot@r1", "--to", "web")
    assert contents(place) == before

    def never(*_: object) -> None:
        raise AssertionError("what was whole was written again")

    untouched = [replace(part, write=never) for part in web.parts(_work_of(exported))]
    monkeypatch.setattr(exporting, "target_of", lambda _name: replace(web.TARGET, parts=lambda _work: untouched))
    outcome = run("export", "dot@r1", "--to", "web", "--json")

    assert outcome.code == 0, outcome.err
    assert compared == ["LlamaCpp", "OnnxModel", "OnnxModel"]
    assert assert_lawful(place)["characters"][0]["parameters"]["temperature"] == 0.3
    assert not list(exported.glob("exports/*.new")) + list(exported.glob("exports/*.old"))


def test_big_files_are_in_pieces_that_every_host_takes(trained: Path, run: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pieces, "PIECE", 50_000)
    outcome = run("export", "dot@r1", "--to", "web")

    assert outcome.code == 0, outcome.err
    place = trained / "exports" / "r1-web"
    (one,) = assert_lawful(place)["characters"]
    home = place / "characters" / "dot"
    assert sorted(path.name for path in home.glob("model*")) == [f"model-q8_0.gguf.part00{n}" for n in (1, 2, 3)]
    assert all(path.stat().st_size <= 50_000 for path in home.rglob("*.part*"))
    assert llama_cpp.LlamaCpp(pieces.whole(home / "model-q8_0.gguf", trained), context=256).size == 600
    assert one["engines"]["transformers"]["files"]
    assert run("export", "dot@r1", "--to", "web", "--json").json["new"] is False


@pytest.mark.parametrize("broken", [KeyboardInterrupt(), OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))])
def test_stopped_while_cutting_it_goes_on_and_the_earlier_stays(
    broken: BaseException, exported: Path, run: Run, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(pieces, "PIECE", 50_000)
    place = exported / "exports" / "r1-web"
    before = contents(place)
    assert run("use", "dot@r1", "--temperature", "0.3").code == 0
    cut, done = pieces.cut, list[str]()

    def stop_at_the_second(folder: Path, about: Any) -> None:
        cut(folder, about)
        if about.get("parts"):
            done.append(about["path"])
        if len(done) == 2:
            raise broken

    with monkeypatch.context() as stopped:
        stopped.setattr(pieces, "cut", stop_at_the_second)
        if isinstance(broken, OSError):
            assert_clear(run("export", "dot@r1", "--to", "web"), "the disk is full", "free some space")
        else:
            with pytest.raises(SystemExit, match="130"):
                run("export", "dot@r1", "--to", "web")
    assert contents(place) == before

    outcome = run("export", "dot@r1", "--to", "web")
    assert outcome.code == 0, outcome.err
    assert assert_lawful(place)["characters"][0]["parameters"]["temperature"] == 0.3
    assert not list(exported.glob("exports/*.new")) + list(exported.glob("exports/*.old"))


def _work_of(persona: Path) -> Any:
    opened = exporting.Persona.open(persona)
    return exporting._work([(opened, "r1")], "q8", None, lambda _what, _share: None)


def test_interrupted_while_writing_it_keeps_the_parts_that_are_whole(
    trained: Path, run: Run, monkeypatch: pytest.MonkeyPatch
):
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as interrupted:
        interrupted.setattr(onnx, "write", stop)
        with pytest.raises(SystemExit, match="130"):
            run("export", "dot@r1", "--to", "web")
    file = trained / "exports" / "r1-web.new" / "characters" / "dot" / "model-q8_0.gguf"
    written = file.stat().st_mtime_ns

    outcome = run("export", "dot@r1", "--to", "web", "--json")

    assert outcome.code == 0, outcome.err
    page = assert_lawful(trained / "exports" / "r1-web")
    whole = trained / "exports" / "r1-web" / page["characters"][0]["engines"]["wllama"]["files"][0]["path"]
    assert whole.stat().st_mtime_ns == written


def test_a_file_damaged_after_an_interruption_is_written_again(
    trained: Path, run: Run, monkeypatch: pytest.MonkeyPatch
):
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as interrupted:
        interrupted.setattr(parity, "compare", stop)
        with pytest.raises(SystemExit, match="130"):
            run("export", "dot@r1", "--to", "web")
    file = trained / "exports" / "r1-web.new" / "characters" / "dot" / "model-q8_0.gguf"
    file.write_bytes(file.read_bytes()[:-7])

    assert run("export", "dot@r1", "--to", "web").code == 0
    assert_lawful(trained / "exports" / "r1-web")


def test_over_its_limits_in_one_file_it_is_refused_and_the_earlier_stays(
    exported: Path, run: Run, monkeypatch: pytest.MonkeyPatch
):
    place = exported / "exports" / "r1-web"
    before = contents(place)
    assert run("use", "dot@r1", "--temperature", "0.3").code == 0
    strict = replace(web.TARGET, limits={"q8": parity.Limits(kl=0.0, perplexity=0.0)})
    monkeypatch.setattr(exporting, "target_of", lambda _name: strict)

    outcome = run("export", "dot@r1", "--to", "web")

    assert_clear(outcome, "too far from dot@r1", "dot, GGUF: the divergence", "dot, ONNX: the divergence")
    assert outcome.code == 1
    assert contents(place) == before


def test_a_run_that_changes_meanwhile_is_noticed(trained: Path, run: Run, monkeypatch: pytest.MonkeyPatch):
    compare = parity.compare

    def meanwhile(*everything: Any) -> Any:
        with (trained / "runs" / "r1" / "model" / "tokenizer_config.json").open("a") as file:
            file.write("\n")
        return compare(*everything)

    monkeypatch.setattr(parity, "compare", meanwhile)

    assert_clear(run("export", "dot@r1", "--to", "web"), "r1 changed while it was exported")
    assert not (trained / "exports" / "r1-web").exists()


def test_a_disk_that_fills_up_keeps_the_parts_that_are_whole_and_no_half_one(
    trained: Path, run: Run, monkeypatch: pytest.MonkeyPatch
):
    def fail(_work: object, folder: Path, _on_stage: object) -> None:
        (folder / "half").write_bytes(b"x" * 1000)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder / "half"))

    monkeypatch.setattr(onnx, "write", fail)

    assert_clear(run("export", "dot@r1", "--to", "web"), "the disk is full", "free some space")
    staging = trained / "exports" / "r1-web.new"
    assert [path.name for path in staging.rglob("*") if path.is_file()] == [".state.json", "model-q8_0.gguf"]


@needs_mounts
def test_a_place_that_may_not_be_written(trained: Path, place: Path):
    (place / "locked").mkdir()
    command = " ".join([*COMMAND, "export", "dot@r1", "--to", "web", "--output", "locked/page"])
    script = f"mount -t tmpfs -o ro tmpfs locked || exit 99; {command}"
    done = subprocess.run(
        [*IN_OWN_MOUNTS, "sh", "-c", script], cwd=place, capture_output=True, text=True, timeout=300, check=False
    )

    assert done.returncode == 1, done.stderr
    assert "no permission" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        (["pip", "pip"], ["pip", "pip-2"]),
        (["Pip Söderström", "小明", "小红"], ["pip-s-derstr-m", "character", "character-2"]),
        (["pip-2", "pip", "pip"], ["pip-2", "pip", "pip-3"]),
    ],
)
def test_names_are_fit_for_an_address_and_none_is_there_twice(folders: list[str], expected: list[str], place: Path):
    works = []
    for number, name in enumerate(folders):
        persona = exporting.Persona.open(make_dot(place / str(number) / name))
        works.append(exporting.Work(persona, "r1", {}, None, None, "q8"))  # type: ignore[arg-type]

    assert page_json.names(replace(works[0], beside=tuple(works[1:]))) == expected
