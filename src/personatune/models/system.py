"""What this machine has to train and talk with, what is missing, and how to get it."""

from __future__ import annotations

import importlib
import os
import platform
import re
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import psutil
from pydantic import BaseModel, ConfigDict

from personatune import settings
from personatune.errors import PersonatuneError
from personatune.models import device, machine
from personatune.models.device import choose
from personatune.models.resolve import is_ready, resolve
from personatune.models.starter import STARTERS, Starter, missing

Status = Literal["ok", "note", "problem"]

INSTALL_TRAIN = "python -m pip install 'personatune[train]'"
_PACKAGES = ("transformers", "peft", "accelerate", "safetensors", "gguf", "tokenizers")
_EXTRAS = {
    "onnx": ("onnxruntime", "onnxruntime", "fast engine for chat, no page to export"),
    "gguf": ("xllamacpp", "llama.cpp", "page to export; files for llama.cpp and Ollama are not compared"),
    "studio": ("fastapi", "fastapi", "studio in the browser"),
}
"""Extra, its package, what people call that, and what is missing without it."""
_MEMORY_WANTED = 3.5e9  # the starter model with the default recipe, and something for everything else
_DISK_WANTED = 2e9  # a starter model while it is prepared, and some runs
_DISK_NEEDED = 5e8
_NETWORK_TIMEOUT = 3.0


class Check(BaseModel):
    """One thing that was looked at."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    """What was looked at."""
    status: Status
    """`problem` stands in the way of training; `note` is worth knowing."""
    found: str
    """What is there."""
    fix: str | None = None
    """The command or action that mends or improves it."""


class SystemReport(BaseModel):
    """Everything that was looked at, in the order in which people read it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    checks: tuple[Check, ...]
    """The checks."""


def examine_system(*, ask_network: bool = False) -> SystemReport:
    """Look at everything; open no connection unless `ask_network`. Never raises: what cannot be looked at says why."""
    probes: dict[str, Callable[[], Iterator[Check]]] = {
        "Python": _python,
        "platform": _platform,
        "processor": _processor,
        "memory": _memory,
        "disk": _disk,
        "torch": _torch,
        "packages": _packages,
        "extras": _extras,
        "device": _device,
        "starter models": _starters,
        "cache": _cache,
        "hub": _hub,
        "hub connection": _asking_network if ask_network else _not_asking,
        "terminal": _terminal,
    }
    return SystemReport(checks=tuple(check for name, probe in probes.items() for check in _surviving(name, probe)))


def _surviving(name: str, probe: Callable[[], Iterator[Check]]) -> Iterator[Check]:
    """What the probe finds, and a note where it breaks: a report about faults must not fail of one."""
    try:
        yield from probe()
    except Exception as error:
        yield Check(name=name, status="note", found=f"could not be examined: {_reason(error)}")


def _python() -> Iterator[Check]:
    yield Check(name="Python", status="ok", found=f"{platform.python_version()} at {sys.executable}")
    version = _version("personatune")
    yield Check(name="personatune", status="ok", found=version or "not installed: run from its source")


def _platform() -> Iterator[Check]:
    found = platform.platform()
    if machine.is_translated():
        fix = "install a Python for Apple silicon (arm64) and personatune in it"
        yield Check(name="platform", status="problem", found=f"{found}; Python is an Intel build: no GPU", fix=fix)
    else:
        yield Check(name="platform", status="ok", found=found)


def _processor() -> Iterator[Check]:
    physical, usable = machine.cores()
    told = f"{physical} cores, " if physical else ""
    threads = "thread" if usable == 1 else "threads"
    yield Check(name="processor", status="ok", found=f"{machine.cpu_model()}; {told}{usable} {threads} to use")
    bf16 = machine.bf16_instructions()
    if bf16 is None:
        found = "the system does not say; training measures the speed"
    elif bf16:
        found = f"yes ({', '.join(sorted(bf16))})"
    else:
        found = "no: on the processor, training takes fp32, which needs twice the memory"
    yield Check(name="bf16 instructions", status="note" if bf16 == set() else "ok", found=found)


def _memory() -> Iterator[Check]:
    memory = psutil.virtual_memory()
    found = f"{_size(memory.available)} free of {_size(memory.total)}"
    if memory.available >= _MEMORY_WANTED:
        yield Check(name="memory", status="ok", found=found)
    else:
        fix = "close other programs, or train with --batch-size 1 --accumulate 4"
        yield Check(name="memory", status="note", found=found, fix=fix)


