"""Direction and length apart: m (W + s B A) / |W + s B A|, row by row of W (arXiv:2402.09353)."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn

from ..basemodel.optim import Group
from ._low_rank import ALL, groups, lay, refuse
from ._method import Method

POINTED = 0.01  # of B; only the direction counts


@dataclass(frozen=True)
class Dora(Method):
    """Train low-rank updates of the weights' directions, and their lengths as vectors.

    A step takes longer than LoRA's, as the lengths of all rows are measured anew. The length is a
    constant to the gradient (section 4.3), and PEFT measures it.

    Args:
        rank: rank r of each update.
        alpha: the update is scaled by s = alpha / r.
        targets: `all-linear` (every linear layer but the head) or names, separated by commas.
        dropout: share of an update's input that is dropped in training.
        lr_ratio: B learns at this many times the rate of A.
    """

    lr: float = 3e-3
    rank: int = 8
    alpha: float = 16.0
    targets: str = ALL
    dropout: float = 0.0
    lr_ratio: float = 1.0
    mergeable: ClassVar[bool] = True
    identity_at_start: ClassVar[bool] = True
    peft_type: ClassVar[str] = "LORA"

    def __post_init__(self) -> None:
        """Refuse settings that make no update."""
        super().__post_init__()
        refuse(self.rank, self.alpha, self.dropout, self.lr_ratio)

    def attach(self, model: nn.Module, tokenizer: Any, seed: int) -> nn.Module:
        """Lay the updates beside the linear layers; each length starts as the weight's own."""
        self.check(model)
        laid = lay(
            model,
            self.targets,
            seed,
            r=self.rank,
            lora_alpha=self.alpha,
            use_dora=True,
            lora_dropout=self.dropout,
        )
        _point(laid)
        return laid

    def groups(self, model: nn.Module) -> list[Group]:
        """Train A, B and the lengths, which are never decayed."""
        return groups(model, self.lr, self.lr_ratio, self.weight_decay)

    def opened(self, config: Any) -> Method | None:
        """Take what PEFT files under LoRA with this option."""
        return super().opened(config) if getattr(config, "use_dora", False) else None


@torch.no_grad()
def _point(model: nn.Module) -> None:
    """Give rows of length 0 a direction, as 0 / 0 is none: they stay 0 until their length moves."""
    layers: list[Any] = list(model.modules())
    for layer in layers:
        for name, length in getattr(layer, "lora_magnitude_vector", {}).items():
            layer.lora_B[name].weight[length.weight == 0, 0] = POINTED


METHOD = Dora()
