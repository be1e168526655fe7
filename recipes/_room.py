"""Room in memory: what a step of a tuning keeps, and what of it may be kept smaller, decided once.

Frozen weights lie in bfloat16 where products are made in it; blocks are computed again on the way
back (arXiv:1604.06174) where what they keep would not fit.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef

from ftkit.errors import FtkitError

from ..adapters._forward import Forward
from ..adapters._frozen import narrow
from ..adapters._method import trainable
from ..adapters._recomputed import blocks, recomputed
from ..basemodel.device import Device, free_memory
from ._pack import Batch
from ._ways import sample

SHARE = 0.8  # of free memory; the rest is for what passes, such as the gradients of one block
STATE = 4 + 8 + 4  # bytes of a trained fp32 weight: gradient, AdamW's averages, the best so far


@contextmanager
def roomy(
    forward: Forward, batch: Batch, device: Device, decided: dict[str, Any], asked: str
) -> Iterator[None]:
    """Let a model take less memory within the block, where that changes no bit or is needed.

    Frozen weights stay in bfloat16 behind the block.

    Args:
        forward: the model with its method.
        batch: one micro-batch, to compare and to measure by.
        device: where it lies, and in which precision products are made.
        decided: where `frozen` and `checkpointing` are put, each with its reason; a resumed run's
            `checkpointing` stands there already.
        asked: whether blocks are computed again: `true`, `false`, or `auto` to measure.

    Raises:
        FtkitError: when blocks shall be computed again and the base has none that allow it.
    """
    why = decided["reasons"]
    decided["frozen"], why["frozen"] = _freeze(forward, device, sample(forward, batch))
    if "checkpointing" not in decided:
        places = (batch.ids_BT, batch.positions_BT, batch.slots_BT, batch.where_N)
        loss = partial(forward.nats, *places, batch.targets_N)
        decided["checkpointing"], why["checkpointing"] = _recompute(asked, forward, device, loss)
    with recomputed(forward.model) if decided["checkpointing"] else nullcontext():
        yield


def _freeze(forward: Forward, device: Device, logits: Callable[[], Tensor]) -> tuple[str, str]:
    """Keep frozen weights in the precision of products; say in which they are, and why."""
    if device.dtype != "bfloat16":
        return "float32", "products are made in float32"
    if not forward.method.quantised:
        return "float32", f"{forward.method.name} needs the base's weights in full precision"

    def cast() -> Tensor:
        with device.autocast():
            return logits()

    if count := narrow(forward.model, cast):
        return "bfloat16", f"{count} weights are kept as products take them, which changes no bit"
    return "float32", "there are none, or in bfloat16 they would give other logits"


def _recompute(
    asked: str, forward: Forward, device: Device, loss: Callable[[], Tensor]
) -> tuple[bool, str]:
    """Decide whether blocks are computed again, and say why."""
    if asked == "false":
        return False, "it was asked not to be"
    if not blocks(forward.model):
        if asked == "true":
            raise FtkitError(
                "'plan.checkpointing=true': this base's family has no blocks that can be computed "
                "again; leave it at auto, and set a smaller 'plan.batch' if memory is short"
            )
        return False, "the base's family has no blocks that can be computed again"
    if asked == "true":
        return True, "it was asked for"
    if (free := free_memory(device.torch_device)) is None:
        return False, "how much memory is free cannot be told here"
    with device.autocast():
        kept = saved(forward.model, loss)
    moving = STATE * sum(weight.numel() for weight in trainable(forward.model).values())
    needed, bound = kept + moving, int(SHARE * free)
    return needed > bound, (
        f"a step would keep {_size(kept)}, gradients and averages take {_size(moving)}: "
        f"{'more' if needed > bound else 'no more'} than {_size(bound)}, {SHARE:.0%} of free memory"
    )


def saved(model: nn.Module, loss: Callable[[], Tensor]) -> int:
    """Count the bytes that a loss keeps for its gradients, weights left out, and keep none of them.

    Args:
        model: is put into training mode meanwhile, as dropout keeps its masks.
        loss: computes it.
    """
    found: dict[StorageWeakRef, int] = {}  # a weak mark stays the storage's own when it is gone

    def note(kept: Tensor) -> None:
        storage = kept.untyped_storage()
        found[StorageWeakRef(storage)] = storage.nbytes()  # type: ignore[no-untyped-call]

    training = model.training
    model.train()
    with torch.autograd.graph.saved_tensors_hooks(note, lambda _: torch.empty(0)):
        loss()
    model.train(training)
    for weight in (*model.parameters(), *model.buffers()):
        found.pop(StorageWeakRef(weight.untyped_storage()), None)  # type: ignore[no-untyped-call]
    return sum(found.values())


def _size(count: int) -> str:
    """Put bytes into words.

    >>> _size(3 * 2**29)
    '1.50 GiB'
    """
    return f"{count / 2**30:.2f} GiB"
