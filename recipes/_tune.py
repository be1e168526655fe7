"""Tuning: a recipe's examples, a base and a method become a variant folder."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ftkit.runs import Run

from ..adapters._method import Method
from ._recipe import Recipe


@dataclass(frozen=True)
class Tuning:
    """The plan of a tuning; every field is a knob of `--set plan.`.

    Args:
        batch: packed rows of one optimizer update.
        accumulate: micro-batches that an update is cut into, for memory.
        clip: largest norm of the gradient.
        warmup: share of the steps over which the learning rate rises.
        decay: share of the steps, the last, over which it falls to zero.
        checks: validations during training, evenly spaced, the last one at the end.
        patience: checks without a better validation loss after which training stops.
    """

    batch: int = 8
    accumulate: int = 1
    clip: float = 1.0
    warmup: float = 0.05
    decay: float = 0.6
    checks: int = 8
    patience: int = 3


def tune(
    run: Run,
    recipe: Recipe,
    method: Method,
    base: str,
    tuning: Tuning = Tuning(),  # noqa: B008
    *,
    seed: int = 0,
    minutes: float | None = None,
    resume: bool = False,
) -> Iterator[dict[str, Any]]:
    """Tune a base on a recipe by a method, and publish the variant in the run's folder.

    Args:
        run: made by `Run.create`, or by `Run.resume` when `resume` is true. Its settings should hold
            the tables `options`, `recipe`, `method` and `plan`; `base` and `decided` are added here.
        recipe: the examples.
        method: which weights move.
        base: folder or Hub id of the base.
        tuning: how long and how carefully.
        seed: of initialisation and order.
        minutes: a budget that is turned into steps once, after the first steps; None for epochs.
        resume: go on from the run's last checkpoint.

    Yields:
        Log records for a progress bar: `{"event": "plan", "steps": ..., ...}` first, then
        `{"step", "loss", "lr", "tokens", "seconds"}` and `{"step", "validation": {"nats": ...}}`.

    Raises:
        FtkitError: for what the user can mend.
        Interrupted: after Ctrl-C, when a checkpoint has been written.
    """
    raise NotImplementedError
    yield {}
