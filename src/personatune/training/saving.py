"""What a run leaves to be used: `model/` with weights, tokenizer and generation config."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from personatune import files
from personatune.models import tokenizer_files, weights
from personatune.models.device import Compute
from personatune.training.job import Job
from personatune.training.processes import here

if TYPE_CHECKING:
    from personatune.models.load import Loaded
    from personatune.models.vocabulary import Vocabulary


def save(job: Job, trainee: Any, loaded: Loaded, compute: Compute, vocabulary: Vocabulary | None) -> None:
    """Write `model/` whole: adapter or weights, tokenizer with its template, generation config with all stop ids."""
    from transformers import GenerationConfig

    tokenizer = loaded.tokenizer
    staging, place = job.folder / "model.new", job.folder / "model"
    if here().first:
        shutil.rmtree(staging, ignore_errors=True)
    trainee.save_model(staging, compute.torch_dtype)  # of divided weights every process gives its part
    if not here().first:
        return
    tokenizer_files.save(tokenizer, staging)
    if vocabulary is not None:
        vocabulary.write(staging)
    generation = GenerationConfig(  # type: ignore[no-untyped-call]
        eos_token_id=list(loaded.stop_ids),
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        do_sample=True,
    )
    generation.save_pretrained(staging)
    files.flush_folder(staging)
    shutil.rmtree(place, ignore_errors=True)
    staging.rename(place)
    files.flush_names(job.folder)
    job.manifest[weights.KEY] = weights.described(job.folder)
