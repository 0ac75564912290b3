"""Three questions that the public experiment left open, answered by training: length, kind of row, method.

    python benchmarks/questions.py lengths|statements|methods --into FOLDER [--seeds 0 1 2]

lengths     Pip as written (3 to 127 words) against the same words re-cut to replies of 52 to 76 words.
statements  chat rows against first-person statements of equal labelled tokens, scored on the same unseen chat rows.
methods     LoRA against fine-tuning of all layers.

Every run is made as a user's would be and asked 20 of the suite's prompts, 3 replies each, with min_new_tokens 0 and
50. Runs and replies that are there already are used. Prints a JSON object a run, then one with the arms' means and the
differences between them, each with a 95 % t interval over the seeds.
"""

from __future__ import annotations

import argparse
import json
import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scipy import stats

from personatune import Persona, Recipe, TrainOptions, manifest, settings, sweep, train
from personatune import persona as personas
from personatune.conversation import Conversation, Message
from personatune.data.load import load, to_jsonl
from personatune.data.render import render
from personatune.data.vary import Lengths, vary
from personatune.data.version import version_of
from personatune.evaluation.signals import set_signals_for, signals_for
from personatune.evaluation.signals.resampling import quantile
from personatune.evaluation.suite import load_suite
from personatune.generation.contestants import default_opening
from personatune.models.load import load_run, load_tokenizer
from personatune.models.resolve import resolve
from personatune.sweeping.plan import SweepPlan
from personatune.sweeping.results import measured
from personatune.training.trainee import Trainee

