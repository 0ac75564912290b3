"""One reply at a time: the fast engine against torch's and against transformers, in turns, on this machine's processor.

    python benchmarks/engines.py [--vocab full 32768] [--repeats 5] [--tokens 100]

At each size of the vocabulary (the starter as it is, or cut down as training would) every way is a process of its own
that stays; they answer the same prompt in turns, so that a slow minute of the machine hits all of them. Then whole
commands are timed: `personatune chat` from its start to its end with a reply of one token, through either engine.
Prints progress on stderr and one JSON object last: medians, ratios by name, the load while it was measured.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve()
MODEL = "starter/gemma-3-270m"
PROMPT = "What do you do when it rains all day and nobody comes to visit?"
PARAMS = {"temperature": 0.8, "top_k": 64, "top_p": 0.95, "repetition_penalty": 1.1}


# --- the ways: each a function that loads, and returns one that answers -----------------------------------------


def transformers(model: str, tokens: int) -> Callable[[], None]:
    """transformers' generate on fp32 weights."""
    import torch

    from personatune.data.render import prompt_ids
    from personatune.models.device import Compute
    from personatune.models.load import load_base
    from personatune.models.resolve import resolve

    loaded = load_base(resolve(model), Compute("cpu", "fp32", "to compare"))
    ids = torch.tensor([prompt_ids(loaded.tokenizer, _messages())])

    def answer() -> None:
        with torch.inference_mode():
            out = loaded.model.generate(
                ids, attention_mask=torch.ones_like(ids), do_sample=True, **PARAMS, max_new_tokens=tokens,
                min_new_tokens=tokens, pad_token_id=0,
            )  # fmt: skip
        assert out.shape[1] - ids.shape[1] == tokens

    return answer


def torch(model: str, tokens: int) -> Callable[[], None]:
    """The engine of torch, in the number format that it takes here."""
    from personatune.generation.local import LocalEngine
    from personatune.models.device import choose
    from personatune.models.load import load_base
    from personatune.models.resolve import resolve

    loaded = load_base(resolve(model), choose("cpu"))
    return _of_engine(LocalEngine(loaded.model, loaded.tokenizer, ()), tokens)


def onnx(model: str, tokens: int) -> Callable[[], None]:
    """The fast engine, which a chat has made."""
    from personatune.generation.onnx import OnnxEngine, open_engine

    opened = open_engine(_place(model).folder)
    return _of_engine(OnnxEngine(opened._graph, opened.tokenizer, (), opened.context), tokens)


WAYS: dict[str, Callable[[str, int], Callable[[], None]]] = {"transformers": transformers, "torch": torch, "onnx": onnx}


def _of_engine(engine: Any, tokens: int) -> Callable[[], None]:
    from personatune.generation.engine import Request
    from personatune.generation.params import GenerationParams

    request = Request(messages=_messages(), params=GenerationParams(**PARAMS, max_new_tokens=tokens))

    def answer() -> None:
        *_, sample = engine.stream(request)
        assert len(sample.token_ids) == tokens  # nothing stops

    return answer


def _messages() -> Any:
    from personatune.conversation import Message

    return (Message(role="user", content=PROMPT),)


def _place(model: str) -> Any:
    from personatune.export import fast_engine
    from personatune.persona import Persona

    return fast_engine.place_of(Persona.open("pip"), "base", model, lambda _what, _fraction: None)


def serve(way: str, model: str, tokens: int) -> None:
    """Answer whenever a line comes in, and say the seconds."""
    answer = WAYS[way](model, tokens)
    answer()
    print("ready", flush=True)
    for _ in sys.stdin:
        begun = time.perf_counter()
        answer()
        print(time.perf_counter() - begun, flush=True)


# --- measuring ---------------------------------------------------------------------------------------------------


