"""Low-rank updates added where it costs least: into the weight, y = x (W + s B A)^T, or the result.

PEFT multiplies by W and by A and B apart, and scales and adds the results: eight passes over
activations forward and backward. Folding costs a pass over each weight in place of them, adding
within the product's own memory one over each result: for few tokens that is less. No gradient of
W is made: those of A and B are taken through the rank, as PEFT's are.
"""

# N tokens, I width in, O width out, R rank

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.pytorch_utils import Conv1D


class _Products(torch.autograd.Function):
    """x (W + s B A)^T + bias for each of some layers, with gradients for x, every A and B."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layers: "Layers", *ab: Tensor) -> tuple[Tensor, ...]:
        x_NI = x.flatten(0, -2)
        weights = [layer.folded() if layer.folds(len(x_NI)) else None for layer in layers]
        # Rank-wide factors lie as few long rows: on a CPU the other way round takes two to four
        # times. Those of all layers are made at once: it is reading x that takes the time.
        h_RN = torch.cat([layer.a * layer.scale for layer in layers]) @ x_NI.t()
        ys = []
        parts = zip(weights, layers, torch.split(h_RN, _ranks(layers)), strict=True)
        for w, layer, own_RN in parts:
            y_NO = F.linear(x_NI, layer.weight if w is None else w, layer.base.bias)
            if w is None:
                y_NO.addmm_(own_RN.t(), layer.b.t())
            ys.append(y_NO.view(*x.shape[:-1], len(layer.b)))
        ctx.save_for_backward(x, h_RN, *ab, *weights)
        ctx.layers = layers
        return tuple(ys)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        layers, (x, h_RN, *rest) = ctx.layers, ctx.saved_tensors  # asked for once: see _recomputed
        weights = rest[2 * len(layers) :]
        x_NI, dys = x.flatten(0, -2), [dy.flatten(0, -2) for dy in grads]
        both = list(zip(layers, dys, strict=True))
        dh_RN = torch.cat([(layer.b.t() * layer.scale) @ dy.t() for layer, dy in both])
        da = (dh_RN @ x_NI).split(_ranks(layers))
        db = [(h @ dy).t() for h, dy in zip(torch.split(h_RN, _ranks(layers)), dys, strict=True)]
        dx: Any = None
        if ctx.needs_input_grad[0]:
            parts = zip(weights, both, torch.split(dh_RN, _ranks(layers)), strict=True)
            for w, (layer, dy), own_RN in parts:
                w_OI = layer.weight if w is None else w
                dx = dy @ w_OI if dx is None else dx.addmm_(dy, w_OI)
                if w is None:
                    dx.addmm_(own_RN.t(), layer.a)
            dx = dx.view_as(x)
        return dx, None, *(grad for pair in zip(da, db, strict=True) for grad in pair)


def _ranks(layers: "Layers") -> list[int]:
    return [len(layer.a) for layer in layers]


@dataclass(frozen=True)
class _Folded:
    """The forward that takes the place of PEFT's.

    Args:
        base: the frozen layer.
        a: A, R x I.
        b: B, O x R.
        scale: of the update.
    """

    base: Any
    a: Tensor
    b: Tensor
    scale: float

    def __call__(self, x: Tensor) -> Tensor:
        """Multiply by the weight and its update."""
        return _multiplied(x, (self,))[0]

    @property
    def weight(self) -> Tensor:
        """The base's weight, O x I."""
        w: Tensor = self.base.weight
        return w.t() if isinstance(self.base, Conv1D) else w

    def folds(self, tokens: int) -> bool:
        """Say whether activations weigh more than the weight; measured on shapes of 256 to 3072."""
        wide, out = self.a.shape[1], self.b.shape[0]
        return tokens * (wide + out) > 3 * wide * out

    def folded(self) -> Tensor:
        """Fold the update into the base's weight, O x I."""
        return torch.addmm(self.weight, self.b, self.a, alpha=self.scale)


Layers = tuple[_Folded, ...]


def products(x: Tensor, layers: Sequence[Any]) -> Sequence[Tensor]:
    """Multiply one input by the weights of several layers, together where they are folded."""
    ways = tuple(layer.forward for layer in layers)
    if all(isinstance(way, _Folded) for way in ways):
        return _multiplied(x, ways)
    return [layer(x) for layer in layers]


def _multiplied(x: Tensor, layers: Layers) -> tuple[Tensor, ...]:
    ab = [part for layer in layers for part in (layer.a, layer.b)]
    ys: tuple[Tensor, ...] = _Products.apply(x, layers, *ab)  # type: ignore[no-untyped-call]
    return ys


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
        layer.forward = _way(layer)
    try:
        yield len(layers)
    finally:
        for layer in layers:
            del layer.forward


def _way(layer: Any) -> _Folded:
    (name,) = layer.active_adapters
    a, b = layer.lora_A[name].weight, layer.lora_B[name].weight
    return _Folded(layer.get_base_layer(), a, b, layer.scaling[name])


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
