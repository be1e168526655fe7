"""Frozen weights in bfloat16: cast once, in place of at every product (after arXiv:1710.03740).

Autocast casts a weight anew in each call, as it may have moved. A frozen one has not: kept as it
would be cast it takes half the memory, and every product is the same to the last bit.
"""

# O width out, I width in, N chosen places, V vocabulary

from collections.abc import Callable

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

LINEAR = (nn.Linear, Conv1D)  # whose weight enters one product and nothing else


@torch.no_grad()
def narrow(model: nn.Module, logits: Callable[[], Tensor]) -> int:
    """Keep the frozen weights of linear layers in bfloat16 from now on, if that changes no bit.

    Norms, biases and tables of embeddings, the head's where it is tied, stay as they are: those
    are read in fp32. One layer of each name is tried first, so that little need be kept to go back.

    Args:
        model: what `Method.attach` returned; changed in place, and its weights are not put back.
        logits: computes some of its logits under autocast to bfloat16.

    Returns:
        How many weights it keeps so; 0 where the logits differ, and then nothing has changed.
    """
    frozen = _frozen(model)
    tried = {name.removesuffix(".base_layer").rpartition(".")[2]: w for name, w in frozen.items()}
    before, wide = logits(), [(weight, weight.data) for weight in tried.values()]
    for weight in tried.values():
        weight.data = weight.data.bfloat16()
    if not torch.equal(logits(), before):
        for weight, data_OI in wide:
            weight.data = data_OI
        return 0
    del wide
    linear = {id(weight) for weight in frozen.values()}
    for weight in model.parameters():
        if weight.is_floating_point() and not weight.requires_grad:
            dtype = torch.bfloat16 if id(weight) in linear else weight.dtype
            # Copied even if it stays the same: else all of the file they lie in stays in memory.
            weight.data = weight.data.to(dtype, copy=True)
    return len(frozen)


def _frozen(model: nn.Module) -> dict[str, Tensor]:
    """List weights in fp32 that need no gradient and belong to linear layers alone, by layer."""
    modules = dict(model.named_modules())
    others = [module for module in modules.values() if type(module) not in LINEAR]
    shared = {id(weight) for module in others for weight in module.parameters(recurse=False)}
    return {
        name: module.weight
        for name, module in modules.items()
        if isinstance(module, LINEAR)
        and type(module) in LINEAR
        and not module.weight.requires_grad
        and module.weight.dtype == torch.float32
        and id(module.weight) not in shared
    }
