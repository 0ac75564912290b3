"""User settings and the offline switch, applied before any Hugging Face import."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from personatune.numbers import whole_number

JOB_RESULT = "PERSONATUNE_RESULT"
"""The environment variable that tells a command where to leave its exit code, when it is a job of the queue."""
SHARERS = "PERSONATUNE_SHARERS"
"""The environment variable that tells a training how many others run beside it on the same memory, itself included."""


def sharers() -> int:
    """How many trainings share the memory of the device."""
    told = os.environ.get(SHARERS, "")
    return max(1, whole_number(told) or 1)


def follows() -> bool:
    """Whether a launcher (accelerate, torchrun) started this process beside a first one that speaks for all."""
    return "MASTER_ADDR" in os.environ and os.environ.get("RANK", "0") != "0"


def cache_folder() -> Path:
    """Where converted starter models live: `PERSONATUNE_HOME`, or the operating system's cache folder."""
    home = os.environ.get("PERSONATUNE_HOME")
    if home:
        return Path(home).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("personatune"))


def apply(*, offline: bool = False) -> None:
    """Set the environment that Hugging Face libraries and pydantic read when they are imported.

    With `offline`, they may not open a connection at all. Telemetry is always off.
    """
    if offline or _is_on("PERSONATUNE_OFFLINE"):
        os.environ["HF_HUB_OFFLINE"] = "1"
        os.environ["TRANSFORMERS_OFFLINE"] = "1"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    # Tokenising is a thousandth of the work here; forked tokenizer threads only print warnings.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # Progress bars of libraries would fight with ours for the terminal.
    os.environ.setdefault("TQDM_DISABLE", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    # Looking for plugins of pydantic reads about every installed package: a tenth of what a short command takes.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    # It says that it could fetch quicker kernels from a hub, to everybody who has it installed.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)


def is_offline() -> bool:
    """Whether neither the hub nor any other machine may be asked."""
    return _is_on("HF_HUB_OFFLINE") or _is_on("PERSONATUNE_OFFLINE")


def _is_on(name: str) -> bool:
    return os.environ.get(name, "").upper() in {"1", "ON", "YES", "TRUE"}