def trimmed(size: int, folder: Path) -> str:
    """The starter with so many tokens, chosen as a training on the built-in mouse would."""
    from personatune.data.load import load
    from personatune.data.render import render
    from personatune.models import tokenizer_files, vocabulary
    from personatune.models.device import Compute
    from personatune.models.load import load_base
    from personatune.models.resolve import resolve

    loaded = load_base(resolve(MODEL), Compute("cpu", "bf16", "to cut down"))
    rows = [render(loaded.tokenizer, conversation) for conversation in load(Path("pip/train.jsonl"))]
    needed = frozenset(token for row in rows for token in row.token_ids)
    kept = vocabulary.choose(loaded.tokenizer, vocabulary.Wanted(needed), size)
    assert kept is not None
    small = vocabulary.trim(loaded, kept)
    small.model.save_pretrained(folder)
    tokenizer_files.save(small.tokenizer, folder)
    return str(folder)


def measured(model: str, options: argparse.Namespace) -> dict[str, Any]:
    """Tokens a second of every way, and seconds of whole commands."""
    begun = time.perf_counter()
    chat(model, "onnx")  # makes the engine
    found: dict[str, Any] = {"seconds_to_make": time.perf_counter() - begun}
    with contextlib.ExitStack() as stack:
        answering = {way: stack.enter_context(_serving(way, model, options.tokens)) for way in WAYS}
        seconds: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(options.repeats):
            for way, process in answering.items():
                process.stdin.write("again\n")
                process.stdin.flush()
                seconds[way].append(float(process.stdout.readline()))
    for way, some in seconds.items():
        found[f"{way}_tokens_a_second"] = options.tokens / statistics.median(some)
    found["onnx_over_transformers"] = found["onnx_tokens_a_second"] / found["transformers_tokens_a_second"]
    found["onnx_over_torch"] = found["onnx_tokens_a_second"] / found["torch_tokens_a_second"]
    commands: dict[str, list[float]] = {"onnx": [], "torch": []}
    for _ in range(options.repeats):
        for engine, some in commands.items():
            some.append(chat(model, engine))
    for engine, some in commands.items():
        found[f"chat_first_token_{engine}_seconds"] = statistics.median(some)
    return found


def chat(model: str, engine: str) -> float:
    """Seconds of a whole chat of one token."""
    begun = time.perf_counter()
    words = ["chat", "pip@base", "--model", model, "--engine", engine, "--device", "cpu", "--max-new-tokens", "1"]
    subprocess.run(
        [sys.executable, "-m", "personatune", *words, "--min-new-tokens", "0"],
        input=f"{PROMPT}\n", text=True, check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    return time.perf_counter() - begun


@contextlib.contextmanager
def _serving(way: str, model: str, tokens: int) -> Iterator[Any]:
    command = [sys.executable, str(HERE), "--serve", way, "--model", model, "--tokens", str(tokens)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        if process.stdout.readline().strip() != "ready":
            raise SystemExit(f"{way} could not be measured")
        yield process
    finally:
        process.kill()
        process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vocab", nargs="+", default=["full", "32768"])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=100)
    parser.add_argument("--serve", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--model", help=argparse.SUPPRESS)
    options = parser.parse_args()
    from personatune import settings

    settings.apply(offline=True)
    if options.serve:
        serve(options.serve, options.model, options.tokens)
        return
    from personatune import persona as personas
    from personatune.export import fast_engine

    found: dict[str, Any] = {"load_before": os.getloadavg()[0]}
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)
        personas.copy_builtin("pip", Path("pip"))
        for size in options.vocab:
            model = MODEL if size == "full" else trimmed(int(size), Path(scratch) / f"of-{size}")
            found[size] = measured(model, options)
            print(f"{size}: {found[size]}", file=sys.stderr)
            fast_engine.forget(_place(model))
    for size in options.vocab:
        if size != "full" and "full" in options.vocab:  # engine and vocabulary together
            gain = found[size]["onnx_tokens_a_second"] / found["full"]["transformers_tokens_a_second"]
            found[size]["onnx_over_transformers_of_the_full_vocabulary"] = gain
    found["load_after"] = os.getloadavg()[0]
    print(json.dumps(found))


if __name__ == "__main__":
    main()
