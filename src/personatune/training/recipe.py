"""Recipe: every training choice, at once TOML file, command-line flags and stored record."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from personatune import files
from personatune.errors import RecipeError

Method = Literal["lora", "qlora", "full", "dpo"]

_METHOD_DEFAULTS: dict[Method, dict[str, float]] = {
    "lora": {"learning_rate": 3e-4},
    "qlora": {"learning_rate": 3e-4},
    "full": {"learning_rate": 2e-5},
    "dpo": {"learning_rate": 5e-5, "beta": 0.1},
}
TENSORBOARD = "tensorboard"
TRACKERS = (TENSORBOARD, "mlflow", "trackio", "wandb")
"""Where figures may go beside metrics.jsonl."""
DPO_LEARNING_RATE_OF_FULL = 2e-6
"""What dpo takes where it goes on from whole weights: every layer moves at once."""


class Recipe(BaseModel):
    """How a run is trained. A key that is left out takes the default; `auto` is resolved when training starts."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    model: str = Field("starter/gemma-3-270m", min_length=1)
    """The base model: a starter, a folder, a GGUF file or a Hugging Face id."""
    vocab: Literal["full"] | Annotated[int, Field(ge=256)] = "full"
    """How many tokens to keep: `full`, or a number such as 49152, which trains faster and ships smaller."""
    language: str = Field("en", pattern=r"^[a-z]{2,3}$")
    """Whose words are kept when `vocab` is a number; other languages are then written in small pieces."""
    method: Method = "lora"
    """`lora` trains small adapters, `qlora` the same over weights of 4 bits, `full` every layer (the embedding stays),
    `dpo` goes on from a run with votes."""
    beta: float | None = Field(None, gt=0, le=10)
    """For dpo: how hard the run is held to the one it goes on from; left out, 0.1. Smaller lets it move further."""
    epochs: int = Field(2, ge=1, le=1000)
    """How often every conversation is seen; the best moment on the way is kept, see `keep`."""
    learning_rate: float | None = Field(None, gt=0, le=1)
    """The highest step size; left out, 3e-4 for lora and qlora, 2e-5 for full; for dpo 5e-5 or (whole weights) 2e-6."""
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    """How the learning rate falls after the warm-up."""
    warmup: float = Field(0.1, ge=0, lt=1)
    """The share of all steps in which the learning rate rises from zero."""
    batch_size: int = Field(4, ge=1, le=4096)
    """Conversations computed at once; more needs more memory."""
    accumulate: int = Field(1, ge=1, le=4096)
    """Batches summed into one step: 1 x 8 and 8 x 1 give the same training."""
    checkpointing: bool = False
    """Keep one vector a layer and token and compute the rest again: much less memory, a third more time."""
    weight_decay: float = Field(0.01, ge=0, le=1)
    """How strongly weights are pulled to zero."""
    max_grad_norm: float = Field(1.0, gt=0, allow_inf_nan=False)
    """Longer gradients are shortened to this."""
    lora_rank: int = Field(16, ge=1, le=1024)
    """The size of the adapters; 16 is plenty for one voice."""
    lora_alpha: int = Field(32, ge=1, le=4096)
    """How loudly the adapters speak, relative to their rank."""
    lora_dropout: float = Field(0.0, ge=0, lt=1)
    """The share of adapter inputs silenced at random while training."""
    heldout: float = Field(0.1, ge=0, le=0.5)
    """The share of conversations kept back to measure what was learned rather than memorised."""
    keep: Literal["heldout", "last"] = "heldout"
    """Which weights the run keeps: those at the lowest held-out loss, or the last; dpo keeps the last."""
    max_tokens: int = Field(1024, ge=16, le=131072)
    """Longer conversations are cut after the last whole exchange that fits; rows are never dropped."""
    probes: int = Field(12, ge=0, le=1000)
    """Replies generated after training to count how many end by themselves."""
    seed: int = Field(0, ge=0, lt=2**31)
    """The one source of chance: split, order, adapter weights, probes."""
    device: Literal["auto", "cuda", "mps", "cpu"] = "auto"
    """Where to compute; `auto` takes cuda, then mps, then cpu."""
    dtype: Literal["auto", "bf16", "fp32"] = "auto"
    """The number format of frozen weights and activations; `auto` takes bf16 where the hardware is quick in it."""
    report_to: str = TENSORBOARD
    """Where the figures of each step go too: tensorboard, mlflow, trackio, wandb, with commas between; or none."""

    @field_validator("report_to")
    @classmethod
    def _known_trackers(cls, value: str) -> str:
        names = [name.strip().lower() for name in value.split(",") if name.strip()]
        if unknown := [name for name in names if name not in (*TRACKERS, "none")]:
            raise ValueError(f"there is no tracker {unknown[0]!r}; known: {', '.join(TRACKERS)}, or none")
        if "none" in names and len(names) > 1:
            raise ValueError("none stands alone")
        return ",".join(dict.fromkeys(names)) or "none"

    def resolved(self) -> Recipe:
        """The recipe with its method's defaults filled in."""
        missing: dict[str, Any] = {k: v for k, v in _METHOD_DEFAULTS[self.method].items() if getattr(self, k) is None}
        if self.method == "dpo":
            missing["keep"] = "last"
        return self.model_copy(update=missing)

    @property
    def has_adapters(self) -> bool:
        """Whether small adapters are trained beside frozen weights."""
        return self.method in ("lora", "qlora")

    @property
    def given(self) -> dict[str, Any]:
        """Only the keys that somebody chose."""
        return self.model_dump(mode="json", include=self.model_fields_set)


def combine(*layers: dict[str, Any], where: str | Path | None = None) -> Recipe:
    """One recipe from layers of keys, later ones first in rank. Raises `RecipeError` naming the bad key."""
    merged: dict[str, Any] = {}
    for layer in layers:
        merged.update(layer)
    try:
        return Recipe(**merged)
    except ValidationError as error:
        raise bad_key(error, where) from error


def bad_key(error: ValidationError, where: str | Path | None) -> RecipeError:
    """The complaints of pydantic about the first bad key, with the nearest key for a misspelt one."""
    first = error.errors()[0]
    key = str(first["loc"][0])
    if first["type"] == "extra_forbidden":
        from rapidfuzz import process

        near = process.extractOne(key.replace("-", "_"), list(Recipe.model_fields))
        return RecipeError(
            f"a recipe has no key {key!r}",
            where=where,
            fix=f"did you mean {near[0]!r}? all keys: personatune train --help" if near else None,
        )
    messages = [fault["msg"] for fault in error.errors() if fault["loc"][0] == key]  # one for each kind it may have
    return RecipeError(
        f"recipe key {key!r}: {', or: '.join(messages)}", where=where, fix="see: personatune train --help"
    )


def read_recipe(path: Path) -> dict[str, Any]:
    """The keys of a recipe file. Raises `RecipeError` naming the file, and the line of bad TOML."""
    keys = files.read_toml(path, RecipeError)
    combine(keys, where=path)
    return keys


def write_recipe(path: Path, recipe: Recipe) -> None:
    """Write a recipe as TOML that `--recipe` reads again."""
    keys = {k: v for k, v in recipe.model_dump(mode="json").items() if v is not None}
    files.write_text(path, tomli_w.dumps(keys))
