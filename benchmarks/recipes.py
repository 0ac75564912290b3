"""Held-out loss along the way for some recipes, on one character: what to stop and select on.

    python benchmarks/recipes.py [--persona FOLDER_OR_FILE] [--epochs 2] [--only NAME ...] [--into FOLDER]

Each recipe trains through `personatune.train` as a user's would; with --into the characters are kept there, one a
recipe, to be heard and evaluated. Prints
one JSON object a recipe as it is finished: held-out nats per token before, at every half epoch, and what was kept.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from personatune import Persona, Recipe, settings, train
from personatune import persona as personas
from personatune.data.load import load, to_jsonl
from personatune.training.checkpoints import read_metrics

RECIPES = {
    "lora-1e-4": {"learning_rate": 1e-4},
    "lora-3e-4": {"learning_rate": 3e-4},
    "lora-5e-4": {"learning_rate": 5e-4},
    "lora-1e-3": {"learning_rate": 1e-3},
    "lora-3e-4-dropout": {"learning_rate": 3e-4, "lora_dropout": 0.1},
    "lora-3e-4-rank-64": {"learning_rate": 3e-4, "lora_rank": 64, "lora_alpha": 64},
    "lora-3e-4-cosine": {"learning_rate": 3e-4, "schedule": "cosine"},
    "vocab-65536": {"vocab": 65536},
    "vocab-49152": {"vocab": 49152},
    "vocab-32768": {"vocab": 32768},
    "full-2e-5": {"method": "full", "learning_rate": 2e-5},
    "full-5e-5": {"method": "full", "learning_rate": 5e-5},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--persona", type=Path, default=Path(__file__).parent / "data" / "bramble.jsonl")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--into", type=Path)
    options = parser.parse_args()
    settings.apply()
    data = options.persona if options.persona.is_file() else Persona.open(options.persona).train_file
    for name in options.only:
        with tempfile.TemporaryDirectory() as folder:
            place = (options.into or Path(folder)) / name
            personas.create(place, display_name="Character", train_jsonl=to_jsonl(load(data)), suite_yaml=None)
            recipe = Recipe(epochs=options.epochs, probes=12, seed=options.seed, **RECIPES[name])
            run = train(Persona.open(place), recipe)
            path = {m["epoch"]: round(m["heldout_nll"], 3) for m in read_metrics(run.folder) if "heldout_nll" in m}
            heldout, stop = run.manifest["heldout"], run.manifest["stop"]
            print(
                json.dumps(
                    {
                        "recipe": name,
                        "data": data.name,
                        "before": round(heldout["nll_before"], 3),
                        "by_epoch": path,
                        "bits_per_byte": round(heldout["bits_per_byte_after"], 4),
                        "bits_per_byte_before": round(heldout["bits_per_byte_before"], 4),
                        "kept_epoch": heldout["best_epoch"],
                        "stopped": f"{stop['stopped']} of {stop['probes']}",
                        "seconds": run.manifest["seconds"]["train"],
                        "peak_gigabytes": round(run.manifest["peak_memory_bytes"] / 1e9, 2),
                    }
                ),
                flush=True,
            )


if __name__ == "__main__":
    main()
