"""Tuning: a recipe's examples, a base and a method become a variant folder."""

import dataclasses
import math
import signal
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ftkit.errors import FtkitError, Interrupted, WorkError
from ftkit.runs import Run

from ..adapters._forward import causal
from ..adapters._method import Method
from ..basemodel import checkpoint
from ..basemodel.curves import draw
from ..basemodel.device import PeakMemory
from ..basemodel.fit import Step, fit
from ..basemodel.interrupt import Interrupt
from ._card import card
from ._recipe import Recipe
from ._shelf import Shelf
from ._work import Tuning, Work, batch_loss, prepare

__all__ = ["Tuning", "tune"]

SAVE_SECONDS = 60.0  # between checkpoints; Ctrl-C writes one at once
LOG_EVERY = 5  # steps
# Of checks this close to the lowest loss the last counts: its rate has fallen furthest, and answers
# still get better where likelihoods no longer do (arXiv:2203.02155, 3.5; docs/findings.md).
CLOSE = 0.1
DEFAULTS = Tuning()


@dataclass(frozen=True)
class _Spent:
    """What the sessions before this one took.

    Args:
        seconds: of the clock, from the first step on.
        training: seconds in steps alone, by which tokens per second are counted.
        tokens: with a label.
    """

    seconds: float = 0.0
    training: float = 0.0
    tokens: int = 0

    def and_these(self, seconds: float, step: Step) -> "_Spent":
        """Add what this session has taken up to a step."""
        return _Spent(
            self.seconds + seconds, self.training + step.seconds, self.tokens + step.tokens
        )


@dataclass
class _Best:
    """The validation that counts as the best so far and the weights it was measured on."""

    nats: float = math.inf
    step: int = 0
    since: int = 0  # checks without one as good
    least: float = math.inf
    weights: dict[str, Tensor] = dataclasses.field(default_factory=dict)


def tune(
    run: Run,
    recipe: Recipe,
    method: Method,
    base: str,
    tuning: Tuning = DEFAULTS,
    *,
    seed: int = 0,
    minutes: float | None = None,
    resume: bool = False,
    shelf: Shelf | None = None,
) -> Iterator[dict[str, Any]]:
    """Tune a base on a recipe by a method, and publish the variant in the run's folder.

    Args:
        run: made by `Run.create`, or by `Run.resume` when `resume` is true. Its settings hold the
            tables `options`, `recipe`, `method` and `plan`; `base` and `decided` are added here.
        recipe: the examples.
        method: which weights move.
        base: folder or Hub id of the base.
        tuning: how long and how carefully.
        seed: of initialisation and order.
        minutes: a budget that is turned into steps once, after timing a few; None for epochs.
        resume: go on from the run's last checkpoint.
        shelf: shared by the variants of a series, so that rows are put into tokens once.

    Yields:
        Log records: `{"event": "plan", "steps": ...}` first, then `{"step", "loss", "lr",
        "tokens", "seconds"}` and `{"step", "validation": {"nats": ...}}`, `{"event": "done"}` last.

    Raises:
        FtkitError: for what the user can mend.
        WorkError: for a training whose loss is not finite.
        Interrupted: after Ctrl-C, when a checkpoint has been written.
    """
    began = time.perf_counter()
    with PeakMemory() as memory, ExitStack() as caught, ExitStack() as until:
        with Interrupt([signal.SIGTERM]) as told:  # while rows are read Ctrl-C stops at once
            work = prepare(
                run, recipe, method, base, tuning,
                seed=seed, minutes=minutes, shelf=shelf or Shelf(tuning.held_out), until=until,
            )  # fmt: skip
        interrupt = caught.enter_context(Interrupt())
        interrupt.asked = told.asked
        torch.manual_seed(seed)  # of dropout, where a base has any
        best, start, before = yield from _begin(run, work, recipe, base, resume)
        training = yield from _train(run, work, tuning, best, start, before, interrupt)
        if not best.weights:
            raise WorkError(
                f"no check up to step {training['steps']} found a finite loss on the validation "
                "rows: a smaller learning rate usually helps (--set method.lr=...)"
            )
        with torch.no_grad():
            for name, parameter in work.weights.items():
                parameter.copy_(best.weights[name])
        until.close()
        seconds = before.seconds + time.perf_counter() - began
        facts = _facts(run, work, best, training, seconds) | {"peak_memory": memory.bytes}
        about = card(str(run.path), recipe, method.name, bool(method.peft_type), base, facts)
        _publish(run, work, method, facts, about)
    yield {"event": "done", **facts}


def _begin(
    run: Run, work: Work, recipe: Recipe, base: str, resume: bool
) -> Generator[dict[str, Any], None, tuple[_Best, int, _Spent]]:
    """Go on from the newest checkpoint, or measure where the training begins from."""
    best, start, before = _Best(), 0, _Spent()
    if resume and (saved := checkpoint.latest(run.checkpoints)) is not None:
        for note in saved.passed_over:
            yield {"event": "note", "text": note}
        best, start, before = _take_up(work, saved)
    run.truncate_log(start if start else -1)
    yield work.notes | {"start": start}
    for note in recipe.notes():
        yield {"event": "note", "text": note}
    if not start:  # where it begins from, so that the log shows what tuning brought
        check = {"step": 0, "validation": {"nats": _finite(_validate(work), base)}}
        yield _logged(run, check)
    return best, start, before


def _facts(
    run: Run, work: Work, best: _Best, training: dict[str, Any], seconds: float
) -> dict[str, Any]:
    """Say what the training came to."""
    return {
        "trainable_params": sum(p.numel() for p in work.weights.values()),
        "seconds": round(seconds, 2),
        "training_seconds": round(training["seconds"], 2),
        "tokens_per_second": round(training["tokens"] / max(1e-9, training["seconds"]), 1),
        "steps": training["steps"],
        "best_step": best.step,
        "validation_nats": best.nats,
        "validation_nats_before": _before(run),
        "stops": list(work.stops),
    }


