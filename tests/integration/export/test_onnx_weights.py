"""Weights that are written one at a time are those that onnxruntime's own quantiser makes, in any number format."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
import torch
from onnx_ir.tensor_adapters import TorchTensor
from safetensors.torch import save_file

from personatune.export import onnx_weights

pytest.importorskip("onnxruntime")


def product(weights: torch.Tensor) -> ir.Model:
    """A graph of one matrix product, as the builder leaves it: the weights seen the other way round."""
    given = ir.Value(name="given", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape(["rows", weights.shape[1]]))
    kept = ir.LazyTensor(
        lambda: TorchTensor(weights.T.to(torch.float32), name="weight"),
        dtype=ir.DataType.FLOAT,
        shape=ir.Shape(weights.T.shape),
        name="weight",
    )
    weight = ir.Value(name="weight", const_value=kept)
    node = ir.node("MatMul", [given, weight], name="/product")
    node.outputs[0].name, node.outputs[0].type = "made", ir.TensorType(ir.DataType.FLOAT)
    graph = ir.Graph([given], [node.outputs[0]], nodes=[node], initializers=[weight], opset_imports={"": 21}, name="g")
    return ir.Model(graph, ir_version=10)


def by_onnxruntime(model: ir.Model) -> dict[str, np.ndarray]:
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    quantiser = MatMulNBitsQuantizer(
        model=ir.to_proto(model), bits=8, block_size=onnx_weights.BLOCK, is_symmetric=True, accuracy_level=4
    )
    quantiser.process()
    return {one.name: ir.from_proto(one).numpy() for one in quantiser.model.model.graph.initializer}


@pytest.mark.parametrize(("rows", "columns"), [(7, 64), (300, 40), (1, 33)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_bytes_are_those_of_onnxruntime_whatever_is_done_at_once(rows, columns, dtype, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_weights, "_CHUNK", 999)
    weights = torch.randn(rows, columns, generator=torch.Generator().manual_seed(0)).to(dtype)
    save_file({"w": weights}, tmp_path / "model.safetensors")
    mapped = onnx_weights.Mapped(tmp_path)
    expected = by_onnxruntime(product(weights))
    model, wrote = product(mapped.tensors["w"]), list[int]()
    with onnx_weights.DataFile(tmp_path / "data", wrote.append) as data:
        onnx_weights.quantise(model, data, mapped.forget)

    kept = {name: value.const_value.numpy() for name, value in model.graph.initializers.items()}
    assert kept.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(kept[name], values)
    assert sum(wrote) == (tmp_path / "data").stat().st_size
    (node,) = model.graph
    assert (node.op_type, node.outputs[0].name, node.attributes["K"].as_int()) == ("MatMulNBits", "made", columns)
    ir.save(model, tmp_path / "model.onnx")


def test_what_was_forgotten_is_read_again(tmp_path):
    tensors = {"a": torch.randn(50, 40), "b": torch.arange(7).to(torch.bfloat16), "empty": torch.zeros(0, 3)}
    save_file({**tensors, "whole numbers": torch.arange(3)}, tmp_path / "model.safetensors")
    mapped = onnx_weights.Mapped(tmp_path)
    for _ in range(2):
        assert mapped.tensors.keys() == {"a", "b"}
        assert all(torch.equal(mapped.tensors[name], tensors[name]) for name in mapped.tensors)
        mapped.forget()
