"""Blocks computed again on the way back, so that only what enters each is kept (arXiv:1604.06174).

Transformers' own switch takes the cache away from a block, and with it, in silence, the keys and
values of a prefix; and it sits in the forward of a block's class, which a lean block does not call.
So each block's forward is wrapped here, whichever it is.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch.utils.checkpoint import checkpoint
from transformers import Cache
from transformers.modeling_layers import GradientCheckpointingLayer

from ._replaced import replaced


def blocks(model: Any) -> list[Any]:
    """List the blocks of which a model's family says that they can be computed again."""
    return [part for part in model.modules() if isinstance(part, GradientCheckpointingLayer)]


@contextmanager
def recomputed(model: Any) -> Iterator[None]:
    """Let a model keep what enters its blocks and no more, within the block.

    Args:
        model: what `Method.attach` returned.
    """
    with replaced([(block, partial(_again, block.forward)) for block in blocks(model)]):
        yield


def _again(forward: Callable[..., Any], *inputs: Any, **named: Any) -> Any:
    def once(*inputs: Any) -> Any:
        return forward(*map(_own, inputs), **{name: _own(each) for name, each in named.items()})

    return checkpoint(once, *inputs, use_reentrant=False)


def _own(value: Any) -> Any:
    """Copy a cache, as a block lays its keys behind what is there: each time it finds the same."""
    if not isinstance(value, Cache):
        return value
    own = copy.copy(value)
    own.layers = [copy.copy(layer) for layer in value.layers]
    return own
