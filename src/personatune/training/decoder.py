"""The layers of a Llama-like model, computed for training: transformers' weights, our operators, no padding.

transformers' own forward pass is written to be read and to serve every purpose. This one serves one: it
normalises, rotates and attends as that does (a test compares them for every family below), in fewer operators, and
its linear layers never see padding. Models of other families, or with parts that it does not know, are left to
transformers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.checkpoint import checkpoint

from personatune.models.device import ALIGN, align_to
from personatune.training.layers import attend, gated, low_rank, norm, norm_and_turn, pick, spread

FAMILIES = {"gemma3_text": "gelu_pytorch_tanh", "llama": "silu", "qwen2": "silu", "qwen3": "silu"}
"""The model types known here, and their activation."""
SHORT = 1 << 22
"""Attention weights (rows x heads x length x length) up to which they are written out: 16 MB in fp32."""


class Decoder:
    """The layers between the embedding and the output layer of one model, adapters included."""

    def __init__(self, body: nn.Module, layers: Sequence[_Layer]) -> None:
        self._body: Any = body
        self._layers = layers
        self._gain = _gain(self._body.norm)
        self.checkpointing = False
        """Whether a layer's own vectors are computed again in the backward pass, rather than kept."""

    def __call__(self, inputs: Tensor, real: Tensor) -> Tensor:
        """Last hidden states, (rows * length, hidden), of embedded tokens (rows, length, hidden).

        `real`, bool of shape (rows, length), is false at the padding, which is on the right.
        """
        rows, length, size = inputs.shape
        places = _places(real.flatten(), align_to(inputs.device.type))
        h = pick(inputs.reshape(rows * length, size), places)
        batch = _Batch(rows, length, places, inputs.device)
        kinds = {layer.kind for layer in self._layers}
        position = torch.arange(length, device=inputs.device)[None]
        turns = {}
        for kind in kinds:
            which = (kind,) if kind is not None else ()
            turns[kind] = [x[:, :, None] for x in self._body.rotary_emb(inputs.float(), position, *which)]
        for layer in self._layers:
            if self.checkpointing and torch.is_grad_enabled():
                h = checkpoint(layer, h, batch, *turns[layer.kind], use_reentrant=False, preserve_rng_state=False)
            else:
                h = layer(h, batch, *turns[layer.kind])
        h = norm(h, self._gain, _eps(self._body.norm))
        return spread(h, places, rows * length)


def decoder_of(causal: Any) -> Decoder | None:
    """The decoder of a causal model, with or without plain LoRA adapters; none for a model it does not know.

    Weights of layers that read the same input are laid below one another, and the modules made to look there.
    """
    config, body = causal.config, getattr(causal, causal.base_model_prefix)
    activation = getattr(config, "hidden_activation", None) or getattr(config, "hidden_act", None)
    if config.model_type not in FAMILIES or activation != FAMILIES[config.model_type]:
        return None
    bent = ("attn_logit_softcapping", "use_bidirectional_attention", "attention_dropout")
    if any(getattr(config, key, None) for key in bent):
        return None
    linears = [m for layer in body.layers for m in (*_projections(layer.self_attn), *_projections(layer.mlp))]
    if not all(_is_plain(linear) for linear in linears) or len({type(linear) for linear in linears}) > 1:
        return None
    return Decoder(body, [_Layer(layer, config, index) for index, layer in enumerate(body.layers)])


class _Batch:
    """Where the tokens of a batch stand, and what they may look at."""

    def __init__(self, rows: int, length: int, places: Tensor, device: torch.device) -> None:
        self.rows, self.length, self.places = rows, length, places
        self._device = device
        self._hidden: dict[int | None, Tensor] = {}

    def hidden(self, window: int | None) -> Tensor:
        """(length, length), true where a position may not look: at later ones, and beyond its window."""
        if window not in self._hidden:
            all_ = torch.ones(self.length, self.length, dtype=torch.bool, device=self._device)
            hidden = all_.triu(1)
            self._hidden[window] = hidden | all_.tril(-window) if window is not None else hidden
        return self._hidden[window]


class _Linears:
    """Linear layers that read the same input, computed as one."""

    def __init__(self, modules: Sequence[Any]) -> None:
        bases = [getattr(module, "base_layer", module) for module in modules]
        self._adapted = [module for module in modules if hasattr(module, "lora_A")]
        if len(bases) > 1:
            joined = torch.cat([base.weight.detach() for base in bases])
            start = 0
            for base in bases:
                base.weight.data = joined[start : start + len(base.weight)]
                start += len(base.weight)
            self._weight = joined
        else:
            self._weight = bases[0].weight.detach()
        biases = [base.bias for base in bases]
        self._bias = torch.cat(biases).detach() if biases[0] is not None else None
        self._scale = self._adapted[0].scaling["default"] if self._adapted else 1.0

    def __call__(self, x: Tensor) -> Tensor:
        adapters = [w for m in self._adapted for w in (m.lora_A["default"].weight, m.lora_B["default"].weight)]
        return low_rank(x, self._weight, self._bias, self._scale, adapters)


