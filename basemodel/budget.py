"""The settings of a pretraining and what they come to on this machine, settled once."""

import math
import time
from dataclasses import dataclass, fields, replace
from typing import Any

import torch

from ftkit.config import table
from ftkit.errors import FtkitError

from .config import GPTConfig, preset
from .device import COMPILE_GAIN, COMPILE_SECONDS, Device, decide
from .dial import AGAIN, DIALS, Dial
from .fit import Plan, fit
from .group import ALONE, Team
from .model import GPT
from .optim import Group, Optimizer, hidden_matrices
from .tokenizer import LEAST, check_kind
from .tokens import Rows

MICRO = {"cpu": 4096, "mps": 8192, "cuda": 32768}  # tokens that a device computes at once
UPDATES = 16  # of a run at least; else a preset's batch is cut, down to what is computed at once
CHECKS = 5  # how often a run validates and saves
WARM, CALIBRATION_SECONDS = 2, 4.0  # updates before measuring, and how long to measure
MARGIN = 0.94  # the share of the time that training gets; checks, saving and publishing the rest


@dataclass(frozen=True)
class Pretrain:
    """What the user may set; the rest follows from the preset and the machine.

    Args:
        base: folder or Hub id of the model to go on from; None begins a new one.
        preset: the model's size, a key of `config.PRESETS`.
        family: whose parts it has, one of `config.FAMILY_NAMES`, or "bigram"; None takes the
            preset's.
        dropout: share of the activations set to 0 in training; family gpt2 alone has it. None
            takes the base's, or none.
        tokens: how many to train on; None takes the preset's.
        minutes: how long the whole run may take instead; becomes tokens once, by measuring.
        seed: of weights and order.
        context: tokens in a row; None takes the preset's.
        tokenizer: the kind to learn: bpe, word or char.
        vocab_size: its tokens; None takes the preset's.
        batch: tokens in an update; None takes the preset's, as for the next three, or less where
            the run would be of few updates. See `dial`.
        matrix_lr: Muon's learning rate, for hidden matrices.
        table_lr: AdamW's, for embeddings and norms.
        practice: updates of practice in copying, at most a tenth of all.
        clip: largest norm of the gradient.
        warmup: share of the updates over which the rates rise.
        decay: share of the updates over which they fall to 0.
        validation: share of the documents that is held out.
        shard: whether several processes divide the weights among them, in place of a copy each.
    """

    base: str | None = None
    preset: str = "nano"
    family: str | None = None
    dropout: float | None = None
    tokens: int | None = None
    minutes: float | None = None
    seed: int = 0
    context: int | None = None
    tokenizer: str = "bpe"
    vocab_size: int | None = None
    batch: int | None = None
    matrix_lr: float | None = None
    table_lr: float | None = None
    practice: int | None = None
    clip: float = 1.0
    warmup: float = 0.02
    decay: float = 0.6
    validation: float = 0.01
    shard: bool = False

    def __post_init__(self) -> None:
        if self.tokens is not None and self.minutes is not None:
            raise FtkitError("tokens and minutes are two ways to say how long: give one of them")
        for name in ("tokens", "minutes", "context", "batch", "matrix_lr", "table_lr"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise FtkitError(f"{name} is {value}: it must be above 0")
        if self.context is not None and self.context < 2:
            raise FtkitError(f"context is {self.context}: it must be 2 or more")
        check_kind(self.tokenizer)
        if self.vocab_size is not None and self.vocab_size < LEAST:
            raise FtkitError(f"vocab_size is {self.vocab_size}: it must be {LEAST} or more")
        if not 0 <= self.validation <= 0.5:
            raise FtkitError(f"validation is {self.validation}: it must lie in 0 to 0.5")
        Plan(1, 1, self.clip, self.warmup, self.decay)  # refuses what they cannot be
        for name in ("seed", "practice"):
            if (getattr(self, name) or 0) < 0:
                raise FtkitError(f"{name} is {getattr(self, name)}: it must be 0 or more")
        if self.base is None:
            self.shape()
        else:
            self._leaves_the_base()

    def _leaves_the_base(self) -> None:
        """Refuse what a base has settled."""
        usual = Pretrain()
        for name in ("preset", "family", "dropout", "tokenizer", "vocab_size"):
            if getattr(self, name) != getattr(usual, name):
                raise FtkitError(
                    f"{name} is {getattr(self, name)}, but the base has its shape and tokenizer: "
                    "leave one of them out"
                )

    def shape(self) -> GPTConfig:
        """Return a new model's shape, the reserved tokens' ids not yet in it."""
        shape = preset(self.preset, self.vocab_size, self.context, self.family)
        return replace(shape, dropout=self.dropout or 0.0)

    @property
    def dial(self) -> Dial:
        """What follows from the size, and what the user said otherwise."""
        usual = DIALS[self.preset] if self.base is None else AGAIN
        said = {item.name: getattr(self, item.name) for item in fields(Dial)}
        return replace(usual, **{name: it for name, it in said.items() if it is not None})

    def row(self, shape: GPTConfig) -> int:
        """Say how many tokens are read in a row by a model of a shape.

        Raises:
            FtkitError: when the base cannot read so many.
        """
        most = shape.max_position_embeddings
        if self.base is None:
            return most
        if self.context is not None and self.context > most:
            raise FtkitError(f"context is {self.context}: the base reads {most} tokens at most")
        return min(most, self.dial.context)


def optimizer_of(gpt: GPT, dial: Dial, device: Device) -> Optimizer:
    """Give Muon the hidden matrices and AdamW the rest, embeddings without weight decay."""
    matrices, others = hidden_matrices(gpt, gpt.tables)
    return Optimizer(
        [
            Group(matrices, dial.matrix_lr, rule="muon", dtype=device.torch_dtype),
            Group(others, dial.table_lr, rule="adamw"),
        ]
    )


def flops(config: GPTConfig, context: int) -> int:
    """Count the floating point operations of training on one token: 6 N + 12 L H Q T.

    N are the weights that multiply: an embedding that is looked up does not, the output layer does;
    L layers have H heads of width Q. Each of T positions is counted for every query, those that a
    causal mask hides too, as is usual (PaLM, arXiv:2204.02311, appendix B).

    Args:
        config: the model's shape.
        context: T, positions in a row.

    >>> flops(GPTConfig(), 512) // 10**6
    24
    """
    looked_up = 0 if config.tie_word_embeddings else config.vocab_size
    looked_up += config.max_position_embeddings if config.family == "gpt2" else 0
    multiplied = config.parameters - looked_up * config.hidden_size
    attention = config.num_hidden_layers * config.num_attention_heads * config.head_dim * context
    return 6 * multiplied + 12 * attention


def settle(
    settings: Pretrain, config: GPTConfig, spent: float, team: Team = ALONE
) -> dict[str, Any]:
    """Settle device, precision and length; what is settled goes into run.toml.

    Args:
        settings: what the user chose.
        config: the model's shape.
        spent: seconds that reading the corpus took, which count towards `minutes`.
        team: the processes, which call this together and share each update evenly.

    Raises:
        FtkitError: when the minutes are too short for an update.
    """
    began = time.perf_counter()
    size, width, context = config.parameters, config.hidden_size, settings.row(config)
    device, dial = decide(parameters=size, width=width), settings.dial
    rows = max(1, min(MICRO[device.device], dial.batch // team.size) // context)
    tokens, once = dial.tokens, rows * context * team.size
    if settings.minutes is not None:
        rate = _rate(settings, config, device, (rows, context), team)
        spent += time.perf_counter() - began
        tokens = round(rate * MARGIN * (settings.minutes * 60 - spent))
    parts = max(1, round(dial.batch / once))
    if settings.batch is None:  # a preset's batch is meant for its own length
        parts = max(1, min(parts, tokens // (UPDATES * once)))
    accumulate, update = team.size * parts, parts * once
    if settings.minutes is not None and tokens < update:
        raise FtkitError(
            f"{settings.minutes:g} minutes are too short: reading and measuring took "
            f"{spent:.0f} s, and an update takes {update / rate:.1f} s"
        )
    each = tokens // team.size
    device = decide(parameters=size, width=width, tokens=each, shard=settings.shard)
    if device.compile and settings.minutes is not None:
        tokens = max(update, round((tokens - rate * COMPILE_SECONDS) / (1 - COMPILE_GAIN)))
    steps = max(1, round(tokens / update))
    return {
        **table(device),
        "dial": table(dial),
        "peak_flops": device.peak_flops(),
        "parameters": size,
        "vocab_size": config.vocab_size,
        "context": context,
        "rows": rows,
        "accumulate": accumulate,
        "steps": steps,
        "tokens": steps * update,
        "practice": min(dial.practice, steps // 10),
        "every": math.ceil(steps / CHECKS),
    }


def _rate(
    settings: Pretrain, config: GPTConfig, device: Device, shape: tuple[int, int], team: Team
) -> float:
    """Measure tokens a second of all processes on a model that is thrown away."""
    gpt = GPT(config).to(device.torch_device)
    if settings.shard:
        team.shard(gpt, gpt.blocks, "nats")
    ids_BT = torch.randint(config.vocab_size, shape, device=device.torch_device)
    batch = Rows(ids_BT, ids_BT, ids_BT.numel())
    optimizer, warm = optimizer_of(gpt, settings.dial, device), 0.0
    plan = Plan(10_000, accumulate=team.size)

    def loss(_: torch.nn.Module, rows: Rows) -> torch.Tensor:
        return gpt.nats(rows.ids_BT, rows.labels_BT)

    for step in fit(gpt, lambda _: batch, loss, plan, optimizer, device):
        if step.number == WARM:
            warm = step.seconds
        elif step.number > WARM and team.any(step.seconds - warm > CALIBRATION_SECONDS):
            break
    tokens = (step.number - WARM) * batch.tokens * team.size
    return float(team.agree(tokens / (step.seconds - warm)))
