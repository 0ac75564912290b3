"""Models written as GGUF and read back by llama.cpp: the same tokens, the same probabilities, the same endings."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from personatune.conversation import Message
from personatune.data.render import prompt_ids
from personatune.errors import ModelError
from personatune.export import gguf, ollama, stepping
from personatune.export.divergence import Divergence
from personatune.export.llama_cpp import LlamaCpp
from personatune.export.reference import TorchModel
from personatune.export.target import Work
from personatune.export.texts import OWN
from personatune.generation.params import GenerationParams
from tiny_models import CONTEXT, SLIDING_WINDOW

xllamacpp = pytest.importorskip("xllamacpp")

Works = Callable[..., Work]
MODELS = ["gemma", "gemma of pieces", "llama", "qwen2", "qwen3"]
FORMATS = {"f32": 1e-6, "f16": 1e-4, "bf16": 1e-3, "q8": 1e-2}
"""The divergence that rounding alone explains in a random model."""


APART = next(text for text in OWN if "e\u0301" in text)
"""The one text with accents typed apart from their letters."""


@pytest.fixture
def written(work: Works, built: Callable[[str], Path], tmp_path: Path) -> Iterator[Callable[..., LlamaCpp]]:
    opened = []

    def call(name: str, quantization: str = "f32") -> LlamaCpp:
        folder = tmp_path / f"{name}-{quantization}"
        folder.mkdir()
        made = work(built(name), quantization)
        gguf.write(made, folder, lambda _what, _share: None)
        opened.append(LlamaCpp(folder / gguf.file_name(quantization), context=CONTEXT))
        return opened[-1]

    yield call
    for one in opened:
        one.close()


@pytest.fixture(scope="module")
def in_torch(built: Callable[[str], Path]) -> Callable[[str], TorchModel]:
    loaded: dict[str, TorchModel] = {}

    def call(name: str) -> TorchModel:
        if name not in loaded:
            loaded[name] = TorchModel(built(name))
        return loaded[name]

    return call


@pytest.mark.parametrize("quantization", FORMATS)
@pytest.mark.parametrize("name", MODELS)
def test_llama_cpp_computes_what_torch_computes(
    name: str, quantization: str, written: Callable[..., LlamaCpp], in_torch: Callable[[str], TorchModel]
):
    there, here = written(name, quantization), in_torch(name)
    ids = np.random.default_rng(1).integers(6, 600, 8 * SLIDING_WINDOW).tolist()  # far past the window
    places = range(len(ids))
    measured = Divergence()
    measured.take(here.logits(ids, places), there.logits(ids, places), None)

    assert measured.kl < FORMATS[quantization]
    # Read in pieces, as a conversation is, nothing changes but the rounding of what llama.cpp remembers (f16).
    stepped = [there.read(ids[:-3]), *(there.add(token) for token in ids[-3:])]
    np.testing.assert_allclose(
        np.stack(stepped), there.logits(ids, places[-4:]), atol=0.1 if quantization == "q8" else 0.02
    )


@pytest.mark.parametrize("name", MODELS)
def test_every_text_is_split_into_the_same_tokens(
    name: str, written: Callable[..., LlamaCpp], in_torch: Callable[[str], TorchModel]
):
    there, here = written(name), in_torch(name)

    differing = {text for text in OWN if there.token_ids(text) != here.token_ids(text)}
    assert here.composes == (name == "qwen2")
    assert differing == ({APART} if here.composes else set())


def test_it_is_said_where_accents_are_not_joined(work: Works, built: Callable[[str], Path], tmp_path: Path):
    made = work(built("qwen2"))
    gguf.write(made, tmp_path, lambda _what, _share: None)

    assert [note for note in made.notes if "accents" in note]


@pytest.mark.parametrize("name", MODELS)
def test_all_stop_tokens_end_a_reply_and_no_word_does(name: str, written: Callable[..., LlamaCpp]):
    there = written(name)
    stops = {1, 5} if name.startswith("gemma") else {1, 3}

    assert {token for token in range(there.size) if there.ends(token)} == stops


@pytest.mark.parametrize("name", ["gemma", "llama"])
def test_llama_cpp_stops_and_renders_and_draws_as_the_run(
    name: str, work: Works, built: Callable[[str], Path], in_torch: Callable[[str], TorchModel], tmp_path: Path
):
    made = work(built(name))
    gguf.write(made, tmp_path, lambda _what, _share: None)
    params = xllamacpp.CommonParams()
    params.model.path, params.n_ctx, params.warmup, params.verbosity = str(tmp_path / "model-f32.gguf"), 256, False, -1
    server = xllamacpp.Server(params)

    for token in made.merged.stop_ids:  # made certain, it is the first token, and nothing follows
        done = server.handle_completions({"prompt": "x", "n_predict": 9, "logit_bias": [[token, 1000]]})
        assert done["choices"][0]["finish_reason"] == "stop"
        assert done["usage"]["completion_tokens"] == 1

    talk = [
        {"role": "system", "content": "Speak low."},
        {"role": "user", "content": "Hello."},
        {"role": "assistant", "content": "Yes?"},
        {"role": "user", "content": "Why?"},
    ]
    answer = server.handle_chat_completions({"messages": talk, "max_tokens": 1, "verbose": True})["__verbose"]
    tokenizer = in_torch(name).tokenizer
    wanted = tokenizer.apply_chat_template(talk, add_generation_prompt=True, tokenize=False)
    begin = str(tokenizer.bos_token)
    assert answer["prompt"].removeprefix(begin) == wanted.removeprefix(begin)
    assert answer["tokens_evaluated"] == len(in_torch(name).token_ids(wanted))  # one beginning, not two
    drawn = answer["generation_settings"]
    assert drawn["temperature"] == pytest.approx(0.7)
    assert (drawn["top_k"], drawn["repeat_last_n"]) == (32, -1)


class Scripted:
    """Gives the same logits wherever it is: the stop token a little ahead of another."""

    def __init__(self, logits: list[float]) -> None:
        self.logits = np.array(logits, dtype=np.float32)

    def begin(self, prompts: Any, _room: int) -> Any:
        return np.stack([self.logits] * len(prompts))

    def go_on(self, tokens: Any) -> Any:
        return np.stack([self.logits] * len(tokens))


def test_a_penalty_that_weighs_on_stop_tokens_is_noticed(in_torch: Callable[[str], TorchModel]):
    run = in_torch("gemma")
    logits = [0.0] * 600
    logits[5], logits[300] = 4.2, 4.0  # <end_of_turn>, which stands in the prompt, and a word that does not
    params = GenerationParams(temperature=0, repetition_penalty=1.1, max_new_tokens=1)
    prompt = prompt_ids(run.tokenizer, (Message(role="user", content="Hi"),))
    asked = [stepping.Wanted(tuple(prompt), params)]

    assert stepping.stopped(Scripted(logits), asked, run.stop_ids, spared=run.stop_ids) == 1  # as we draw
    assert stepping.stopped(Scripted(logits), asked, run.stop_ids, spared=()) == 0  # as llama.cpp does


def test_the_file_says_what_it_is(work: Works, built: Callable[[str], Path], tmp_path: Path):
    import gguf as library

    made = work(built("gemma"), "q8")
    gguf.write(made, tmp_path, lambda _what, _share: None)
    reader = library.GGUFReader(tmp_path / "model-q8_0.gguf")

    def value(key: str) -> Any:
        return reader.get_field(key).contents()

    assert value("general.name") == "Dot (dot@r1)"
    assert value("general.license") == "gemma"
    assert value("general.base_model.0.name") == "google/gemma-3-270m"
    assert value("tokenizer.chat_template") == made.merged.chat_template
    assert value("tokenizer.ggml.eos_token_ids") == [1, 5]
    kinds = {tensor.name: tensor.tensor_type.name for tensor in reader.tensors}
    assert kinds["token_embd.weight"] == "Q8_0"
    assert {kind for name, kind in kinds.items() if "norm" in name} == {"F32"}


def test_rows_that_are_no_whole_blocks_stay_in_f16_and_it_is_said(
    work: Works, built: Callable[[str], Path], tmp_path: Path
):
    folder = shutil.copytree(built("llama"), tmp_path / "odd")
    tensors = load_file(folder / "model.safetensors")
    for name, weights in tensors.items():
        if ".mlp." in name:
            tensors[name] = np.ascontiguousarray(weights[:, :40] if "down" in name else weights[:40])
    save_file(tensors, folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text("utf-8")) | {"intermediate_size": 40}
    (folder / "config.json").write_text(json.dumps(config))
    made = work(folder, "q8")
    gguf.write(made, tmp_path, lambda _what, _share: None)

    there, here = LlamaCpp(tmp_path / "model-q8_0.gguf", context=CONTEXT), TorchModel(folder)
    measured = Divergence()
    measured.take(here.logits([7, 8, 9], [0, 1, 2]), there.logits([7, 8, 9], [0, 1, 2]), None)
    there.close()
    assert measured.kl < 1e-2
    assert made.notes == ["2 tensors have rows that are no whole blocks of 32 weights: they are in f16, not in 8 bits"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model_type": "mamba"}, "mamba models cannot be written as GGUF"),
        ({"model_type": "gemma3"}, "these can: gemma3_text, llama"),
        ({"rope_parameters": {"rope_theta": 1e4, "rope_type": "llama3"}}, "llama3"),
        ({"final_logit_softcapping": 30.0}, "capped logits"),
        ({"sliding_window": 16}, "a sliding window"),
    ],
)
def test_a_model_that_gguf_cannot_say_is_refused_before_anything_is_written(
    change: dict[str, Any], said: str, work: Works, built: Callable[[str], Path], tmp_path: Path
):
    folder = shutil.copytree(built("llama"), tmp_path / "other")
    config = json.loads((folder / "config.json").read_text("utf-8")) | change
    (folder / "config.json").write_text(json.dumps(config))

    for target in (gguf, ollama):
        with pytest.raises(ModelError, match=said):
            target.check(work(folder))


def test_a_tensor_without_a_place_is_refused(work: Works, built: Callable[[str], Path], tmp_path: Path):
    folder = shutil.copytree(built("llama"), tmp_path / "other")
    tensors = load_file(folder / "model.safetensors")
    save_file({**tensors, "model.layers.0.surprise.weight": np.ones((2, 2), np.float32)}, folder / "model.safetensors")

    with pytest.raises(ModelError, match="no place for the tensor model"):
        gguf.write(work(folder), tmp_path, lambda _what, _share: None)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_disk_that_fills_up_in_the_middle_is_said_to_be_full(
    work: Works, built: Callable[[str], Path], tmp_path: Path
):
    (tmp_path / "model-f32.gguf").symlink_to("/dev/full")

    with pytest.raises(OSError) as refused:
        gguf.write(work(built("llama")), tmp_path, lambda _what, _share: None)
    assert refused.value.errno == errno.ENOSPC


def test_a_file_that_is_no_gguf_is_said_to_be_none(tmp_path: Path):
    (tmp_path / "x.gguf").write_bytes(b"GGUF" + b"\0" * 100)

    with pytest.raises(ModelError, match="cannot read the file"):
        LlamaCpp(tmp_path / "x.gguf")


def test_the_modelfile_says_how_to_stop_and_how_to_draw(
    work: Works, built: Callable[[str], Path], in_torch: Callable[[str], TorchModel]
):
    text = ollama.modelfile(work(built("gemma"), "q8", system_prompt='Say """hm""".'), in_torch("gemma").tokenizer)

    assert "FROM ./model-q8_0.gguf\n" in text
    assert 'PARAMETER stop "<eos>"\nPARAMETER stop "<end_of_turn>"\n' in text
    assert "PARAMETER temperature 0.7\n" in text
    assert "PARAMETER top_k 32\n" in text
    assert f"PARAMETER num_ctx {CONTEXT}\n" in text
    assert "SYSTEM \"\"\"Say '''hm'''.\"\"\"\n" in text
    assert "<bos>" not in text  # Ollama adds it
    assert "Gemma Terms of Use" in text
