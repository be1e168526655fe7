"""Blocks for training on packed rows: transformers' arithmetic in fewer passes over memory.

Products run at the processor's pace; what lies between them waits for memory. So the llama family's
norms and turns save their input alone and have gradients of their own, in half of autograd's
passes, and GPT-2's GELU is one kernel. And behind the last attention nothing looks at another
place: the last block's products are made where a label is, a third of a short question's tokens,
as the head's are.
"""

# B rows, T positions, D width, H heads, S width of a head, N labelled places

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers.activations import NewGELUActivation

from ._attention import APART, CLOSE, apart
from ._examples import Examples
from ._folded import products
from ._replaced import replaced


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


def _turning(layer: Any, x_BTD: Tensor, examples: Examples, told: dict[str, Any]) -> Tensor:
    """Mix the places of each example in a block of the llama family."""
    own = layer.self_attn
    q, k, v = (
        y.view(*x_BTD.shape[:2], -1, own.head_dim)
        for y in products(_norm(layer.input_layernorm, x_BTD), (own.q_proj, own.k_proj, own.v_proj))
    )
    if hasattr(own, "q_norm"):
        q, k = _norm(own.q_norm, q), _norm(own.k_norm, k)
    # Both halves of a head turn by the same angles.
    angles = [part.chunk(2, -1)[0][:, :, None] for part in told["position_embeddings"]]
    q, k = (_Turn.apply(x_BTHS, *angles) for x_BTHS in (q, k))  # type: ignore[no-untyped-call]
    q, k, v = (x_BTHS.transpose(1, 2) for x_BTHS in (q, k, v))
    return apart(own, q, k, v, None, own.scaling, examples=examples)[0].flatten(2)


def _gated(layer: Any, x: Tensor, mixed: Tensor) -> Tensor:
    """Go on behind the attention of a block of the llama family."""
    x = x + layer.self_attn.o_proj(mixed)
    y, mlp = _norm(layer.post_attention_layernorm, x), layer.mlp
    gate, up = products(y, (mlp.gate_proj, mlp.up_proj))
    return x + mlp.down_proj(F.silu(gate) * up)  # type: ignore[no-any-return]


def _standing(layer: Any, x_BTD: Tensor, examples: Examples, told: dict[str, Any]) -> Tensor:
    """Mix the places of each example in a block of GPT-2."""
    own = layer.attn
    q, k, v = (
        y.unflatten(-1, (-1, own.head_dim)).transpose(1, 2)
        for y in own.c_attn(layer.ln_1(x_BTD)).chunk(3, -1)
    )
    dropped = own.attn_dropout.p if own.training else 0.0
    return apart(own, q, k, v, None, own.scaling, dropped, examples=examples)[0].flatten(2)


def _ungated(layer: Any, x: Tensor, mixed: Tensor) -> Tensor:
    """Go on behind the attention of a block of GPT-2."""
    x = x + layer.attn.resid_dropout(layer.attn.c_proj(mixed))
    return x + layer.mlp(layer.ln_2(x))  # type: ignore[no-any-return]


def _simple(model: Any) -> bool:
    """Say whether a model of the llama family is in fp32, with nothing random in it."""
    config, trunk = model.config, model.base_model
    norms = [trunk.norm, *(layer.input_layernorm for layer in trunk.layers)]
    plain = all(norm.weight.dtype == torch.float32 for norm in norms)
    return plain and config.hidden_act == "silu" and not config.attention_dropout


@dataclass(frozen=True)
class _Family:
    """What a family's blocks compute, and no more.

    Args:
        blocks: where they are.
        attend: mixes the places of each example; the product behind it is `feed`'s.
        feed: goes on, place by place.
        norms: where norms of our own come behind the blocks.
        fits: what else a model must be, as far as logits might not show it.
    """

    blocks: str
    attend: Callable[[Any, Tensor, Examples, dict[str, Any]], Tensor]
    feed: Callable[[Any, Tensor, Tensor], Tensor]
    norms: tuple[str, ...] = ()
    fits: Callable[[Any], bool] = lambda _: True


LLAMA = _Family("layers", _turning, _gated, ("norm",), _simple)
FAMILIES = {
    "llama": LLAMA,
    "qwen2": LLAMA,
    "qwen3": LLAMA,
    "gpt2": _Family("h", _standing, _ungated),
}


def _block(
    family: _Family,
    layer: Any,
    last: bool,
    x_BTD: Tensor,
    *others: Any,
    examples: Examples,
    **told: Any,
) -> Tensor:
    """Compute a block; the last one leaves zeros where no label is."""
    mixed = family.attend(layer, x_BTD, examples, told)
    if not last or (where_N := examples.where_N) is None:
        return family.feed(layer, x_BTD, mixed)
    x_ND, mixed_ND = (each.flatten(0, 1).index_select(0, where_N) for each in (x_BTD, mixed))
    x_ND = family.feed(layer, x_ND, mixed_ND)
    return torch.zeros_like(x_BTD).flatten(0, 1).index_copy(0, where_N, x_ND).view_as(x_BTD)


@contextmanager
def lean(model: Any, logits: Callable[[], Tensor]) -> Iterator[bool]:
    """Let a model whose attention is APART compute as above, if that changes nothing but rounding.

    Hooks on modules within a block's attention may not be called.

    Args:
        model: a transformers model.
        logits: computes some of its logits, to compare.

    Yields:
        Whether it does.
    """
    family = FAMILIES.get(model.config.model_type)
    if not family or model.config._attn_implementation != APART or not family.fits(model):
        yield False
        return
    before, trunk = _tried(logits), model.base_model
    *earlier, last = getattr(trunk, family.blocks)
    ways = [(layer, partial(_block, family, layer, False)) for layer in earlier]
    ways += [(last, partial(_block, family, last, True))]
    ways += [(norm, partial(_norm, norm)) for norm in map(trunk.get_submodule, family.norms)]
    with replaced(ways):
        if (_tried(logits) - before).abs().max() <= CLOSE * before.abs().max():
            yield True
            return
    yield False


@contextmanager
def smooth(model: Any) -> Iterator[int]:
    """Let GELUs written out by tanh (arXiv:1606.08415), as GPT-2's are, be one kernel.

    transformers writes them in eight passes, and keeps four tensors for the gradient.

    Args:
        model: a transformers model.

    Yields:
        How many do so.
    """
    gelus = [module for module in model.modules() if type(module) is NewGELUActivation]
    with replaced([(gelu, partial(F.gelu, approximate="tanh")) for gelu in gelus]):
        yield len(gelus)


@torch.no_grad()
def _tried(logits: Callable[[], Tensor]) -> Tensor:
    return logits()
