"""What more conversations and bigger models cost: measured, beside what the program forecasts before it starts.

    python benchmarks/scale.py [--rows 100 1000 10000 100000] [--shapes 270m 1b 4b]

Rows: a file of so many conversations is read, checked, split and rendered, each count in a process of its own. Shapes:
a Gemma 3 of the shape with random weights takes a few steps of training; forecast and measurement stand side by side.
Prints one JSON object a line.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent / "data" / "bramble.jsonl"
MODEL = "starter/gemma-3-270m"
SHAPES = {  # Gemma 3's own: hidden size, layers, feed-forward size, heads, key heads
    "270m": (640, 18, 2048, 4, 1),
    "1b": (1152, 26, 6912, 4, 1),
    "4b": (2560, 34, 10240, 8, 4),
}
STEPS = 5


def rows(count: int) -> dict[str, Any]:
    """Seconds and peak memory of everything before the first step, for so many conversations."""
    from personatune.data.doctor import examine
    from personatune.data.load import load
    from personatune.data.render import end_of_turn, render
    from personatune.data.split import split
    from personatune.models import memory
    from personatune.models.load import load_tokenizer
    from personatune.models.resolve import resolve
    from personatune.training import batches

    tokenizer = load_tokenizer(resolve(MODEL))
    found: dict[str, Any] = {"rows": count}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "train.jsonl"
        path.write_text(_conversations(count), encoding="utf-8")
        memory.forget_peak()
        clock = _Clock(found)
        conversations = load(path)
        clock.lap("load")
        examine(conversations)
        clock.lap("check")
        both = split(conversations, heldout_fraction=0.1, seed=0)
        clock.lap("split")
        closing = end_of_turn(tokenizer)
        lengths = [len(render(tokenizer, conversation, closing).token_ids) for conversation in both.train]
        clock.lap("render")
        batches.plan(lengths, epochs=2, batch_size=4, accumulate=1, seed=0)
        clock.lap("plan")
    found["tokens"] = sum(lengths)
    found["peak_bytes"] = memory.peak("cpu")
    return found


class _Clock:
    def __init__(self, found: dict[str, Any]) -> None:
        self._found, self._begun = found, time.perf_counter()

    def lap(self, name: str) -> None:
        self._found[f"seconds_{name}"] = round(time.perf_counter() - self._begun, 2)
        self._begun = time.perf_counter()


def _conversations(count: int) -> str:
    """So many conversations in bramble's words: the sentences of its replies, mixed anew for each."""
    chance = random.Random(0)
    known = [json.loads(line)["messages"] for line in DATA.read_text(encoding="utf-8").splitlines()]
    sentences = [s + "." for messages in known for s in messages[1]["content"].rstrip(".").split(". ")]
    lines = []
    for number in range(count):
        question = chance.choice(known)[0]["content"]
        reply = " ".join(chance.sample(sentences, 5))
        messages = [{"role": "user", "content": f"{question} ({number})"}, {"role": "assistant", "content": reply}]
        lines.append(json.dumps({"messages": messages}))
    return "\n".join(lines) + "\n"


def shape(name: str) -> dict[str, Any]:
    """Seconds a step and peak memory of LoRA on a model of this shape, beside their forecasts."""
    import torch

    from personatune.data.load import load
    from personatune.data.render import render
    from personatune.models import memory
    from personatune.models.load import load_tokenizer
    from personatune.models.resolve import resolve
    from personatune.training import batches, estimate
    from personatune.training.recipe import Recipe
    from personatune.training.trainee import Trainee, collate

    tokenizer = load_tokenizer(resolve(MODEL))
    rendered = [render(tokenizer, conversation) for conversation in load(DATA)][: 4 * STEPS]
    memory.forget_peak()
    recipe = Recipe().resolved()
    trainee = Trainee(_random_gemma(name), recipe)
    trainee.train()
    lengths = [len(row.token_ids) for row in rendered]
    plan = batches.plan(lengths, epochs=1, batch_size=4, accumulate=1, seed=0)
    widest = max(batches.width(lengths[row] for row in batch) * len(batch) for batch in plan.batches)
    used, _ = plan.tokens(lengths)
    labelled = sum(sum(row.labelled) for row in rendered)
    found = {
        "shape": name,
        "parameters": trainee.count()[0],
        "forecast_seconds_a_step": round(estimate.seconds(trainee, used, labelled) / plan.steps, 2),
        "forecast_bytes": estimate.memory(trainee, recipe, widest),
    }
    trained = [p for p in trainee.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=3e-4, fused=True)
    times = []
    for some in plan.batches:
        begun = time.perf_counter()
        (trainee(**collate([rendered[row] for row in some])) / 300).backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        times.append(time.perf_counter() - begun)
    found["seconds_a_step"] = round(sorted(times[1:])[len(times[1:]) // 2], 2)
    found["peak_bytes"] = memory.peak("cpu")
    return found


def _random_gemma(name: str) -> Any:
    import torch
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig
    from transformers.initialization import no_init_weights

    hidden, layers, feed, heads, keys = SHAPES[name]
    config = Gemma3TextConfig(
        vocab_size=262144, hidden_size=hidden, num_hidden_layers=layers, intermediate_size=feed,
        num_attention_heads=heads, num_key_value_heads=keys, head_dim=256, query_pre_attn_scalar=256,
    )  # fmt: skip
    with no_init_weights():
        model = Gemma3ForCausalLM._from_config(config, dtype=torch.bfloat16)
    model.tie_weights()
    noise = torch.randn(1 << 20).mul_(0.02).to(torch.bfloat16)  # repeated: drawing billions of numbers takes minutes
    with torch.no_grad():
        for parameter in model.parameters():
            for part in parameter.view(-1).split(len(noise)):
                part.copy_(noise[: len(part)])
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="*", default=[100, 1000, 10_000, 100_000])
    parser.add_argument("--shapes", nargs="*", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(rows(int(options.one)) if options.one.isdigit() else shape(options.one)))
        return
    for what in [*map(str, options.rows), *options.shapes]:
        done = subprocess.run([sys.executable, __file__, "--one", what], capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"{what}: left out ({done.stderr.strip().splitlines()[-1][:200]})", file=sys.stderr)
        else:
            print(done.stdout.strip().splitlines()[-1], flush=True)


if __name__ == "__main__":
    main()
