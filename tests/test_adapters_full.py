"""Full fine-tuning: which rule moves which weights."""

from pathlib import Path
from typing import Any

import pytest
import torch

from ftkit.adapters._forward import Forward
from ftkit.adapters._variant import open_base
from ftkit.basemodel.muon import Muon
from ftkit.basemodel.optim import Optimizer
from ftkit.catalog import load
from ftkit.config import override
from ftkit.errors import FtkitError
from ftkit.recipes._pack import Packer
from ftkit.recipes._work import batch_loss
from tests import small
from tests.test_adapters_methods import examples


def made(folder: Path, **values: Any) -> tuple[Any, Any]:
    method = override(load("adapters", "full"), values, "method")
    return method.attach(*open_base(str(folder)), 0), method


@pytest.mark.parametrize("rate", [0.0, 0.02])
@pytest.mark.parametrize("tied", [True, False])
def test_muon_moves_what_lies_between_hidden_layers_alone(
    tmp_path: Path, rate: float, tied: bool
) -> None:
    """Embeddings and vectors are never decayed; an output layer of its own is, by AdamW."""
    folder = small.base(tmp_path / "base", tie_word_embeddings=tied)
    model, method = made(folder, muon_lr=rate, lr=0.001, weight_decay=0.1)
    rules = {
        id(p): (group.rule, group.lr, group.weight_decay)
        for group in method.groups(model)
        for p in group.params
    }
    assert len(rules) == sum(len(group.params) for group in method.groups(model))
    for name, parameter in model.named_parameters():
        hidden = parameter.dim() == 2 and "embed" not in name and "lm_head" not in name
        decayed = hidden or "lm_head" in name
        moved = ("muon", rate) if hidden and rate else ("adamw", 0.001)
        expected = (*moved, 0.1 if decayed else 0.0)
        assert rules[id(parameter)] == expected, name
    assert ("lm_head.weight" in dict(model.named_parameters())) != tied


def test_a_step_is_muons_and_one_of_no_rate_moves_nothing(tmp_path: Path) -> None:
    """Where minutes are turned into steps, an optimizer is tried on gradients of 0."""
    model, method = made(small.base(tmp_path / "base"), muon_lr=0.02)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    forward, optimizer = Forward.of(model, method), Optimizer(method.groups(model))
    batch_loss(forward, Packer(examples(3), 128, 2)(0)).backward()
    grads = {name: p.grad.clone() for name, p in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad.zero_()
    Optimizer(method.groups(model)).step(0.0)
    for name, p in model.named_parameters():
        assert torch.equal(p, before[name]), name
        p.grad.copy_(grads[name])
    optimizer.step(1.0)
    name = "model.layers.0.mlp.up_proj.weight"
    twin = torch.nn.Parameter(before[name].clone())
    twin.grad = grads[name]
    Muon([twin], 0.02, weight_decay=0.01).step()
    assert torch.equal(dict(model.named_parameters())[name], twin)
    assert not torch.equal(twin, before[name])


def test_a_rate_below_nothing_is_refused() -> None:
    with pytest.raises(FtkitError, match=r"'method\.muon_lr' takes 0 or more, not -0\.1"):
        override(load("adapters", "full"), {"muon_lr": -0.1}, "method")
