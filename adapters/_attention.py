"""Attention for training on a CPU: example by example in float32, written out in bfloat16.

Behind a mask of packed examples PyTorch's fused CPU kernel computes all pairs of a row and repeats
shared keys. Example by example there is no mask: those of about a length are one causal product.
In bfloat16 the fused kernel itself is slow, and three plain products train rows of 256 tokens a
third faster, rows of 512 by half (2 cores with avx512_bf16, 256 wide).
Transformers lets a model take either by name; where a family's attention does more, it stays off.
"""

# B rows, H heads, K heads of keys and values, G = H / K, T positions, D width of a head
# N places of all rows, M places of examples side by side, C = H D or K D

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

EXPLICIT, APART = "ftkit_explicit", "ftkit_apart"
CLOSE = 1e-3  # of the largest logit: rounding differs, a family's own rules would differ more
STEP = 16  # lengths of examples are rounded up to these, or to an eighth, to be computed together


@dataclass(frozen=True)
class Examples:
    """Where packed examples lie, and how they lie side by side, those of about a length together.

    Args:
        take_M: the place in the rows of each place side by side; any where no token lies.
        real_M1: whether a token lies there.
        back_N: the place side by side of each place in the rows; any where no example lies.
        lone_N: the places where no example lies.
        groups: how many examples of which length, in order.
        where_N: the places whose hidden states are asked for at the end; None for all.
    """

    take_M: Tensor
    real_M1: Tensor
    back_N: Tensor
    lone_N: Tensor
    groups: tuple[tuple[int, int], ...]
    where_N: Tensor | None = None

    @staticmethod
    def of(positions_BT: Tensor, where_N: Tensor | None = None) -> "Examples":
        """Read them from positions, which are 0 where an example begins and where none lies."""
        positions_N = positions_BT.flatten().numpy()
        starts = np.flatnonzero(positions_N == 0)
        sizes = np.diff(starts, append=len(positions_N))
        starts, sizes = starts[sizes > 1], sizes[sizes > 1]
        steps = np.maximum(STEP, 2 ** np.log2(sizes).astype(np.int64) // 8)
        wide = -(-sizes // steps) * steps
        take, real, groups = [np.zeros(0, np.int64)], [np.zeros(0, bool)], []
        for width in np.unique(wide):
            first, size = starts[wide == width, None], sizes[wide == width, None]
            own = np.arange(width) < size
            take.append(np.where(own, first + np.arange(width), first).ravel())
            real.append(own.ravel())
            groups.append((len(first), int(width)))
        take_M, real_M = np.concatenate(take), np.concatenate(real)
        back_N = np.full(len(positions_N), -1)
        back_N[take_M[real_M]] = np.flatnonzero(real_M)
        lone_N = np.flatnonzero(back_N < 0)
        return Examples(
            torch.from_numpy(take_M),
            torch.from_numpy(real_M[:, None]),
            torch.from_numpy(back_N.clip(0)),
            torch.from_numpy(lone_N),
            tuple(groups),
            where_N,
        )


class _Spread(torch.autograd.Function):
    """Lay the places of rows side by side; each token has one place there, so nothing adds up."""

    @staticmethod
    def forward(ctx: Any, x_NC: Tensor, examples: Examples) -> Tensor:
        ctx.examples = examples
        return x_NC.index_select(0, examples.take_M)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return _collected(grads[0], ctx.examples), None


class _Collect(torch.autograd.Function):
    """Put the places back into rows."""

    @staticmethod
    def forward(ctx: Any, x_MC: Tensor, examples: Examples) -> Tensor:
        ctx.examples = examples
        return _collected(x_MC, examples)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        examples = ctx.examples
        return grads[0].index_select(0, examples.take_M).mul_(examples.real_M1), None


def _collected(x_MC: Tensor, examples: Examples) -> Tensor:
    return x_MC.index_select(0, examples.back_N).index_fill_(0, examples.lone_N, 0)


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
    beside = [_beside(x_BHTD, examples) for x_BHTD in (query, key, value)]
    mixed = [
        F.scaled_dot_product_attention(
            q, k, v, is_causal=True, scale=scaling, dropout_p=dropout, enable_gqa=shared
        )
        for q, k, v in zip(*beside, strict=True)
    ]
    y_MC = torch.cat([part.transpose(1, 2).reshape(-1, heads * wide) for part in mixed])
    y_NC: Tensor = _Collect.apply(y_MC, examples)  # type: ignore[no-untyped-call]
    return y_NC.view(rows, length, heads, wide), None


def _beside(x_BHTD: Tensor, examples: Examples) -> list[Tensor]:
    """Lay examples side by side, a tensor for each group."""
    heads, wide = x_BHTD.shape[1], x_BHTD.shape[3]
    x_NC = x_BHTD.transpose(1, 2).reshape(-1, heads * wide)
    x_MC = _Spread.apply(x_NC, examples)  # type: ignore[no-untyped-call]
    parts = x_MC.split([count * length for count, length in examples.groups])
    return [
        part.view(count, length, heads, wide).transpose(1, 2)
        for part, (count, length) in zip(parts, examples.groups, strict=True)
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
