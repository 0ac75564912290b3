"""The target web: a folder of static files that is a page to talk to the character, for any host and any browser."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from personatune import files
from personatune.conversation import Message
from personatune.data.render import encode, last_reply, prompt_text, render
from personatune.errors import ModelError, PersonatuneError
from personatune.export import built_page, gguf, llama_cpp, onnx, page_json, pieces
from personatune.export.parity import NEAR
from personatune.export.self_test import SelfTest, self_test, stop_logits
from personatune.export.target import Part, Reader, Target, Work
from personatune.export.texts import conversations_of
from personatune.generation.onnx import missing as onnxruntime_missing
from personatune.models.gguf_file import Stage
from personatune.models.light_tokenizer import LightTokenizer

MANY_TOKENS = 100_000
"""A page with more is told how much smaller it could be."""
FEWER_TOKENS = 65_536
TRIED = 12
"""Prompts that are tried for a self-test."""
LONGEST_SAID = 1024
"""Tokens of a conversation that is read to see how sure of its end the model is."""
_PORT = 8000
_CALLED = {
    "wllama": "llama.cpp on the processor",
    "wllama-compat": "llama.cpp in older browsers",
    "transformers-wasm": "ONNX on the processor",
    "transformers-webgpu": "ONNX on the graphics card",
}


def check(work: Work) -> None:
    """Raise for what no page can be made of, or what is missing to make one."""
    built_page.check()
    if not llama_cpp.is_installed():
        raise ModelError("a page is tested in llama.cpp, which is not installed", fix=gguf.TARGET.missing)
    if reason := onnxruntime_missing():
        raise ModelError(f"a page is tested in onnxruntime: {reason.partition(': ')[0]}", fix=onnx.TARGET.missing)
    for one in work.everyone:
        gguf.check(one)
        onnx.TARGET.check(one)
        page_json.picture_of(one)


def parts(work: Work) -> list[Part]:
    """The two model files of each character, then the page around them."""
    found = []
    for one, name in zip(work.everyone, page_json.names(work), strict=True):
        found.append(Part(f"{name}/gguf", _gguf_of(one, name), 3))
        found.append(Part(f"{name}/onnx", _onnx_of(one, name), 4))
    return [*found, Part("page", lambda folder, on_stage: _page(work, folder, on_stage), 3)]


def readers(work: Work, folder: Path) -> list[Reader]:
    """Both files of every character."""
    found = []
    for one, name in zip(work.everyone, page_json.names(work), strict=True):
        home = folder / "characters" / name
        found.append(Reader(f"{name}, GGUF", one, lambda home=home: _llama_cpp(home)))  # type: ignore[misc]
        found.append(Reader(f"{name}, ONNX", one, lambda home=home: _onnxruntime(home)))  # type: ignore[misc]
    return found


def _llama_cpp(home: Path) -> llama_cpp.LlamaCpp:
    return llama_cpp.LlamaCpp(home / gguf.file_name("q8"))


def _onnxruntime(home: Path) -> onnx.OnnxModel:
    return onnx.OnnxModel(home / "onnx", "q8")


def _gguf_of(work: Work, name: str) -> Callable[[Path, Stage], None]:
    def write(folder: Path, on_stage: Stage) -> None:
        home = folder / "characters" / name
        home.mkdir(parents=True, exist_ok=True)
        gguf.write_file(work, home, lambda what, share: on_stage(f"{name}, GGUF: {what}", share))

    return write


def _onnx_of(work: Work, name: str) -> Callable[[Path, Stage], None]:
    def write(folder: Path, on_stage: Stage) -> None:
        home = folder / "characters" / name / "onnx"
        home.mkdir(parents=True, exist_ok=True)
        onnx.write(work, home, lambda what, share: on_stage(f"{name}, ONNX: {what}", share))
        on_stage(f"{name}: packing the tokenizer", 0.95)
        (home / "chat_template.jinja").replace(home.parent / "chat_template.jinja")
        (home / "special_tokens_map.json").unlink(missing_ok=True)
        _pack(home / "tokenizer.json")
        _say_template(home / "tokenizer_config.json", work.merged.chat_template)

    return write


def _pack(path: Path) -> None:
    """Write JSON without spaces, compressed; the same bytes every time."""
    said = json.dumps(json.loads(path.read_text(encoding="utf-8")), ensure_ascii=False, separators=(",", ":"))
    files.write_bytes(path.with_name(f"{path.name}.gz"), gzip.compress(said.encode("utf-8"), 7, mtime=0))
    path.unlink()


def _say_template(path: Path, template: str) -> None:
    """Put the chat template where Transformers.js looks for it."""
    config = json.loads(path.read_text(encoding="utf-8"))
    files.write_json(path, {**config, "chat_template": template})


def _page(work: Work, folder: Path, on_stage: Stage) -> None:
    """Everything but the models: self-tests, page.json, pictures, and the built page."""
    characters = []
    for at, (one, name) in enumerate(zip(work.everyone, page_json.names(work), strict=True)):
        home = folder / "characters" / name
        tests = {}
        for number, (engine, opened) in enumerate((("wllama", _llama_cpp), ("transformers", _onnxruntime))):
            on_stage(f"{name}: finding a test for {engine}", (at + number / 2) / len(work.everyone))
            model: Any = opened(home)
            try:
                tests[engine] = _self_test(model, one, home)
                if engine == "wllama":
                    ends = stop_logits(model, _said(one, home), one.merged.stop_ids)
                    tests[engine] = replace(tests[engine], stop_logits=ends)
            finally:
                model.close()
        if picture := page_json.picture_of(one):
            shutil.copyfile(picture, home / f"picture{picture.suffix.lower()}")
        characters.append(page_json.character(one, name, folder, tests))
    built_page.copy(folder)
    page_json.write(characters, folder)


def _self_test(model: Any, work: Work, home: Path) -> SelfTest:
    return self_test(model, _prompts(work, LightTokenizer(home / "onnx")), work.merged.stop_ids)


def _said(work: Work, home: Path) -> Iterator[tuple[Sequence[int], Sequence[int]]]:
    """Some of the character's replies, each after what stood before it, as tokens."""
    tokenizer = LightTokenizer(home / "onnx")
    apart, learned = conversations_of(work.persona, work.run)
    for conversation in (*apart, *learned)[:TRIED]:
        before, reply = last_reply(render(tokenizer, conversation))
        if len(before) + len(reply) <= LONGEST_SAID:
            yield before, reply


