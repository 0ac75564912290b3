"""Our layers compute what transformers' and PEFT's do, in value and in gradient, for every family that they know."""

from __future__ import annotations

import copy

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from personatune.training import decoder
from personatune.training.decoder import decoder_of

# PEFT 0.21 asks transformers by a name that is going out of use.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
SIZES = {
    "vocab_size": 50,
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "initializer_range": 0.3,
}
TWO_KINDS = ["sliding_attention", "full_attention", "sliding_attention"]
FAMILIES = {
    "gemma": (Gemma3ForCausalLM, Gemma3TextConfig, {"head_dim": 8, "sliding_window": 5, "layer_types": TWO_KINDS}),
    "llama": (LlamaForCausalLM, LlamaConfig, {"attention_bias": True}),
    "llama-stretched": (
        LlamaForCausalLM,
        LlamaConfig,
        {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 10000.0}},
    ),
    "qwen2": (
        Qwen2ForCausalLM,
        Qwen2Config,
        {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 1},
    ),
    "qwen3": (Qwen3ForCausalLM, Qwen3Config, {"head_dim": 8}),
}
LENGTHS = (9, 16, 3)
LONGEST = max(LENGTHS)


def build(family, dtype=torch.float32):
    torch.manual_seed(0)
    kind, config, more = FAMILIES[family]
    model = kind(config(**SIZES, **more)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name or "bias" in name:
                parameter.normal_(std=0.2)
    return model.to(dtype)


def adapted(model, **more):
    with_adapters = get_peft_model(
        model, LoraConfig(**{"r": 4, "lora_alpha": 12, "target_modules": "all-linear"} | more)
    )
    with torch.no_grad():
        for name, parameter in with_adapters.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    return with_adapters


def batch(dtype=torch.float32):
    """Embedded tokens (3, 16, hidden), and which of them are real."""
    inputs = torch.randn(len(LENGTHS), LONGEST, SIZES["hidden_size"], generator=torch.Generator().manual_seed(1))
    real = torch.arange(LONGEST)[None] < torch.tensor(LENGTHS)[:, None]
    return inputs.to(dtype), real


def results(model, causal, compute, dtype=torch.float32):
    """Hidden states at the real tokens, and the gradients of the inputs and of everything trained."""
    inputs, real = batch(dtype)
    inputs.requires_grad_()
    hidden = compute(inputs, real)[real.flatten()]
    wanted = torch.randn(hidden.shape, generator=torch.Generator().manual_seed(2))
    (hidden.float() * wanted).sum().backward()
    grads = {n: p.grad.float() for n, p in model.named_parameters() if p.grad is not None and "lora" in n}
    return {"hidden": hidden.detach().float(), "inputs": inputs.grad.float()[real], **grads}


def theirs(causal):
    def compute(inputs, real):
        output = causal.model(inputs_embeds=inputs, attention_mask=real.long(), use_cache=False)
        return output.last_hidden_state.flatten(0, 1)

    return compute


@pytest.mark.parametrize("kernel", [False, True], ids=["written-out", "kernel"])
@pytest.mark.parametrize("adapters", [False, True], ids=["plain", "lora"])
@pytest.mark.parametrize("family", FAMILIES)
def test_hidden_states_and_gradients_are_those_of_transformers(family, adapters, kernel, monkeypatch):
    if kernel:
        monkeypatch.setattr(decoder, "SHORT", 0)
    causal = build(family)
    model = adapted(causal) if adapters else causal
    for parameter in model.parameters():
        parameter.requires_grad_(adapters and parameter.dtype == torch.float32 and parameter.requires_grad)
    mine = copy.deepcopy(model)
    my_causal = mine.get_base_model() if adapters else mine
    expected = results(model, causal, theirs(causal))
    found = results(mine, my_causal, decoder_of(my_causal))

    assert set(found) == set(expected)
    assert len(found) == 2 + (42 if adapters else 0)
    for name, value in expected.items():
        size = float(value.abs().max())
        torch.testing.assert_close(
            found[name], value, rtol=1e-4, atol=2e-5 * size, msg=lambda m, name=name: f"{name} {m}"
        )


@pytest.mark.parametrize("family", FAMILIES)
def test_in_bf16_it_is_no_further_from_the_truth_than_transformers(family):
    """Than its eager attention, that is: torch's kernel keeps scores in fp32, at three times the time."""
    truth = results(model := adapted(build(family)), None, theirs(model.get_base_model()))
    errors = []
    for ours in (False, True):
        model = adapted(build(family, torch.bfloat16))
        causal = model.get_base_model()
        causal.set_attn_implementation("eager")
        compute = decoder_of(causal) if ours else theirs(causal)
        found = results(model, causal, compute, torch.bfloat16)
        errors.append({n: float((found[n] - truth[n]).norm() / truth[n].norm()) for n in ("hidden", "inputs")})
    for name in ("hidden", "inputs"):
        assert errors[1][name] < 1.3 * errors[0][name] < 0.3


def test_the_model_itself_still_works_and_shares_the_joined_weights():
    causal = build("gemma")
    before = theirs(causal)(*batch())
    weights = {n: p.detach().clone() for n, p in causal.named_parameters()}
    decoder_of(causal)

    assert all(torch.equal(p, weights[n]) for n, p in causal.named_parameters())
    assert torch.equal(theirs(causal)(*batch()), before)
    attention = causal.model.layers[0].self_attn
    assert attention.q_proj.weight.untyped_storage().data_ptr() == attention.k_proj.weight.untyped_storage().data_ptr()


def test_padding_takes_no_part():
    causal = build("gemma").requires_grad_(False)
    seen = []
    mlp = decoder._Linears.__call__

    def spy(self, x):
        seen.append(len(x))
        return mlp(self, x)

    compute = decoder_of(causal)
    inputs, real = batch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoder._Linears, "__call__", spy)
        first = compute(inputs, real)[real.flatten()]
    inputs[~real] = 7.0

    assert set(seen) == {-(-sum(LENGTHS) // decoder.ALIGN) * decoder.ALIGN}
    assert torch.equal(compute(inputs, real)[real.flatten()], first)


@pytest.mark.parametrize(
    "more",
    [
        {"lora_dropout": 0.1},
        {"use_dora": True},
        {"target_modules": ["q_proj", "down_proj"]},
        pytest.param({"lora_bias": True}, marks=pytest.mark.filterwarnings("ignore:`lora_bias=True`")),
    ],
)
def test_adapters_that_are_more_than_lora_are_left_to_peft(more):
    assert decoder_of(adapted(build("llama"), **more).get_base_model()) is None


def test_families_and_parts_that_it_does_not_know_are_left_to_transformers():
    # Other names for everything: it must not be asked for parts that it lacks.
    assert decoder_of(GPT2LMHeadModel(GPT2Config(vocab_size=50, n_embd=24, n_layer=1, n_head=2))) is None
    mistral = MistralForCausalLM(MistralConfig(**SIZES, sliding_window=5))
    assert decoder_of(mistral) is None
    assert decoder_of(LlamaForCausalLM(LlamaConfig(**SIZES, hidden_act="gelu"))) is None
    assert decoder_of(LlamaForCausalLM(LlamaConfig(**SIZES, attention_dropout=0.1))) is None
    _, config, more = FAMILIES["gemma"]
    assert decoder_of(Gemma3ForCausalLM(config(**SIZES, **more, attn_logit_softcapping=30.0))) is None
