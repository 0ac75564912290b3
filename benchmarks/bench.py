"""Training and generation against what people would use instead, in one run on this machine.

    python benchmarks/bench.py [--repeats 1] [--only NAME ...] [--heldout]

Every way runs in a process of its own, in turns, so that a slow minute of the machine hits all of them. Whole
trainings are ours (full vocabulary, and 32,768 tokens); a slow rival takes a few steps, from which its whole training
follows. --heldout also trains as the public recipe and as TRL do, for held-out bits a byte: a quarter of an hour more.
Prints a table on stderr and one JSON object last: medians, ratios by name, shares of the machine's own peak.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent / "data" / "bramble.jsonl"
MODEL = "starter/gemma-3-270m"
BATCH = 4
STEPS = 6
"""Steps that a way is timed for; the first two warm up."""
POINTS, SAMPLES, TOKENS = 7, 5, 120


def parts() -> tuple[Any, list[Any], list[Any], list[Any]]:
    """The model (on the processor), rows to train on, held-out rows, and their conversations."""
    from personatune.data.load import load
    from personatune.data.render import end_of_turn, render
    from personatune.data.split import split
    from personatune.models.device import choose
    from personatune.models.load import load_base
    from personatune.models.resolve import resolve

    loaded = load_base(resolve(MODEL), choose("cpu"))
    both = split(load(DATA), heldout_fraction=0.1, seed=0)
    closing = end_of_turn(loaded.tokenizer)
    rows = [[render(loaded.tokenizer, c, closing) for c in part] for part in (both.train, both.heldout)]
    return loaded, rows[0], rows[1], both.heldout


def timed(step: Callable[[int], Any], steps: int = STEPS) -> dict[str, Any]:
    """Seconds of each step but the first two."""
    times = []
    for number in range(steps):
        begun = time.perf_counter()
        step(number)
        times.append(time.perf_counter() - begun)
    return {"seconds_a_step": statistics.median(times[2:])}


# --- the machine ---------------------------------------------------------------------------------------------


def peak() -> dict[str, Any]:
    """GFLOP/s of a 2048-cubed matrix product in bf16 and fp32; GB/s of reading and writing 1 GB."""
    import torch

    found = {}
    for name, dtype in (("bf16", torch.bfloat16), ("fp32", torch.float32)):
        a, b = torch.randn(2, 2048, 2048).to(dtype)
        best = min(_seconds(lambda a=a, b=b: a @ b) for _ in range(10))
        found[f"{name}_gflops"] = 2 * 2048**3 / best / 1e9
    block = torch.zeros(128 << 20)
    found["copy_gigabytes_a_second"] = 2 * block.nbytes / min(_seconds(block.clone) for _ in range(5)) / 1e9
    return found


def _seconds(call: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


# --- training ------------------------------------------------------------------------------------------------


def ours(vocabulary: str = "full", epochs: int = 5) -> dict[str, Any]:
    """A whole `train` of `epochs`, its held-out measurements included."""
    from personatune import Persona, Recipe, settings, train
    from personatune import persona as personas
    from personatune.data.load import load, to_jsonl

    settings.apply()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "character"
        personas.create(place, display_name="Character", train_jsonl=to_jsonl(load(DATA)), suite_yaml=None)
        size: Any = vocabulary if vocabulary == "full" else int(vocabulary)
        made = train(Persona.open(place), Recipe(epochs=epochs, probes=0, vocab=size, device="cpu")).manifest
    body, head = _parameters(made["vocabulary"]["size"])
    tokens, labelled = made["tokens"]["trained"], made["tokens"]["labelled"]
    return {
        "seconds": made["seconds"]["train"],
        "seconds_load": made["seconds"]["load"],
        "steps": made["steps"],
        "seconds_a_step": made["seconds"]["train"] / made["steps"],
        "peak_bytes": made["peak_memory_bytes"],
        "heldout_bits_per_byte": made["heldout"]["bits_per_byte_after"],
        "best_epoch": made["heldout"]["best_epoch"],
        # forward, and backward to the activations: the weights themselves are frozen
        "model_flops": 4 * body * tokens + 4 * head * labelled,
        "tokens_a_second": tokens / made["seconds"]["train"],
    }


def _parameters(vocabulary: int) -> tuple[int, int]:
    """Weights of Gemma 3 270M's layers, and of an output layer for so many tokens."""
    hidden, layers, feed, query, key = 640, 18, 2048, 1024, 256
    return layers * hidden * (3 * feed + 2 * query + 2 * key), vocabulary * hidden


