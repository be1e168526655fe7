"""What a tuning would take: it is set up in earnest, makes a few steps, and is thrown away."""

import math
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ftkit.config import table
from ftkit.runs import Run

from ..adapters._method import Method
from ..adapters._quantize import Opened
from ..basemodel.curves import draw
from ..basemodel.device import PeakMemory
from ..basemodel.fit import fit
from ._recipe import Recipe
from ._shelf import Shelf
from ._work import Tuning, Work, batch_loss, prepare

STEPS = 4  # that are made, of which the first warms up
ENOUGH = 10.0  # seconds of steps after which no further one is made
CHECKED = 4  # batches of held-out rows that are timed
AS_IT_IS = Opened()


@dataclass(frozen=True)
class Trial:
    """A tuning in numbers.

    Args:
        rows: to train on.
        parameters: of the model and the method.
        trainable: of those, how many move.
        steps: updates of the whole training.
        places: tokens, slots and gaps that a step passes through the model.
        seconds: of the whole command on an idle machine.
        memory: bytes at the peak.
    """

    rows: int
    parameters: int
    trainable: int
    steps: int
    places: int
    seconds: float
    memory: int


def trial(
    recipe: Recipe,
    method: Method,
    base: str,
    tuning: Tuning,
    *,
    seed: int = 0,
    minutes: float | None = None,
    shelf: Shelf | None = None,
    opened: Opened = AS_IT_IS,
    clock: Callable[[], float] = time.perf_counter,
) -> Trial:
    """Try a tuning for a few steps and work out the rest.

    Args:
        recipe: the examples.
        method: which weights move.
        base: folder or Hub id.
        tuning: the plan's knobs.
        seed: of initialisation and order.
        minutes: the budget, or None for epochs.
        shelf: shared by the variants of a series.
        opened: how the base is opened.
        clock: counts seconds; `time.process_time` does so on a machine that is busy.

    Raises:
        FtkitError: for what tuning itself would refuse.
    """
    began, shelf = clock(), shelf or Shelf(tuning.held_out)
    with tempfile.TemporaryDirectory() as place, PeakMemory() as memory, ExitStack() as until:
        settings = {"command": "tune", "method": table(method), "base": table(opened)}
        folder = Path(place)
        run = Run.create(folder / "trial", settings)
        work = prepare(
            run, recipe, method, base, tuning,
            seed=seed, minutes=minutes, shelf=shelf, until=until,
        )  # fmt: skip
        best = [weight.detach().clone() for weight in work.weights.values()]  # as a run keeps them
        ends = _stepped(work, clock)
        check, most = _checked(work, clock), memory.bytes
        del best
        step, total = (ends[-1] - ends[1]) / (len(ends) - 2), work.plan.steps
        checks = 1 + math.ceil(total / max(1, math.ceil(total / tuning.checks)))
        seconds = ends[1] - began + (total - 1) * step + checks * check + _drawn(folder, clock)
        return Trial(
            rows=len(work.train.items),
            parameters=sum(weight.numel() for weight in work.model.parameters()),
            trainable=sum(weight.numel() for weight in work.weights.values()),
            steps=total,
            places=sum(work.train(part).ids_BT.numel() for part in range(tuning.accumulate)),
            seconds=seconds,
            memory=most,
        )


def _stepped(work: Work, clock: Callable[[], float]) -> list[float]:
    """Make a few steps; return when the first began and when each ended."""
    where, ends = work.device.torch_device, [clock()]
    for _ in fit(
        work.model,
        lambda number: work.train(number).to(where),
        lambda _, batch: batch_loss(work.forward, batch),
        replace(work.plan, steps=max(work.plan.steps, STEPS)),
        work.optimizer,
        work.device,
    ):
        ends.append(clock())
        if len(ends) > STEPS or (len(ends) > 2 and ends[-1] - ends[0] > ENOUGH):
            break
    return ends


def _checked(work: Work, clock: Callable[[], float]) -> float:
    """Work out the seconds of a check by a few of its batches."""
    began, number = clock(), min(CHECKED, work.held_out.updates)
    with torch.no_grad(), work.device.autocast():
        for update in range(number):
            batch = work.held_out(update).to(work.device.torch_device)
            float(batch_loss(work.forward, batch))  # waits for a GPU
    return (clock() - began) / number * work.held_out.updates


def _drawn(folder: Path, clock: Callable[[], float]) -> float:
    """Time the picture that a run ends with: a second of a short one."""
    began = clock()
    draw([{"step": step, "loss": 1.0} for step in (1, 2)], folder / "curves.svg", "")
    return clock() - began
