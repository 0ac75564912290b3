"""Train a persona, following what happens, and read what came of it.

python examples/train_run.py PERSONA_FOLDER --model starter/gemma-3-270m --epochs 1
"""

import argparse

from personatune import Persona, Recipe, TrainOptions, train
from personatune.training import events


def follow(event: events.Event) -> None:
    """Print the events worth a line; a page or a notebook would draw them."""
    match event:
        case events.Planned():
            print(f"{event.run}: {event.steps} steps, about {event.estimated_bytes / 1e9:.1f} GB of memory")
        case events.Stepped() if event.step % 10 == 0:
            print(f"step {event.step} of {event.steps}: loss {event.loss:.2f}")
        case events.Measured():
            print(f"epoch {event.epoch:g}: held-out loss {event.nll:.2f}{' (best so far)' if event.best else ''}")


def main() -> None:
    """Train one run; the same call goes on where an interrupted one stopped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("persona", help="a persona folder")
    parser.add_argument("--model", default="starter/gemma-3-270m")
    parser.add_argument("--epochs", type=int, default=1)
    asked = parser.parse_args()

    recipe = Recipe(model=asked.model, epochs=asked.epochs, probes=4)
    run = train(Persona.open(asked.persona), recipe, TrainOptions(listen=follow))
    heldout, stop = run.manifest["heldout"], run.manifest["stop"]
    print(f"\n{run.folder}: held-out loss {heldout['nll_before']:.2f} -> {heldout['nll_after']:.2f}")
    print(f"{stop['stopped']} of {stop['probes']} probe replies stopped by themselves")


if __name__ == "__main__":
    main()