def _disk() -> Iterator[Check]:
    for name, folder in (("disk, here", Path.cwd()), ("disk, cache", settings.cache_folder())):
        free = machine.free_disk(folder)
        status: Status = "ok" if free >= _DISK_WANTED else "note" if free >= _DISK_NEEDED else "problem"
        fix = None if status == "ok" else f"free some space: {_size(_DISK_WANTED)} are plenty"
        yield Check(name=name, status=status, found=f"{_size(free)} free at {folder}", fix=fix)


def _torch() -> Iterator[Check]:
    torch, fault = _imported_torch()
    if fault is not None:
        yield fault
        return
    if (old := _unfit("torch", torch.__version__)) is not None:
        yield old
        return
    build, there = device.described()
    found = f"{torch.__version__}, {build}; GPU: {', '.join(there) or 'none'}"
    if machine.has_nvidia_driver() and "cuda" not in there:
        made_for_any = "processor alone" not in build
        why = "this torch cannot use it" if made_for_any else "this torch is built without CUDA"
        fix = "install the build of torch for your driver: https://pytorch.org/get-started/locally/"
        yield Check(name="torch", status="note", found=f"{found}; there is an NVIDIA driver, but {why}", fix=fix)
    else:
        yield Check(name="torch", status="ok", found=found)


def _imported_torch() -> tuple[Any, Check | None]:
    """torch, or what is wrong with it."""
    try:
        return importlib.import_module("torch"), None
    except ModuleNotFoundError as error:
        if error.name == "torch":
            return None, Check(name="torch", status="problem", found="not installed", fix=INSTALL_TRAIN)
        reason = _reason(error)
    except Exception as error:
        reason = _reason(error)
    found = f"{_version('torch') or 'some version'} is installed, but cannot be loaded: {reason}"
    fix = "python -m pip install --force-reinstall --no-cache-dir torch"
    return None, Check(name="torch", status="problem", found=found, fix=fix)


def _packages() -> Iterator[Check]:
    for name in _PACKAGES:
        version = _version(name)
        if version is None:
            yield Check(name=name, status="problem", found="not installed", fix=INSTALL_TRAIN)
        else:
            yield _unfit(name, version) or Check(name=name, status="ok", found=version)


def _extras() -> Iterator[Check]:
    for extra, (package, name, use) in _EXTRAS.items():
        version = _version(package)
        if version is None:
            fix = f"python -m pip install 'personatune[{extra}]'"
            yield Check(name=name, status="note", found=f"not installed: no {use}", fix=fix)
        else:
            yield Check(name=name, status="ok", found=version)


def _unfit(package: str, version: str) -> Check | None:
    """The problem with a version that personatune cannot use (too new ones too); None where it can."""
    wanted = _wanted(package)
    if _fits(version, wanted):
        return None
    found = f"{version}, but personatune needs {package}{wanted}"
    return Check(name=package, status="problem", found=found, fix=f"{INSTALL_TRAIN} --upgrade")


def _wanted(package: str) -> str:
    """The versions that personatune asks for, as in `>=5.20,<6`; empty where it does not care or cannot know."""
    try:
        required = metadata.requires("personatune") or []
    except metadata.PackageNotFoundError:
        return ""
    for line in required:
        name, versions = re.match(r"([\w.-]+)\s*([^;\s]*)", line).groups()  # type: ignore[union-attr]
        if name == package:
            return str(versions)
    return ""


def _fits(version: str, wanted: str) -> bool:
    try:
        from packaging.specifiers import SpecifierSet
    except ImportError:  # it comes with transformers: without it, there is nothing to compare
        return True
    return SpecifierSet(wanted).contains(version, prereleases=True)


def _device() -> Iterator[Check]:
    if _imported_torch()[1] is not None:
        yield Check(name="training takes", status="note", found="not known without torch")
        return
    try:
        compute = choose()
    except PersonatuneError as error:
        yield Check(name="training takes", status="problem", found=error.what, fix=error.fix)
        return
    found = f"{compute.device} in {compute.dtype} ({compute.reason})"
    yield Check(name="training takes", status="ok", found=found)


def _starters() -> Iterator[Check]:
    for starter in STARTERS.values():
        yield from _surviving(f"starter/{starter.name}", partial(_starter, starter))