def _finite(nats: float, base: str) -> float:
    """Refuse a base whose loss is not finite before anything was trained."""
    if math.isfinite(nats):
        return nats
    raise FtkitError(
        f"{base} gives no finite loss on the validation rows before any training ({nats}): its "
        "weights are damaged, or numbers become too large in it; no setting of a tuning mends that"
    )


@torch.no_grad()
def _validate(work: Work) -> float:
    """Measure the loss per labelled token on the held-out rows, in nats."""
    work.model.eval()
    total, tokens = 0.0, 0
    for number in range(work.held_out.updates):
        batch = work.held_out(number).to(work.device.torch_device)
        with work.device.autocast():
            total += float(batch_loss(work.forward, batch))
        tokens += batch.tokens
    work.model.train()
    return total / max(1, tokens)


def _train(
    run: Run,
    work: Work,
    tuning: Tuning,
    best: _Best,
    start: int,
    before: _Spent,
    interrupt: Interrupt,
) -> Generator[dict[str, Any], None, dict[str, Any]]:
    """Run the loop: log, validate, keep the best, stop early, save."""
    where = work.device.torch_device
    every = max(1, math.ceil(work.plan.steps / tuning.checks))
    begun = saved = time.perf_counter()
    step, spent = Step(start, math.nan, 0.0, 0, 0.0), before
    steps = fit(
        work.model,
        lambda number: work.train(number).to(where),
        lambda _, batch: batch_loss(work.forward, batch),
        work.plan,
        work.optimizer,
        work.device,
        start,
    )
    for step in steps:
        spent = before.and_these(time.perf_counter() - begun, step)
        last = step.number == work.plan.steps
        if step.number % LOG_EVERY == 0 or last or step.number == start + 1:
            yield _logged(run, _record(step, spent))
        if step.number % every == 0 or last:
            yield _logged(run, _check_best(work, best, step.number))
            if best.since >= tuning.patience and not last:
                yield _logged(run, {"event": "early stop", "step": step.number})
                break
        stop = interrupt.asked  # asked once: between two looks Ctrl-C might come
        if stop or time.perf_counter() - saved > SAVE_SECONDS:
            _save(run, work, best, step.number, spent)
            saved = time.perf_counter()
        if stop:
            raise Interrupted(
                f"stopped after step {step.number} of {work.plan.steps}; everything is saved: "
                f"go on with ftkit tune {run.resumed}"
            )
    return {"steps": step.number, "tokens": spent.tokens, "seconds": spent.training}


def _logged(run: Run, record: dict[str, Any]) -> dict[str, Any]:
    """Write a record into the run's log, and give it back."""
    run.log(record)
    return record


def _record(step: Step, spent: _Spent) -> dict[str, Any]:
    """Lay a step out for the log, its seconds and tokens those of all sessions."""
    return {
        "loss": step.loss,
        "lr": step.lr,
        "tokens": spent.tokens,
        "seconds": round(spent.seconds, 3),
        "step": step.number,
    }


def _check_best(work: Work, best: _Best, step: int) -> dict[str, Any]:
    """Validate, and keep the weights if none were better so far by more than CLOSE."""
    nats = _validate(work)
    if math.isfinite(nats) and nats <= best.least * (1 + CLOSE):
        best.nats, best.step, best.since, best.least = nats, step, 0, min(nats, best.least)
        best.weights = {name: p.detach().clone() for name, p in work.weights.items()}
    else:
        best.since += 1
    return {"step": step, "validation": {"nats": nats}}


def _save(run: Run, work: Work, best: _Best, step: int, spent: _Spent) -> None:
    """Write a checkpoint that resuming is exact from."""
    tensors = checkpoint.pack(work.weights, work.optimizer)
    tensors |= {f"best.{name}": value for name, value in best.weights.items()}
    said = [best.nats, best.step, best.since, best.least]
    facts = {"best": said, "spent": dataclasses.asdict(spent)}
    checkpoint.save(run.checkpoints, step, tensors, facts)


def _take_up(work: Work, saved: checkpoint.Checkpoint) -> tuple[_Best, int, _Spent]:
    """Put a checkpoint back."""
    checkpoint.unpack(saved.tensors, work.weights, work.optimizer)
    nats, step, since, least = saved.facts["best"]
    where = work.device.torch_device
    weights = {
        name.removeprefix("best."): value.to(where)
        for name, value in saved.tensors.items()
        if name.startswith("best.")
    }
    return _Best(nats, step, since, least, weights), saved.step, _Spent(**saved.facts["spent"])


def _before(run: Run) -> float | None:
    """Find the validation loss before the first step in the log."""
    checks = (r["validation"]["nats"] for r in run.records() if "validation" in r and not r["step"])
    return next(checks, None)


def _publish(run: Run, work: Work, method: Method, facts: dict[str, Any], about: str) -> None:
    """Write the variant's folder."""
    work.model.eval().to("cpu")
    # A turn's end must stop generation, or answers run on in other programs.
    causal(work.model).generation_config.eos_token_id = list(work.stops)

    def write(folder: Path) -> None:
        method.save(work.model, folder)
        work.tokenizer.save_pretrained(folder)
        (folder / "README.md").write_text(about, encoding="utf-8")

    draw(run.records(), run.inner / "curves.svg", f"Tuning {run.path.name}")
    size = sum(p.numel() * p.element_size() for p in work.weights.values())
    run.publish(write, facts | {"bytes": size})
