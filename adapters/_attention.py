"""Attention written out, for training on a CPU in bfloat16.

PyTorch's fused CPU kernel spends most of its time behind a mask: packed rows of 256 tokens train a
third faster with three plain products, rows of 512 by half (2 cores with avx512_bf16, 256 wide).
Transformers lets a model take it by name; where a family's attention does more, it stays off.
"""

# B rows, H heads, K heads of keys and values, G = H / K, T positions, D width of a head

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

NAME = "ftkit_explicit"
CLOSE = 1e-3  # of the largest logit: rounding differs, a family's own rules would differ more


def explicit(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Compute attention by two products and a softmax; heads that share keys are one product.

    Args:
        module: the attention layer, not needed.
        query: B x H x T x D.
        key: B x K x T x D.
        value: B x K x T x D, whose precision is used throughout.
        attention_mask: what to add to the scores, B x 1 x T x T.
        scaling: what the scores are multiplied by; None for 1 / sqrt(D).
        dropout: share of the weights that is dropped.
        kwargs: what other kernels want to know.

    Returns:
        B x T x H x D, and no weights.
    """
    (rows, heads, length, wide), shared = query.shape, key.shape[1]
    scale = wide**-0.5 if scaling is None else scaling
    with torch.autocast(value.device.type, enabled=False):
        query_BKSD = (query * scale).to(value.dtype).reshape(rows, shared, -1, wide)
        scores_BKST = query_BKSD @ key.to(value.dtype).transpose(2, 3)
        scores = scores_BKST.view(rows, shared, heads // shared, length, -1)
        if attention_mask is not None:
            scores = scores + attention_mask[:, :, None].to(scores.dtype)
        weights = F.dropout(scores.softmax(-1), dropout) if dropout else scores.softmax(-1)
        weights_BKST = weights.view_as(scores_BKST)
        mixed = weights_BKST @ value
    return mixed.view(rows, heads, length, wide).transpose(1, 2).contiguous(), None


@contextmanager
def explicit_attention(model: Any, logits: Callable[[], Tensor]) -> Iterator[bool]:
    """Let a model use explicit attention within the block, if that changes nothing but rounding.

    Args:
        model: a transformers model.
        logits: computes some of its logits in fp32, to compare.

    Yields:
        Whether it is used.
    """
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import eager_mask

    AttentionInterface.register(NAME, explicit)
    AttentionMaskInterface.register(NAME, eager_mask)
    before = model.config._attn_implementation
    with torch.no_grad():
        fused = logits()
        try:
            model.set_attn_implementation(NAME)
            gap = (logits() - fused).abs().max()
            same = bool(gap <= CLOSE * fused.abs().max())
        except (TypeError, ValueError, RuntimeError):  # a family that cannot do without its own
            same = False
    if not same:
        model.set_attn_implementation(before)
    try:
        yield same
    finally:
        model.set_attn_implementation(before)
