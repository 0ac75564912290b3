"""Teach a small language model to talk like one character, on your own computer.

The public names load on first use, so that `import personatune` costs nothing:

    from personatune import Persona, Recipe, train

    run = train(Persona.open("pip"), Recipe(epochs=2))
    print(run.manifest["heldout"])
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from personatune.conversation import Conversation as Conversation
    from personatune.conversation import Message as Message
    from personatune.data.load import load as load
    from personatune.errors import PersonatuneError as PersonatuneError
    from personatune.evaluation.evaluate import evaluate as evaluate
    from personatune.evaluation.suite import load_suite as load_suite
    from personatune.generation.contestants import open_contestant as open_contestant
    from personatune.generation.params import GenerationParams as GenerationParams
    from personatune.persona import Persona as Persona
    from personatune.store.store import Store as Store
    from personatune.sweeping.plan import SweepPlan as SweepPlan
    from personatune.sweeping.run import sweep as sweep
    from personatune.training.recipe import Recipe as Recipe
    from personatune.training.run import Run as Run
    from personatune.training.run import TrainOptions as TrainOptions
    from personatune.training.run import train as train

_HOMES = {
    "Conversation": "personatune.conversation",
    "GenerationParams": "personatune.generation.params",
    "Message": "personatune.conversation",
    "Persona": "personatune.persona",
    "PersonatuneError": "personatune.errors",
    "Recipe": "personatune.training.recipe",
    "Run": "personatune.training.run",
    "Store": "personatune.store.store",
    "SweepPlan": "personatune.sweeping.plan",
    "TrainOptions": "personatune.training.run",
    "evaluate": "personatune.evaluation.evaluate",
    "load": "personatune.data.load",
    "load_suite": "personatune.evaluation.suite",
    "open_contestant": "personatune.generation.contestants",
    "sweep": "personatune.sweeping.run",
    "train": "personatune.training.run",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'personatune' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
