"""A block of the llama family for training on packed rows: transformers' arithmetic, fewer passes.

Products run at the processor's pace; what lies between them waits for memory. So norms and turns
save their input alone and have gradients of their own, in half of autograd's passes. And
behind the last attention nothing looks at another place: the last block's products are made where
a label is, a third of a short question's tokens, as the head's are.
"""

# B rows, T positions, D width, H heads, S width of a head, N labelled places

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ._attention import APART, CLOSE, apart
from ._examples import Examples
from ._folded import products

FAMILIES = {"llama", "qwen2", "qwen3"}  # whose blocks are what `_block` computes and no more


class _Norm(torch.autograd.Function):
    """x / sqrt(mean x^2 + eps), times a weight (arXiv:1910.07467)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        over = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_()
        over = over.div_(x.shape[-1]).add_(eps).rsqrt_()
        ctx.save_for_backward(x, weight, over)
        y: Tensor = (x * over).mul_(weight)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, over = ctx.saved_tensors
        both = grads[0] * x
        along = (both @ weight)[..., None].mul_(over**3).div_(-x.shape[-1])
        dx = (grads[0] * weight).mul_(over).addcmul_(x, along)
        own = ctx.needs_input_grad[1]
        return dx, over.flatten() @ both.flatten(0, -2) if own else None, None


class _Turn(torch.autograd.Function):
    """Each pair (i, i + S/2) of a head's entries turned by an angle; back by the same angle."""

    @staticmethod
    def forward(ctx: Any, x_BTHS: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return _turned(x_BTHS, cos, sin)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        return _turned(grads[0], cos, -sin), None, None


def _turned(x_BTHS: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x_BTHS.chunk(2, -1)
    y_BTHS = torch.empty_like(x_BTHS, memory_format=torch.contiguous_format)
    one, two = y_BTHS.chunk(2, -1)
    torch.mul(first, cos, out=one).addcmul_(second, sin, value=-1)
    torch.mul(second, cos, out=two).addcmul_(first, sin)
    return y_BTHS


def _norm(module: Any, x: Tensor) -> Tensor:
    y: Tensor = _Norm.apply(x, module.weight, module.variance_epsilon)  # type: ignore[no-untyped-call]
    return y


def _attend(layer: Any, x_BTD: Tensor, turn: tuple[Tensor, Tensor], examples: Examples) -> Tensor:
    """Mix the places of each example."""
    q, k, v = (
        y.view(*x_BTD.shape[:2], -1, layer.head_dim)
        for y in products(x_BTD, (layer.q_proj, layer.k_proj, layer.v_proj))
    )
    if hasattr(layer, "q_norm"):
        q, k = _norm(layer.q_norm, q), _norm(layer.k_norm, k)
    # Both halves of a head turn by the same angles.
    angles = [part.chunk(2, -1)[0][:, :, None] for part in turn]
    q, k = (_Turn.apply(x_BTHS, *angles) for x_BTHS in (q, k))  # type: ignore[no-untyped-call]
    q, k, v = (x_BTHS.transpose(1, 2) for x_BTHS in (q, k, v))
    return apart(layer, q, k, v, None, layer.scaling, examples=examples)[0].flatten(2)


def _block(
    layer: Any,
    last: bool,
    x_BTD: Tensor,
    *,
    position_embeddings: tuple[Tensor, Tensor],
    examples: Examples,
    **kwargs: Any,
) -> Tensor:
    """Compute a block; the last one leaves zeros where no label is."""
    y_BTD = _norm(layer.input_layernorm, x_BTD)
    mixed = _attend(layer.self_attn, y_BTD, position_embeddings, examples)
    x, where_N = x_BTD, examples.where_N if last else None
    if where_N is not None:
        x, mixed = (each.flatten(0, 1).index_select(0, where_N) for each in (x, mixed))
    x = x + layer.self_attn.o_proj(mixed)
    y, mlp = _norm(layer.post_attention_layernorm, x), layer.mlp
    gate, up = products(y, (mlp.gate_proj, mlp.up_proj))
    x = x + mlp.down_proj(F.silu(gate) * up)
    if where_N is None:
        return x  # type: ignore[no-any-return]
    return torch.zeros_like(x_BTD).flatten(0, 1).index_copy(0, where_N, x).view_as(x_BTD)


@contextmanager
def lean(model: Any, logits: Callable[[], Tensor]) -> Iterator[bool]:
    """Let a model whose attention is APART compute as above, if that changes nothing but rounding.

    Args:
        model: a transformers model in fp32.
        logits: computes some of its logits, to compare.

    Yields:
        Whether it does.
    """
    if not _fits(model):
        yield False
        return
    before, trunk = _tried(logits), model.base_model
    for number, layer in enumerate(trunk.layers, 1):
        layer.forward = partial(_block, layer, number == len(trunk.layers))
    trunk.norm.forward = partial(_norm, trunk.norm)
    changed = [*trunk.layers, trunk.norm]
    try:
        if not (same := bool((_tried(logits) - before).abs().max() <= CLOSE * before.abs().max())):
            _put_back(changed)
        yield same
    finally:
        _put_back(changed)


def _put_back(modules: Sequence[Any]) -> None:
    for module in modules:
        vars(module).pop("forward", None)


@torch.no_grad()
def _tried(logits: Callable[[], Tensor]) -> Tensor:
    return logits()


def _fits(model: Any) -> bool:
    """Say whether a model's blocks are of the family, in fp32, with nothing random in them."""
    config = model.config
    if config.model_type not in FAMILIES or config._attn_implementation != APART:
        return False
    norms = [model.base_model.norm, *(layer.input_layernorm for layer in model.base_model.layers)]
    plain = all(norm.weight.dtype == torch.float32 for norm in norms)
    return plain and config.hidden_act == "silu" and not config.attention_dropout
