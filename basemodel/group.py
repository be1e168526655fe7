"""The processes that train one model together: torchrun's, joined by PyTorch's DDP or fully_shard.

Each computes its share of an update's micro-batches; PyTorch adds the gradients up (DDP, Li et al.,
arXiv:2006.15704) and, if asked, divides the weights among the processes too (fully_shard, Zhao et
al., arXiv:2304.11277).
"""

import atexit
import inspect
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import Module
from torch.nn.parallel import DistributedDataParallel

from ftkit.errors import FtkitError, WorkError

# Others wait while the first reads a corpus; torchrun notices at once when a process is lost.
PATIENCE = timedelta(days=2)


@dataclass(frozen=True)
class Team:
    """This process's place among those that train together; made by `join`."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether the run folder and the screen are this process's."""
        return self.rank == 0

    def mine(self, window: range) -> range:
        """Return this process's micro-batches of an update: every size-th, from its rank on.

        >>> Team(1, 2).mine(range(4, 8))
        range(5, 8, 2)

        Raises:
            FtkitError: when the window does not divide evenly.
        """
        if len(window) % self.size:
            raise FtkitError(
                f"an update has {len(window)} micro-batches, which {self.size} processes cannot "
                "share evenly: start as many processes as divide it"
            )
        return window[self.rank :: self.size]

    def sum(self, value: float) -> float:
        """Add up what every process gives.

        Raises:
            WorkError: when one of them has ended.
        """
        if self.size == 1:
            return value
        total = torch.tensor(value, dtype=torch.float64)
        with _all_there():
            dist.all_reduce(total)
        return total.item()

    def any(self, flag: bool) -> bool:
        """Say whether the flag is up in any process."""
        return self.sum(float(flag)) > 0

    def agree(self, value: Any = None) -> Any:
        """Wait for all processes and return what the first one gives, which must be JSON.

        Raises:
            WorkError: when one of them has ended.
        """
        if self.size == 1:
            return value
        data = json.dumps(value).encode() if self.first else b""
        length = torch.tensor(len(data))
        with _all_there():
            dist.broadcast(length, 0)
            words = torch.tensor(list(data.ljust(int(length))), dtype=torch.uint8)
            dist.broadcast(words, 0)
        return json.loads(bytes(words.tolist()))

    def shard(self, model: Module, blocks: Sequence[Module], method: str) -> None:
        """Divide a model's weights among the processes, which gather a block's while it computes.

        Args:
            model: its parameters become DTensors, in place; make the optimizer afterwards.
            blocks: the parts of it that are gathered one after another.
            method: what is called of the model, in place of `forward`.
        """
        if self.size == 1:
            return
        # Importing it takes more than a second.
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

        where = next(model.parameters()).device.type
        mesh = init_device_mesh(where, (self.size,))
        for part in (*blocks, model):
            fully_shard(part, mesh=mesh)
        register_fsdp_forward_method(model, method)

    def share(self, model: Module, loss: Callable[..., Tensor]) -> "Shared":
        """Make the loss a module whose gradients are averaged over the processes."""
        alone = _Loss(model, loss)
        if self.size == 1 or _sharded(model):
            return Shared(alone, model)
        # The rotary table is the same everywhere; PyTorch 2.13 has another word for leaving it.
        known = inspect.signature(DistributedDataParallel).parameters
        word = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
        flag: Any = {word: False}
        return Shared(DistributedDataParallel(alone, **flag), model)


ALONE = Team()


class _Loss(Module):
    """The loss as the `forward` of a module: PyTorch's engine wraps that."""

    def __init__(self, model: Module, loss: Callable[..., Tensor]) -> None:
        super().__init__()
        self.model, self.loss = model, loss

    def forward(self, batch: Any) -> Tensor:
        return self.loss(self.model, batch)


@dataclass(frozen=True)
class Shared:
    """A loss whose gradients the processes exchange."""

    module: Module
    model: Module

    @contextmanager
    def exchange(self, last: bool) -> Iterator[Callable[[Any], Tensor]]:
        """Open a block for one micro-batch; the gradients are exchanged with the last alone."""
        waits: AbstractContextManager[Any] = nullcontext()
        if _sharded(self.model):
            cast(Any, self.model).set_requires_gradient_sync(last)
        elif isinstance(self.module, DistributedDataParallel) and not last:
            waits = self.module.no_sync()
        with _all_there(), waits:
            yield self.module


@contextmanager
def _all_there() -> Iterator[None]:
    """Say in words when a process is lost, which closes its connections."""
    try:
        yield
    except RuntimeError as lost:
        if not isinstance(lost, dist.DistError) and "gloo" not in str(lost):
            raise
        raise WorkError(
            "another of the processes has ended: what was saved can be gone on from"
        ) from lost


def join() -> Team:
    """Join the processes that torchrun started, once; without torchrun a process is alone.

    Each process takes the GPU of its place on the machine (nccl), or its CPU (gloo).

    Raises:
        FtkitError: when there are more processes on a machine than it has GPUs.
    """
    if many() and not dist.is_initialized():
        backend = "gloo"
        if torch.cuda.is_available():
            local, there = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
            if local >= there:
                raise FtkitError(f"there is no GPU for process {local + 1}: {there} are here")
            torch.cuda.set_device(local)
            backend = "cpu:gloo,cuda:nccl"
        dist.init_process_group(backend, timeout=PATIENCE)
        atexit.register(dist.destroy_process_group)
    return Team(dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else Team()


def many() -> bool:
    """Say whether torchrun has started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def whole(tensor: Tensor) -> Tensor:
    """Return a tensor in one piece; all processes together, if it is divided among them."""
    return cast(Any, tensor).full_tensor() if _divided(tensor) else tensor


def divided_like(tensor: Tensor, like: Tensor) -> Tensor:
    """Return this process's part of a whole tensor, if `like` is divided among them."""
    if not _divided(like):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    part = cast(Any, like)
    # Every process has the whole: none needs to send it.
    return distribute_tensor(tensor, part.device_mesh, part.placements, src_data_rank=None)


def _divided(tensor: Tensor) -> bool:
    """Tell DTensors, whose import takes more than a second, by what they alone can do."""
    return hasattr(tensor, "full_tensor")


def _sharded(model: Module) -> bool:
    return hasattr(model, "set_requires_gradient_sync")
