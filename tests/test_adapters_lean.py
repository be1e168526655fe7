"""Lean blocks: transformers' loss and gradients in fewer passes; other families stay their own."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close
from transformers import AutoConfig, AutoModelForCausalLM

from ftkit.adapters._attention import APART, attention
from ftkit.adapters._folded import folded
from ftkit.adapters._forward import Forward, causal
from ftkit.adapters._lean import lean, smooth
from ftkit.adapters._method import trainable
from ftkit.catalog import load
from ftkit.recipes._room import saved
from tests import small

SHAPE: dict[str, Any] = {
    "vocab_size": 320, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "pad_token_id": 0,
}  # fmt: skip
DROPS = ("resid_pdrop", "embd_pdrop", "attn_pdrop")
STILL = {**dict.fromkeys(DROPS, 0.0), "scale_attn_by_inverse_layer_idx": True}  # GPT-2 drops 0.1
IDS_BT = torch.arange(7, 47)[None].expand(2, -1)
POSITIONS_BT = torch.tensor([[*range(13), *range(20), *range(7)], [*range(30), *range(8), 0, 0]])
# Two go on from 5 places of the first, one from 20 of the fourth.
SHARED_BT = torch.tensor([[*range(13), *range(5, 20), *range(5, 17)], [*range(30), *range(20, 30)]])
WHERE_N = torch.tensor([3, 9, 30, 55, 71])


def attached(family: str, method: str, **shape: Any) -> Forward:
    """Attach a method to a small model; no weight is where a slip would not show."""
    torch.manual_seed(0)
    still = STILL if family == "gpt2" else {}
    config = AutoConfig.for_model(family, **(SHAPE | still | shape))
    how = load("adapters", method)
    model = how.attach(AutoModelForCausalLM.from_config(config), small.tokenizer(), 0).train()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return Forward.of(model, how)


def logits(
    forward: Forward,
    where_N: torch.Tensor = WHERE_N,
    positions_BT: torch.Tensor = POSITIONS_BT,
) -> torch.Tensor:
    return forward.logits(IDS_BT, positions_BT, None, where_N)


def gradients(
    forward: Forward, positions_BT: torch.Tensor = POSITIONS_BT
) -> dict[str, torch.Tensor]:
    """Take one loss and its gradients, the loss among them."""
    moving = trainable(forward.model)
    found_NV = logits(forward, positions_BT=positions_BT)
    loss = F.cross_entropy(found_NV, torch.arange(len(WHERE_N)), reduction="sum")
    grads = torch.autograd.grad(loss, list(moving.values()), allow_unused=True)
    none = torch.zeros(())
    return {"loss": loss.detach()} | {
        name: none if grad is None else grad for name, grad in zip(moving, grads, strict=True)
    }


@contextmanager
def at_work(forward: Forward) -> Iterator[bool]:
    """Open what a tuning opens."""
    inner = causal(forward.model)
    with ExitStack() as until:
        until.enter_context(attention(inner, APART, lambda: logits(forward)))
        until.enter_context(folded(forward.model, exact=True))
        until.enter_context(smooth(inner))
        yield until.enter_context(lean(inner, lambda: logits(forward)))


@pytest.mark.parametrize("method", ["full", "lora", "dora", "ia3"])
@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3", "gpt2"])
@pytest.mark.parametrize("positions_BT", [POSITIONS_BT, SHARED_BT], ids=["whole", "shared"])
def test_loss_and_gradients_are_transformers_and_no_trace_is_left(
    positions_BT: torch.Tensor, family: str, method: str
) -> None:
    forward = attached(family, method)
    theirs = gradients(forward, positions_BT)
    with at_work(forward) as taken:
        assert taken
        ours = gradients(forward, positions_BT)
    assert ours.keys() == theirs.keys()
    for name, grad in theirs.items():
        close = 1e-4 * float(grad.norm()) + 1e-7
        assert_close(ours[name], grad, rtol=1e-4, atol=close, msg=lambda m, n=name: f"{n}: {m}")
    assert not any("forward" in vars(module) for module in forward.model.modules())


@pytest.mark.parametrize("family", ["qwen3", "gpt2"])
def test_the_last_blocks_products_are_made_where_labels_are(family: str) -> None:
    forward = attached(family, "lora")
    last, read = {"qwen3": "down_proj", "gpt2": "mlp.c_proj"}[family], list[int]()
    for name, module in causal(forward.model).named_modules():
        if name.endswith(last):
            module.register_forward_pre_hook(
                lambda _, inputs: read.append(inputs[0].shape[:-1].numel())
            )
    with at_work(forward):
        read.clear()
        logits(forward)
    assert read == [IDS_BT.numel(), len(WHERE_N)]


@pytest.mark.parametrize(
    ("family", "shape"),
    [
        ("gpt2", {}),
        ("gpt_neo", {"attention_types": [[["global"], 2]]}),
        ("phi", {"hidden_act": "gelu_new"}),
    ],
)
def test_gelus_written_out_are_one_kernel(family: str, shape: dict[str, Any]) -> None:
    forward = attached(family, "full", **shape)
    theirs, kept = gradients(forward), saved(forward.model, lambda: logits(forward).sum())
    with smooth(causal(forward.model)) as count:
        assert count == 2
        ours, less = gradients(forward), saved(forward.model, lambda: logits(forward).sum())
    for name, grad in theirs.items():
        assert_close(ours[name], grad, rtol=1e-4, atol=1e-5 * float(grad.abs().max()) + 1e-8)
    assert less < 0.8 * kept
    assert not any("forward" in vars(module) for module in forward.model.modules())


@pytest.mark.parametrize("drop", DROPS)
def test_dropout_of_gpt2_is_kept(drop: str) -> None:
    """Readings of our blocks have the mean of its own, and spread as they do."""
    forward = attached("gpt2", "full", **{drop: 0.3})

    @torch.no_grad()
    def drawn() -> torch.Tensor:
        forward.model.train()
        found = torch.stack([logits(forward) for _ in range(200)])
        forward.model.eval()
        return found

    theirs = drawn()
    with at_work(forward) as taken:
        assert taken
        ours = drawn()
    assert float(ours.std(0).norm()) == pytest.approx(float(theirs.std(0).norm()), rel=0.15)
    assert (ours.mean(0) - theirs.mean(0)).norm() < 0.2 * (ours[0] - ours.mean(0)).norm()


def test_a_forward_that_was_there_is_there_again() -> None:
    """Other libraries' hooks replace forwards too."""
    forward = attached("gpt2", "lora")
    inner = causal(forward.model)
    block, attended = inner.transformer.h[0], inner.transformer.h[0].attn.c_attn
    held = {part: part.forward for part in (block, block.mlp.act, attended)}
    for part, way in held.items():
        part.forward = way
    with at_work(forward) as taken:
        assert taken
        assert all(vars(part)["forward"] is not way for part, way in held.items())
    assert all(vars(part)["forward"] is way for part, way in held.items())


def test_no_label_at_all_trains_nothing() -> None:
    """The last batch of an update may be empty."""
    forward = attached("llama", "lora")
    with at_work(forward):
        logits(forward, WHERE_N[:0]).sum().backward()
    grads = [parameter.grad for parameter in trainable(forward.model).values()]
    assert all(grad is None or not grad.any() for grad in grads)


@pytest.mark.parametrize(
    ("family", "shape"),
    [
        ("gemma", {}),
        ("granite", {"residual_multiplier": 0.5}),
        ("qwen3", {"hidden_act": "gelu"}),
        ("llama", {"attention_dropout": 0.1}),
    ],
)
def test_what_is_more_than_such_a_block_stays_its_own(family: str, shape: dict[str, Any]) -> None:
    with at_work(attached(family, "lora", **shape)) as taken:
        assert not taken


def test_it_stays_off_where_the_logits_differ() -> None:
    forward = attached("qwen3", "full")
    inner = causal(forward.model)
    inner.model.layers[1].mlp.act_fn = torch.nn.GELU()
    with at_work(forward) as taken:
        assert not taken
        assert not any("forward" in vars(block) for block in inner.model.layers)
