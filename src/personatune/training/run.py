"""From a file of conversations to a character: the main path, to be read from top to bottom."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

from personatune import files, manifest
from personatune.conversation import Conversation
from personatune.data.doctor import unsound
from personatune.data.load import load
from personatune.data.preferences import Preferences
from personatune.data.split import Split, split
from personatune.errors import DataError, RunError
from personatune.models import device, memory
from personatune.models.device import choose
from personatune.models.resolve import resolve
from personatune.persona import Persona
from personatune.store.store import Store
from personatune.training import events, going_on, trackers
from personatune.training.job import Inputs, Job, claim
from personatune.training.live import LiveFile
from personatune.training.preference_rows import refuse_unfit, refuse_unsound_pairs
from personatune.training.preference_training import learn
from personatune.training.processes import here, refuse_what_they_cannot
from personatune.training.recipe import Recipe
from personatune.training.rows import Rows, render_all
from personatune.training.saving import save
from personatune.training.seeding import seed_everything

if TYPE_CHECKING:
    from personatune.models.load import Loaded
    from personatune.models.vocabulary import Vocabulary


@dataclass(frozen=True)
class TrainOptions:
    """How a run is made, beside the recipe."""

    listen: events.Listener = events.ignore
    """Told everything that happens."""
    stop: Event = field(default_factory=Event)
    """Set it to pause the run after the step it is in."""
    fresh: bool = False
    """Begin a new run even when an interrupted one could go on."""
    data: Path | None = None
    """Another conversations file than the persona's `train.jsonl`."""
    parent: str | None = None
    """A finished run, as `r3`, to go on from: its weights are the start."""
    preferences: Preferences | None = None
    """What was preferred to what, for the method `dpo`."""


@dataclass(frozen=True)
class Run:
    """A training, finished or paused."""

    name: str
    """`r1`, `r2`, ..."""
    folder: Path
    """Where everything of it lies."""
    manifest: dict[str, Any]
    """What made it, and what came of it."""

    @property
    def finished(self) -> bool:
        """False when it was paused and can go on."""
        return bool(self.manifest["status"] == "finished")


def train(persona: Persona, recipe: Recipe | None = None, options: TrainOptions | None = None) -> Run:
    """Fine-tune the recipe's model on the persona's conversations; go on where an equal run was interrupted.

    Returns when the run is finished, or paused by `options.stop`. Raises a `PersonatuneError` for whatever
    the user can mend; what was saved before stays.
    """
    recipe, options = recipe or Recipe(), options or TrainOptions()
    listen = options.listen
    started = time.monotonic()
    processes = here()
    refuse_unfit(recipe, options.parent, options.preferences)
    refuse_what_they_cannot(recipe, processes)
    trackers.require(recipe.report_to)
    conversations = load(options.data or persona.train_file)
    refuse_unsound(conversations, options.data or persona.folder)
    refuse_unsound_pairs(options.preferences)
    parent = going_on.parent_of(persona, options.parent) if options.parent is not None else None
    if parent:
        recipe = going_on.inherit(recipe, parent)
    source = resolve(recipe.model, lambda what, share: listen(events.Stage(what, share)))
    compute = choose(recipe.device, recipe.dtype)
    device.refuse_fp16()
    if recipe.method == "qlora":
        device.refuse_four_bits(compute.device)
    listen(events.Note(f"device: {compute.device} in {compute.dtype} ({compute.reason})"))
    inputs = Inputs(conversations, source, compute, options.data or persona.train_file, parent, options.preferences)
    if parent:
        going_on.refuse_another_model(parent, source)
        parts, told = going_on.split_as(parent, conversations, recipe)
        if recipe.method != "dpo":  # which learns from no row
            listen(events.Note(told))
    else:
        parts = split(conversations, heldout_fraction=recipe.heldout, seed=recipe.seed)
    from personatune.models import vocabulary
    from personatune.training.probe import probe

    with Store.open(persona.store_file) as store:
        if parent:
            store.recover(persona.runs_folder)
        job = claim(persona, store, recipe, inputs, fresh=options.fresh)
        busy = RunError(f"{job.name} is being trained by another process", fix="wait for it, or use: --fresh")
        with files.locked(job.folder / ".lock", busy):
            watched = LiveFile(job.folder, listen)
            options, listen = replace(options, listen=watched), watched
            if job.resumed:
                listen(events.Note(f"going on with {job.name}, which was interrupted"))
                inputs = replace(inputs, compute=replace(compute, dtype=job.manifest["dtype"]))
            try:
                if "trained" not in job.manifest:
                    processes.join()
                    processes.tell(Task(job, inputs, parts))
                    learn_from = learn if recipe.method == "dpo" else _train
                    job.record(store, learn_from(job, inputs, parts, options, started))
                    processes.leave()
                else:
                    processes.join()
                    processes.tell(None)
                    processes.leave()
                if "trained" in job.manifest:
                    samples = probe(f"{persona.name}@{job.name}", job, inputs, parts.heldout or parts.train, listen)
                    store.add_samples(samples)
                    stopped = sum(sample.finish_reason == "stop" for sample in samples)
                    stop = {**job.manifest["stop"], "probes": len(samples), "stopped": stopped}
                    job.record(store, {"stop": stop, "status": "finished", "finished": job.manifest["trained"]})
            except KeyboardInterrupt:
                job.record(store, {"status": "interrupted"})
                raise
            except Exception as error:
                reason = str(error).splitlines()[0] if str(error) else type(error).__name__
                job.record(store, {"status": "failed", "error": reason})
                raise
            if job.manifest["status"] == "finished":
                for scratch in ("checkpoints", "best"):
                    shutil.rmtree(job.folder / scratch, ignore_errors=True)
                (job.folder / vocabulary.FILE).unlink(missing_ok=True)  # model/ has it
            watched.end()
    return Run(job.name, job.folder, job.manifest)


