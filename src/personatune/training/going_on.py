"""Going on from an earlier run: what the new run takes over from it, and what may not differ."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from personatune import files, manifest
from personatune.conversation import Conversation
from personatune.data.preferences import Preferences
from personatune.data.split import Earlier, Split, split, text_hashes
from personatune.data.version import row_hash
from personatune.errors import ModelError, RecipeError, RunError, UsageError
from personatune.generation.contestants import UNTRAINED, check, named_by, require_run
from personatune.models import weights
from personatune.models.resolve import ModelSource
from personatune.persona import Persona
from personatune.training.recipe import DPO_LEARNING_RATE_OF_FULL, Recipe

if TYPE_CHECKING:
    from torch import Tensor

    from personatune.models.load import Loaded

SHAPE = ("model", "method", "vocab", "language", "lora_rank", "lora_alpha")
"""The recipe keys that weights have: a run that goes on has those of the run it goes on from."""
OF_CONVERSATIONS = ("learning_rate", "epochs", "schedule", "warmup", "keep", "max_grad_norm", "weight_decay")
"""The recipe keys that a persona chooses for learning from conversations, and that say nothing about votes."""
SPLIT_FILE = "split.json"


@dataclass(frozen=True)
class Parent:
    """A finished run whose weights another one begins with."""

    name: str
    """As `r3`."""
    folder: Path
    """The run's folder."""
    manifest: dict[str, Any]
    """What made it."""

    @property
    def weights(self) -> Path:
        """Its adapter or weights, its tokenizer and its vocabulary."""
        return self.folder / "model"

    @property
    def layers(self) -> Literal["lora", "full"]:
        """What of it is trained: adapters, or every layer; learning from votes leaves that as it was."""
        made: Any = self.manifest.get("layers") or self.manifest["recipe"]["resolved"].get("method", "lora")
        return "full" if made == "full" else "lora"

    @property
    def identity(self) -> str:
        """What tells its weights from those of any other run."""
        return f"{self.name} {self.manifest.get('trained')}"


def parent_of(persona: Persona, wanted: str) -> Parent:
    """The finished run `wanted`, as `r3` or `pip@r3`. Raises `UsageError` or `RunError` when it cannot be gone on from.

    Runs of another persona cannot: what was made from what is recorded within one.
    """
    owner, _, name = wanted.rpartition("@")
    if owner and Path(owner).resolve() != persona.folder.resolve() and owner != persona.name:
        raise UsageError(f"{wanted} is a run of another persona", fix=f"name one of its own, as in: {persona.name}@r1")
    if name in UNTRAINED:
        raise UsageError(f"{wanted} is not a run: every training begins with it", fix="leave out --from")
    require_run(persona, name, purpose="go on from")
    folder = persona.runs_folder / check(persona, name)
    made = manifest.read(folder)
    if made.get("status") != "finished":
        raise RunError(f"{persona.name}@{name} is not finished", fix="run the command that began it again")
    weights.refuse_changed(folder, made)
    return Parent(name, folder, made)


def inherit(recipe: Recipe, parent: Parent) -> Recipe:
    """The recipe with the parent's shape. Raises `RecipeError` for a key that was chosen otherwise."""
    resolved: dict[str, Any] = {**parent.manifest["recipe"]["resolved"], "method": parent.layers}
    usual = Recipe(method=parent.layers).resolved()  # what a key meant before there was such a key
    theirs = {key: resolved.get(key, getattr(usual, key)) for key in SHAPE}
    if recipe.method == "qlora" and parent.layers == "lora":  # the same adapters, over the same weights in 4 bits
        theirs["method"] = "qlora"
    if recipe.method == "dpo":  # learns from something else, and has the parent's layers all the same
        theirs["method"] = "dpo"
        if recipe.learning_rate is None and parent.layers == "full":
            recipe = recipe.model_copy(update={"learning_rate": DPO_LEARNING_RATE_OF_FULL})
    for key in recipe.model_fields_set.intersection(SHAPE):
        ours = getattr(recipe, key)
        if ours != theirs[key] and not (key == "model" and ours in (named_by(parent.manifest), _id(parent))):
            raise RecipeError(
                f"{parent.name} was trained with {key} = {theirs[key]}, not {ours}; its weights have that shape",
                fix=f"leave out --{key.replace('_', '-')} (or the key of the recipe file), or train without --from",
            )
    return recipe.model_copy(update={**theirs, "model": named_by(parent.manifest)})


