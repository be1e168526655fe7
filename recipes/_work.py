"""What a tuning needs, set up once: rows, base, method, device and how many steps."""

import math
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from ftkit.errors import FtkitError
from ftkit.runs import Run, fingerprint

from ..adapters._forward import Forward, context_of
from ..adapters._method import Method, trainable
from ..adapters._variant import open_base
from ..basemodel.device import Device
from ..basemodel.fit import Plan
from ..basemodel.optim import Optimizer
from ._check import Encoded
from ._layout import packers
from ._pack import Batch, Packer
from ._recipe import Recipe
from ._render import Renderer
from ._room import roomy
from ._shelf import Shelf
from ._ways import decide_ways, quicken


@dataclass(frozen=True)
class Tuning:
    """The plan of a tuning; every field is a knob of `--set plan.`.

    Args:
        batch: tokens of one optimizer update, slots included, shared ones counted for every row.
        accumulate: micro-batches that an update is cut into, to save memory.
        clip: largest norm of the gradient.
        warmup: share of the steps over which the learning rate rises.
        decay: share of the steps, the last, over which it falls to zero.
        checks: validations during training, evenly spaced, the last one at the end.
        patience: checks without a loss within 10 % of the best after which training stops.
        held_out: most rows of the validation split that a check reads.
        sharing: most rows that begin alike, with one schema or one system prompt, whose common
            beginning is computed once; 1 computes every row whole.
        checkpointing: whether blocks are computed again on the way back, which takes about a third
            longer, so that what they keep need not fit in memory; `auto` measures and decides.
    """

    batch: int = 4096
    accumulate: int = 1
    clip: float = 1.0
    warmup: float = 0.05
    decay: float = 0.6
    checks: int = 8
    patience: int = 3
    held_out: int = 256
    sharing: int = 4
    checkpointing: Literal["auto", "true", "false"] = "auto"

    def __post_init__(self) -> None:
        """Refuse numbers that make no plan."""
        for name in ("batch", "accumulate", "checks", "patience", "held_out", "sharing"):
            if getattr(self, name) < 1:
                raise FtkitError(f"'plan.{name}' takes 1 or more, not {getattr(self, name)}")


@dataclass
class Work:
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


def prepare(
    run: Run,
    recipe: Recipe,
    method: Method,
    base: str,
    tuning: Tuning,
    *,
    seed: int,
    minutes: float | None,
    shelf: Shelf,
    until: ExitStack,
) -> Work:
    """Read the rows, open the base, attach the method, decide how to run.

    Args:
        run: to which the base and what is decided are written; a resumed run has them. How the
            base is opened stands in its settings.
        recipe: the examples.
        method: which weights move.
        base: folder or Hub id.
        tuning: the plan's knobs.
        seed: of initialisation and order.
        minutes: the budget, or None for epochs.
        shelf: where rows lie that another variant of a series has put into tokens.
        until: is left when the training ends; then the model computes as it did before.

    Raises:
        FtkitError: for rows, a base or a budget that do not fit.
    """
    if minutes is not None and not minutes > 0:
        raise FtkitError(f"--minutes takes a number above 0, not {minutes}")
    shelf.read(recipe)
    if (found := recipe.found()) is not None:
        found.keep(run)
    _same_base(run, base)
    model, tokenizer = _open(run, recipe, base)
    renderer = Renderer(tokenizer, base)
    most = _left(recipe, method)
    place = (base, run.settings["base"]["fingerprint"])
    train, held_out = shelf.tokens(place, renderer, most)
    _same_rows(run, train)
    size = sum(parameter.numel() for parameter in model.parameters())
    forward = Forward.of(method.attach(model, tokenizer, seed), method)
    known = (tokenizer.pad_token_id, tokenizer.eos_token_id, 0)
    layout = packers(
        (train, held_out), forward, next(int(token) for token in known if token is not None),
        batch=tuning.batch, accumulate=tuning.accumulate, sharing=tuning.sharing, seed=seed,
    )  # fmt: skip
    decided = run.settings.get("decided") or decide_ways(size, forward)
    device = _settled(forward, layout[0], decided, tuning, until)
    if "steps" not in decided:
        steps, why = _steps(recipe, tuning, *layout, forward, device, minutes)
        decided = decided | {"steps": steps, "reasons": decided["reasons"] | {"steps": why}}
        run.update(run.settings | {"decided": decided})
    plan = Plan(decided["steps"], tuning.accumulate, tuning.clip, tuning.warmup, tuning.decay)
    weights = trainable(forward.model)
    notes = _notes(train, held_out, layout[0], plan, device, weights, renderer.notes)
    optimizer = Optimizer(method.groups(forward.model))
    return Work(
        forward.model.train(), tokenizer, forward, *layout, device, plan, optimizer,
        weights, renderer.stops, notes,
    )  # fmt: skip


