"""Attention for training on a CPU: example by example in float32, written out in bfloat16.

Behind a mask of packed examples PyTorch's fused CPU kernel computes all pairs of a row and repeats
shared keys. Example by example there is no mask: those of about a length are one causal product.
In bfloat16 the fused kernel itself is slow, and three plain products train rows of 256 tokens a
third faster, rows of 512 by half (2 cores with avx512_bf16, 256 wide).
Transformers lets a model take either by name; where a family's attention does more, it stays off.
"""

# B rows, H heads, K heads of keys and values, G = H / K, T positions, D width of a head
# N places of all rows, M places of examples side by side, C = H D or K D

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ._examples import Beside, Collect, Examples, Spread

EXPLICIT, APART = "ftkit_explicit", "ftkit_apart"
CLOSE = 1e-3  # of the largest logit: rounding differs, a family's own rules would differ more


def apart(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    *,
    examples: Examples,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Compute attention within each example; what comes behind one's end is never looked at.

    Args:
        module: the attention layer, not needed.
        query: B x H x T x D.
        key: B x K x T x D.
        value: B x K x T x D.
        attention_mask: none is needed.
        scaling: what the scores are multiplied by; None for 1 / sqrt(D).
        dropout: share of the weights that is dropped.
        examples: where they lie.
        kwargs: what other kernels want to know.

    Returns:
        B x T x H x D, zeros where no example lies, and no weights.
    """
    (rows, heads, length, wide), shared = query.shape, key.shape[1] != query.shape[1]
    if not examples.groups:  # the last batch of an update may be empty
        return query.transpose(1, 2) * 0, None
    owns = [own for _, _, own in examples.groups]
    wides = [before + own for _, before, own in examples.groups]
    sides = [(examples.queries, owns), (examples.keys, wides), (examples.keys, wides)]
    counts = [count for count, _, _ in examples.groups]
    beside = [
        _laid(x_BHTD, side, counts, lengths)
        for x_BHTD, (side, lengths) in zip((query, key, value), sides, strict=True)
    ]
    mixed = [
        F.scaled_dot_product_attention(
            q, k, v, mask, dropout, is_causal=mask is None, scale=scaling, enable_gqa=shared
        )
        for q, k, v, mask in zip(*beside, examples.masks, strict=True)
    ]
    y_MC = torch.cat([part.transpose(1, 2).reshape(-1, heads * wide) for part in mixed])
    y_NC: Tensor = Collect.apply(y_MC, examples.queries)  # type: ignore[no-untyped-call]
    return y_NC.view(rows, length, heads, wide), None


def _laid(
    x_BHTD: Tensor, beside: Beside, counts: Sequence[int], lengths: Sequence[int]
) -> list[Tensor]:
    """Lay examples side by side, a tensor for each group."""
    heads, wide = x_BHTD.shape[1], x_BHTD.shape[3]
    x_NC = x_BHTD.transpose(1, 2).reshape(-1, heads * wide)
    x_MC = Spread.apply(x_NC, beside)  # type: ignore[no-untyped-call]
    groups = list(zip(counts, lengths, strict=True))
    parts = x_MC.split([count * length for count, length in groups])
    return [
        part.view(count, length, heads, wide).transpose(1, 2)
        for part, (count, length) in zip(parts, groups, strict=True)
    ]


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
def attention(model: Any, name: str, logits: Callable[[], Tensor]) -> Iterator[bool]:
    """Let a model use another attention within the block, if that changes nothing but rounding.

    It takes the place of PyTorch's fused kernel alone: a family that has another one does more,
    such as bounding its scores, and a random or a short text may not show it.

    Args:
        model: a transformers model.
        name: EXPLICIT or APART.
        logits: computes some of its logits in fp32, to compare.

    Yields:
        Whether it is used.
    """
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import eager_mask

    AttentionInterface.register(EXPLICIT, explicit)
    AttentionMaskInterface.register(EXPLICIT, eager_mask)
    AttentionInterface.register(APART, apart)
    AttentionMaskInterface.register(APART, lambda *_, **__: None)
    before = model.config._attn_implementation
    if before != "sdpa":
        yield False
        return
    try:
        if not (same := _same(model, name, logits)):
            model.set_attn_implementation(before)
        yield same
    finally:
        model.set_attn_implementation(before)


@torch.no_grad()
def _same(model: Any, name: str, logits: Callable[[], Tensor]) -> bool:
    """Try another attention, which stays on: does the model take it and compute the same?"""
    fused = logits()
    try:
        model.set_attn_implementation(name)
        gap = (logits() - fused).abs().max()
    except (TypeError, ValueError, RuntimeError):  # a family that cannot do without its own
        return False
    taken = model.config._attn_implementation == name
    return taken and bool(gap <= CLOSE * fused.abs().max())
