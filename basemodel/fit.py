"""The one training loop: accumulate, divide by tokens, clip, schedule, update, yield the step."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from torch import Tensor
from torch.nn import Module

from ftkit.errors import FtkitError, WorkError

from .device import Device
from .group import join, whole
from .optim import Group, Optimizer


@dataclass(frozen=True)
class Plan:
    """How long and how carefully to train.

    Args:
        steps: optimizer updates, at least 1.
        accumulate: micro-batches that make one update.
        clip: largest norm of the whole gradient; 0 leaves it as it is.
        warmup: share of the steps over which the learning rate rises from 0.
        decay: share of the steps, the last ones, over which it falls in a straight line.
        floor: what it falls to, as a share of the full rate.
    """

    steps: int
    accumulate: int = 1
    clip: float = 1.0
    warmup: float = 0.02
    decay: float = 0.6
    floor: float = 0.0

    def __post_init__(self) -> None:
        for name, least in (("steps", 1), ("accumulate", 1), ("clip", 0)):
            if getattr(self, name) < least:
                raise FtkitError(f"plan.{name} is {getattr(self, name)}: it must be >= {least}")
        for name in ("warmup", "decay", "floor"):
            if not 0 <= getattr(self, name) <= 1:
                raise FtkitError(f"plan.{name} is {getattr(self, name)}: it must lie in 0 to 1")


@dataclass(frozen=True)
class Step:
    """One optimizer update, as `fit` yields it.

    `number` counts from 1, so it is also the `start` with which to go on. `loss` is the mean over
    the update's supervised tokens, in nats, before the update. `lr` is the first group's rate.
    `tokens` and `seconds` count from where this call of `fit` began, without what its caller does
    between the steps.
    """

    number: int
    loss: float
    lr: float
    tokens: int
    seconds: float


class Batch(Protocol):
    """What `fit` asks of a batch; a `where` attribute, if there, names its rows in errors."""

    @property
    def tokens(self) -> int:
        """How many tokens have a label."""


Rows = TypeVar("Rows", bound=Batch)


def fit(
    model: Module,
    batches: Callable[[int], Rows],
    loss: Callable[[Module, Rows], Tensor],
    plan: Plan,
    groups: Sequence[Group] | Optimizer,
    device: Device,
    start: int = 0,
) -> Iterator[Step]:
    """Train; the caller logs, validates, saves and stops between the steps.

    Under torchrun every process calls this with the same arguments and yields the same steps:
    each takes its share of an update's micro-batches.

    Args:
        model: in training mode if it has any dropout, and on the device already.
        batches: micro-batch number -> batch. A pure function, so going on needs no replay: step n
            takes the numbers n * accumulate up to (n + 1) * accumulate.
        loss: the SUM over the batch's supervised tokens of the negative log-likelihood, in nats.
        plan: length, accumulation, clipping, schedule.
        groups: what to train, by which rule; or an optimizer that has steps behind it.
        device: precision and threads.
        start: how many steps lie behind already.

    Yields:
        A Step after each update.

    Raises:
        WorkError: when a loss or gradient is not finite, in whichever process; the weights are
            those of the step before.
        FtkitError: when the processes cannot share `plan.accumulate` evenly.
    """
    optimizer = groups if isinstance(groups, Optimizer) else Optimizer(groups)
    device.use()
    team = join()
    shared = team.share(model, loss)
    began, spent, seen = time.perf_counter(), 0.0, 0
    for number in range(start, plan.steps):
        window = range(number * plan.accumulate, (number + 1) * plan.accumulate)
        mine = [batches(place) for place in team.mine(window)]
        # Dividing by the tokens of the whole window makes 4 micro-batches equal 1 of 4 times the
        # size, whatever their lengths; averaging averages does not.
        tokens = max(1, int(team.sum(sum(batch.tokens for batch in mine))))
        total = 0.0
        for place, batch in enumerate(mine, 1):
            with shared.exchange(last=place == len(mine)) as nats_of:
                with device.autocast():
                    nats = nats_of(batch) / tokens
                # The processes' gradients are averaged, but their losses add up.
                (nats * team.size).backward()  # type: ignore[no-untyped-call]
            total += nats.item()
        total = _finite(team.sum(total), "the loss", number + 1, map(batches, window))
        norm = _clip(optimizer, plan.clip)
        _finite(norm, "the gradient", number + 1, map(batches, window))
        scale = schedule(number, plan)
        optimizer.step(scale)
        optimizer.zero_grad()
        seen += tokens
        spent += time.perf_counter() - began
        yield Step(number + 1, total, optimizer.lr * scale, seen, spent)
        began = time.perf_counter()  # what the caller did in between is not training


def schedule(step: int, plan: Plan) -> float:
    """Return the learning rate of an update, as a share of the full rate.

    Args:
        step: updates made before this one, from 0.
        plan: the length and the shares of warm-up and decay.

    >>> [schedule(step, Plan(steps=10, warmup=0.2, decay=0.5)) for step in (0, 1, 4, 5, 7, 9)]
    [0.5, 1.0, 1.0, 1.0, 0.6, 0.2]
    """
    rise = (step + 1) / max(1, round(plan.warmup * plan.steps))
    fall = (plan.steps - step) / max(1, round(plan.decay * plan.steps))
    return min(1.0, rise, plan.floor + (1 - plan.floor) * min(1.0, fall))


def _clip(optimizer: Optimizer, most: float) -> float:
    grads = [param.grad for param in optimizer.parameters if param.grad is not None]
    norm = whole(torch.nn.utils.get_total_norm(grads))
    if most > 0:
        torch.nn.utils.clip_grads_with_norm_(optimizer.parameters, most, norm)
    return float(norm)


def _finite(value: float, what: str, step: int, window: Iterable[Batch]) -> float:
    if math.isfinite(value):
        return value
    places = [str(where) for batch in window if (where := getattr(batch, "where", ""))]
    rows = f" (rows: {', '.join(places)})" if places else ""
    advice = "a smaller learning rate usually helps"
    if step == 1:
        advice = "no step was made yet, so the weights it began from are damaged or too large"
    raise WorkError(f"{what} is {value} at step {step}{rows}: {advice}")
