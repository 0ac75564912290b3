"""Does learning from votes help at this size? Simulated votes, because a measurement must be repeatable.

    python benchmarks/votes.py --into FOLDER [--taste topical|brief] [--pairs 60] [--learning-rates 5e-5] [--epochs 3]

A run of Pip answers prompts that it has never met (those of another built-in character) twice each; a scripted judge
says which of the two replies it prefers, and is wrong about one vote in seven, as people are. A run learns from these
votes. Then both runs answer other prompts with the same seeds, and the same judge, this time without mistakes, compares
the replies without being told whose they are. The judge's taste is one of two:

topical  of two replies, the one that is nearer in meaning to what was said (MiniLM); hard to learn.
brief    the one whose number of words is nearer to 20; easy to learn.

Neither is a person's taste. Prints a JSON object a learning rate. The parent is the newest finished run in FOLDER/pip
that is not one of these, or else is trained first.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from personatune import Persona, Recipe, TrainOptions, manifest, open_contestant, settings, train
from personatune import persona as personas
from personatune.conversation import Message
from personatune.data.load import load
from personatune.data.normalise import normalised, word_count
from personatune.data.preferences import Preference, Preferences
from personatune.evaluation.signals import signals_for
from personatune.evaluation.signals.signal import Signal
from personatune.generation.contestants import run_names
from personatune.generation.engine import Sample

MECHANICAL = ("finished", "empty", "turn_leak", "loop")
WRONG = 1 / 7
Judge = Callable[[str, str], float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--into", type=Path, required=True)
    parser.add_argument("--taste", choices=("topical", "brief"), default="topical")
    parser.add_argument("--pairs", type=int, default=60)
    parser.add_argument("--prompts", type=int, default=60, help="other prompts, for the comparison")
    parser.add_argument("--learning-rates", type=float, nargs="+", default=[5e-5])
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--beta", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    settings.apply()
    place = asked.into / "pip"
    persona = Persona.open(place) if place.is_dir() else personas.copy_builtin("pip", place)
    parent = supervised(persona) or train(persona, Recipe(epochs=1)).name
    prompts = unmet(persona, asked.seed)
    voted, others = prompts[: asked.pairs], prompts[asked.pairs : asked.pairs + asked.prompts]
    taste = {"topical": topical, "brief": brief}[asked.taste]()
    signals = [one for one in signals_for(load(persona.train_file)) if one.name in MECHANICAL]

    before = replies(persona, parent, [(text, seed) for text in voted for seed in (1, 2)] + [(t, 3) for t in others])
    print(json.dumps({"replies": len(before), "by": parent}), flush=True)
    pairs = vote(before[: 2 * len(voted)], taste, signals, asked.seed)
    before = before[2 * len(voted) :]
    for rate in asked.learning_rates:
        recipe = Recipe(method="dpo", epochs=asked.epochs, learning_rate=rate, beta=asked.beta, seed=asked.seed)
        run = train(persona, recipe, TrainOptions(parent=parent, preferences=Preferences("simulated", tuple(pairs))))
        after = replies(persona, run.name, [(text, 3) for text in others])
        made = run.manifest
        print(
            json.dumps(
                {
                    "taste": asked.taste,
                    "learning_rate": rate,
                    "epochs": asked.epochs,
                    "beta": asked.beta,
                    "parent": parent,
                    "run": run.name,
                    "pairs": made["preferences"],
                    "other prompts": compared(before, after, taste),
                    "held-out nats a token": [made["heldout"]["nll_before"], made["heldout"]["nll_after"]],
                    "mechanical faults": [faults(side, signals) for side in (before, after)],
                    "words": [statistics.median(word_count(s.reply) for s in side) for side in (before, after)],
                    "seconds": made["seconds"]["train"],
                    "peak_gb": round(made["peak_memory_bytes"] / 1e9, 2),
                    "examples": [
                        [a.messages[-1].content, a.reply, b.reply] for a, b in zip(before[:5], after[:5], strict=True)
                    ],
                }
            ),
            flush=True,
        )


def supervised(persona: Persona) -> str | None:
    """The newest finished run that did not learn from votes."""
    for name in reversed(run_names(persona)):
        if manifest.read(persona.runs_folder / name)["recipe"]["resolved"]["method"] != "dpo":
            return name
    return None


def unmet(persona: Persona, seed: int) -> list[str]:
    """First prompts of the lighthouse keeper's conversations that Pip has never met, in an order drawn by `seed`."""
    known = {normalised(prompt) for row in load(persona.train_file) for prompt in row.prompts}
    rows = load(Path(personas.__file__).parent / "personas" / "keeper" / "train.jsonl")
    found = {normalised(row.prompts[0]): row.prompts[0] for row in rows}
    texts = [text for key, text in sorted(found.items()) if key not in known]
    random.Random(seed).shuffle(texts)
    return texts


