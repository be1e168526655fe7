"""Attention of our own: the same numbers as the fused kernel, and off where a family does more."""

# B rows, T positions

from typing import Any

import pytest
import torch
from torch.testing import assert_close

from ftkit.adapters._attention import APART, EXPLICIT, attention
from ftkit.adapters._examples import Examples
from ftkit.adapters._forward import Forward
from ftkit.catalog import load
from tests import small


def packed(model: Any) -> torch.Tensor:
    """Compute logits of two packed examples and a gap in a row, beside one long one."""
    torch.manual_seed(3)
    ids_BT = torch.randint(7, 320, (2, 40))
    first = torch.cat([torch.arange(15), torch.arange(22), torch.zeros(3, dtype=torch.long)])
    positions_BT = torch.stack([first, torch.arange(40)])
    where_N = torch.cat([torch.arange(37), torch.arange(40, 80)])
    return Forward(model, load("adapters", "full"), False).logits(
        ids_BT, positions_BT, None, where_N
    )


@pytest.mark.parametrize("name", [EXPLICIT, APART])
@pytest.mark.parametrize("heads", [1, 2, 4])
def test_it_equals_the_fused_kernel_and_leaves_no_trace(heads: int, name: str) -> None:
    model = small.model(num_key_value_heads=heads)
    fused = packed(model)
    with attention(model, name, lambda: packed(model)) as used:
        assert used
        assert model.config._attn_implementation == name
        ours = packed(model)
        ours.sum().backward()
    assert_close(ours, fused, rtol=0, atol=2e-5)
    assert model.config._attn_implementation == "sdpa"
    grads = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    packed(model).sum().backward()
    for name, parameter in model.named_parameters():
        assert_close(grads[name], parameter.grad, rtol=1e-3, atol=1e-3)


def test_examples_of_about_a_length_lie_side_by_side() -> None:
    """Lengths 15, 22 and 40 go into groups of 16, 32 and 48; three places hold no example."""
    sizes = [15, 22, 1, 1, 1, 40]
    positions_BT = torch.cat([torch.arange(size) for size in sizes]).view(2, 40)
    examples = Examples.of(positions_BT)
    assert examples.groups == ((1, 0, 16), (1, 0, 32), (1, 0, 48))
    assert examples.keys is examples.queries
    beside = examples.queries
    assert beside.lone_N.tolist() == [37, 38, 39]
    real_M = beside.real_M1[:, 0]
    assert beside.take_M[real_M].tolist() == [*range(37), *range(40, 80)]
    assert beside.back_N[beside.take_M[real_M]].tolist() == real_M.nonzero()[:, 0].tolist()


def test_who_goes_on_from_another_looks_at_its_beginning_and_computes_its_own() -> None:
    """Of 12 places 7 are shared: 13 more, then 20 more; a whole one of 10 beside them."""
    positions_BT = torch.cat([torch.arange(12), torch.arange(7, 20), torch.arange(7, 27)])
    positions_BT = torch.cat([positions_BT, torch.arange(10), torch.zeros(5, dtype=int)])[None]
    examples = Examples.of(positions_BT)
    assert examples.groups == ((2, 0, 16), (1, 16, 16), (1, 16, 32))
    own_M = examples.queries.real_M1[:, 0]
    assert sorted(examples.queries.take_M[own_M].tolist()) == list(range(55))
    assert examples.keys.take_M[examples.keys.again_R].tolist() == [*range(7), *range(7)]
    for mask, own in zip(examples.masks[1:], (13, 20), strict=True):
        seen_TK = mask[0, 0] == 0
        assert seen_TK[:own].sum(1).tolist() == list(range(8, 8 + own))


def test_it_stays_off_where_attention_does_more() -> None:
    """Gemma 2 bounds its scores; small ones do not show it, but training makes them grow."""
    from transformers import Gemma2Config, Gemma2ForCausalLM

    torch.manual_seed(0)
    model = Gemma2ForCausalLM(
        Gemma2Config(
            vocab_size=320,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=16,
            attn_logit_softcapping=50.0,
        )
    ).eval()
    for name in (EXPLICIT, APART):
        with attention(model, name, lambda: packed(model)) as used:
            assert not used
            assert model.config._attn_implementation == "eager"


def test_it_stays_off_where_the_logits_differ() -> None:
    """A window is not kept behind no mask; and Falcon has its attention written out itself."""
    model = small.model(use_sliding_window=True, sliding_window=4, max_window_layers=0)
    with attention(model, APART, lambda: packed(model)) as used:
        assert not used
        assert model.config._attn_implementation == "sdpa"
    from transformers import FalconConfig, FalconForCausalLM

    other = FalconForCausalLM(
        FalconConfig(vocab_size=320, hidden_size=32, num_hidden_layers=1, num_attention_heads=2)
    ).eval()
    for name in (EXPLICIT, APART):
        with attention(other, name, lambda: packed(other)) as used:
            assert not used
            assert other.config._attn_implementation == "sdpa"
