"""Train, and be killed at one moment after the other: PERSONA_FOLDER RECIPE_JSON MOMENT...

Each attempt is a process of its own, forked before anything is computed, so that the libraries are
imported once. Prints how every attempt ended.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from personatune.persona import Persona
from personatune.training.events import Event, Stepped
from personatune.training.recipe import Recipe
from personatune.training.run import TrainOptions, train


def die(*_: Any, **__: Any) -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("survived")


def in_a_step(event: Event) -> None:
    if isinstance(event, Stepped) and event.step == 2:
        die()


def before_a_checkpoint_is_marked() -> None:
    from personatune.training import trainer

    mark = trainer.mark_whole
    trainer.mark_whole = lambda folder, step: die() if step == 4 else mark(folder, step)


def in_the_middle_of_a_checkpoint() -> None:
    from personatune.training.trainee import Trainee

    save = Trainee.save_trainable

    def torn(trainee: Trainee, folder: Path) -> None:
        save(trainee, folder)
        if folder.name == "checkpoint-5":
            file = folder / "trainable.safetensors"
            file.write_bytes(file.read_bytes()[:100])
            die()

    Trainee.save_trainable = torn  # type: ignore[method-assign]


def before_a_rename_of(name: str) -> Callable[[], None]:
    """What was there before is gone by then, and the new is not in its place."""

    def patch() -> None:
        rename = Path.rename

        def dying(path: Path, target: Path) -> Path:
            return die() if path.name == name else rename(path, target)

        Path.rename = dying  # type: ignore[method-assign, assignment]

    return patch


def before_the_probes() -> None:
    from personatune.training import probe

    probe.probe = die


MOMENTS: dict[str, Callable[[], None] | None] = {
    "in-a-step": None,
    "before-a-checkpoint-is-marked": before_a_checkpoint_is_marked,
    "in-the-middle-of-a-checkpoint": in_the_middle_of_a_checkpoint,
    "while-replacing-the-best-weights": before_a_rename_of("best.new"),
    "while-saving-the-model": before_a_rename_of("model.new"),
    "before-the-probes": before_the_probes,
}


def attempt(folder: Path, recipe: Recipe, moment: str) -> None:
    from personatune.training import trainer

    trainer.CHECKPOINT_SECONDS, trainer.CHECKPOINT_SHARE = 0.0, float("inf")
    patch = MOMENTS[moment]
    if patch:
        patch()
    train(Persona.open(folder), recipe, TrainOptions(listen=in_a_step) if not patch else None)


def main(folder: str, recipe: str, *moments: str) -> None:
    import torch

    import personatune.models.load
    import personatune.training.probe
    import personatune.training.trainer  # noqa: F401

    torch.set_num_threads(1)
    for moment in moments:
        child = os.fork()
        if child == 0:
            try:
                attempt(Path(folder), Recipe.model_validate_json(recipe), moment)
            finally:
                os._exit(1)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
