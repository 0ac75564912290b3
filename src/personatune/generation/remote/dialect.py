"""Which of our parameters a server understands, and under which names."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from personatune.generation.params import GenerationParams

_EVERYTHING = 1 << 17
"""Tokens that llama.cpp's penalty looks back on: more than a conversation has."""
NEUTRAL: Mapping[str, Any] = {"top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0, "min_new_tokens": 0}
"""The parameters that OpenAI's API has no name for, and the values at which they change nothing."""


@dataclass(frozen=True)
class Dialect:
    """How one kind of server is asked."""

    name: str
    """What people call it."""
    understood: frozenset[str]
    """Which of the parameters in `NEUTRAL` it takes."""
    spoken: Callable[[GenerationParams], dict[str, Any]]
    """Those under its own names."""
    remark: str | None = None
    """What a user should know about replies from it."""

    def unheeded(self, params: GenerationParams) -> tuple[str, ...]:
        """The parameters that would change something and that it does not take."""
        return tuple(
            name for name, off in NEUTRAL.items() if name not in self.understood and getattr(params, name) != off
        )


def _llama_cpp(params: GenerationParams) -> dict[str, Any]:
    return {
        "top_k": params.top_k,
        "min_p": params.min_p,
        "repeat_penalty": params.repetition_penalty,
        "repeat_last_n": _EVERYTHING,
        # In our order: by itself it applies the temperature last.
        "samplers": ["penalties", "temperature", "top_k", "top_p", "min_p"],
        "seed": params.seed % 0xFFFFFFFF,  # it reads 32 bits, and all of them set as: a random one
    }


def _vllm(params: GenerationParams) -> dict[str, Any]:
    return {
        "top_k": params.top_k or -1,
        "min_p": params.min_p,
        "repetition_penalty": params.repetition_penalty,
        "min_tokens": params.min_new_tokens,
    }


def _transformers(params: GenerationParams) -> dict[str, Any]:
    config: dict[str, Any] = {
        "do_sample": params.temperature > 0,
        "max_new_tokens": params.max_new_tokens,
        "repetition_penalty": params.repetition_penalty,
    }
    if params.temperature > 0:
        config |= {"temperature": params.temperature, "top_p": params.top_p, "top_k": params.top_k}
        config |= {"min_p": params.min_p} if params.min_p else {}
    if params.min_new_tokens:
        config["min_new_tokens"] = params.min_new_tokens
    return {"generation_config": json.dumps(config)}


PLAIN = Dialect("a server of an unknown kind", frozenset(), lambda _params: {})
OLLAMA = Dialect("Ollama", frozenset(), lambda _params: {})
LLAMA_CPP = Dialect("llama.cpp", frozenset({"top_k", "min_p", "repetition_penalty"}), _llama_cpp)
VLLM = Dialect("vLLM", frozenset(NEUTRAL), _vllm)
LM_STUDIO = Dialect(
    "LM Studio",
    frozenset({"top_k", "repetition_penalty"}),
    lambda params: {"top_k": params.top_k, "repeat_penalty": params.repetition_penalty},
)
TRANSFORMERS = Dialect(
    "transformers serve",
    frozenset(NEUTRAL),
    _transformers,
    "transformers serve has one seed for all that it answers at once: the same replies come only with --parallel 1",
)

_OWNERS = {
    "llamacpp": LLAMA_CPP,
    "vllm": VLLM,
    "library": OLLAMA,
    "organization_owner": LM_STUDIO,
    "organization-owner": LM_STUDIO,
}


def dialect_of(models: list[dict[str, Any]], look: Callable[[str], Any]) -> Dialect:
    """What a server speaks, by its list of models; `look` reads another path of it, for those that sign nothing."""
    for one in models:
        if (found := _OWNERS.get(str(one.get("owned_by")))) is not None:
            return found
    described = look("/openapi.json")
    paths = described.get("paths") if isinstance(described, dict) else None
    if isinstance(paths, dict) and "/load_model" in paths and "/v1/chat/completions" in paths:
        return TRANSFORMERS
    version = look("/api/version")
    return OLLAMA if isinstance(version, dict) and set(version) == {"version"} else PLAIN
