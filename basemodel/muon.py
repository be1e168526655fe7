"""Muon: momentum made near orthogonal, for hidden matrices (Jordan et al. 2024, arXiv:2502.16982).

torch.optim.Muon multiplies in bfloat16, one matrix after another. A processor without bfloat16
arithmetic emulates it some hundred times slower than float32, so here the precision is the run's;
and matrices of one shape are multiplied together, because small ones are bound by overhead.
"""

# M matrices of one shape, R rows, C columns, R <= C

from collections.abc import Callable, Iterable
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import Parameter

from .group import divided_like, whole

# Jordan's quintic: five steps bring every singular value from above 0.01 to between 0.7 and 1.2.
STEEP = (3.4445, -4.7750, 2.0315)
STEPS = 5


class Muon(torch.optim.Optimizer):
    """Step along the momentum's nearest orthogonal matrix, times sqrt(max(1, rows / columns)).

    Args:
        params: matrices.
        lr: the learning rate; an entry of the update is near lr / sqrt(columns).
        weight_decay: decoupled, multiplied by the learning rate.
        momentum: of the gradient's running sum, looked ahead by one step (Nesterov).
        dtype: what the products are computed in.
    """

    def __init__(
        self,
        params: Iterable[Parameter],
        lr: float,
        weight_decay: float = 0.0,
        momentum: float = 0.95,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})
        self.dtype = dtype

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update every matrix that has a gradient."""
        assert closure is None, "ftkit's loop computes the loss itself"
        for group in self.param_groups:
            alike: dict[tuple[torch.Size, torch.device], list[Parameter]] = {}
            for param in group["params"]:
                if param.grad is not None:
                    alike.setdefault((param.shape, param.device), []).append(param)
            for params in alike.values():
                self._update(params, group)

    def _update(self, params: list[Parameter], group: dict[str, Any]) -> None:
        """Update matrices of one shape."""
        # A matrix that is divided among processes is made orthogonal as a whole, by each of them.
        ahead = [whole(self._momentum(param, group["momentum"])) for param in params]
        updates_MRC = orthogonal(torch.stack(ahead), self.dtype)
        rows, columns = params[0].shape
        rate = group["lr"] * max(1.0, rows / columns) ** 0.5
        for param, update_RC in zip(params, updates_MRC, strict=True):
            param.mul_(1 - group["lr"] * group["weight_decay"])
            param.sub_(divided_like(update_RC.to(param.dtype), param), alpha=rate)

    def _momentum(self, param: Parameter, momentum: float) -> Tensor:
        """Take the gradient into the running mean; return it looked ahead by one step."""
        state, grad_RC = self.state[param], cast(Tensor, param.grad)
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(grad_RC)
        state["momentum_buffer"].lerp_(grad_RC, 1 - momentum)
        return grad_RC.lerp(state["momentum_buffer"], momentum)


def orthogonal(matrices_MRC: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Bring every singular value near 1 by Newton and Schulz's iteration; directions stay.

    Args:
        matrices_MRC: any matrices of one shape, M x R x C.
        dtype: what is computed in, and what is returned.

    Returns:
        M x R x C; singular values that were above a hundredth of the largest lie in 0.6 to 1.3.
    """
    a, b, c = STEEP
    x_MRC = matrices_MRC.to(dtype)
    upright = x_MRC.shape[1] > x_MRC.shape[2]
    if upright:
        x_MRC = x_MRC.mT
    x_MRC = x_MRC / x_MRC.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(STEPS):
        gram_MRR = x_MRC @ x_MRC.mT
        odd_MRR = torch.baddbmm(gram_MRR, gram_MRR, gram_MRR, beta=b, alpha=c)
        x_MRC = torch.baddbmm(x_MRC, odd_MRR, x_MRC, beta=a)
    return x_MRC.mT if upright else x_MRC
