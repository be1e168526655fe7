"""Full fine-tuning: every weight of the base moves."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, cast

from torch import Tensor, nn

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
        tables = [part.weight for part in model.modules() if isinstance(part, nn.Embedding)]
        head = cast(Any, model).get_output_embeddings()
        # An output layer of its own is a matrix, but none between hidden layers.
        heads = [head.weight] if head is not None and _not_among(head.weight, tables) else []
        hidden, rest = hidden_matrices(model, [*tables, *heads])
        return [
            Group(hidden, lr=self.lr, weight_decay=self.weight_decay, rule=self.optimizer),
            Group(heads, lr=self.lr, weight_decay=self.weight_decay),
            Group([weight for weight in rest if _not_among(weight, heads)], lr=self.lr),
        ]


def _not_among(weight: Tensor, others: Iterable[Tensor]) -> bool:
    return all(weight is not other for other in others)


METHOD = Full()
