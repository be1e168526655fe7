"""The settings of a pretraining and what they come to on this machine, settled once."""

import math
from dataclasses import dataclass, replace
from typing import Any

import torch

from ftkit.config import table
from ftkit.errors import FtkitError

from .config import GPTConfig, preset
from .device import COMPILE_GAIN, COMPILE_SECONDS, Device, decide
from .fit import Plan, fit
from .group import ALONE, Team
from .induction import STEPS as PRACTICE
from .model import GPT
from .optim import Group, Optimizer, hidden_matrices
from .tokenizer import LEAST, check_kind
from .tokens import Rows

# What a run without a budget trains on.
BUDGETS = {
    "pico": 200_000,
    "nano": 3_500_000,
    "mini": 20_000_000,
    "small": 600_000_000,
    "gpt2": 2_500_000_000,
}
MICRO = {"cpu": 4096, "mps": 8192, "cuda": 32768}  # tokens that a device computes at once
CHECKS = 5  # how often a run validates and saves
WARM, CALIBRATION_SECONDS = 2, 4.0  # updates before measuring, and how long to measure
MARGIN = 0.94  # the share of the time that training gets; checks, saving and publishing the rest


@dataclass(frozen=True)
class Pretrain:
    """What the user may set; the rest follows from the preset and the machine.

    Args:
        preset: the model's size, a key of `config.PRESETS`.
        family: whose parts it has, one of `config.FAMILY_NAMES`, or "bigram"; None takes the
            preset's.
        dropout: share of the activations set to 0 in training; family gpt2 alone has it.
        tokens: how many to train on; None takes the preset's.
        minutes: how long the whole run may take instead; becomes tokens once, by measuring.
        seed: of weights and order.
        context: tokens in a row; None takes the preset's.
        tokenizer: the kind to learn: bpe, word or char.
        vocab_size: its tokens; None takes the preset's.
        batch: tokens in an update.
        matrix_lr: Muon's learning rate, for hidden matrices.
        table_lr: AdamW's, for embeddings and norms.
        clip: largest norm of the gradient.
        warmup: share of the updates over which the rates rise.
        decay: share of the updates over which they fall to 0.
        validation: share of the documents that is held out.
        shard: whether several processes divide the weights among them, in place of a copy each.
    """

    preset: str = "nano"
    family: str | None = None
    dropout: float = 0.0
    tokens: int | None = None
    minutes: float | None = None
    seed: int = 0
    context: int | None = None
    tokenizer: str = "bpe"
    vocab_size: int | None = None
    batch: int = 2048
    matrix_lr: float = 0.015
    table_lr: float = 0.015
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
        if self.seed < 0:
            raise FtkitError(f"seed is {self.seed}: it must be 0 or more")
        self.shape()

    def shape(self) -> GPTConfig:
        """Return the model's shape, the reserved tokens' ids not yet in it."""
        shape = preset(self.preset, self.vocab_size, self.context, self.family)
        return replace(shape, dropout=self.dropout)


def optimizer_of(gpt: GPT, settings: Pretrain, device: Device) -> Optimizer:
    """Give Muon the hidden matrices and AdamW the rest, embeddings without weight decay."""
    matrices, others = hidden_matrices(gpt, gpt.tables)
    return Optimizer(
        [
            Group(matrices, settings.matrix_lr, rule="muon", dtype=device.torch_dtype),
            Group(others, settings.table_lr, rule="adamw"),
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
    size, width, context = config.parameters, config.hidden_size, config.max_position_embeddings
    device = decide(parameters=size, width=width)
    rows = max(1, min(MICRO[device.device], settings.batch // team.size) // context)
    accumulate = team.size * max(1, round(settings.batch / (rows * context * team.size)))
    update = rows * accumulate * context
    tokens = settings.tokens or BUDGETS[settings.preset]
    if settings.minutes is not None:
        rate = _rate(settings, config, device, rows, team)
        tokens = round(rate * MARGIN * (settings.minutes * 60 - spent))
        if tokens < update:
            raise FtkitError(
                f"{settings.minutes:g} minutes are too short: reading took {spent:.0f} s, and an "
                f"update takes {update / rate:.1f} s"
            )
    device = decide(parameters=size, width=width, tokens=tokens, shard=settings.shard)
    if device.compile and settings.minutes is not None:
        tokens = round((tokens - rate * COMPILE_SECONDS) / (1 - COMPILE_GAIN))
    steps = max(1, round(tokens / update))
    return {
        **table(device),
        "peak_flops": device.peak_flops(),
        "parameters": size,
        "vocab_size": config.vocab_size,
        "context": context,
        "rows": rows,
        "accumulate": accumulate,
        "steps": steps,
        "tokens": steps * update,
        "practice": min(PRACTICE, steps // 10),
        "every": max(1, steps // CHECKS),
    }


def _rate(settings: Pretrain, config: GPTConfig, device: Device, rows: int, team: Team) -> float:
    """Measure tokens a second of all processes on a model that is thrown away."""
    gpt = GPT(config).to(device.torch_device)
    if settings.shard:
        team.shard(gpt, gpt.blocks, "nats")
    shape = rows, config.max_position_embeddings
    ids_BT = torch.randint(config.vocab_size, shape, device=device.torch_device)
    batch = Rows(ids_BT, ids_BT, ids_BT.numel())
    optimizer, warm = optimizer_of(gpt, settings, device), 0.0
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
