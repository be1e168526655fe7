"""Tuning: a recipe's examples, a base and a method become a variant folder."""

import dataclasses
import math
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ftkit.config import table
from ftkit.errors import FtkitError, Interrupted
from ftkit.runs import Run, fingerprint

from ..adapters._forward import Forward, causal
from ..adapters._method import Method, trainable
from ..adapters._variant import open_base
from ..basemodel import checkpoint
from ..basemodel.device import Device, PeakMemory, decide
from ..basemodel.fit import Plan, Step, fit
from ..basemodel.interrupt import Interrupt
from ..basemodel.optim import Optimizer
from ._check import Encoded, encode
from ._pack import Batch, Packer
from ._recipe import Example, Recipe
from ._render import Renderer

SAVE_SECONDS = 60.0  # between checkpoints; Ctrl-C writes one at once
LOG_EVERY = 5  # steps
ROW = 256  # tokens of a packed row at least: narrower ones waste more in gaps than attention saves


@dataclass(frozen=True)
class Tuning:
    """The plan of a tuning; every field is a knob of `--set plan.`.

    Args:
        batch: tokens of one optimizer update, slots included.
        accumulate: micro-batches that an update is cut into, to save memory.
        clip: largest norm of the gradient.
        warmup: share of the steps over which the learning rate rises.
        decay: share of the steps, the last, over which it falls to zero.
        checks: validations during training, evenly spaced, the last one at the end.
        patience: checks without a better validation loss after which training stops.
        held_out: most rows of the validation split that a check reads.
    """

    batch: int = 4096
    accumulate: int = 1
    clip: float = 1.0
    warmup: float = 0.05
    decay: float = 0.6
    checks: int = 8
    patience: int = 3
    held_out: int = 256

    def __post_init__(self) -> None:
        """Refuse numbers that make no plan."""
        for name in ("batch", "accumulate", "checks", "patience", "held_out"):
            if getattr(self, name) < 1:
                raise FtkitError(f"'plan.{name}' takes 1 or more, not {getattr(self, name)}")


@dataclass
class _Best:
    """The best validation so far and the weights it was measured on."""

    nats: float = math.inf
    step: int = 0
    since: int = 0  # checks without a better one
    weights: dict[str, Tensor] = dataclasses.field(default_factory=dict)


@dataclass
class _Work:
    """All that the loop needs, set up once."""

    model: Any
    tokenizer: Any
    forward: Forward
    train: Packer
    held_out: Packer
    device: Device
    plan: Plan
    optimizer: Optimizer
    weights: dict[str, torch.nn.Parameter]
    stops: tuple[int, ...]
    notes: dict[str, Any]