def bare() -> dict[str, Any]:
    """A plain PyTorch loop at our recipe: PEFT's LoRA on bf16 weights, labelled positions through the output layer."""
    import torch
    from peft import LoraConfig, get_peft_model
    from torch.nn.functional import cross_entropy, linear

    from personatune.training.trainee import collate

    loaded, rows, _, _ = parts()
    model = get_peft_model(loaded.model, LoraConfig(r=16, lora_alpha=32, target_modules="all-linear"))
    model.train()
    causal = model.get_base_model()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=3e-4)

    def step(number: int) -> None:
        batch = collate(rows[number * BATCH : (number + 1) * BATCH])
        hidden = causal.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
        labels = batch["labels"][:, 1:]
        logits = linear(hidden[:, :-1][labels != -100], causal.lm_head.weight)
        cross_entropy(logits.float(), labels[labels != -100]).backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    return timed(step, 12)


def public() -> dict[str, Any]:
    """The public experiment's recipe: padded to 512, loss on every token, fp32, checkpointing, AdamW on all weights."""
    import torch

    model, optimiser, rows, _, _ = _all_weights()
    model.gradient_checkpointing_enable()

    def step(number: int) -> None:
        some = rows[number * BATCH : (number + 1) * BATCH]
        ids = torch.zeros(BATCH, 512, dtype=torch.int64)
        mask = torch.zeros_like(ids)
        for row, one in enumerate(some):
            ids[row, : len(one.token_ids)] = torch.tensor(one.token_ids)
            mask[row, : len(one.token_ids)] = 1
        model(input_ids=ids, attention_mask=mask, labels=ids.masked_fill(mask == 0, -100)).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    return timed(step, 4)


def public_heldout() -> dict[str, Any]:
    """Held-out bits a byte of the public recipe after each of two epochs, of five that its schedule is for."""
    return _heldout(learning_rate=5e-5, epochs=2, scheduled=5, every_token=True)


def trl_heldout() -> dict[str, Any]:
    """The same for TRL's defaults: three epochs at 2e-5, loss on the replies."""
    return _heldout(learning_rate=2e-5, epochs=3, scheduled=3, every_token=False)


def _heldout(learning_rate: float, epochs: int, scheduled: int, *, every_token: bool) -> dict[str, Any]:
    """All weights trained in fp32 by a plain loop, without padding, which changes no loss."""
    import torch

    from personatune.training.trainee import Trainee, collate

    model, optimiser, rows, heldout, conversations = _all_weights(learning_rate)
    spoken = sum(len(m.content.encode()) for c in conversations for m in c.messages if m.role == "assistant")
    labelled = sum(sum(row.labelled) for row in heldout)
    steps = scheduled * math.ceil(len(rows) / BATCH)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: max(0.0, 1 - step / steps))
    found = []
    for epoch in range(epochs):
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(epoch)).tolist()
        model.train()
        for start in range(0, len(rows), BATCH):
            batch = collate([rows[row] for row in order[start : start + BATCH]])
            if every_token:
                batch["labels"] = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
            model(**batch).loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            optimiser.zero_grad(set_to_none=True)
        with torch.no_grad():
            found.append(Trainee(copy.deepcopy(model)).nll(heldout) * labelled / math.log(2) / spoken)
    return {"heldout_bits_per_byte": min(found), "by_epoch": found}


def _all_weights(learning_rate: float = 5e-5) -> tuple[Any, Any, list[Any], list[Any], list[Any]]:
    import torch

    loaded, rows, heldout, conversations = parts()
    model = loaded.model.float()
    model.train()
    return model, torch.optim.AdamW(model.parameters(), lr=learning_rate), rows, heldout, conversations