MODEL = "starter/gemma-3-270m"
ARMS: dict[str, dict[str, tuple[str, dict[str, Any]]]] = {
    "lengths": {"as written": ("train", {}), "one length": ("onelength", {})},
    "statements": {"chat": ("chat", {}), "statements": ("statements", {})},
    "methods": {"lora": ("train", {}), "full": ("train", {"method": "full"})},
}
PLAN = SweepPlan(grid={"min_new_tokens": (0, 50)}, prompts=20, samples=3, seed=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("question", choices=ARMS)
    parser.add_argument("--into", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    asked = parser.parse_args()
    settings.apply()
    place = asked.into / "pip"
    persona = Persona.open(place) if place.is_dir() else personas.copy_builtin("pip", place)
    prepare(persona)
    found: dict[str, list[dict[str, float]]] = {}
    for arm, (data, keys) in ARMS[asked.question].items():
        for seed in asked.seeds:
            run = trained(persona, data, {**keys, "seed": seed})
            figures = figures_of(persona, run)
            found.setdefault(arm, []).append(figures)
            print(json.dumps({"arm": arm, "seed": seed, "run": run, **rounded(figures)}), flush=True)
    first, second = found
    summary = {
        name: {
            first: interval([one[name] for one in found[first]]),
            second: interval([one[name] for one in found[second]]),
            "difference": interval([b[name] - a[name] for a, b in zip(found[first], found[second], strict=True)]),
        }
        for name in found[first][0]
        if all(name in one for one in (*found[first], *found[second]))
    }
    print(json.dumps({"question": asked.question, "seeds": asked.seeds, "summary": summary}, indent=1))


def prepare(persona: Persona) -> None:
    """Write the other data sets beside train.jsonl: the same ones each time."""
    pip = load(persona.train_file)
    varied = vary(pip, Lengths(low=52, high=76), seed=0)
    (persona.folder / "onelength.jsonl").write_text("".join(f"{row.to_json()}\n" for row in varied))
    single = [conversation for conversation in pip if len(conversation.replies) == 1]
    random.Random(7).shuffle(single)
    test, chat = single[:40], single[40:]
    lines = (Path(__file__).parent / "data" / "pip-statements.jsonl").read_text("utf-8").splitlines()
    statements = [exchange("Tell me something.", json.loads(line)["statement"]) for line in lines]
    random.Random(7).shuffle(statements)
    tokenizer = load_tokenizer(resolve(MODEL, lambda *_: None))

    def labelled(conversation: Conversation) -> int:
        return sum(render(tokenizer, conversation).labelled)

    budget = min(sum(map(labelled, chat)), sum(map(labelled, statements)))
    for name, rows in (("chat", chat), ("statements", statements), ("test", test)):
        kept, used = [], 0
        for row in rows:
            if name == "test" or used + labelled(row) <= budget:
                kept.append(row)
                used += labelled(row)
        (persona.folder / f"{name}.jsonl").write_text(to_jsonl(kept))


def exchange(prompt: str, reply: str) -> Conversation:
    return Conversation(messages=(Message(role="user", content=prompt), Message(role="assistant", content=reply)))


def trained(persona: Persona, data: str, keys: dict[str, Any]) -> str:
    """The run of this data and recipe: one that is there, or a new one."""
    file = persona.folder / f"{data}.jsonl"
    version = version_of(load(file))
    recipe = Recipe(**keys)
    for folder in sorted(persona.runs_folder.glob("r*/model")):
        made = manifest.read(folder.parent)
        same = made["recipe"]["resolved"] == recipe.resolved().model_dump(mode="json")
        if same and made["data"]["version"] == version and made["status"] == "finished":
            return str(made["run"])
    return train(persona, recipe, TrainOptions(data=file)).name


def figures_of(persona: Persona, run: str) -> dict[str, float]:
    """What its replies are like; lengths in words, shares from 0 to 1."""
    made = manifest.read(persona.runs_folder / run)
    swept = sweep(persona, run, PLAN)
    conversations = load(persona.folder / made["data"]["file"])
    at = {result.point.parameters["min_new_tokens"]: result for result in measured(swept, signals_for(conversations))}
    free, forced = at[0], at[50]
    samples = [one.swept.sample for one in free.samples]
    words = free.words
    figures = {
        "words: median": quantile(words, 0.5),
        "words: one in ten below": quantile(words, 0.1),
        "words: one in ten above": quantile(words, 0.9),
        "words: within 52 to 76": sum(52 <= n <= 76 for n in words) / len(words),
        "words: median with min_new_tokens 50": quantile(forced.words, 0.5),
        "seconds": made["seconds"]["train"],
        "held-out bits a byte": made["heldout"]["bits_per_byte_after"],
        "unseen chat rows, bits a byte": bits_a_byte(persona, run),
    }
    figures |= {name: rate.rate for name, rate in free.signals.items()}
    as_written = load(persona.train_file)
    for signal in set_signals_for(as_written, load_suite(persona.suite_file)):
        if signal.name in ("voice", "diversity"):
            figures |= {f.name: f.value for f in signal.figures(samples) if f.value is not None}
    # Statements all follow one prompt, so they are one group of the split and none of them is held out.
    return {name: value for name, value in figures.items() if value is not None}


def bits_a_byte(persona: Persona, run: str) -> float:
    """How well the run predicts 40 chat rows; for the runs on train.jsonl these are not unseen."""
    made = manifest.read(persona.runs_folder / run)
    source = resolve(made["model"]["id"], lambda *_: None)
    loaded = load_run(source, persona.runs_folder / run / "model", default_opening().compute)
    test = load(persona.folder / "test.jsonl")
    rows = [render(loaded.tokenizer, conversation) for conversation in test]
    nats = Trainee(loaded.model).nll(rows) * sum(sum(row.labelled) for row in rows)
    return nats / (math.log(2) * sum(len(reply.encode()) for c in test for reply in c.replies))


def interval(values: Sequence[float]) -> dict[str, float | None]:
    """Mean and 95 % t interval over seeds."""
    mean = sum(values) / len(values)
    if len(values) < 2:
        return {"mean": round(mean, 4), "low": None, "high": None}
    low, high = (
        stats.t.interval(0.95, len(values) - 1, mean, stats.sem(values)) if len(set(values)) > 1 else (mean, mean)
    )
    return {"mean": round(mean, 4), "low": round(float(low), 4), "high": round(float(high), 4)}


def rounded(figures: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in figures.items()}


if __name__ == "__main__":
    main()
