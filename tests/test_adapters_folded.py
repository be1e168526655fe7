"""Folded updates: PEFT's logits and gradients in fewer passes; what is more stays PEFT's."""

from typing import Any

import pytest
import torch
from torch.testing import assert_close
from transformers import GPT2Config, GPT2LMHeadModel, OlmoConfig, OlmoForCausalLM

from ftkit.adapters._folded import _LowRank, folded, products
from ftkit.adapters._method import trainable
from ftkit.catalog import load
from ftkit.config import override
from tests import small


def attached(name: str, values: dict[str, Any] | None = None, **shape: Any) -> Any:
    """Attach a method to a small model, and move its B away from zero."""
    how = override(load("adapters", name), values or {}, "method")
    model = how.attach(small.model(**shape), small.tokenizer(), 0).train()
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in trainable(model).values():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def loss(model: Any, length: int = 40) -> torch.Tensor:
    ids_BT = torch.arange(7, 7 + length)[None].expand(2, -1)
    value: torch.Tensor = model(input_ids=ids_BT, use_cache=False).logits.logsumexp(-1).sum()
    return value


@pytest.mark.parametrize("values", [{}, {"rslora": True, "rank": 3}, {"lr_ratio": 4.0}])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    ("length", "into_weights"),
    [(80, {True}), (5, {False}), (36, {True, False})],
    ids=["into weights", "into results", "into either"],
)
def test_it_gives_pefts_numbers_and_leaves_no_trace(
    length: int, into_weights: set[bool], values: dict[str, Any], bias: bool
) -> None:
    model = attached("lora", values, attention_bias=bias)
    theirs = loss(model, length)
    theirs.backward()
    grads = {name: p.grad.clone() for name, p in trainable(model).items()}
    model.zero_grad()
    with folded(model, exact=True) as layers:
        assert layers == 14, "seven in each of two blocks"
        ways = [m.forward for m in model.modules() if isinstance(vars(m).get("forward"), _LowRank)]
        assert {way.folds(2 * length) for way in ways} == into_weights
        ours = loss(model, length)
        ours.backward()
    assert_close(ours, theirs, rtol=1e-5, atol=0)
    assert len(grads) == 28
    for name, parameter in trainable(model).items():
        assert_close(parameter.grad, grads[name], rtol=1e-3, atol=1e-4 * float(grads[name].norm()))
    assert not any("forward" in vars(module) for module in model.modules())


def test_layers_that_read_the_same_multiply_together_each_in_its_way() -> None:
    """Of 72 tokens an update of 64 x 32 is folded, one of 64 x 64 is not."""
    model = attached("lora")
    own = model.base_model.model.model.layers[0].self_attn
    layers, moving = (own.q_proj, own.k_proj, own.v_proj), list(trainable(model).values())[:6]
    x_BTD = torch.randn(2, 36, 64, requires_grad=True)
    with folded(model, exact=True):
        assert [layer.forward.folds(72) for layer in layers] == [False, True, True]
        ours = products(x_BTD, layers)
    theirs = products(x_BTD, layers)
    for found, wanted in zip(ours, theirs, strict=True):
        assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    found, wanted = (
        torch.autograd.grad(sum(y.square().sum() for y in ys), [x_BTD, *moving])
        for ys in (ours, theirs)
    )
    for one, other in zip(found, wanted, strict=True):
        assert_close(one, other, rtol=1e-3, atol=1e-4 * float(other.norm()))


@pytest.mark.parametrize("length", [80, 5], ids=["into weights", "into results"])
def test_it_works_on_layers_that_lie_the_other_way_round(length: int) -> None:
    """GPT-2 keeps weights as width in x width out."""
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=320, n_embd=32, n_layer=1, n_head=2, n_positions=128)
    model = load("adapters", "lora").attach(GPT2LMHeadModel(config), None, 0).eval()
    with torch.no_grad():
        for parameter in trainable(model).values():
            parameter.add_(0.1 * torch.randn_like(parameter))
    moving = list(trainable(model).values())
    theirs = loss(model, length)
    grads = torch.autograd.grad(theirs, moving)
    with folded(model, exact=True) as layers:
        assert layers == 4
        ours = loss(model, length)
        assert_close(ours, theirs, rtol=1e-5, atol=0)
        for found, grad in zip(torch.autograd.grad(ours, moving), grads, strict=True):
            assert_close(found, grad, rtol=1e-3, atol=1e-4 * float(grad.norm()))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("length", [80, 5], ids=["into weights", "into results"])
def test_a_model_may_write_into_the_results(length: int, bias: bool) -> None:
    """OLMo cuts queries, keys and values off where they lie."""
    torch.manual_seed(0)
    shape = {"vocab_size": 320, "hidden_size": 32, "intermediate_size": 48, "pad_token_id": 0}
    depth = {"num_hidden_layers": 1, "num_attention_heads": 2, "clip_qkv": 0.01, "eos_token_id": 1}
    config = OlmoConfig(**shape, **depth, attention_bias=bias)
    model = load("adapters", "lora").attach(OlmoForCausalLM(config), small.tokenizer(), 0)
    moving = list(trainable(model).values())
    with torch.no_grad():
        for parameter in moving:
            parameter.add_(0.1 * torch.randn_like(parameter))
    grads = torch.autograd.grad(loss(model, length), moving)
    with folded(model, exact=True) as layers:
        assert layers == 7
        for found, grad in zip(
            torch.autograd.grad(loss(model, length), moving), grads, strict=True
        ):
            assert_close(found, grad, rtol=1e-3, atol=1e-4 * float(grad.norm()) + 1e-7)


def test_no_product_makes_a_gradient_of_a_frozen_weight() -> None:
    model = attached("lora")
    with folded(model, exact=True):
        loss(model).backward()
    frozen = [p for p in model.parameters() if not p.requires_grad]
    assert len(frozen) > 14
    assert all(p.grad is None for p in frozen)


def test_what_is_more_than_a_plain_update_stays_pefts() -> None:
    for name, values in (("lora", {"dropout": 0.1}), ("dora", {}), ("ia3", {}), ("full", {})):
        with folded(attached(name, values), exact=True) as layers:
            assert layers == 0, (name, values)
    with folded(attached("lora"), exact=False) as layers:
        assert layers == 0
