"""Full fine-tuning: every weight of the base moves."""

from dataclasses import dataclass
from typing import Any, ClassVar, cast

from torch import nn

from ftkit.errors import FtkitError

from ..basemodel.optim import Group, hidden_matrices
from ._method import Method


@dataclass(frozen=True)
class Full(Method):
    """Train all weights; the result is a whole model folder.

    Args:
        muon_lr: rate at which Muon moves the matrices between hidden layers, as pretraining does;
            0 leaves them to AdamW. For a base that knows little of the task.
    """

    lr: float = 5e-4
    weight_decay: float = 0.01
    muon_lr: float = 0.0
    identity_at_start: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Refuse rates with which nothing is learned."""
        super().__post_init__()
        if not self.muon_lr >= 0:
            raise FtkitError(f"'method.muon_lr' takes 0 or more, not {self.muon_lr:g}")

    def attach(self, model: nn.Module, tokenizer: Any, seed: int) -> nn.Module:
        """Let every parameter have gradients; the seed has nothing to choose."""
        self.check(model)
        return model.requires_grad_(True)

    def groups(self, model: nn.Module) -> list[Group]:
        """Decay the matrices, not the embeddings (rare tokens would fade) nor the vectors."""
        tables = [part.weight for part in model.modules() if isinstance(part, nn.Embedding)]
        matrices, rest = hidden_matrices(model, tables)
        head = getattr(cast(Any, model).get_output_embeddings(), "weight", None)
        hidden = [matrix for matrix in matrices if matrix is not head]
        output = [matrix for matrix in matrices if matrix is head]  # one of its own
        first = Group(hidden, self.lr, self.weight_decay)
        if self.muon_lr:
            first = Group(hidden, self.muon_lr, self.weight_decay, rule="muon")
        return [first, Group(output, self.lr, self.weight_decay), Group(rest, self.lr)]


METHOD = Full()
