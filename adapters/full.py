"""Full fine-tuning: every weight of the base moves."""

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn

from ..basemodel.optim import Group, hidden_matrices
from ._method import Method


@dataclass(frozen=True)
class Full(Method):
    """Train all weights with AdamW; the result is a whole model folder."""

    lr: float = 5e-4
    weight_decay: float = 0.01
    identity_at_start: ClassVar[bool] = True

    def attach(self, model: nn.Module, tokenizer: Any, seed: int) -> nn.Module:
        """Let every parameter have gradients; the seed has nothing to choose."""
        self.check(model)
        return model.requires_grad_(True)

    def groups(self, model: nn.Module) -> list[Group]:
        """Decay the matrices, not the embeddings (rare tokens would fade) nor the vectors."""
        tables = [
            parameter
            for module in model.modules()
            if isinstance(module, nn.Embedding)
            for parameter in module.parameters()
        ]
        matrices, rest = hidden_matrices(model, tables)
        return [
            Group(matrices, lr=self.lr, weight_decay=self.weight_decay),
            Group(rest, lr=self.lr),
        ]


METHOD = Full()
