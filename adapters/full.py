"""Full fine-tuning: every weight of the base moves."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import nn

from ..basemodel.optim import Group, hidden_matrices
from ._method import Method


@dataclass(frozen=True)
class Full(Method):
    """Train all weights; the result is a whole model folder.

    Args:
        optimizer: `adamw`, or `muon` for the matrices between hidden layers and AdamW for the rest,
            as in pretraining: for bases that know little yet, at some ten times the rate.
    """

    lr: float = 5e-4
    weight_decay: float = 0.01
    optimizer: Literal["adamw", "muon"] = "adamw"
    identity_at_start: ClassVar[bool] = True

    def attach(self, model: nn.Module, tokenizer: Any, seed: int) -> nn.Module:
        """Let every parameter have gradients; the seed has nothing to choose."""
        self.check(model)
        return model.requires_grad_(True)

    def groups(self, model: nn.Module) -> list[Group]:
        """Decay the matrices, not the embeddings (rare tokens would fade) nor the vectors."""
        embeddings = [module for module in model.modules() if isinstance(module, nn.Embedding)]
        tables = {id(table.weight) for table in embeddings}
        head = model.get_output_embeddings()
        heads = [head.weight] if head is not None and id(head.weight) not in tables else []
        hidden, rest = hidden_matrices(model, [*(table.weight for table in embeddings), *heads])
        chosen = {id(weight) for weight in heads}
        return [
            Group(hidden, lr=self.lr, weight_decay=self.weight_decay, rule=self.optimizer),
            Group(heads, lr=self.lr, weight_decay=self.weight_decay),  # no map between hidden layers
            Group([p for p in rest if id(p) not in chosen], lr=self.lr),
        ]


METHOD = Full()