def _starter(starter: Starter) -> Iterator[Check]:
    name = f"starter/{starter.name}"
    lacking = missing(starter)
    if is_ready(name):
        taken = _size(machine.folder_size(resolve(name).folder))
        installed = "" if not lacking else "; its package is no longer installed, nor needed"
        yield Check(name=name, status="ok", found=f"ready in the cache, {taken}{installed}")
    elif not lacking:
        yield Check(name=name, status="ok", found="installed; the first use prepares it, which takes about a minute")
    else:
        parts = len(starter.distributions)
        some = f"{len(lacking)} of its {parts} packages are missing" if len(lacking) < parts else "not installed"
        found = f"{some} ({starter.title}, {starter.size}, {starter.licence})"
        yield Check(name=name, status="note", found=found, fix=starter.install)


def _cache() -> Iterator[Check]:
    folder = settings.cache_folder()
    try:
        machine.write_trial(folder)
    except OSError as error:
        fix = "correct its permissions, or set PERSONATUNE_HOME to a folder that you may write to"
        found = f"{folder} cannot be written to: {_reason(error)}"
        yield Check(name="cache folder", status="problem", found=found, fix=fix)
    else:
        yield Check(name="cache folder", status="ok", found=f"{folder}, writable")


def _hub() -> Iterator[Check]:
    told = [f"{name}={os.environ[name]}" for name in ("HF_HOME", "HF_HUB_CACHE") if os.environ.get(name)]
    source = f" ({', '.join(told)})" if told else ""
    try:
        from huggingface_hub import constants, get_token
    except ImportError:
        yield Check(name="hub cache", status="note", found=f"huggingface-hub is not installed{source}")
        token = bool(os.environ.get("HF_TOKEN"))
    else:
        yield Check(name="hub cache", status="ok", found=f"{constants.HF_HUB_CACHE}{source}")
        token = bool(get_token())
    if token:
        where = "in HF_TOKEN" if os.environ.get("HF_TOKEN") else "from hf auth login"
        yield Check(name="hub token", status="ok", found=f"set, {where}")
    else:
        yield Check(name="hub token", status="ok", found="none; only gated and private models need one")
    offline = "on: nothing is fetched" if settings.is_offline() else "off"
    yield Check(name="offline switch", status="ok", found=offline)


def _not_asking() -> Iterator[Check]:
    yield Check(name="hub connection", status="ok", found="not asked; use --network")


def _asking_network() -> Iterator[Check]:
    name = "hub connection"
    if settings.is_offline():
        yield Check(name=name, status="ok", found="not asked: the offline switch is on")
        return
    try:
        from huggingface_hub import constants, get_session
    except ImportError:
        yield Check(name=name, status="note", found="not asked: huggingface-hub is not installed", fix=INSTALL_TRAIN)
        return
    host = urlsplit(constants.ENDPOINT).hostname or "the hub"  # without a password that the address may hold
    began = time.monotonic()
    try:
        # The client that downloads use: with its proxies and certificates.
        answer = get_session().head(constants.ENDPOINT, timeout=_NETWORK_TIMEOUT)
    except Exception as error:
        fix = "check the connection and the proxy; the starter models need no hub"
        yield Check(name=name, status="note", found=f"{host} cannot be reached: {_reason(error)}", fix=fix)
        return
    took = f"{1000 * (time.monotonic() - began):.0f} ms"
    if answer.status_code < 400:
        yield Check(name=name, status="ok", found=f"{host} answers in {took}")
    else:
        found = f"{host} answers {answer.status_code}: a proxy or a filter may stand between"
        yield Check(name=name, status="note", found=found, fix="check HF_ENDPOINT and the proxy")


def _terminal() -> Iterator[Check]:
    encoding = getattr(sys.stdout, "encoding", None) or "unknown"
    if encoding.lower().replace("-", "").startswith("utf"):
        yield Check(name="terminal", status="ok", found=encoding)
    else:
        found = f"{encoding}: characters that it lacks are replaced"
        yield Check(name="terminal", status="note", found=found, fix="set PYTHONUTF8=1")


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _reason(error: BaseException) -> str:
    """The first line of what an error says, and its kind."""
    words = str(error).strip()
    return f"{type(error).__name__}: {words.splitlines()[0][:200]}" if words else type(error).__name__


def _size(octets: float) -> str:
    return f"{octets / 1e9:.1f} GB"
