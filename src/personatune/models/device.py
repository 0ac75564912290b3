"""Which device and number format to compute in, and why; and everything else that is not the same on every device."""

from __future__ import annotations

import importlib.util
import os
import platform
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from personatune.errors import ResourceError

if TYPE_CHECKING:
    import torch

DeviceChoice = Literal["auto", "cuda", "mps", "cpu"]
DtypeChoice = Literal["auto", "bf16", "fp32"]
_GPUS = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/kfd", "/dev/dxg", "/dev/nvhost-gpu", "/dev/nvmap")
"""What Linux shows of graphics cards that torch computes on: Nvidia's, AMD's, Windows' through WSL, Jetson's."""


MPS_EMPTY_STEPS = 16
"""On Apple's GPU the allocator keeps what it once held for every new shape; so often it is told to let go."""
PAD_TO, _PAD_TO = 8, {"mps": 64}
"""Batches are as wide as their longest row, up to a multiple of this: new shapes cost time and memory (see loss.py)."""
ALIGN, _ALIGN = 16, {"mps": 256}
"""Tokens of a batch are filled up to a multiple of this, for the same reason."""


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

    def empty(self) -> torch.Tensor:
        """A tensor of nothing there, in that format."""
        import torch

        return torch.empty(0, dtype=self.torch_dtype, device=self.device)


def choose(device: DeviceChoice = "auto", dtype: DtypeChoice = "auto") -> Compute:
    """Choose cuda, then mps, then cpu; bf16 where the hardware is quick in it; never fp16, in which Gemma 3 overflows.

    Raises `ResourceError` when a device is asked for that is not there.
    """
    import torch

    cuda, mps = there_are()
    if (device == "cuda" and not cuda) or (device == "mps" and not mps):
        there = ["cpu"] + (["cuda"] if cuda else []) + (["mps"] if mps else [])
        raise ResourceError(
            f"this machine (or this build of torch) has no {device} device", fix=f"--device {there[-1]}"
        )
    if device == "cuda" or (device == "auto" and cuda):
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
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


def there_are() -> tuple[bool, bool]:
    """Whether torch finds (CUDA, MPS) here."""
    import torch

    return torch.cuda.is_available(), torch.backends.mps.is_available()


def choose_quickly(device: DeviceChoice) -> str:
    """The device type that `choose` would take, without loading torch where nothing but the processor can be meant."""
    return "cpu" if device == "cpu" or (device == "auto" and not may_have_gpu()) else choose(device).device


def here_on(kind: str) -> str:
    """The device of this process: of several GPUs, that with the number of the process on this machine."""
    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if kind == "cuda" else kind


def count_gpus() -> int:
    """How many CUDA devices this process may use."""
    if not may_have_gpu():
        return 0
    import torch

    return torch.cuda.device_count()


def group_backend() -> str:
    """What processes of one training talk through: the processor's memory for words, the GPUs' links for gradients."""
    return "cpu:gloo,cuda:nccl" if there_are()[0] else "gloo"


def pad_to(device: str) -> int:
    """`PAD_TO` on this device: Metal's allocator keeps buffers of every size that it met, so sizes are few there."""
    return _PAD_TO.get(device, PAD_TO)


def align_to(device: str) -> int:
    """`ALIGN` on this device."""
    return _ALIGN.get(device, ALIGN)


def trainer_arguments(device: str) -> dict[str, Any]:
    """What transformers' Trainer is told of the device.

    Its own mixed precision is off everywhere: frozen weights come in their format, and fp16 never.
    """
    return {
        "use_cpu": device == "cpu",
        "fp16": False,
        "bf16": False,
        "dataloader_pin_memory": False,
        "torch_empty_cache_steps": MPS_EMPTY_STEPS if device == "mps" else None,
    }


def refuse_fp16() -> None:
    """Raise `ResourceError` when the launcher was told to compute in fp16, in which Gemma 3 overflows."""
    if os.environ.get("ACCELERATE_MIXED_PRECISION", "no") in ("fp16", "fp8"):
        raise ResourceError(
            "accelerate was told to compute in fp16 or fp8, in which Gemma 3 overflows",
            fix="accelerate launch --mixed_precision no   (frozen weights are in bf16 anyway: --dtype)",
        )


def refuse_four_bits(device: str) -> None:
    """Raise `ResourceError` where weights of 4 bits cannot be computed with."""
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ResourceError(
            "--method qlora needs bitsandbytes, which is not installed",
            fix="python -m pip install 'personatune[qlora]'   or: --method lora",
        )
    if device == "mps":
        raise ResourceError(
            "--method qlora: bitsandbytes does not train with weights of 4 bits on Apple's GPU",
            fix="--method lora with --checkpointing, or a smaller --model",
        )


def free_memory(device: str) -> int | None:
    """Bytes that are free on the GPU; None where it shares the processor's memory."""
    if device != "cuda":
        return None
    import torch

    return int(torch.cuda.mem_get_info()[0])


def all_memory(device: str) -> int | None:
    """Bytes that the GPU has; None where it shares the processor's memory."""
    if device != "cuda":
        return None
    import torch

    return int(torch.cuda.mem_get_info()[1])


def forget_peak() -> None:
    """Begin counting the GPU's most used memory anew."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def peak_memory(device: str) -> int | None:
    """The most memory used on the GPU in bytes; None where it shares the processor's."""
    if device != "cuda":
        return None
    import torch

    return int(torch.cuda.max_memory_allocated())


def release(device: str) -> None:
    """Give back what the GPU's allocator keeps for later."""
    import torch

    if device == "cuda":
        torch.cuda.empty_cache()
    elif device == "mps":
        torch.mps.empty_cache()


def described() -> tuple[str, list[str]]:
    """What this build of torch was made for, and the GPUs that it finds: for `personatune doctor`."""
    import torch

    cuda, mps = there_are()
    kinds = [f"CUDA {torch.version.cuda}"] if torch.version.cuda else []
    kinds += [f"ROCm {torch.version.hip}"] if torch.version.hip else []
    build = f"built for {', '.join(kinds) or 'the processor alone'}" if not mps else "built with Metal"
    return build, [name for name, is_there in (("cuda", cuda), ("mps", mps)) if is_there]


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
