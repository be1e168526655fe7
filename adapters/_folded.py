"""Low-rank updates folded into the weights for every product: y = x (W + s B A)^T in place of two.

PEFT multiplies by W and by A and B apart, and scales and adds the results: eight passes over
activations forward and backward. Folding costs one small product a layer. No gradient of W is
made: those of A and B are taken through the rank, as PEFT's are.
"""

# N tokens, I width in, O width out, R rank

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.pytorch_utils import Conv1D


class _Product(torch.autograd.Function):
    """x (W + s B A)^T + bias, with gradients for x, A and B."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Any, a: Any, b: Any, s: float) -> Tensor:
        ctx.save_for_backward(x, weight, a, b)
        ctx.scale = s
        return F.linear(x, torch.addmm(weight, b, a, alpha=s), bias)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        x, w_OI, a_RI, b_OR = ctx.saved_tensors
        x_NI, dy_NO = x.flatten(0, -2), grads[0].flatten(0, -2)
        # Rank-wide factors lie row by row: on a CPU the other way round takes two to eight times.
        dh_NR = F.linear(dy_NO, (b_OR.t() * ctx.scale).contiguous())
        h_NR = F.linear(x_NI, a_RI * ctx.scale)
        da_RI, db_RO = dh_NR.t() @ x_NI, h_NR.t() @ dy_NO
        dx = None
        if ctx.needs_input_grad[0]:  # folded anew: to keep it would take a second model's memory
            dx = (dy_NO @ torch.addmm(w_OI, b_OR, a_RI, alpha=ctx.scale)).view_as(x)
        return dx, None, None, da_RI, db_RO.t(), None


@contextmanager
def folded(model: nn.Module, *, exact: bool) -> Iterator[int]:
    """Let a model's low-rank layers multiply by folded weights within the block.

    Layers with more than one adapter, with dropout or lengths of their own (DoRA), and those that
    are no plain linear layers in fp32 stay PEFT's.

    Args:
        model: what `Method.attach` returned.
        exact: products are made in fp32; in bfloat16 a small update would be lost in its weight.

    Yields:
        How many layers do so.
    """
    layers = [layer for layer in model.modules() if exact and _plain(layer)]
    for layer in layers:
        layer.forward = _product(layer)
    try:
        yield len(layers)
    finally:
        for layer in layers:
            del layer.forward


def _product(layer: Any) -> Any:
    """Make the forward that takes the place of PEFT's."""
    (name,) = layer.active_adapters
    base, a, b = layer.get_base_layer(), layer.lora_A[name], layer.lora_B[name]

    def forward(x: Tensor) -> Any:
        w_OI = base.weight.t() if isinstance(base, Conv1D) else base.weight
        parts = (x, w_OI, base.bias, a.weight, b.weight, layer.scaling[name])
        return _Product.apply(*parts)  # type: ignore[no-untyped-call]

    return forward


def _plain(layer: Any) -> bool:
    """Say whether a layer's update is B A on a plain linear layer in fp32, and no more."""
    from peft.tuners.lora import Linear

    if type(layer) is not Linear or type(layer.get_base_layer()) not in (nn.Linear, Conv1D):
        return False
    if layer.merged or layer.disable_adapters or len(layer.active_adapters) != 1:
        return False
    (name,) = layer.active_adapters
    parts = [layer.get_base_layer(), layer.lora_A[name], layer.lora_B[name]]
    return (
        type(layer.lora_dropout[name]) is nn.Identity
        and name not in layer.lora_variant
        and not layer.lora_bias[name]
        and not layer.get_base_layer().weight.requires_grad
        and all(part.weight.dtype == torch.float32 for part in parts)
    )
