"""Memory of this process: the most it has used, and giving back what it no longer needs."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import sys
from pathlib import Path

import psutil

from personatune.models import device


def release() -> None:
    """Collect garbage and hand freed memory back to the system, where its C library can (glibc)."""
    gc.collect()
    trim()


def trim() -> None:
    """Hand freed heap pages back to the system: varied tensor sizes otherwise leave holes that add up."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL("libc.so.6").malloc_trim(0)


def forget_peak() -> None:
    """Begin counting the peak anew, where the system lets us: unpacking a model must not count as training."""
    device.forget_peak()
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak(kind: str) -> int:
    """The most memory used since `forget_peak` (where that works) in bytes: of the process, or of the GPU."""
    if (of_gpu := device.peak_memory(kind)) is not None:
        return of_gpu
    with contextlib.suppress(OSError, IndexError):
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.split("VmHWM:")[1].split()[0]) * 1024
    try:
        import resource

        scale = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, others kibibytes
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale
    except ImportError:  # Windows
        return int(getattr(psutil.Process().memory_info(), "peak_wset"))  # noqa: B009
