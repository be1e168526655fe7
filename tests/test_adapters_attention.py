"""Attention written out: the same numbers as the fused kernel, and off where a family does more."""

# B rows, T positions

from typing import Any

import pytest
import torch
from torch.testing import assert_close

from ftkit.adapters._attention import NAME, explicit_attention
from tests import small


def packed(model: Any) -> torch.Tensor:
    """Compute logits of two packed examples in a row beside one long one."""
    torch.manual_seed(3)
    ids_BT = torch.randint(7, 320, (2, 40))
    positions_BT = torch.stack([torch.cat([torch.arange(15), torch.arange(25)]), torch.arange(40)])
    logits: torch.Tensor = model(
        input_ids=ids_BT, position_ids=positions_BT, use_cache=False
    ).logits
    return logits


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_it_equals_the_fused_kernel_and_leaves_no_trace(heads: int) -> None:
    model = small.model(num_key_value_heads=heads)
    fused = packed(model)
    with explicit_attention(model, lambda: packed(model)) as used:
        assert used
        assert model.config._attn_implementation == NAME
        ours = packed(model)
        ours.sum().backward()
    assert_close(ours, fused, rtol=0, atol=2e-5)
    assert model.config._attn_implementation == "sdpa"
    grads = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    packed(model).sum().backward()
    for name, parameter in model.named_parameters():
        assert_close(grads[name], parameter.grad, rtol=1e-3, atol=1e-3)


def test_it_stays_off_where_attention_does_more() -> None:
    """Gemma 2 bounds its attention scores, which the plain products do not."""
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
            attn_logit_softcapping=0.01,
            initializer_range=0.5,
            attn_implementation="eager",
        )
    ).eval()
    with explicit_attention(model, lambda: packed(model)) as used:
        assert not used
        assert model.config._attn_implementation == "eager"
