"""Learning from votes: from a finished run and preferences to a run that leans towards what was liked."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING, Any

from personatune import files, manifest
from personatune.data.render import end_of_turn
from personatune.data.split import Split
from personatune.errors import RunError
from personatune.models import memory
from personatune.training import events, going_on
from personatune.training.job import Inputs, Job
from personatune.training.preference_rows import PairIds, directed, divided, pair_ids, split_pairs
from personatune.training.rows import render_all
from personatune.training.saving import save

if TYPE_CHECKING:
    from personatune.training.run import TrainOptions


def learn(job: Job, inputs: Inputs, parts: Split, options: TrainOptions, started: float) -> dict[str, Any]:
    """Load the parent, score every reply with it, prefer, save; return what the manifest should say.

    The result has the key `trained` only when the last step was taken and `model/` is whole.
    """
    from personatune.models.load import load_to_go_on
    from personatune.models.vocabulary import read
    from personatune.training import batches, checkpoints, estimate, preference_trainer, trainer
    from personatune.training.seeding import seed_everything
    from personatune.training.trainee import Trainee

    recipe, compute, parent, listen = job.recipe, inputs.compute, inputs.parent, options.listen
    if parent is None or inputs.preferences is None:
        raise RunError(f"{job.name} has nothing to learn from", fix="--method dpo --from r1 --votes")
    seed_everything(recipe.seed)
    memory.forget_peak()
    listen(events.Stage("loading the model", 0.0))
    loaded = load_to_go_on(inputs.source, parent.weights, compute)
    tokenizer = loaded.tokenizer

    known = directed(inputs.preferences, parent.manifest.get("system_prompt"))
    pairs = split_pairs(known, recipe.heldout, recipe.seed)
    learned, spared = (pair_ids(tokenizer, part, recipe.max_tokens) for part in (pairs.train, pairs.heldout))
    met, unmet = divided(parts.heldout, known.pairs)
    _, heldout = render_all(tokenizer, Split(train=(), heldout=unmet), recipe.max_tokens, listen)
    listen(events.Note(_told(len(learned), len(spared), len(met))))

    shape = recipe.model_copy(update={"method": parent.layers})
    trainee = Trainee(loaded.model, shape, going_on.rows_learned(parent, loaded))
    if parent.layers == "lora":
        trainee.start_from(parent.weights)
    # The run that it goes on from is the reference; asked once, it need not stay in memory beside the one that learns.
    listen(events.Stage(f"asking {parent.name} how likely each reply is", 0.5))
    reference = preference_trainer.score(trainee, learned)
    reference_spared = preference_trainer.score(trainee, spared)
    nll_before = trainee.nll(heldout.rendered) if heldout.rendered else None
    trainee.train()

    lengths = [pair.tokens for pair in learned]
    plan = batches.plan(
        lengths,
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        accumulate=recipe.accumulate,
        seed=recipe.seed,
    )
    widths = [2 * len(batch) * batches.width(learned[row].widest for row in batch) for batch in plan.batches]
    needed = estimate.memory(trainee, shape, max(widths))
    estimate.refuse_if_too_big(needed, compute.device)
    labelled = sum(len(pair.chosen) + len(pair.rejected) for pair in learned) * recipe.epochs
    forecast = estimate.seconds(trainee, sum(widths), labelled)

    checkpoint = checkpoints.latest_checkpoint(job.folder)
    done = int(checkpoint.name.rpartition("-")[2]) if checkpoint else 0
    checkpoints.forget_after(job.folder, done)
    listen(events.Planned(job.name, recipe.epochs, plan.steps, done, forecast * (1 - done / plan.steps), needed))
    seconds_load = time.monotonic() - started
    files.write_json(job.folder / "heldout.json", [str(c.source) for c in heldout.conversations])
    going_on.write_split_of_pairs(job.folder, parent, known, met)
    job.manifest["heldout"] = {"conversations": len(heldout.rendered), "nll_before": nll_before}
    manifest.write(job.folder, job.manifest)

    watch = trainer.Watch(job.folder, plan, lengths, heldout.rendered, recipe, listen, options.stop, done)
    if spared:
        watch = replace(watch, also=partial(_spared_now, trainee, spared, reference_spared))
    the_trainer, reporter = preference_trainer.build(trainee, watch, learned, reference, tokenizer)
    begun = time.monotonic() - (job.manifest.get("seconds", {}).get("train", 0.0) if done else 0.0)
    if done < plan.steps:
        with reporter.trackers.recording():
            the_trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    step = int(the_trainer.state.global_step)
    reporter.close()
    used = sum(lengths) * recipe.epochs
    facts: dict[str, Any] = {
        "status": "training" if step >= plan.steps else "interrupted",
        "data": {**job.manifest["data"], "train": 0, "heldout": len(heldout.rendered)},
        "turn_rows": trainee.row_ids.tolist(),
        "parameters": dict(zip(("total", "trainable"), trainee.count(), strict=True)),
        "seconds": {"load": round(seconds_load, 2), "train": round(time.monotonic() - begun, 2)},
        "epochs": recipe.epochs,
        "steps": plan.steps,
        "steps_done": step,
        "tokens": {"trained": used, "padding": sum(widths) - used, "labelled": labelled},
        "loss": checkpoints.loss_range(job.folder),
        "peak_memory_bytes": memory.peak(compute.device),
        "stop": {"end_of_turn": end_of_turn(tokenizer), "ids": list(loaded.stop_ids)},
        "vocabulary": parent.manifest["vocabulary"],
    }
    if step < plan.steps:
        return facts

    nll_after = trainee.nll(heldout.rendered) if heldout.rendered else None
    job.manifest["heldout"].update(
        nll_after=nll_after,
        best_step=plan.steps,
        best_epoch=float(recipe.epochs),
        bits_per_byte_before=heldout.bits_per_byte(nll_before),
        bits_per_byte_after=heldout.bits_per_byte(nll_after),
    )
    facts["preferences"] = {
        **job.manifest["preferences"],
        "train": _compared(learned, reference, preference_trainer.score(trainee, learned)),
        "heldout": _compared(spared, reference_spared, preference_trainer.score(trainee, spared)),
    }
    listen(events.Stage("saving", 0.9))
    save(job, trainee, loaded, compute, read(parent.weights))
    facts["trained"] = datetime.now(UTC).isoformat(timespec="seconds")
    del the_trainer, reporter, watch, trainee, loaded
    memory.release()
    return facts


def _compared(
    pairs: Sequence[PairIds], before: Sequence[tuple[float, float]], after: Sequence[tuple[float, float]]
) -> dict[str, Any]:
    """How far the liked replies stand before the others: in the run that is gone on from, and now.

    `accuracy_*` is the share of pairs whose chosen reply is likelier, token by token, than the rejected one; `margin_*`
    the mean difference of the whole replies' log-probabilities in nats; `moved` the share whose difference grew.
    """
    if not pairs:
        return {"pairs": 0}
    margins = [[chosen - rejected for chosen, rejected in side] for side in (before, after)]
    likelier = [
        [c / len(pair.chosen) > r / len(pair.rejected) for pair, (c, r) in zip(pairs, side, strict=True)]
        for side in (before, after)
    ]
    return {
        "pairs": len(pairs),
        "accuracy_before": fmean(likelier[0]),
        "accuracy_after": fmean(likelier[1]),
        "margin_before": fmean(margins[0]),
        "margin_after": fmean(margins[1]),
        "moved": fmean(now > then for then, now in zip(*margins, strict=True)),
    }


def _spared_now(trainee: Any, spared: Sequence[PairIds], reference: Sequence[tuple[float, float]]) -> dict[str, float]:
    """What metrics.jsonl says of the held-out pairs."""
    from personatune.training.preference_trainer import score

    found = _compared(spared, reference, score(trainee, spared))
    return {f"heldout_pairs_{key}": found[f"{key}_after"] for key in ("accuracy", "margin")}


def _told(learned: int, spared: int, met: int) -> str:
    told = f"learning from {learned} preferences"
    told += f"; {spared} more, of other prompts, are held out" if spared else "; too few to hold any out"
    if met:
        told += f"; {met} held-out conversations share a text with them and measure nothing any more"
    return told
