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

from ._replaced import replaced


class _Products(torch.autograd.Function):
    """x (W + s B A)^T + bias for each of some layers, with gradients for x, every A and B."""

    @staticmethod
    def forward(ctx: Any, x_NI: Tensor, layers: "Layers", *ab: Tensor) -> tuple[Tensor, ...]:
        weights = [layer.folded() if layer.folds(len(x_NI)) else None for layer in layers]
        apart = any(w is None for w in weights)
        h_RN = _narrowed(x_NI, layers) if apart else None
        ys = []
        for w, layer, own_RN in zip(weights, layers, _split(h_RN, layers), strict=True):
            y_NO = F.linear(x_NI, layer.frozen if w is None else w, layer.base.bias)
            ys.append(y_NO if w is not None else y_NO.addmm_(own_RN.t(), layer.b.t()))
        ctx.save_for_backward(x_NI, h_RN, *ab, *weights)
        ctx.layers = layers
        return tuple(ys)

    @staticmethod
    def backward(ctx: Any, *dys: Tensor) -> tuple[Any, ...]:
        layers, (x_NI, h_RN, *rest) = ctx.layers, ctx.saved_tensors  # asked for once: _recomputed
        weights = rest[2 * len(layers) :]
        h_RN = _narrowed(x_NI, layers) if h_RN is None else h_RN
        both = list(zip(layers, dys, strict=True))
        dh_RN = torch.cat([(layer.b.t() * layer.scale) @ dy.t() for layer, dy in both])
        da = _split(dh_RN @ x_NI, layers)
        db = [(h @ dy).t() for h, dy in zip(_split(h_RN, layers), dys, strict=True)]
        dx: Any = None
        if ctx.needs_input_grad[0]:
            for w, (layer, dy), own_RN in zip(weights, both, _split(dh_RN, layers), strict=True):
                w_OI = layer.frozen if w is None else w
                dx = dy @ w_OI if dx is None else dx.addmm_(dy, w_OI)
                if w is None:
                    dx.addmm_(own_RN.t(), layer.a)
        return dx, None, *(grad for pair in zip(da, db, strict=True) for grad in pair)


def _narrowed(x_NI: Tensor, layers: "Layers") -> Tensor:
    """Compute s A x of all layers at once, R x N: it is reading x that takes the time.

    Rank-wide factors lie as few long rows: on a CPU the other way round takes two to four times.
    """
    return torch.cat([layer.a * layer.scale for layer in layers]) @ x_NI.t()


def _split(all_R: Tensor | None, layers: "Layers") -> Sequence[Any]:
    """Part what has a row for each rank of each layer; of nothing each has nothing."""
    if all_R is None:
        return [None] * len(layers)
    return torch.split(all_R, [len(layer.a) for layer in layers])


@dataclass(frozen=True)
class _LowRank:
    """A frozen layer and its update: a forward that takes the place of PEFT's.

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
    def frozen(self) -> Tensor:
        """The frozen layer's weight, O x I."""
        w: Tensor = self.base.weight
        return w.t() if isinstance(self.base, Conv1D) else w

    def folds(self, tokens: int) -> bool:
        """Say whether activations weigh more than the weight; measured on shapes of 256 to 3072."""
        wide, out = self.a.shape[1], self.b.shape[0]
        return tokens * (wide + out) > 3 * wide * out

    def folded(self) -> Tensor:
        """Fold the update into the frozen weight, O x I."""
        return torch.addmm(self.frozen, self.b, self.a, alpha=self.scale)


Layers = tuple[_LowRank, ...]


def products(x: Tensor, layers: Sequence[Any]) -> Sequence[Tensor]:
    """Multiply one input by the weights of several layers, together where all are `folded`'s."""
    ways = tuple(layer.forward for layer in layers)
    if all(isinstance(way, _LowRank) for way in ways):
        return _multiplied(x, ways)
    return [layer(x) for layer in layers]


def _multiplied(x: Tensor, layers: Layers) -> tuple[Tensor, ...]:
    ab = [part for layer in layers for part in (layer.a, layer.b)]
    ys: Any = _Products.apply(x.flatten(0, -2), layers, *ab)  # type: ignore[no-untyped-call]
    # Not in the function: of its results none may be a view, or nobody may write into them (OLMo).
    return tuple(y.view(*x.shape[:-1], len(layer.b)) for y, layer in zip(ys, layers, strict=True))


@contextmanager
def folded(model: nn.Module, *, exact: bool) -> Iterator[int]:
    """Let a model's low-rank layers multiply as `_Products` does within the block.

    Layers with more than one adapter, with dropout or lengths of their own (DoRA), and those that
    are no plain linear layers in fp32 stay PEFT's.

    Args:
        model: what `Method.attach` returned.
        exact: products are made in fp32; in bfloat16 a small update would be lost in its weight.

    Yields:
        How many layers do so.
    """
    ways = [(layer, _way(layer)) for layer in model.modules() if exact and _plain(layer)]
    with replaced(ways):
        yield len(ways)


def _way(layer: Any) -> _LowRank:
    (name,) = layer.active_adapters
    a, b = layer.lora_A[name].weight, layer.lora_B[name].weight
    return _LowRank(layer.get_base_layer(), a, b, layer.scaling[name])


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
