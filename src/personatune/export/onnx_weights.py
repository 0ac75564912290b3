"""The weights of an ONNX file: read where they lie, quantised and written one tensor at a time.

A graph that holds its weights takes their size several times over. Here the builder is given weights that are mapped
from their files, and what was written of them is forgotten before the next is read.
"""

from __future__ import annotations

import json
import math
import mmap
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK = 32
"""So many weights of a row share a scale."""
LEAST = 1024
"""Tensors of no more bytes stay in the graph."""
_CHUNK = 1 << 24
"""Weights that are quantised at once: 64 MB in fp32."""
_DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}


class Mapped:
    """All tensors of a folder's safetensors files, in torch, with their bytes left on the disk."""

    def __init__(self, folder: Path) -> None:
        self.tensors: dict[str, Any] = {}
        """By name; those of number formats that no network computes in are left out."""
        self._maps: list[mmap.mmap] = []
        for path in sorted(folder.glob("*.safetensors")):
            self._read(path)

    def forget(self) -> None:
        """Give back the memory of what was read; it is read again from the file where it is needed."""
        if sys.platform != "win32":
            for one in self._maps:
                one.madvise(mmap.MADV_DONTNEED)

    def _read(self, path: Path) -> None:
        import torch

        with path.open("rb") as file:
            begin = 8 + int.from_bytes(file.read(8), "little")
            header: dict[str, Any] = json.loads(file.read(begin - 8))
            whole = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        self._maps.append(whole)
        for name, about in header.items():
            if name == "__metadata__" or about["dtype"] not in _DTYPES or not (count := math.prod(about["shape"])):
                continue
            dtype = getattr(torch, _DTYPES[about["dtype"]])
            start = begin + about["data_offsets"][0]
            flat = torch.frombuffer(whole, dtype=dtype, count=count, offset=start)
            self.tensors[name] = flat.reshape(about["shape"])


def model_of(folder: Path, mapped: Mapped) -> Any:
    """The causal model of a folder in torch, its weights mapped; None where some are not to be had that way."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    with torch.device("meta"):
        model: Any = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    model.load_state_dict(mapped.tensors, strict=False, assign=True)
    model.tie_weights()
    return None if any(one.is_meta for one in model.parameters()) else model.eval()


class DataFile:
    """The file beside a graph that its weights go into. Close it, or use it as a context."""

    def __init__(self, path: Path, wrote: Callable[[int], None]) -> None:
        self._path, self._file, self._wrote = path, path.open("wb"), wrote
        self._at = 0

    def __enter__(self) -> DataFile:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._file.close()

    def put(self, name: str, dtype: Any, shape: tuple[int, ...], parts: Iterator[NDArray[Any]]) -> Any:
        """Write a tensor that comes in parts; what stands for it in the graph."""
        import onnx_ir as ir

        begun = self._at
        for part in parts:
            part = np.ascontiguousarray(part)
            self._file.write(part.data)
            self._at += part.nbytes
            self._wrote(part.nbytes)
        return ir.ExternalTensor(
            self._path.name,
            begun,
            self._at - begun,
            dtype,
            shape=ir.Shape(shape),
            name=name,
            base_dir=self._path.parent,
        )


def quantise(model: Any, data: DataFile, forget: Callable[[], None]) -> None:
    """Put 8-bit weights, in blocks of `BLOCK`, in the place of every matrix product with full ones, as onnxruntime's
    own quantiser does."""
    import onnx_ir as ir

    graph = model.graph
    for node in list(graph):
        weight = node.inputs[1] if node.op_type == "MatMul" else None
        if weight is None or weight.const_value is None or len(weight.const_value.shape) != 2:
            continue
        rows, columns = (int(size) for size in weight.const_value.shape)
        blocks = -(-rows // BLOCK)
        scales: list[NDArray[np.float32]] = []
        packed = _quantised(weight.const_value, scales, forget)
        values = []
        for name, dtype, shape, parts in (
            (f"{weight.name}_Q8", ir.DataType.UINT8, (columns, blocks, BLOCK), packed),
            (f"{weight.name}_scales", ir.DataType.FLOAT, (columns, blocks), iter(scales)),
        ):
            tensor = data.put(name, dtype, shape, parts)
            value = ir.Value(name=name, const_value=tensor, type=ir.TensorType(dtype), shape=tensor.shape)
            graph.register_initializer(value)
            values.append(value)
        product = ir.node(
            "MatMulNBits",
            [node.inputs[0], *values],
            {"K": rows, "N": columns, "bits": 8, "block_size": BLOCK, "accuracy_level": 4},
            domain="com.microsoft",
            name=f"{node.name}_Q8",
        )
        old, new = node.outputs[0], product.outputs[0]
        name, new.type, new.shape = old.name, old.type, old.shape
        graph.insert_before(node, [product])
        old.replace_all_uses_with(new, replace_graph_outputs=True)
        graph.remove(node, safe=True)
        new.name = name
        if not weight.uses():
            graph.initializers.pop(weight.name)
    model.opset_imports.setdefault("com.microsoft", 1)


def _quantised(
    tensor: Any, scales: list[NDArray[np.float32]], forget: Callable[[], None]
) -> Iterator[NDArray[np.uint8]]:
    """A matrix's 8-bit weights, some of its columns at a time; their scales are added to `scales`."""
    from onnxruntime.capi._pybind_state import quantize_matmul_8bits

    whole = tensor.numpy()
    rows, columns = whole.shape
    blocks = -(-rows // BLOCK)
    step = max(1, _CHUNK // rows)
    for start in range(0, columns, step):
        part = np.ascontiguousarray(whole[:, start : start + step], dtype=np.float32)
        if blocks * BLOCK > rows:
            part = np.pad(part, ((0, blocks * BLOCK - rows), (0, 0)))
        width = part.shape[1]
        packed = np.zeros((width, blocks, BLOCK), np.uint8)
        found = np.zeros((width, blocks), np.float32)
        points = np.zeros((width, blocks), np.uint8)
        quantize_matmul_8bits(packed, part, found, points, BLOCK, width, rows, True)
        scales.append(found)
        yield packed
        forget()


def store(model: Any, data: DataFile, forget: Callable[[], None]) -> None:
    """Write all other weights into the file; what stands in the graph says where they are."""
    import onnx_ir as ir

    for value in list(model.graph.initializers.values()):
        tensor = value.const_value
        if tensor is None or isinstance(tensor, ir.ExternalTensor) or tensor.nbytes <= LEAST:
            continue
        shape = tuple(int(size) for size in tensor.shape)
        value.const_value = data.put(value.name, tensor.dtype, shape, _in_rows(tensor))
        del tensor
        forget()


def _in_rows(tensor: Any) -> Iterator[NDArray[Any]]:
    """A tensor's values, some rows at a time."""
    whole = tensor.numpy()
    step = max(1, _CHUNK * max(1, whole.shape[0]) // max(1, whole.size)) if whole.ndim else 1
    if whole.ndim == 0:
        yield whole.reshape(1)
        return
    for start in range(0, whole.shape[0], step):
        yield whole[start : start + step]


def octets(model: Any, *, quantised: bool) -> int:
    """About how many bytes of weights a graph will have."""
    total = sum(int(value.const_value.nbytes) for value in model.graph.initializers.values() if value.const_value)
    return total * 9 // 32 if quantised else total