def replies(persona: Persona, run: str, asked: Sequence[tuple[str, int]]) -> list[Sample]:
    """One reply to each (prompt, seed)."""
    who = open_contestant(persona, run)
    requests = [
        who.request((Message(role="user", content=text),), who.params.model_copy(update={"seed": 1000 * seed + number}))
        for number, (text, seed) in enumerate(asked)
    ]
    return who.engine.generate(requests)


def vote(samples: Sequence[Sample], taste: Judge, signals: Sequence[Signal], seed: int) -> list[Preference]:
    """A vote on each two neighbours; pairs with a mechanical fault, and equal ones, are set aside."""
    chance = random.Random(f"votes {seed}")
    found = []
    for one, other in zip(samples[::2], samples[1::2], strict=True):
        prompt = one.messages
        lead = taste(prompt[-1].content, one.reply) - taste(prompt[-1].content, other.reply)
        if faults([one, other], signals) or lead == 0 or one.reply == other.reply:
            continue
        if chance.random() < WRONG:
            lead = -lead
        chosen, rejected = (one, other) if lead > 0 else (other, one)
        found.append(Preference(prompt=prompt, chosen=chosen.reply, rejected=rejected.reply))
    return found


def faults(samples: Sequence[Sample], signals: Sequence[Signal]) -> int:
    return sum(any(signal.fires(sample) for signal in signals) for sample in samples)


def compared(before: Sequence[Sample], after: Sequence[Sample], taste: Judge) -> dict[str, Any]:
    """How often the later reply is preferred, with a Wilson interval of 95 %; ties are left out."""
    leads = [
        taste(a.messages[-1].content, b.reply) - taste(a.messages[-1].content, a.reply)
        for a, b in zip(before, after, strict=True)
    ]
    wins, losses = sum(lead > 0 for lead in leads), sum(lead < 0 for lead in leads)
    n, z = wins + losses, 1.96
    share = wins / n if n else 0.5
    middle, half = share + z * z / (2 * n), z * (share * (1 - share) / n + z * z / (4 * n * n)) ** 0.5
    low, high = ((middle + sign * half) / (1 + z * z / n) for sign in (-1, 1))
    same = sum(a.reply == b.reply for a, b in zip(before, after, strict=True))
    return {
        "wins": wins,
        "losses": losses,
        "ties": len(leads) - n,
        "the same reply": same,
        "win rate": round(share, 3),
        "from": round(low, 3),
        "to": round(high, 3),
        "mean lead": round(statistics.fmean(leads), 4),
    }


def brief() -> Judge:
    return lambda _prompt, reply: -abs(word_count(reply) - 20)


def topical() -> Judge:
    from personatune.models.embedder import open_embedder

    embed = open_embedder()

    def nearness(prompt: str, reply: str) -> float:
        one, other = embed([prompt, reply])
        return float(sum(a * b for a, b in zip(one, other, strict=True)))

    return nearness


if __name__ == "__main__":
    main()