def refuse_another_model(parent: Parent, source: ModelSource) -> None:
    """Raise `ModelError` when the base model is no longer the one that the parent was trained on."""
    if source.sha256 != parent.manifest["model"].get("hash"):
        raise ModelError(
            f"the model {source.id} has changed since {parent.name} was trained on it",
            where=source.folder,
            fix="bring back the model as it was, or train without --from",
        )


def split_as(parent: Parent, conversations: Sequence[Conversation], recipe: Recipe) -> tuple[Split, str]:
    """The split in which the parent's held-out rows are held out again; and a sentence about it."""
    earlier = _earlier(parent)
    parts = split(conversations, heldout_fraction=recipe.heldout, seed=recipe.seed, earlier=earlier)
    as_before = sum(row_hash(row) in earlier.heldout for row in parts.heldout)
    new = len(parts.heldout) - as_before
    mended = sum(row.origin is not None and row.origin.fix is not None for row in parts.train)
    varied = sum(_is_varied(row) and row_hash(row) not in earlier.heldout for row in parts.heldout)
    told = f"going on from {parent.name}: {as_before} rows are held out as they were there, {new} more are new"
    told += f"; {mended} corrected replies are all trained on" if mended else ""
    if varied:
        told += (
            f"; {varied} of those held out were made by `data vary` and may repeat what {parent.name} learned, so the "
            f"held-out loss does not compare with that of a run that begins anew"
        )
    return parts, told


def write_split(folder: Path, parts: Split, parent: Parent | None) -> None:
    """Keep which rows and texts were learned from, here or before, and which rows never were, here or before."""
    before = _earlier(parent) if parent else Earlier()
    trained = before.trained | {row_hash(row) for row in parts.train}
    texts = before.texts.union(*map(text_hashes, parts.train))
    heldout = [row_hash(row) for row in parts.heldout]
    gone = before.heldout - trained - set(heldout)  # a row may come back in the file of a run that goes on from here
    files.write_json(
        folder / SPLIT_FILE,
        {"heldout": [*heldout, *sorted(gone)], "trained": sorted(trained), "texts": sorted(texts)},
    )


def write_split_of_pairs(folder: Path, parent: Parent, learned: Preferences, met: Sequence[Conversation]) -> None:
    """The same for a run that learned from preferences, of rows alone those held out before that were `met` there."""
    before = _earlier(parent)
    said = [text_hashes(pair.conversation(reply)) for pair in learned.pairs for reply in (pair.chosen, pair.rejected)]
    hashes = {row_hash(row) for row in met} & before.heldout
    files.write_json(
        folder / SPLIT_FILE,
        {
            "heldout": sorted(before.heldout - hashes),
            "trained": sorted(before.trained | hashes),
            "texts": sorted(before.texts.union(*said)),
        },
    )


def rows_learned(parent: Parent, loaded: Loaded) -> tuple[list[int], Tensor] | None:
    """The turn tokens whose embedding rows the parent trained, and what the rows are now; None when it did not."""
    adapter = parent.weights / "adapter_config.json"
    if adapter.is_file():
        wanted = json.loads(adapter.read_text(encoding="utf-8")).get("trainable_token_indices") or {}
        ids = [token for tokens in wanted.values() for token in tokens] if isinstance(wanted, dict) else list(wanted)
    else:
        ids = list(parent.manifest.get("turn_rows", ()))
    return (ids, loaded.model.get_input_embeddings().weight[ids].detach().float()) if ids else None


def _earlier(parent: Parent) -> Earlier:
    path = parent.folder / SPLIT_FILE
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        trained, heldout, texts = kept["trained"], kept["heldout"], kept.get("texts", ())  # once there were no texts
        return Earlier(frozenset(map(str, trained)), frozenset(map(str, heldout)), frozenset(map(str, texts)))
    except (OSError, ValueError, RecursionError, KeyError, TypeError) as error:
        raise RunError(
            f"{parent.name} does not say which rows it held out, so they could be trained on",
            where=path,
            fix="train without --from",
        ) from error


def _is_varied(row: Conversation) -> bool:
    made = (row.origin.model_extra or {}) if row.origin else {}
    return bool(made.get("vary")) and made["vary"] != "keep"


def _id(parent: Parent) -> str:
    return str(parent.manifest["model"]["id"])
