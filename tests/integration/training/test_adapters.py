"""Our LoRA layers give what PEFT's give, and keep their hands off what is more than LoRA."""

from __future__ import annotations

import copy

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from personatune.training.adapters import slim


class Two(nn.Module):
    def __init__(self, bias: bool) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(12, 20, bias=bias), nn.Linear(20, 8, bias=bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.two(torch.tanh(self.one(x)))


def adapted(bias: bool = False, **config):
    torch.manual_seed(0)
    model = get_peft_model(Two(bias), LoraConfig(r=4, lora_alpha=12, target_modules=["one", "two"], **config))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_()
    return model


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 0.05)], ids=["fp32", "bf16"])
def test_values_and_gradients_are_those_of_peft(dtype, tolerance, bias):
    theirs = adapted(bias)
    ours = copy.deepcopy(theirs)
    slim(ours)
    for model in (theirs, ours):
        for name, parameter in model.named_parameters():
            if "lora" not in name:
                parameter.data = parameter.data.to(dtype)
    x = torch.randn(3, 5, 12, generator=torch.Generator().manual_seed(1)).to(dtype)
    found = []
    for model in (theirs, ours):
        leaf = x.clone().requires_grad_()
        out = model(leaf)
        out.float().square().sum().backward()
        grads = {n: p.grad.float() for n, p in model.named_parameters() if p.requires_grad}
        found.append({"out": out.detach().float(), "x": leaf.grad.float(), **grads})
    assert set(found[0]) == set(found[1])
    for name in found[0]:
        size = float(found[0][name].abs().max())
        torch.testing.assert_close(found[1][name], found[0][name], rtol=tolerance, atol=tolerance * size, msg=name)
    assert found[1]["out"].dtype == torch.float32
    assert all(p.grad.dtype == torch.float32 for n, p in ours.named_parameters() if "lora" in n)


@pytest.mark.parametrize("config", [{"lora_dropout": 0.1}, {"use_dora": True}, {"lora_bias": True}])
def test_what_is_more_than_lora_stays_as_it_is(config):
    model = adapted(bias=True, **config)
    slim(model)
    assert not [m for m in model.modules() if "forward" in m.__dict__]
