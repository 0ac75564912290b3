"""Seconds a training step: ours, a bare PyTorch loop, and TRL's SFTTrainer with its defaults, in one run.

    python benchmarks/step_time.py [--steps 8] [--repeats 3] [--with-trl]

Same model (the starter), same rows, same batches, LoRA rank 16 for all but TRL's defaults, whose recipe is its
own. Prints one JSON object last: medians in seconds, ratios to ours, and the peak memory of each process.
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

DATA = Path(__file__).parent / "data" / "bramble.jsonl"
BATCH = 4


def batches(steps: int):
    from personatune.data.load import load
    from personatune.data.render import render
    from personatune.models.device import choose
    from personatune.models.load import load_base
    from personatune.models.resolve import resolve

    loaded = load_base(resolve("starter/gemma-3-270m"), choose())
    rows = [render(loaded.tokenizer, conversation) for conversation in load(DATA)]
    return loaded, rows[: steps * BATCH]


def ours(steps: int) -> list[float]:
    from threading import Event

    from personatune.models.turn_tokens import rows_to_learn
    from personatune.training import trainer
    from personatune.training.batches import plan
    from personatune.training.events import Stepped
    from personatune.training.recipe import Recipe
    from personatune.training.trainee import Trainee

    loaded, rows = batches(steps)
    recipe = Recipe(epochs=1, heldout=0.0).resolved()
    trainee = Trainee(loaded.model, recipe, rows_to_learn(loaded.model, loaded.tokenizer, rows, 106))
    trainee.train()
    lengths = [len(row.token_ids) for row in rows]
    the_plan = plan(lengths, epochs=1, batch_size=BATCH, accumulate=1, seed=0)
    ends: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        watch = trainer.Watch(
            Path(folder), the_plan, lengths, [], recipe,
            lambda event: ends.append(time.perf_counter()) if isinstance(event, Stepped) else None, Event(),
        )  # fmt: skip
        the_trainer, reporter = trainer.build(trainee, watch, rows, "cpu")
        the_trainer.train()
        reporter.close()
    return [b - a for a, b in itertools.pairwise(ends)]


def bare(steps: int) -> list[float]:
    import torch
    from peft import LoraConfig, get_peft_model
    from torch.nn.functional import cross_entropy, linear

    from personatune.training.trainee import collate

    loaded, rows = batches(steps)
    model = get_peft_model(loaded.model, LoraConfig(r=16, lora_alpha=32, target_modules="all-linear"))
    model.train()
    causal = model.get_base_model()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=3e-4)
    times = []
    for start in range(0, len(rows), BATCH):
        begun = time.perf_counter()
        batch = collate(rows[start : start + BATCH])
        hidden = causal.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
        labels = batch["labels"][:, 1:]
        logits = linear(hidden[:, :-1][labels != -100], causal.lm_head.weight)
        cross_entropy(logits.float(), labels[labels != -100]).backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        times.append(time.perf_counter() - begun)
    return times[1:]


def trl(steps: int) -> list[float]:
    """TRL as its quick start uses it: fp32, all weights, gradient checkpointing, loss on the reply."""
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    from personatune.models.device import choose
    from personatune.models.load import load_tokenizer
    from personatune.models.resolve import resolve

    assert choose()
    source = resolve("starter/gemma-3-270m")
    lines = [json.loads(line) for line in DATA.read_text().splitlines()][: steps * BATCH]
    rows = [{"prompt": r["messages"][:1], "completion": r["messages"][1:]} for r in lines]
    times: list[float] = []

    class Clock(TrainerCallback):
        def on_step_begin(self, args, state, control, **kwargs):
            self.begun = time.perf_counter()

        def on_step_end(self, args, state, control, **kwargs):
            times.append(time.perf_counter() - self.begun)

    with tempfile.TemporaryDirectory() as folder:
        config = SFTConfig(
            folder, per_device_train_batch_size=BATCH, max_steps=steps, use_cpu=True, report_to=[], save_strategy="no",
            disable_tqdm=True,
        )  # fmt: skip
        SFTTrainer(
            model=AutoModelForCausalLM.from_pretrained(source.folder, dtype="float32"),
            args=config,
            train_dataset=Dataset.from_list(rows),
            processing_class=load_tokenizer(source),
            callbacks=[Clock()],
        ).train()
    return times[1:]


WAYS = {"ours": ours, "bare": bare, "trl": trl}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--with-trl", action="store_true", help="needs: pip install trl datasets")
    parser.add_argument("--only", choices=WAYS)
    options = parser.parse_args()
    if options.only:
        times = WAYS[options.only](options.steps)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps({"seconds": statistics.median(times), "peak_bytes": peak}))
        return
    found: dict[str, list[dict[str, float]]] = {}
    for _ in range(options.repeats):  # interleaved: a slow minute of the machine hits all of them
        for way in ["ours", "bare", *(["trl"] if options.with_trl else [])]:
            command = [sys.executable, __file__, "--only", way, "--steps", str(options.steps)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found.setdefault(way, []).append(json.loads(done.stdout.strip().splitlines()[-1]))
            print(way, found[way][-1], file=sys.stderr)
    median = {way: statistics.median(r["seconds"] for r in runs) for way, runs in found.items()}
    summary = {
        "seconds_a_step": median,
        "times_slower_than_ours": {way: round(s / median["ours"], 2) for way, s in median.items()},
        "peak_gigabytes": {way: round(max(r["peak_bytes"] for r in runs) / 1e9, 2) for way, runs in found.items()},
    }
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