def _prompts(work: Work, tokenizer: LightTokenizer) -> Iterator[tuple[str, list[int]]]:
    """Prompts as text and as tokens: what the character was taught to answer, then the suite's."""
    apart, learned = conversations_of(work.persona, work.run)
    system = [Message(role="system", content=work.system_prompt)] if work.system_prompt else []
    said = [row.prompts[0] for row in (*learned, *apart) if row.prompts and len(row.prompts[0]) <= 200]
    step = max(1, len(said) // TRIED)
    asked = [*said[::step][:TRIED], *page_json.starters(work)]
    for said_first in asked or ["Hello"]:
        text = prompt_text(tokenizer, [*system, Message(role="user", content=said_first)])
        yield text, encode(tokenizer, text)


def _settle(_work: Work, folder: Path) -> None:
    """Cut what is too big for some hosts."""
    page = json.loads((folder / page_json.FILE).read_text(encoding="utf-8"))
    for character in page["characters"]:
        for engine in character["engines"].values():
            for about in engine["files"]:
                pieces.cut(folder, about)


def _octets(work: Work) -> int:
    models = [octets(one) for one in work.everyone for octets in (gguf.octets, onnx.TARGET.octets)]
    return sum(models) + max(models) + built_page.octets()  # one at a time is there twice, whole and in pieces


def _after(work: Work, folder: Path) -> list[str]:
    lines = [f"python -m http.server -b 127.0.0.1 -d {folder} {_PORT}   (then open http://localhost:{_PORT})"]
    try:
        page = json.loads((folder / page_json.FILE).read_text(encoding="utf-8"))
        sizes = page_json.fetched(page, built_page.own_octets())
    except (OSError, ValueError, RecursionError, KeyError, TypeError, PersonatuneError):
        return lines
    shown = "; ".join(f"{octets / 1e6:.0f} MB with {_CALLED[engine]}" for engine, octets in sizes.items())
    lines.append(f"one visitor fetches: {shown}")
    return [*lines, *_smaller(work, sizes)]


def _smaller(work: Work, sizes: dict[str, int]) -> Iterator[str]:
    """How much less it could be, where the vocabulary is most of it."""
    for one in work.everyone:
        tokens, hidden = int(one.merged.config["vocab_size"]), int(one.merged.config["hidden_size"])
        if tokens <= MANY_TOKENS or not sizes:
            continue
        tied = 1 if one.merged.config.get("tie_word_embeddings") else 2
        saved = tied * (tokens - FEWER_TOKENS) * hidden * 17 / 16
        yield (
            f"{one.persona.name}@{one.run} has {tokens:,} tokens: with --vocab 64k, or trained with --vocab "
            f"{FEWER_TOKENS}, a visitor would fetch about {saved / 1e6:.0f} MB less"
        )


def _write(work: Work, folder: Path, on_stage: Stage) -> None:
    for part in parts(work):
        part.write(folder, on_stage)


TARGET = Target(
    name="web",
    limits={"q8": NEAR},
    write=_write,
    reload=lambda _work, _folder: None,
    octets=_octets,
    check=check,
    after=_after,
    parts=parts,
    readers=readers,
    ingredients=page_json.ingredients,
    several=True,
    settle=_settle,
)
