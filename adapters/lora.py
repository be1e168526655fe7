"""Rank-r updates beside frozen weights: W + (alpha/r) B A, B = 0 at step 0 (arXiv:2106.09685)."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from peft import LoraConfig
from torch import nn

from ftkit.errors import FtkitError

from ..basemodel.optim import Group
from ._method import Method, trainable, wrap


@dataclass(frozen=True)
class Lora(Method):
    """Train low-rank updates of linear layers; the adapter is small and can be merged.

    Args:
        rank: rank r of each update.
        alpha: the update is scaled by alpha / r.
        targets: `all-linear` (every linear layer but the head) or names, separated by commas.
    """

    lr: float = 3e-3
    rank: int = 8
    alpha: float = 16.0
    targets: str = "all-linear"
    mergeable: ClassVar[bool] = True
    identity_at_start: ClassVar[bool] = True
    peft_type: ClassVar[str] = "LORA"

    def __post_init__(self) -> None:
        """Refuse a rank that makes no matrix."""
        if self.rank < 1:
            raise FtkitError(f"'method.rank' takes 1 or more, not {self.rank}")

    def attach(self, model: nn.Module, tokenizer: Any, seed: int) -> nn.Module:
        """Lay the updates beside the linear layers, A drawn from the seed and B zero."""
        targets = self.targets if self.targets == "all-linear" else self.targets.split(",")
        config = LoraConfig(
            task_type="CAUSAL_LM",
            r=self.rank,
            lora_alpha=self.alpha,  # type: ignore[arg-type]  # PEFT divides, so any number does
            target_modules=targets,
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            try:
                return wrap(model, config)
            except ValueError as problem:
                if targets == "all-linear" and "target_modules" in str(problem):
                    raise FtkitError(
                        "the base has no linear layers beside its output layer: "
                        "LoRA has nothing to adapt"
                    ) from None
                raise FtkitError(f"'method.targets={self.targets}': {problem}") from None

    def groups(self, model: nn.Module) -> list[Group]:
        """Train A and B alike."""
        params = list(trainable(model).values())
        return [Group(params, lr=self.lr, weight_decay=self.weight_decay)]


METHOD = Lora()
