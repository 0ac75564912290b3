"""The fast engine keeps the laws of engines, and draws as the engine of torch draws."""

from __future__ import annotations

import json

import pytest

import onnx_folders
from personatune.errors import ModelError, UsageError
from personatune.generation.engine import Request, Sample
from personatune.generation.local import LocalEngine
from personatune.generation.onnx import OnnxEngine, open_engine
from personatune.generation.params import GenerationParams
from personatune.models.load import load_base
from personatune.models.resolve import resolve
from tiny_models import CONTEXT, SLIDING_WINDOW, small_talk, talk

NAMES = ("gemma", "llama", "trimmed")


@pytest.fixture(scope="module")
def folders(tiny_gemma, tiny_llama, tmp_path_factory):
    home = tmp_path_factory.mktemp("engines")
    models = onnx_folders.three_models(tiny_gemma, tiny_llama, home)
    return {name: (models[name], onnx_folders.write(models[name], home / f"{name}-onnx")) for name in NAMES}


@pytest.fixture(scope="module", params=NAMES)
def engine(request, folders):
    """Random models end by chance alone: more tokens stop here, so that about half of the replies end early."""
    opened = open_engine(folders[request.param][1])
    return OnnxEngine(opened._graph, opened.tokenizer, (*opened.stop_ids, *range(460, 480)), opened.context)


def asked(count=24, **given):
    params = {"temperature": 1.0, "max_new_tokens": 16} | given
    return [
        Request(messages=conversation.messages[:-1], params=GenerationParams(**params, seed=seed))
        for seed, conversation in enumerate(small_talk(count))
    ]


def test_replies_stop_or_are_cut_and_say_which(engine):
    samples = engine.generate(asked())
    for sample in samples:
        *words, last = sample.token_ids
        assert not set(words) & set(engine.stop_ids)
        assert (last in engine.stop_ids) == (sample.finish_reason == "stop")
        assert sample.finish_reason == "stop" or len(sample.token_ids) == 16
        spoken = words if sample.finish_reason == "stop" else sample.token_ids
        assert sample.reply == engine.tokenizer.decode(list(spoken)).strip()
    assert {sample.finish_reason for sample in samples} == {"stop", "length"}


def test_a_reply_depends_on_its_request_alone(engine):
    requests = asked(8)
    together = engine.generate(requests)

    assert engine.generate(requests[::-1]) == together[::-1]
    assert engine.generate(requests[3:4]) == together[3:4]
    assert len({sample.token_ids for sample in together}) > 4


def test_the_stream_is_the_reply(engine):
    for request in asked(8):
        *pieces, sample = engine.stream(request)
        assert isinstance(sample, Sample)
        assert "".join(pieces) == sample.reply
        assert [sample] == engine.generate([request])


def test_a_stream_can_be_left_and_the_next_is_not_disturbed(engine):
    request = asked(1)[0]
    whole = list(engine.stream(request))
    left = engine.stream(request)
    next(left)
    left.close()

    assert list(engine.stream(request)) == whole


def test_no_stop_token_before_the_shortest_length(folders):
    opened = open_engine(folders["gemma"][1])
    everything = OnnxEngine(opened._graph, opened.tokenizer, range(4, 600), opened.context)
    (sample,) = everything.generate(asked(1, min_new_tokens=6, max_new_tokens=9, temperature=2))

    assert all(token < 4 for token in sample.token_ids[:6])
    assert (len(sample.token_ids), sample.finish_reason) == (7, "stop")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "given",
    [
        {"temperature": 0},
        {"temperature": 0, "repetition_penalty": 1.3},
        {"top_k": 5},
        {"top_k": 0, "top_p": 0.5},
        {"top_k": 0, "min_p": 0.2, "repetition_penalty": 1.2},
    ],
)
def test_on_full_weights_it_says_what_torch_says(name, given, folders, tmp_path):
    source, _ = folders[name]
    exact = onnx_folders.write(source, tmp_path / "exact", "f32")
    (exact / "onnx" / "model.onnx").rename(exact / "onnx" / "model_quantized.onnx")
    loaded = load_base(resolve(str(source)), onnx_folders.FP32)
    torch_engine = LocalEngine(loaded.model, loaded.tokenizer, loaded.stop_ids)
    fast = open_engine(exact)
    requests = asked(5, **given)

    assert fast.generate(requests) == torch_engine.generate(requests)
    assert fast.stop_ids == loaded.stop_ids
    lengths = [fast.prompt_length(request) for request in requests]
    assert lengths == [torch_engine.prompt_length(request) for request in requests]
    assert max(lengths) > SLIDING_WINDOW


def test_a_conversation_up_to_the_models_context_is_answered_and_a_longer_one_refused(engine):
    def long(words):
        return Request(messages=talk("x " * words), params=GenerationParams(max_new_tokens=64, temperature=0))

    words = next(n for n in range(CONTEXT) if engine.prompt_length(long(n + 1)) > CONTEXT - 3)
    (sample,) = engine.generate([long(words)])
    assert 1 <= len(sample.token_ids) <= CONTEXT - engine.prompt_length(long(words))
    with pytest.raises(UsageError, match=f"this model reads {CONTEXT}"):
        engine.stream(long(CONTEXT))


@pytest.mark.parametrize(
    "broken", ["config.json", "generation_config.json", "tokenizer.json", "onnx/model_quantized.onnx"]
)
def test_a_broken_folder_is_named(broken, folders, tmp_path):
    import shutil

    folder = shutil.copytree(folders["llama"][1], tmp_path / "copy")
    (folder / broken).write_bytes((folder / broken).read_bytes()[:20])
    with pytest.raises(ModelError):
        open_engine(folder)
    (folder / broken).unlink()
    with pytest.raises(ModelError):
        open_engine(folder)
    assert json.loads((folders["llama"][1] / "config.json").read_text())