@dataclass(frozen=True)
class Task:
    """What the first of several processes tells the others to compute with it."""

    job: Job
    inputs: Inputs
    parts: Split


def follow(stop: Event) -> bool:
    """What every process but the first does: compute along and write nothing. Returns False when the run was paused."""
    processes = here()
    started = time.monotonic()
    processes.join()
    task = processes.tell()
    if task is None:
        processes.leave()
        return True
    choose(task.inputs.compute.device)  # this process's own GPU of that kind
    facts = _train(task.job, task.inputs, task.parts, TrainOptions(stop=stop), started)
    processes.leave()
    return "trained" in facts


def refuse_unsound(conversations: Sequence[Conversation], what: Path) -> None:
    """Raise `DataError` for rows that cannot be trained on, as `personatune data check` with `what` shows them."""
    errors = unsound(conversations)
    if errors:
        first = errors[0]
        more = f" (and {len(errors) - 1} other kinds of error)" if len(errors) > 1 else ""
        raise DataError(
            f"{first.message}{more}",
            where=", ".join(first.places[:5]),
            fix=f"{first.remedy}   all findings: personatune data check {what}",
        )


# --- the training itself ---------------------------------------------------------------------------------


def _train(job: Job, inputs: Inputs, parts: Split, options: TrainOptions, started: float) -> dict[str, Any]:
    """Load, prove, train, keep the best, save; return what the manifest should say.

    The result has the key `trained` only when the last step was taken and `model/` is whole.
    """
    from personatune.models.load import load_base, load_to_go_on
    from personatune.models.turn_tokens import rows_to_learn
    from personatune.models.vocabulary import read, trim
    from personatune.training import batches, checkpoints, estimate, trainer
    from personatune.training.proof import prove
    from personatune.training.trainee import Trainee

    recipe, source, compute, listen = job.recipe, inputs.source, inputs.compute, options.listen
    parent = inputs.parent
    seed_everything(recipe.seed)
    memory.forget_peak()
    listen(events.Stage("loading the model", 0.0))
    # Weights that are to be divided may be too large for one GPU: the processor's memory holds them until then.
    place = replace(compute, device="cpu") if here().sharded else compute
    four_bits = recipe.method == "qlora"
    if parent:
        loaded = load_to_go_on(source, parent.weights, place, four_bits=four_bits)
    else:
        loaded = load_base(source, place, four_bits=four_bits)
    tokenizer = loaded.tokenizer

    rows, heldout = render_all(tokenizer, parts, recipe.max_tokens, listen)
    closing = prove(tokenizer, rows.conversations, rows.rendered)
    if parent:
        learn, vocabulary = going_on.rows_learned(parent, loaded), read(parent.weights)
    else:
        learn = rows_to_learn(loaded.model, tokenizer, rows.rendered, closing)
        vocabulary = _vocabulary(job, loaded, rows, listen)
    if vocabulary is not None and not parent:
        loaded = trim(loaded, vocabulary)
        tokenizer = loaded.tokenizer
        rows, heldout = render_all(tokenizer, parts, recipe.max_tokens, listen)
        closing = prove(tokenizer, rows.conversations, rows.rendered)
        new_ids = vocabulary.new_ids()
        learn = ([new_ids[token] for token in learn[0]], learn[1]) if learn else None

    processes = here()
    nll_before = job.manifest.get("heldout", {}).get("nll_before")
    if nll_before is None and heldout.rendered and not parent and not processes.sharded:
        listen(events.Stage("scoring the held-out replies before training", 0.5))
        nll_before = Trainee(loaded.model).nll(heldout.rendered)
    trainee = Trainee(loaded.model, recipe, learn)
    if parent:
        if recipe.has_adapters:
            trainee.start_from(parent.weights)
        if nll_before is None and heldout.rendered and not processes.sharded:
            nll_before = trainee.nll(heldout.rendered)
    elif learn and trainee.trained_rows is not None:
        names = ", ".join(tokenizer.convert_ids_to_tokens(list(learn[0])))
        listen(events.Note(f"this model never learned {names}: their embedding rows are trained too"))
    trainee.train()

    lengths = [len(r.token_ids) for r in rows.rendered]
    plan = batches.plan(
        lengths,
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        accumulate=recipe.accumulate,
        seed=recipe.seed,
    )
    pad_to = device.pad_to(compute.device)
    used, padding = plan.tokens(lengths, pad_to)
    labelled = sum(sum(r.labelled) for r in rows.rendered) * recipe.epochs
    share = batches.share(plan, recipe.batch_size, recipe.accumulate, processes.rank, processes.count)
    needed = estimate.memory(trainee, recipe, share.widest(lengths, pad_to))
    if processes.first:
        estimate.refuse_if_too_big(needed, compute.device)
    like = compute.empty()
    forecast = estimate.seconds(trainee, used + padding, labelled, like) / processes.count

    checkpoint = processes.tell(checkpoints.latest_checkpoint(job.folder) if processes.first else None)
    done = int(checkpoint.name.rpartition("-")[2]) if checkpoint else 0
    if processes.first:
        checkpoints.forget_after(job.folder, done)
    share_left = 1 - done / plan.steps
    listen(events.Planned(job.name, recipe.epochs, plan.steps, done, forecast * share_left, needed))
    seconds_load = time.monotonic() - started
    job.manifest["heldout"] = {"conversations": len(heldout.rendered), "nll_before": nll_before}
    if processes.first:
        files.write_json(job.folder / "heldout.json", [str(c.source) for c in heldout.conversations])
        going_on.write_split(job.folder, parts, parent)
        manifest.write(job.folder, job.manifest)

    watch = trainer.Watch(job.folder, plan, lengths, heldout.rendered, recipe, listen, options.stop, done)
    watch.nll_before = nll_before
    the_trainer, reporter = trainer.build(trainee, watch, rows.rendered, compute.device)
    # What was trained before a pause counts too; steps that a crash lost do not.
    begun = time.monotonic() - (job.manifest.get("seconds", {}).get("train", 0.0) if done else 0.0)
    if done < plan.steps:
        with reporter.trackers.recording():
            the_trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    step = int(the_trainer.state.global_step)
    reporter.close()
    nll_before = job.manifest["heldout"]["nll_before"] = reporter.nll_before
    facts: dict[str, Any] = {
        **({"processes": {"count": processes.count, "sharded": processes.sharded}} if processes.count > 1 else {}),
        "status": "training" if step >= plan.steps else "interrupted",
        "data": {**job.manifest["data"], "train": len(rows.rendered), "heldout": len(heldout.rendered)},
        "turn_rows": trainee.row_ids.tolist(),
        "parameters": dict(zip(("total", "trainable"), trainee.count(), strict=True)),
        "seconds": {"load": round(seconds_load, 2), "train": round(time.monotonic() - begun, 2)},
        "epochs": recipe.epochs,
        "steps": plan.steps,
        "steps_done": step,
        "tokens": {"trained": used, "padding": padding, "labelled": labelled},
        "loss": checkpoints.loss_range(job.folder),
        "peak_memory_bytes": memory.peak(compute.device),
        "stop": {"end_of_turn": closing, "ids": list(loaded.stop_ids)},
        "vocabulary": {
            "size": len(vocabulary.kept) if vocabulary else loaded.model.config.get_text_config().vocab_size
        },
    }
    if vocabulary:
        facts["vocabulary"] |= {"of": vocabulary.of, "language": vocabulary.language}
    if step < plan.steps:
        return facts

    best_step, best_nll, best_epoch = processes.tell(checkpoints.best_so_far(job.folder))
    if recipe.keep == "heldout" and heldout.rendered:
        trainee.load_trainable(job.folder / "best")
    else:
        best_step, best_epoch = plan.steps, float(recipe.epochs)
        best_nll = checkpoints.last_heldout(job.folder) or math.nan
    job.manifest["heldout"].update(
        nll_after=best_nll if heldout.rendered else None,
        best_step=best_step,
        best_epoch=best_epoch,
        bits_per_byte_before=heldout.bits_per_byte(nll_before),
        bits_per_byte_after=heldout.bits_per_byte(best_nll),
    )
    listen(events.Stage("saving", 0.9))
    save(job, trainee, loaded, compute, vocabulary)
    facts["trained"] = datetime.now(UTC).isoformat(timespec="seconds")
    del the_trainer, trainee, loaded
    memory.release()
    return facts


def _vocabulary(job: Job, loaded: Loaded, rows: Rows, listen: events.Listener) -> Vocabulary | None:
    """The tokens that the run keeps, chosen once: an interrupted run goes on with those it began with."""
    from personatune.models import vocabulary

    size = job.recipe.vocab
    if size == "full":
        return None
    kept: Vocabulary | None = here().tell(vocabulary.read(job.folder))
    if kept is None:
        listen(events.Stage(f"choosing {size:,} tokens", 0.3))
        said = [row.token_ids for row in rows.rendered]
        expected = vocabulary.expectations(loaded.model, said)
        wanted = vocabulary.Wanted(frozenset(chain.from_iterable(said)), expected, job.recipe.language)
        kept = vocabulary.choose(loaded.tokenizer, wanted, size)
        if kept is not None and here().first:
            kept.write(job.folder)
    return kept
