"""Rank-r updates beside frozen weights: W + (alpha/r) B A, B = 0 at step 0 (arXiv:2106.09685)."""

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn

from ..basemodel.optim import Group
from ._low_rank import ALL, groups, lay, refuse
from ._method import Method


@dataclass(frozen=True)
class Lora(Method):
    """Train low-rank updates of linear layers; the adapter is small and can be merged.

    Args:
        rank: rank r of each update.
        alpha: the update is scaled by alpha / r.
        targets: `all-linear` (every linear layer but the head) or names, separated by commas.
        rslora: scale by alpha / sqrt(r) instead, which lets high ranks learn (arXiv:2312.03732).
        dropout: share of an update's input that is dropped in training.
        lr_ratio: B learns at this many times the rate of A; LoRA+ takes 16 (arXiv:2402.12354).
    """

    lr: float = 3e-3
    rank: int = 8
    alpha: float = 16.0
    targets: str = ALL
    rslora: bool = False
    dropout: float = 0.0
    lr_ratio: float = 1.0
    mergeable: ClassVar[bool] = True
    identity_at_start: ClassVar[bool] = True
    quantised: ClassVar[bool] = True
    peft_type: ClassVar[str] = "LORA"

    def __post_init__(self) -> None:
        """Refuse settings that make no update."""
        super().__post_init__()
        refuse(self.rank, self.alpha, self.dropout, self.lr_ratio)

    def attach(self, model: nn.Module, tokenizer: Any, seed: int) -> nn.Module:
        """Lay the updates beside the linear layers, A drawn from the seed and B zero."""
        self.check(model)
        return lay(
            model,
            self.targets,
            seed,
            r=self.rank,
            lora_alpha=self.alpha,
            use_rslora=self.rslora,
            lora_dropout=self.dropout,
        )

    def groups(self, model: nn.Module) -> list[Group]:
        """Train A and B, alike or each at its rate."""
        return groups(model, self.lr, self.lr_ratio, self.weight_decay)

    def opened(self, config: Any) -> Method | None:
        """Leave to DoRA what PEFT files under the same name."""
        return None if getattr(config, "use_dora", False) else super().opened(config)


METHOD = Lora()
