"""Which device and number format to compute in, and why."""

from __future__ import annotations

import platform
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from personatune.errors import ResourceError

if TYPE_CHECKING:
    import torch

DeviceChoice = Literal["auto", "cuda", "mps", "cpu"]
DtypeChoice = Literal["auto", "bf16", "fp32"]
_GPUS = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/kfd", "/dev/dxg", "/dev/nvhost-gpu", "/dev/nvmap")
"""What Linux shows of graphics cards that torch computes on: Nvidia's, AMD's, Windows' through WSL, Jetson's."""


@dataclass(frozen=True)
class Compute:
    """Where and in what numbers the model runs."""

    device: Literal["cuda", "mps", "cpu"]
    """The torch device type."""
    dtype: Literal["bf16", "fp32"]
    """The format of frozen weights and activations; trained weights are always fp32."""
    reason: str
    """Why these two, in one sentence for people."""

    @property
    def torch_dtype(self) -> torch.dtype:
        """The format as torch names it."""
        import torch

        return torch.bfloat16 if self.dtype == "bf16" else torch.float32


def choose(device: DeviceChoice = "auto", dtype: DtypeChoice = "auto") -> Compute:
    """Choose cuda, then mps, then cpu; bf16 where the hardware is quick in it; never fp16, in which Gemma 3 overflows.

    Raises `ResourceError` when a device is asked for that is not there.
    """
    import torch

    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if (device == "cuda" and not cuda) or (device == "mps" and not mps):
        there = ["cpu"] + (["cuda"] if cuda else []) + (["mps"] if mps else [])
        raise ResourceError(
            f"this machine (or this build of torch) has no {device} device", fix=f"--device {there[-1]}"
        )
    if device == "cuda" or (device == "auto" and cuda):
        native = torch.cuda.get_device_capability() >= (8, 0)
        chosen, why = _dtype(dtype, native, "the GPU computes bf16 natively" if native else "no native bf16")
        return Compute("cuda", chosen, f"{torch.cuda.get_device_name()}; {why}")
    if device == "mps" or (device == "auto" and mps):
        native = torch.backends.mps.is_macos_or_newer(14, 0)
        chosen, why = _dtype(dtype, native, "bf16 from macOS 14 on" if native else "macOS older than 14")
        return Compute("mps", chosen, f"Apple GPU; {why}")
    if dtype != "auto":
        return Compute("cpu", dtype, f"{_threads()}; {dtype} as asked")
    chosen, why = _cpu_dtype()
    return Compute("cpu", chosen, f"{_threads()}; {why}")


def may_have_gpu() -> bool:
    """Whether torch could find a GPU here, without loading torch; when in doubt, True."""
    if platform.system() == "Darwin":
        return platform.machine() == "arm64"
    try:
        if metadata.version("torch").endswith("+cpu"):
            return False
    except metadata.PackageNotFoundError:
        return False
    return platform.system() != "Linux" or any(Path(place).exists() for place in _GPUS)


def _dtype(asked: DtypeChoice, native: bool, why: str) -> tuple[Literal["bf16", "fp32"], str]:
    if asked != "auto":
        return asked, f"{asked} as asked"
    return ("bf16", why) if native else ("fp32", why)


def _cpu_dtype() -> tuple[Literal["bf16", "fp32"], str]:
    """What the processor says of itself, so that a busy moment cannot change a run; measured where it says nothing."""
    import torch

    if platform.machine().lower() in ("x86_64", "amd64"):
        if torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported():
            return "bf16", "the processor has bf16 instructions"
        return "fp32", "the processor has no bf16 instructions"
    quick, slow = _gemm_gflops(torch.bfloat16), _gemm_gflops(torch.float32)
    chosen: Literal["bf16", "fp32"] = "bf16" if quick > slow else "fp32"
    return chosen, f"bf16 {quick:.0f} against fp32 {slow:.0f} GFLOP/s, measured just now"


def _threads() -> str:
    import torch

    return f"no GPU that torch can use, {torch.get_num_threads()} CPU threads"


def _gemm_gflops(dtype: torch.dtype, size: int = 512, repeats: int = 10) -> float:
    """The best of some matrix products, in GFLOP/s: 100 ms that decide a factor of two either way."""
    import torch

    a, b = torch.randn(size, size).to(dtype), torch.randn(size, size).to(dtype)
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        a @ b
        times.append(time.perf_counter() - start)
    return float(2 * size**3 / min(times) / 1e9)
