"""Optimizers: Muon for hidden matrices (Jordan et al. 2024), AdamW (arXiv:1711.05101) else."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import Module, Parameter

from .group import divided_like, whole
from .muon import Muon

# Where PyTorch has an AdamW in one kernel.
FUSED = {"cpu", "cuda", "mps", "xpu"}


@dataclass(frozen=True)
class Group:
    """Parameters that are updated by one rule with one learning rate.

    Args:
        params: the parameters; Muon takes matrices alone.
        lr: the learning rate before the schedule scales it.
        weight_decay: decoupled, multiplied by the learning rate.
        rule: `adamw` or `muon`.
        betas: AdamW's two averages; Muon keeps to one of its own, 0.95.
        dtype: what Muon multiplies in.
    """

    params: list[Parameter]
    lr: float
    weight_decay: float = 0.0
    rule: Literal["adamw", "muon"] = "adamw"
    betas: tuple[float, float] = (0.9, 0.95)
    dtype: torch.dtype = torch.float32


class Optimizer:
    """One torch.optim optimizer for each group, stepped together under one schedule."""

    def __init__(self, groups: Sequence[Group]) -> None:
        self.groups = [group for group in groups if group.params]
        assert self.groups, "nothing to train"
        self.parameters = [param for group in self.groups for param in group.params]
        self._parts = [_build(group) for group in self.groups]

    @property
    def lr(self) -> float:
        """The first group's learning rate before the schedule."""
        return self.groups[0].lr

    def step(self, scale: float) -> None:
        """Update every parameter with its group's learning rate times the scale."""
        for group, part in zip(self.groups, self._parts, strict=True):
            part.param_groups[0]["lr"] = group.lr * scale
            part.step()

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for param in self.parameters:
            param.grad = None

    def state(self) -> dict[str, Tensor]:
        """Return what the rules remember, as a flat dict of whole tensors for a checkpoint."""
        return {
            f"{index}.{name}": whole(value).cpu()
            for index, param in enumerate(self.parameters)
            for name, value in self._memory(param).items()
        }

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take up what `state` returned in an earlier session with the same groups."""
        parts = {param: part for part in self._parts for param in part.param_groups[0]["params"]}
        for name, value in state.items():
            index, _, key = name.partition(".")
            param = self.parameters[int(index)]
            here = value.to(param.device).clone()
            alike = here.shape == param.shape  # a count of steps is not
            parts[param].state[param][key] = divided_like(here, param) if alike else here

    def _memory(self, param: Parameter) -> dict[str, Tensor]:
        return next((dict(part.state[param]) for part in self._parts if param in part.state), {})


def hidden_matrices(module: Module, embeddings: Iterable[Tensor]) -> tuple[list[Parameter], ...]:
    """Divide a module's trainable parameters into Muon's matrices and the rest for AdamW.

    Args:
        module: the model.
        embeddings: parameters that are tables and not maps between hidden layers.

    Returns:
        Matrices, and what is left (embeddings, norms, biases).
    """
    tables = {id(param) for param in embeddings}
    params = [param for param in module.parameters() if param.requires_grad]
    matrices = [param for param in params if param.dim() == 2 and id(param) not in tables]
    chosen = {id(param) for param in matrices}
    return matrices, [param for param in params if id(param) not in chosen]


def _build(group: Group) -> torch.optim.Optimizer:
    if group.rule == "muon":
        return Muon(group.params, group.lr, group.weight_decay, dtype=group.dtype)
    return torch.optim.AdamW(
        group.params,
        lr=group.lr,
        betas=group.betas,
        weight_decay=group.weight_decay,
        fused=all(param.device.type in FUSED for param in group.params),
    )
