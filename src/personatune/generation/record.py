"""A sample as the store keeps it, and back."""

from __future__ import annotations

from typing import Any

from personatune.generation.engine import Sample
from personatune.generation.params import GenerationParams
from personatune.store.records import SampleRecord


def record(sample: Sample, *, origin: str, contestant: str, run: str | None, **more: Any) -> SampleRecord:
    """The record of `sample`; `more` are further keys of `SampleRecord`, such as the case or the parent."""
    more.setdefault("engine", sample.engine)
    return SampleRecord(
        origin=origin,
        contestant=contestant,
        run=run,
        messages=sample.messages,
        reply=sample.reply,
        finish_reason=sample.finish_reason,
        token_ids=sample.token_ids,
        parameters=sample.params.model_dump(exclude={"seed"}),
        seed=sample.params.seed,
        **more,
    )


def sample_of(kept: SampleRecord) -> Sample:
    """The sample that was kept."""
    return Sample(
        messages=kept.messages,
        reply=kept.reply,
        finish_reason="stop" if kept.finish_reason == "stop" else "length",
        token_ids=kept.token_ids,
        params=GenerationParams.model_validate({**kept.parameters, "seed": kept.seed}),
        engine=kept.engine,
    )