def trl() -> dict[str, Any]:
    """TRL's SFTTrainer with its defaults (needs: pip install trl datasets)."""
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    from personatune.models.load import load_tokenizer
    from personatune.models.resolve import resolve

    source = resolve(MODEL)
    rows = []
    for line in DATA.read_text(encoding="utf-8").splitlines()[: STEPS * BATCH]:
        messages = json.loads(line)["messages"]
        rows.append({"prompt": messages[:1], "completion": messages[1:]})
    times: list[float] = []

    class Clock(TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.begun = time.perf_counter()

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            times.append(time.perf_counter() - self.begun)

    with tempfile.TemporaryDirectory() as folder:
        config = SFTConfig(
            folder, per_device_train_batch_size=BATCH, max_steps=STEPS, use_cpu=True, report_to=[], save_strategy="no",
            disable_tqdm=True,
        )  # fmt: skip
        SFTTrainer(
            model=AutoModelForCausalLM.from_pretrained(source.folder, dtype="float32"),
            args=config,
            train_dataset=Dataset.from_list(rows),
            processing_class=load_tokenizer(source),
            callbacks=[Clock()],
        ).train()
    return {"seconds_a_step": statistics.median(times[2:])}


# --- generation ----------------------------------------------------------------------------------------------


def sweep() -> dict[str, Any]:
    """7 parameter points x 5 prompts of up to 120 tokens, through our engine at once."""
    from personatune.conversation import Message
    from personatune.generation.engine import Request
    from personatune.generation.local import LocalEngine
    from personatune.generation.params import GenerationParams

    loaded, _, _, conversations = parts()
    engine = LocalEngine(loaded.model, loaded.tokenizer, ())  # nothing stops: every reply has all its tokens
    requests = [
        Request(
            messages=(Message(role="user", content=conversations[prompt].messages[0].content),),
            params=GenerationParams(temperature=0.4 + 0.1 * point, max_new_tokens=TOKENS, seed=point),
        )
        for point in range(POINTS)
        for prompt in range(SAMPLES)
    ]
    begun = time.perf_counter()
    samples = engine.generate(requests)
    seconds = time.perf_counter() - begun
    tokens = sum(len(sample.token_ids) for sample in samples)
    return {"seconds": seconds, "tokens": tokens, "tokens_a_second": tokens / seconds}


def one_at_a_time() -> dict[str, Any]:
    """transformers' generate, one prompt after the other, on the same bf16 weights: three of the 35."""
    import torch

    from personatune.data.render import prompt_ids

    loaded, _, _, conversations = parts()
    begun, tokens = 0.0, 0
    for number in range(4):
        ids = torch.tensor([prompt_ids(loaded.tokenizer, conversations[number].messages[:1])])
        if number == 1:
            begun = time.perf_counter()
        with torch.inference_mode():
            out = loaded.model.generate(
                ids, do_sample=True, temperature=0.8, top_k=64, top_p=0.95, repetition_penalty=1.1,
                max_new_tokens=TOKENS, min_new_tokens=TOKENS, pad_token_id=0,
            )  # fmt: skip
        tokens += out.shape[1] - ids.shape[1] if number else 0
    return {"tokens_a_second": tokens / (time.perf_counter() - begun)}


def llama_cpp() -> dict[str, Any]:
    """llama.cpp on the starter's own file (Q4_K_M), one reply at a time (needs: pip install xllamacpp)."""
    return _llama_cpp(at_once=1, replies=5)


def llama_cpp_sweep() -> dict[str, Any]:
    """The same, 35 replies of which 8 are in work at any time."""
    return _llama_cpp(at_once=8, replies=POINTS * SAMPLES)


def _llama_cpp(at_once: int, replies: int) -> dict[str, Any]:
    from concurrent.futures import ThreadPoolExecutor

    import xllamacpp

    from personatune.data.load import load
    from personatune.models.starter import STARTERS, assemble

    place = Path(tempfile.mkdtemp()) / "starter.gguf"
    assemble(STARTERS[MODEL.removeprefix("starter/")], place)
    params = xllamacpp.CommonParams()
    params.model.path = str(place)
    params.n_ctx, params.n_parallel, params.cpuparams.n_threads = 512 * at_once, at_once, 2
    server = xllamacpp.Server(params)
    prompts = [c.messages[0].content for c in load(DATA)]

    def reply(number: int) -> int:
        done = server.handle_completions(
            {"prompt": prompts[number], "max_tokens": TOKENS, "ignore_eos": True, "temperature": 0.8, "top_k": 64}
        )
        return int(done["usage"]["completion_tokens"])

    reply(0)
    place.unlink()
    with ThreadPoolExecutor(at_once) as pool:
        begun = time.perf_counter()
        tokens = sum(pool.map(reply, range(1, replies + 1)))
        seconds = time.perf_counter() - begun
    return {"seconds": seconds, "tokens": tokens, "tokens_a_second": tokens / seconds}


def engines() -> dict[str, Any]:
    """One reply at a time through the fast engine, torch and transformers, at both sizes (engines.py)."""
    command = [sys.executable, Path(__file__).with_name("engines.py"), "--repeats", "3"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found = json.loads(done.stdout.strip().splitlines()[-1])
    return {f"{name}_{size}": value for size in ("full", "32768") for name, value in found[size].items()}


WAYS: dict[str, Callable[[], dict[str, Any]]] = {
    "peak": peak,
    "ours": ours,
    "ours-32768": lambda: ours("32768"),
    "bare": bare,
    "public": public,
    "trl": trl,
    "sweep": sweep,
    "one-at-a-time": one_at_a_time,
    "llama-cpp": llama_cpp,
    "llama-cpp-sweep": llama_cpp_sweep,
    "engines": engines,
    "public-heldout": public_heldout,
    "trl-heldout": trl_heldout,
}
SLOW = ("public-heldout", "trl-heldout")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=WAYS)
    parser.add_argument("--heldout", action="store_true")
    parser.add_argument("--one", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        found = WAYS[options.one]()
        found.setdefault("peak_bytes", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
        print(json.dumps(found))
        return
    names = options.only or [way for way in WAYS if way not in SLOW]
    runs: dict[str, list[dict[str, Any]]] = {}
    for _ in range(options.repeats):
        for way in names:
            _measure(way, runs)
    for way in SLOW if options.heldout else ():
        _measure(way, runs)
    medians = {way: {key: _median([run[key] for run in some]) for key in some[0]} for way, some in runs.items()}
    print(json.dumps({"ways": medians, "ratios": ratios(medians)}))


def _measure(way: str, runs: dict[str, list[dict[str, Any]]]) -> None:
    done = subprocess.run([sys.executable, __file__, "--one", way], capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"{way}: left out ({done.stderr.strip().splitlines()[-1][:150]})", file=sys.stderr)
        return
    runs.setdefault(way, []).append(json.loads(done.stdout.strip().splitlines()[-1]))
    shown = {key: round(value, 3) if isinstance(value, float) else value for key, value in runs[way][-1].items()}
    print(f"{way}: {shown}", file=sys.stderr)


def _median(values: list[Any]) -> Any:
    return statistics.median(values) if all(isinstance(value, int | float) for value in values) else values[-1]


def ratios(of: dict[str, dict[str, Any]]) -> dict[str, float]:
    """How many times ours is better, by name; what was not measured is left out."""
    found: dict[str, float] = {}
    for ours_, name in (("ours", "full"), ("ours-32768", "32768")):
        if ours_ not in of:
            continue
        mine = of[ours_]
        for rival in ("public", "trl", "bare"):
            if rival in of:
                found[f"{rival}_over_ours_{name}"] = of[rival]["seconds_a_step"] * mine["steps"] / mine["seconds"]
        if "peak" in of:
            speed = mine["model_flops"] / mine["seconds"] / 1e9
            found[f"share_of_bf16_peak_{name}"] = speed / of["peak"]["bf16_gflops"]
        for way in SLOW:
            if way in of:
                rival = way.removesuffix("-heldout")
                theirs = of[way]["heldout_bits_per_byte"]
                found[f"heldout_bits_ours_{name}_over_{rival}"] = mine["heldout_bits_per_byte"] / theirs
    for rival in ("one-at-a-time", "llama-cpp", "llama-cpp-sweep"):
        if "sweep" in of and rival in of:
            ratio = of["sweep"]["tokens_a_second"] / of[rival]["tokens_a_second"]
            found[f"sweep_over_{rival.replace('-', '_')}"] = ratio
    found |= {f"chat_{name}": value for name, value in of.get("engines", {}).items() if "_over_" in name}
    return {name: round(value, 3) for name, value in found.items()}


if __name__ == "__main__":
    main()
