"""Chat on a processor: the fast engine is made once, checked, remade when it must be, and never missed silently."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from commands import Outcome, Run
from safetensors.torch import load_file, save_file

from personatune.errors import RunError
from personatune.export import fast_engine
from personatune.persona import Persona
from personatune.store.records import SampleFilter
from personatune.store.store import Store
from whole_persona import taken_as_saved

CPU = ("--device", "cpu", "--max-new-tokens", "6")
PREPARING = "preparing the fast engine for dot@r1, once"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own, so that nothing is there yet."""
    monkeypatch.setenv("PERSONATUNE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def chat(trained: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> Any:
    def say(*flags: str, which: str = "r1") -> Outcome:
        monkeypatch.setattr("sys.stdin", io.StringIO("hi\n"))
        return run("chat", f"dot@{which}", *CPU, *flags)

    return say


def engines(trained: Path) -> list[str | None]:
    with Store.open(trained / ".personatune" / "store.db") as store:
        return [sample.engine for sample in store.samples(SampleFilter(origin="chat"))]


def quiet(_what: str, _fraction: float) -> None:
    pass


def test_it_is_made_at_the_first_chat_and_found_by_the_next(cache: Path, chat: Any, trained: Path) -> None:
    first, second, third = chat(), chat(), chat("--engine", "torch")

    assert [outcome.code for outcome in (first, second, third)] == [0, 0, 0]
    assert PREPARING in first.err
    assert "comparing it with torch" in first.err
    assert "preparing" not in second.err + third.err
    assert second.out == first.out
    assert engines(trained) == ["onnx", "onnx", "torch"]
    (folder,) = (path.parent for path in cache.glob("onnx/*/engine.json"))
    assert json.loads((folder / "engine.json").read_text())["kl"] < fast_engine.KL
    assert not list(cache.glob("onnx/*.new"))


def test_a_finished_engine_loads_no_torch(cache: Path, chat: Any, trained: Path) -> None:
    assert chat().code == 0
    code = (
        "import sys; from personatune import cli\n"
        f"code = cli.run(['chat', 'dot@r1', {', '.join(map(repr, CPU))}])\n"
        "print([code, *sorted({name.partition('.')[0] for name in sys.modules} & {'torch', 'transformers', 'peft'})])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=trained.parent, input="hi\n", text=True, capture_output=True, env=os.environ
    )
    assert done.stdout.splitlines()[-1] == "[0]", done.stderr


def test_other_weights_are_another_engine(cache: Path, chat: Any, trained: Path) -> None:
    before = chat()
    path = trained / "runs" / "r1" / "model" / "adapter_model.safetensors"
    save_file({name: tensor * 3 for name, tensor in load_file(path).items()}, path)
    taken_as_saved(trained / "runs" / "r1")
    after = chat()

    assert PREPARING in after.err
    assert after.out != before.out
    assert len(list(cache.glob("onnx/*/engine.json"))) == 2


@pytest.mark.parametrize("harm", ["cut short", "garbled", "a file is gone", "no mark"])
def test_a_damaged_engine_is_made_again(harm: str, cache: Path, chat: Any) -> None:
    said = chat().out
    (folder,) = (path.parent for path in cache.glob("onnx/*/engine.json"))
    graph = folder / "onnx" / "model_quantized.onnx"
    if harm == "cut short":
        graph.write_bytes(graph.read_bytes()[:100])
    elif harm == "garbled":  # of the same length
        graph.write_bytes(b"\xff" * graph.stat().st_size)
    elif harm == "a file is gone":
        (folder / "tokenizer.json").unlink()
    else:
        (folder / "engine.json").unlink()
    again = chat()

    assert (again.code, again.out) == (0, said)
    assert PREPARING in again.err
    assert "preparing" not in chat().err


@pytest.mark.parametrize("at", ["laying out the graph", "writing the weights", "comparing it with torch"])
def test_an_interruption_leaves_nothing_that_looks_whole(at: str, cache: Path, trained: Path) -> None:
    persona = Persona.open(trained)
    place = fast_engine.place_of(persona, "r1", None, quiet)

    def stop(what: str, _fraction: float) -> None:
        if what == at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fast_engine.make(persona, place, stop)
    assert not fast_engine.is_ready(place)
    assert [path.suffix for path in (cache / "onnx").iterdir()] == [".lock"]
    fast_engine.make(persona, place, quiet)
    assert fast_engine.is_ready(place)


def test_two_commands_do_not_make_the_same_engine(cache: Path, trained: Path) -> None:
    persona = Persona.open(trained)
    place = fast_engine.place_of(persona, "r1", None, quiet)
    seen = []

    def another(what: str, _fraction: float) -> None:
        if what == "writing the weights":
            with pytest.raises(RunError, match="another command"):
                fast_engine.make(persona, place, quiet)
            seen.append(what)

    fast_engine.make(persona, place, another)
    assert seen
    assert fast_engine.is_ready(place)


def test_without_the_extra_torch_answers_and_says_how_to_get_it(
    cache: Path, chat: Any, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    outcome = chat()

    assert outcome.code == 0
    assert "answering through torch, which is slower" in outcome.err
    assert "pip install 'personatune[onnx]'" in outcome.err
    assert engines(trained) == ["torch"]
    asked = chat("--engine", "onnx")
    assert asked.code == 1
    assert "pip install 'personatune[onnx]'" in asked.error


def test_without_the_builder_no_engine_is_made_but_a_finished_one_answers(
    cache: Path, chat: Any, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "onnxruntime_genai", None)
        assert "onnxruntime_genai not installed" in chat().err
    chat()
    monkeypatch.setitem(sys.modules, "onnxruntime_genai", None)
    assert "torch" not in chat().err
    assert engines(trained) == ["torch", "onnx", "onnx"]


def test_an_engine_too_far_from_torch_is_refused_once_and_for_all(
    cache: Path, chat: Any, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fast_engine, "KL", 1e-12)
    first, second, asked = chat(), chat(), chat("--engine", "onnx")

    for outcome in (first, second):
        assert outcome.code == 0
        assert "answering through torch, which is slower: its replies would be too far from the model's" in outcome.err
    assert "preparing" in first.err
    assert "preparing" not in second.err
    assert asked.code == 1
    assert "too far" in asked.error
    assert engines(trained) == ["torch", "torch"]
    assert not list(cache.glob("onnx/*/onnx"))


def test_the_untrained_model_has_one_too(cache: Path, chat: Any, trained: Path) -> None:
    assert "preparing the fast engine for dot@base" in chat(which="base").err
    assert "preparing" not in chat(which="prompted").err  # the same model, asked otherwise
    assert engines(trained) == ["onnx", "onnx"]


def test_the_cache_does_not_grow_for_ever(cache: Path, chat: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    chat(which="base")
    monkeypatch.setattr(fast_engine, "CACHE", 1)
    outcome = chat()

    assert "removed 1 fast engine" in outcome.err
    assert len(list(cache.glob("onnx/*/engine.json"))) == 1
    assert "preparing" not in chat().err


def test_contradicting_flags_are_refused(trained: Path, run: Run) -> None:
    outcome = run("chat", "dot@r1", "--engine", "onnx", "--device", "cuda")

    assert outcome.code == 2
    assert "not on cuda" in outcome.error


def test_a_run_whose_weights_are_gone_is_named_as_ever(chat: Any, trained: Path, cache: Path) -> None:
    for path in (trained / "runs" / "r1" / "model").glob("*.safetensors"):
        path.unlink()
    outcome = chat()

    assert outcome.code == 1
    assert "no weights" in outcome.error
    shutil.rmtree(cache, ignore_errors=True)