class _Layer:
    def __init__(self, layer: Any, config: Any, index: int) -> None:
        attention, feed = layer.self_attn, layer.mlp
        self._size = attention.head_dim
        self._heads, self._groups = config.num_attention_heads, config.num_key_value_heads
        self._scaling = attention.scaling
        kinds = getattr(config, "layer_types", None) or ["full_attention"] * config.num_hidden_layers
        self._window = config.sliding_window if kinds[index] == "sliding_attention" else None
        self.kind = kinds[index] if config.model_type == "gemma3_text" else None
        self._activation = FAMILIES[config.model_type]
        q, k, v, out = _projections(attention)
        gate, up, down = _projections(feed)
        self._qkv, self._out = _Linears([q, k, v]), _Linears([out])
        self._gate_up, self._down = _Linears([gate, up]), _Linears([down])
        self._eps = _eps(layer.input_layernorm)
        self._before = _gain(layer.input_layernorm)
        self._after_attention: Tensor | None = None
        self._after_feed: Tensor | None = None
        self._before_feed = _gain(layer.post_attention_layernorm)
        if hasattr(layer, "pre_feedforward_layernorm"):  # Gemma: a norm before and one after each half
            self._after_attention = self._before_feed
            self._before_feed = _gain(layer.pre_feedforward_layernorm)
            self._after_feed = _gain(layer.post_feedforward_layernorm)
        self._heads_gain: Tensor | None = None
        if hasattr(attention, "q_norm"):
            gains = [_gain(attention.q_norm).expand(self._heads, -1), _gain(attention.k_norm).expand(self._groups, -1)]
            self._heads_gain = torch.cat(gains)

    def __call__(self, h: Tensor, batch: _Batch, cos: Tensor, sin: Tensor) -> Tensor:
        h = h + self._norm(self._attend(self._norm(h, self._before), batch, cos, sin), self._after_attention)
        x = gated(self._gate_up(self._norm(h, self._before_feed)), self._activation)
        return h + self._norm(self._down(x), self._after_feed)

    def _norm(self, x: Tensor, gain: Tensor | None) -> Tensor:
        return norm(x, gain, self._eps) if gain is not None else x

    def _attend(self, x: Tensor, batch: _Batch, cos: Tensor, sin: Tensor) -> Tensor:
        rows, length = batch.rows, batch.length
        table = spread(self._qkv(x), batch.places, rows * length)
        heads = table.view(rows, length, -1, self._size)
        qk, v = torch.split(heads, [self._heads + self._groups, self._groups], 2)
        qk = norm_and_turn(qk, self._heads_gain, cos, sin, self._eps)
        q, k = torch.split(qk, [self._heads, self._groups], 2)
        window = self._window if self._window is not None and self._window < length else None
        if x.device.type == "cpu" and rows * self._heads * length * length <= SHORT:
            y = attend(q, k, v, batch.hidden(window), self._scaling)
        else:
            y = scaled_dot_product_attention(
                q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2),
                attn_mask=None if window is None else ~batch.hidden(window),
                is_causal=window is None, scale=self._scaling, enable_gqa=True,
            ).transpose(1, 2)  # fmt: skip
        y = y.reshape(rows * length, self._heads * self._size)
        return self._out(pick(y, batch.places))


def _projections(module: Any) -> list[Any]:
    names = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    return [getattr(module, name) for name in names if hasattr(module, name)]


def _is_plain(module: Any) -> bool:
    """Whether `module` is a linear layer, or LoRA on one and nothing more: one adapter, no dropout, no variant."""
    if type(module) is nn.Linear:
        return True
    from peft.tuners.lora import Linear

    if type(module) is not Linear or type(module.base_layer) is not nn.Linear or list(module.lora_A) != ["default"]:
        return False
    return (
        isinstance(module.lora_dropout["default"], nn.Identity)
        and not module.lora_variant
        and module.lora_A["default"].bias is None
        and module.lora_B["default"].bias is None
    )


def _gain(norm: Any) -> Tensor:
    """What a normalised vector is multiplied with, fp32; Gemma keeps it less one."""
    weight: Tensor = norm.weight.detach().float()
    return weight + 1 if type(norm).__name__.startswith("Gemma") else weight


def _eps(norm: Any) -> float:
    eps: float = getattr(norm, "variance_epsilon", None) or norm.eps
    return eps


def _places(real: Tensor, align: int = ALIGN) -> Tensor:
    """Positions of the real tokens, and of some padding to make their number even."""
    missing = -int(real.sum()) % align
    filled = real | ((~real).cumsum(0) <= missing) if missing else real
    return filled.nonzero()[:, 0]