def _open(run: Run, recipe: Recipe, base: str) -> tuple[Any, Any]:
    """Open the base as the run's settings say, if it reads as much as the recipe's rows hold."""
    model, tokenizer = open_base(base, run.settings["base"].get("quantize"))
    context = context_of(model.config) or recipe.length
    if recipe.length > context:
        raise FtkitError(
            f"'recipe.length' is {recipe.length}, but {base} reads {context} tokens: lower it "
            f"(--set recipe.length={context}), or pretrain a base with a longer 'plan.context'"
        )
    return model, tokenizer


def _settled(
    forward: Forward, train: Packer, decided: dict[str, Any], tuning: Tuning, until: ExitStack
) -> Device:
    """Bring a model to its device and into the ways decided, and note what it would not take."""
    device = Device.read(decided)
    device.use()
    forward.model.to(device.torch_device)
    batch = train(0).to(device.torch_device)
    quicken(forward, batch, decided, until)
    until.enter_context(roomy(forward, batch, device, decided, tuning.checkpointing))
    return device


def _left(recipe: Recipe, method: Method) -> int:
    """Count the tokens that a method's own leave for a row."""
    own = method.virtual_tokens + method.prefix_tokens
    if own >= recipe.length:
        raise FtkitError(
            f"{method.name} takes {own} of the {recipe.length} tokens that a row may have, and "
            "leaves none for text: lower 'method.tokens', or raise 'recipe.length'"
        )
    return recipe.length - own


def _same_base(run: Run, base: str) -> None:
    """Write down which base it is; a resumed run must find the same."""
    folder = Path(base)
    mark = fingerprint(folder) if folder.is_dir() else ""
    known = run.settings.get("base", {})
    if "fingerprint" not in known:
        path = str(folder.resolve()) if folder.is_dir() else base
        run.update(run.settings | {"base": known | {"path": path, "fingerprint": mark}})
    elif known["fingerprint"] != mark:
        raise FtkitError(f"{base} is no longer the base that this run began with: start a new run")


def _same_rows(run: Run, train: Encoded) -> None:
    """Write down which tokens are trained on; a resumed run must find the same."""
    mark = train.items.digest
    known = run.settings["base"]
    if "rows" not in known:
        run.update(run.settings | {"base": known | {"rows": mark}})
    elif known["rows"] != mark:
        raise FtkitError("the training rows are no longer those this run began with: start a new")


def _steps(
    recipe: Recipe,
    tuning: Tuning,
    train: Packer,
    held_out: Packer,
    forward: Forward,
    device: Device,
    minutes: float | None,
) -> tuple[int, str]:
    """Turn epochs, or minutes after timing a few batches, into a number of steps."""
    if minutes is None:
        steps = math.ceil(recipe.epochs * train.updates)
        return max(1, steps), f"{recipe.epochs:g} epochs of {train.updates} steps"
    spare = Optimizer(forward.method.groups(forward.model))
    batches, updates = [], []
    for number in range(3):  # the first warms up
        began = time.perf_counter()
        with device.autocast():
            batch_loss(forward, train(number).to(device.torch_device)).backward()  # type: ignore[no-untyped-call]
        between = time.perf_counter()
        for weight in spare.parameters:  # gradients of 0 at a rate of 0 move none
            if weight.grad is not None:
                weight.grad.zero_()
        spare.step(0.0)
        spare.zero_grad()
        batches.append(between - began)
        updates.append(time.perf_counter() - between)
    both_ways = min(batches[1:]) * tuning.accumulate
    each = both_ways + min(updates[1:])
    # A check is a forward, about a third of the way there and back, for each batch held out.
    checking = (1 + tuning.checks) * held_out.updates * both_ways / 3
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
    template: tuple[str, ...],
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
        "shared_beginnings": f"{packer.spared:.0%} of the tokens" if packer.alike.kinds else "",
        "template": list(template),
        "device": device.device,
        "dtype": device.dtype,
    }


def batch_loss(forward: Forward, batch: Batch) -> Tensor:
    """Sum the negative log-likelihood of a batch's labelled tokens, in fp32."""
    return forward.nats(
        batch.ids_BT, batch.positions_BT, batch.slots_BT, batch.where_N, batch.targets_N
    )
