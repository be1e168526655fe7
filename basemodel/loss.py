"""The loss at the output layer, a piece at a time: the logits of a whole batch are never kept.

With a vocabulary of 4096 the logits of 2048 tokens and their gradient are 32 MB each, far more than
all else in a step of a small model. Here each piece's logits become its gradient in place, while
they lie in the cache, as in Liger's fused linear cross-entropy (arXiv:2410.10989).
"""

# N tokens, D width, V vocabulary.

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

PIECE = 2**20  # logits computed at once on a CPU, 4 MB; a GPU gets 64 times as many
LEAST = 128  # rows at once: each piece reads the whole head, fewer rows take up to twice the time
IGNORE = -100


def rows_at_once(vocabulary: int, device: torch.device) -> int:
    """Say of how many places logits are computed at a time.

    Args:
        vocabulary: logits of a place.
        device: where they are computed.
    """
    return max(LEAST, (PIECE if device.type == "cpu" else 64 * PIECE) // vocabulary)


def nats(x_ND: Tensor, head_VD: Tensor, labels_N: Tensor) -> Tensor:
    """Return the summed negative log-likelihood of the labels, in nats, as a float32 scalar.

    Its gradients are made with it and scaled where they lie: they can be asked for once.

    Args:
        x_ND: what the output layer reads.
        head_VD: the output layer's weight.
        labels_N: token ids; -100 is no label.
    """
    dtype = x_ND.dtype
    if torch.is_autocast_enabled(x_ND.device.type):
        dtype = torch.get_autocast_dtype(x_ND.device.type)
    if not torch.is_grad_enabled():  # in the function itself nobody could tell
        x_ND, head_VD = x_ND.detach(), head_VD.detach()
    result: Tensor = _Nats.apply(x_ND, head_VD, labels_N, dtype)  # type: ignore[no-untyped-call]
    return result


def nats_of_each(
    head: Callable[[Tensor], Tensor], x_ND: Tensor, targets_N: Tensor, vocabulary: int
) -> Tensor:
    """Return the negative log-likelihood of each target in nats, N in float32; for scoring.

    Args:
        head: makes logits, N x V, of what it reads.
        x_ND: what it reads.
        targets_N: token ids.
        vocabulary: V.
    """
    rows = rows_at_once(vocabulary, x_ND.device)
    pieces = zip(torch.split(x_ND, rows), torch.split(targets_N, rows), strict=True)
    return torch.cat([F.cross_entropy(head(x).float(), y, reduction="none") for x, y in pieces])


class _Nats(torch.autograd.Function):
    """The sum, with gradients that are computed on the way forward."""

    @staticmethod
    def forward(
        ctx: Any, x_ND: Tensor, head_VD: Tensor, labels_N: Tensor, dtype: torch.dtype
    ) -> Tensor:
        need_x, need_head = ctx.needs_input_grad[:2]
        low_ND, low_VD = x_ND.detach().to(dtype), head_VD.detach().to(dtype)
        grad_ND = torch.empty_like(low_ND) if need_x else None
        grad_VD: Tensor | None = None
        total = torch.zeros((), device=x_ND.device)
        rows = rows_at_once(len(head_VD), x_ND.device)
        for first in range(0, len(x_ND) or 1, rows):  # without any, gradients are 0
            piece = slice(first, first + rows)
            labels_P = labels_N[piece]
            known_P1 = (labels_P != IGNORE)[:, None]
            gold_P1 = labels_P.clamp(min=0)[:, None]
            z_PV = F.linear(low_ND[piece], low_VD).float().log_softmax(-1)
            total -= (z_PV.gather(1, gold_P1) * known_P1).sum()
            if need_x or need_head:
                z_PV.exp_().scatter_add_(1, gold_P1, -known_P1.float()).mul_(known_P1)
                g_PV = z_PV.to(dtype)
                if grad_ND is not None:
                    grad_ND[piece] = g_PV @ low_VD
                if need_head:
                    grad_VD = _added(grad_VD, g_PV.T, low_ND[piece])
                del g_PV
            del z_PV  # before the next piece's logits are made
        ctx.save_for_backward(grad_ND, grad_VD)
        ctx.dtypes = x_ND.dtype, head_VD.dtype
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        grad_ND, grad_VD = ctx.saved_tensors
        x_dtype, head_dtype = ctx.dtypes
        scale = grads[0]
        return (
            None if grad_ND is None else (grad_ND * scale).to(x_dtype),
            None if grad_VD is None else grad_VD.mul_(scale).to(head_dtype),
            None,
            None,
        )


def _added(sum_VD: Tensor | None, a_VP: Tensor, b_PD: Tensor) -> Tensor:
    """Add a product to a sum in float32, which is made by the first: a head is a large thing."""
    if sum_VD is None:
        return (a_VP @ b_PD).float()
    if b_PD.dtype == sum_VD.dtype:
        return torch.addmm(sum_VD, a_VP, b_PD, out=sum_VD)  # addmm_ escapes PyTorch's flop counter
    return sum_VD.add_(a_VP @ b_PD)
