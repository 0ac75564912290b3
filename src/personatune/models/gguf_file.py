"""Read a GGUF file once, and keep what it holds as safetensors with a tokenizer beside it."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from personatune.errors import ModelError, from_os_error
from personatune.models import limits, memory, tokenizer_files

Stage = Callable[[str, float], None]
"""Progress of slow loading: what is being done, and the share of the whole that is done before it."""


def convert(gguf: Path, folder: Path, on_stage: Stage) -> None:
    """Dequantise `gguf` to bf16 safetensors with config and tokenizer in `folder`; whole or not at all.

    Raises `ModelError` when the file is no GGUF of an architecture that transformers can read.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils.quantization_config import GgufConfig

    _refuse_other_files(gguf)
    hush()
    staging = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    shutil.rmtree(staging, ignore_errors=True)
    try:
        staging.mkdir(parents=True)
        with _reading_once():
            on_stage("reading the vocabulary", 0.15)
            tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
            on_stage("unpacking the weights", 0.55)
            model = AutoModelForCausalLM.from_pretrained(
                gguf.parent,
                gguf_file=gguf.name,
                dtype=torch.bfloat16,
                # Left to itself, transformers may keep the weights packed: nothing could be trained.
                quantization_config=GgufConfig(dequantize=True),
            )
        on_stage("saving", 0.95)
        model.hf_quantizer = None  # type: ignore[assignment]  # or save_pretrained refuses a model that came from GGUF
        if hasattr(model.config, "quantization_config"):
            del model.config.quantization_config
        model.save_pretrained(staging)
        tokenizer_files.save(tokenizer, staging)
        shutil.rmtree(folder, ignore_errors=True)
        staging.rename(folder)
        del model, tokenizer
        memory.release()
    except OSError as error:
        if error.errno is None:  # transformers raises bare OSErrors for what it cannot read
            raise _unreadable(gguf, error) from error
        raise from_os_error(error, f"converting {gguf.name}") from error
    except (ValueError, LookupError, TypeError, RuntimeError, OverflowError, struct.error) as error:
        raise _unreadable(gguf, error) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def hush() -> None:
    """Keep transformers' own progress bars away: what people should see, we show."""
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]


def _unreadable(gguf: Path, error: Exception) -> ModelError:
    return ModelError(
        f"the GGUF file cannot be read: {str(error).splitlines()[0][:200] if str(error) else type(error).__name__}",
        where=gguf,
        fix="use an unsplit GGUF of a text model that transformers knows (Gemma 3, Llama, Qwen, SmolLM2, ...)",
    )


def _refuse_other_files(gguf: Path) -> None:
    try:
        with gguf.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise from_os_error(error, f"reading {gguf.name}") from error
    if magic != b"GGUF":
        raise ModelError(f"{gguf.name} is not a GGUF file", where=gguf, fix="download the file again")
    limits.refuse_gguf(gguf)


@contextlib.contextmanager
def _reading_once() -> Iterator[None]:
    """Let the four places that parse a GGUF file share one reader: parsing 262,144 tokens takes 8 s each time."""
    import gguf

    module: Any = gguf
    original = module.GGUFReader
    module.GGUFReader = functools.lru_cache(maxsize=1)(original)
    try:
        yield
    finally:
        module.GGUFReader = original