def tune(
    run: Run,
    recipe: Recipe,
    method: Method,
    base: str,
    tuning: Tuning = Tuning(),
    *,
    seed: int = 0,
    minutes: float | None = None,
    resume: bool = False,
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

    Yields:
        Log records: `{"event": "plan", "steps": ...}` first, then `{"step", "loss", "lr",
        "tokens", "seconds"}` and `{"step", "validation": {"nats": ...}}`, `{"event": "done"}` last.

    Raises:
        FtkitError: for what the user can mend.
        Interrupted: after Ctrl-C, when a checkpoint has been written.
    """
    began = time.perf_counter()
    with PeakMemory() as memory, Interrupt() as interrupt:
        work = _prepare(run, recipe, method, base, tuning, seed, minutes)
        best, start, before = _Best(), 0, 0.0
        if resume and (saved := checkpoint.latest(run.checkpoints)) is not None:
            for note in saved.passed_over:
                yield {"event": "note", "text": note}
            best, start, before = _take_up(work, saved)
        run.truncate_log(start)
        yield work.notes | {"start": start}
        training = yield from _train(run, work, tuning, best, start, before, interrupt)
        with torch.no_grad():
            for name, parameter in work.weights.items():
                parameter.copy_(best.weights[name])
        seconds = before + time.perf_counter() - began
        facts = {
            "trainable_params": sum(p.numel() for p in work.weights.values()),
            "seconds": round(seconds, 2),
            "training_seconds": round(training["seconds"], 2),
            "tokens_per_second": round(training["tokens"] / max(1e-9, training["seconds"]), 1),
            "peak_memory": memory.bytes,
            "steps": training["steps"],
            "best_step": best.step,
            "validation_nats": best.nats,
            "stops": list(work.stops),
        }
        _publish(run, work, method, facts)
    yield {"event": "done", **facts}


def _prepare(
    run: Run,
    recipe: Recipe,
    method: Method,
    base: str,
    tuning: Tuning,
    seed: int,
    minutes: float | None,
) -> _Work:
    """Read the rows, open the base, attach the method, decide how to run."""
    if minutes is not None and not minutes > 0:
        raise FtkitError(f"--minutes takes a number above 0, not {minutes}")
    rows = recipe.examples("train")
    checks = _spread(recipe.examples("validation"), tuning.held_out)
    if not rows or not checks:
        raise FtkitError(f"recipe {recipe.name} gives no rows to train on and to validate with")
    decided = run.settings.get("decided")
    _same_base(run, base)
    model, tokenizer = open_base(base)
    slots = method.virtual_tokens
    context = getattr(model.config, "max_position_embeddings", recipe.length)
    if recipe.length > context:
        raise FtkitError(f"'recipe.length' is {recipe.length}, but {base} reads {context} tokens")
    renderer = Renderer(tokenizer, base)
    train = encode(rows, renderer, recipe.length - slots, recipe.max_dropped)
    held_out = encode(checks, renderer, recipe.length - slots)
    parameters = sum(p.numel() for p in model.parameters())
    model = method.attach(model, tokenizer, seed)
    forward = Forward.of(model, method)
    width = _row_width(max(train.part.longest, held_out.part.longest) + slots, recipe.length)
    packers = [
        Packer(
            part.items,
            width,
            max(1, tuning.batch // width),
            parts=parts,
            slots=slots,
            pad=_pad(tokenizer),
            seed=seed,
            packable=method.packable,
            where=[example.where for example in part.examples],
        )
        for part, parts in ((train, tuning.accumulate), (held_out, 1))
    ]
    if decided is None:
        hidden = getattr(causal(model).config, "hidden_size", None)
        device = decide(parameters=parameters, width=hidden)
        reasons = device.reasons | {"compile": "rows differ in width, each would be compiled anew"}
        device = dataclasses.replace(device, compile=False, reasons=reasons)
    else:
        device = Device.read(decided)
    device.use()
    model.to(device.torch_device)
    weights = trainable(model)
    optimizer = Optimizer(method.groups(model))
    if decided is None:
        steps, why = _steps(recipe, tuning, packers, forward, device, minutes)
    else:
        steps, why = decided["steps"], decided["reasons"]["steps"]
    reasons = device.reasons | {"steps": why}
    run.update(run.settings | {"decided": table(device) | {"steps": steps, "reasons": reasons}})
    plan = Plan(steps, tuning.accumulate, tuning.clip, tuning.warmup, tuning.decay)
    notes = _notes(train, held_out, packers[0], plan, device, weights)
    model.train()
    return _Work(
        model, tokenizer, forward, packers[0], packers[1], device, plan, optimizer, weights,
        renderer.stops, notes,
    )  # fmt: skip


def _same_base(run: Run, base: str) -> None:
    """Write down which base it is; a resumed run must find the same."""
    folder = Path(base)
    mark = fingerprint(folder) if folder.is_dir() else ""
    known = run.settings.get("base")
    if known is None:
        path = str(folder.resolve()) if folder.is_dir() else base
        run.update(run.settings | {"base": {"path": path, "fingerprint": mark}})
    elif known["fingerprint"] != mark:
        raise FtkitError(f"{base} is no longer the base that this run began with: start a new run")


def _spread(rows: list[Example], most: int) -> list[Example]:
    """Take some rows from all over a split."""
    if len(rows) <= most:
        return rows
    return [rows[place * len(rows) // most] for place in range(most)]


def _row_width(longest: int, length: int) -> int:
    """Choose the tokens of a packed row: attention costs their square, so no more than needed."""
    return min(length, max(ROW, -(-longest // 64) * 64))


def _pad(tokenizer: Any) -> int:
    """Choose the id for places that hold no token; nothing reads it."""
    known = (tokenizer.pad_token_id, tokenizer.eos_token_id, 0)
    return next(int(token) for token in known if token is not None)


def _steps(
    recipe: Recipe,
    tuning: Tuning,
    packers: list[Packer],
    forward: Forward,
    device: Device,
    minutes: float | None,
) -> tuple[int, str]:
    """Turn epochs, or minutes after timing a few batches, into a number of steps."""
    train, held_out = packers
    if minutes is None:
        steps = math.ceil(recipe.epochs * train.updates)
        return max(1, steps), f"{recipe.epochs:g} epochs of {train.updates} steps"
    times = []
    for number in range(3):  # the first warms up
        began = time.perf_counter()
        with device.autocast():
            _loss(forward, train(number).to(device.torch_device)).backward()  # type: ignore[no-untyped-call]
        times.append(time.perf_counter() - began)
    forward.model.zero_grad(set_to_none=True)
    each = min(times[1:]) * tuning.accumulate
    # A check is a forward, about a third of a step, for each batch that is held out.
    checking = tuning.checks * held_out.updates * each / 3
    steps = int((minutes * 60 - checking) / each)
    if steps < 1:
        raise FtkitError(f"--minutes {minutes:g} is too short: a step takes about {each:.1f} s")
    return steps, f"{minutes:g} minutes at {each:.3f} s a step"


def _notes(
    train: Encoded,
    held_out: Encoded,
    packer: Packer,
    plan: Plan,
    device: Device,
    weights: dict[str, torch.nn.Parameter],
) -> dict[str, Any]:
    """Say what will be done, as the first log record."""
    return {
        "event": "plan",
        "steps": plan.steps,
        "trainable_params": sum(p.numel() for p in weights.values()),
        "rows": {"train": train.part.rows, "validation": held_out.part.rows},
        "overlong": {"count": train.part.overlong, "where": list(train.part.named)},
        "duplicates": train.part.duplicates,
        "packing_efficiency": round(packer.efficiency, 3),
        "device": device.device,
        "dtype": device.dtype,
    }


def _loss(forward: Forward, batch: Batch) -> Tensor:
    """Sum the negative log-likelihood of a batch's labelled tokens, in fp32."""
    z_NV = forward.logits(batch.ids_BT, batch.positions_BT, batch.slots_BT, batch.where_N)
    return F.cross_entropy(z_NV.float(), batch.targets_N, reduction="sum")


@torch.no_grad()
def _validate(work: _Work) -> float:
    """Measure the loss per labelled token on the held-out rows, in nats."""
    work.model.eval()
    total, tokens = 0.0, 0
    for number in range(work.held_out.updates):
        batch = work.held_out(number).to(work.device.torch_device)
        with work.device.autocast():
            total += float(_loss(work.forward, batch))
        tokens += batch.tokens
    work.model.train()
    return total / max(1, tokens)


def _train(
    run: Run,
    work: _Work,
    tuning: Tuning,
    best: _Best,
    start: int,
    before: float,
    interrupt: Interrupt,
) -> Generator[dict[str, Any], None, dict[str, Any]]:
    """Run the loop: log, validate, keep the best, stop early, save."""
    where = work.device.torch_device
    every = max(1, math.ceil(work.plan.steps / tuning.checks))
    saved = time.perf_counter()
    step = Step(start, math.nan, 0.0, 0, 0.0)
    spent = 0.0  # seconds in steps alone, which is what tokens per second are counted by
    mark = time.perf_counter()
    steps = fit(
        work.model,
        lambda number: work.train(number).to(where),
        lambda _, batch: _loss(work.forward, batch),
        work.plan,
        work.optimizer,
        work.device,
        start,
    )
    for step in steps:
        spent += time.perf_counter() - mark
        last = step.number == work.plan.steps
        if step.number % LOG_EVERY == 0 or last or step.number == start + 1:
            record = dataclasses.asdict(step) | {"seconds": round(before + step.seconds, 3)}
            record["step"] = record.pop("number")
            run.log(record)
            yield record
        if step.number % every == 0 or last:
            check = _check_best(work, best, step.number)
            run.log(check)
            yield check
            if best.since >= tuning.patience and not last:
                stopped = {"event": "early stop", "step": step.number}
                run.log(stopped)
                yield stopped
                break
        if interrupt.asked or time.perf_counter() - saved > SAVE_SECONDS:
            _save(run, work, best, step.number, before + step.seconds)
            saved = time.perf_counter()
        if interrupt.asked:
            raise Interrupted(
                f"stopped after step {step.number} of {work.plan.steps}; everything is saved: "
                f"go on with ftkit tune --resume --out {run.path}"
            )
        mark = time.perf_counter()
    return {"steps": step.number, "tokens": step.tokens, "seconds": spent}


def _check_best(work: _Work, best: _Best, step: int) -> dict[str, Any]:
    """Validate, and keep the weights if they are the best so far."""
    nats = _validate(work)
    if nats < best.nats or not best.weights:
        best.nats, best.step, best.since = nats, step, 0
        best.weights = {name: p.detach().clone() for name, p in work.weights.items()}
    else:
        best.since += 1
    return {"step": step, "validation": {"nats": nats}}


def _save(run: Run, work: _Work, best: _Best, step: int, seconds: float) -> None:
    """Write a checkpoint that resuming is exact from."""
    tensors = checkpoint.pack(work.weights, work.optimizer)
    tensors |= {f"best.{name}": value for name, value in best.weights.items()}
    facts = {"best": [best.nats, best.step, best.since], "seconds": seconds}
    checkpoint.save(run.checkpoints, step, tensors, facts)


def _take_up(work: _Work, saved: checkpoint.Checkpoint) -> tuple[_Best, int, float]:
    """Put a checkpoint back."""
    checkpoint.unpack(saved.tensors, work.weights, work.optimizer)
    nats, step, since = saved.facts["best"]
    where = work.device.torch_device
    weights = {
        name.removeprefix("best."): value.to(where)
        for name, value in saved.tensors.items()
        if name.startswith("best.")
    }
    return _Best(nats, step, since, weights), saved.step, saved.facts["seconds"]


def _publish(run: Run, work: _Work, method: Method, facts: dict[str, Any]) -> None:
    """Write the variant's folder."""
    work.model.eval().to("cpu")
    # A turn's end must stop generation, or answers run on in other programs.
    causal(work.model).generation_config.eos_token_id = list(work.stops)

    def write(folder: Path) -> None:
        method.save(work.model, folder)
        work.tokenizer.save_pretrained(folder)

    size = sum(p.numel() * p.element_size() for p in work.weights.values())
    run.publish(write, facts | {"bytes": size})
