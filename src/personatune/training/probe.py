"""Does it stop? Replies of the saved run, read back from disk, counted."""

from __future__ import annotations

from collections.abc import Sequence

from personatune.conversation import Conversation
from personatune.generation.contestant import Contestant
from personatune.generation.engine import Sample
from personatune.generation.local import LocalEngine
from personatune.generation.params import GenerationParams
from personatune.generation.record import record
from personatune.models.load import load_run
from personatune.store.records import SampleRecord
from personatune.training import events
from personatune.training.job import Inputs, Job


def probe(
    name: str, job: Job, inputs: Inputs, prompts: Sequence[Conversation], listen: events.Listener
) -> list[SampleRecord]:
    """Generate `recipe.probes` replies as the contestant `name` to the opening turns of `prompts`."""
    wanted = job.recipe.probes
    if not wanted:
        return []
    listen(events.Stage("loading what was saved, for probe replies", 0.0))
    loaded = load_run(inputs.source, job.folder / "model", inputs.compute, four_bits=job.recipe.method == "qlora")
    who = Contestant(name, LocalEngine(loaded.model, loaded.tokenizer, loaded.stop_ids))
    openings = [c.messages[: 1 + (c.messages[0].role == "system")] for c in prompts]
    requests = [
        who.request(openings[i % len(openings)], GenerationParams(seed=job.recipe.seed * 1000 + i))
        for i in range(wanted)
    ]
    done = stopped = 0

    def count(_index: int, sample: Sample) -> None:
        nonlocal done, stopped
        done, stopped = done + 1, stopped + (sample.finish_reason == "stop")
        listen(events.Probed(done, wanted, stopped))

    samples = who.engine.generate(requests, on_sample=count)
    return [record(sample, origin="probe", contestant=name, run=job.name) for sample in samples]
