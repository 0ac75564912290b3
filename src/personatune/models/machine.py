"""The hardware and the operating system, as far as training feels them."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

import psutil

_BF16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}
"""What /proc/cpuinfo calls instructions that multiply bf16: on x86 the first two, on Arm the last."""


def cpu_model() -> str:
    """The processor as its maker calls it, or the architecture where nobody says."""
    if platform.system() == "Darwin":
        return sysctl("machdep.cpu.brand_string") or platform.machine()
    return _cpuinfo().get("model name") or platform.processor() or platform.machine()


def bf16_instructions() -> set[str] | None:
    """The names of bf16 instructions that the processor has; None where the system does not tell."""
    if platform.system() == "Darwin":
        told = sysctl("hw.optional.arm.FEAT_BF16")
        return None if told is None else {"FEAT_BF16"} if told == "1" else set()
    cpuinfo = _cpuinfo()
    flags = cpuinfo.get("flags") or cpuinfo.get("Features")
    return None if flags is None else _BF16_FLAGS & set(flags.split())


def cores() -> tuple[int | None, int]:
    """(physical cores, or None where the system does not tell; hardware threads that this process may use)."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return psutil.cpu_count(logical=False), usable


def is_translated() -> bool:
    """Whether an x86 Python runs on an Apple processor, where it sees no Apple GPU."""
    return platform.system() == "Darwin" and sysctl("sysctl.proc_translated") == "1"


def has_nvidia_driver() -> bool:
    """Whether an NVIDIA driver is installed, whatever torch makes of it."""
    return Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None


def free_disk(folder: Path) -> int:
    """Bytes free where `folder` is, or will be."""
    return shutil.disk_usage(_existing(folder)).free


def write_trial(folder: Path) -> None:
    """Write a byte where `folder` is, or will be, and leave nothing behind. Raises `OSError` when that fails."""
    with tempfile.TemporaryFile(dir=_existing(folder)) as file:
        file.write(b"x")
        file.flush()


def folder_size(folder: Path) -> int:
    """Bytes of all files below `folder`; a file that two names link to counts once."""
    found = (path.stat() for path in folder.rglob("*") if path.is_file())
    return sum({(stat.st_dev, stat.st_ino): stat.st_size for stat in found}.values())


def sysctl(name: str) -> str | None:
    """What a Mac says of itself, or None."""
    try:
        done = subprocess.run(["sysctl", "-n", name], capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def _existing(folder: Path) -> Path:
    folder = folder.absolute()
    return next(parent for parent in (folder, *folder.parents) if parent.exists())


def _cpuinfo() -> dict[str, str]:
    """The first processor of /proc/cpuinfo; empty where there is none."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    pairs = (line.partition(":") for line in text.split("\n\n")[0].splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}
