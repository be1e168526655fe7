"""What a block is made of besides attention: norms and feed-forward parts, for each family."""

# B rows, T positions, D width, F width inside the feed-forward part

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import GPTConfig


class RMSNorm(nn.Module):
    """Scale a vector to root mean square 1, then by a learned weight (arXiv:1910.07467)."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last axis, in the weight's precision."""
        return F.rms_norm(x.to(self.weight.dtype), self.weight.shape, self.weight, self.eps).to(
            x.dtype
        )


class SwiGLU(nn.Module):
    """A gated linear unit with SiLU (arXiv:2002.05202)."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        width, inner, bias = config.hidden_size, config.intermediate_size, config.mlp_bias
        self.gate_proj = nn.Linear(width, inner, bias=bias)
        self.up_proj = nn.Linear(width, inner, bias=bias)
        self.down_proj = nn.Linear(inner, width, bias=bias)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Transform each position by itself."""
        return self.down_proj(F.silu(self.gate_proj(x_BTD)) * self.up_proj(x_BTD))  # type: ignore[no-any-return]


class GELU(nn.Module):
    """Two maps with GELU between them, by its tanh approximation (arXiv:1606.08415)."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        width, inner, bias = config.hidden_size, config.intermediate_size, config.mlp_bias
        self.up_proj = nn.Linear(width, inner, bias=bias)
        self.down_proj = nn.Linear(inner, width, bias=bias)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Transform each position by itself."""
        return self.down_proj(F.gelu(self.up_proj(x_BTD), approximate="tanh"))  # type: ignore[no-any-return]


def norm(config: GPTConfig) -> nn.Module:
    """Make a norm of the residual stream."""
    kind = nn.LayerNorm if config.family == "gpt2" else RMSNorm  # arXiv:1607.06450, 1910.07467
    return kind(config.hidden_size, config.rms_norm_eps)


def feed_forward(config: GPTConfig) -> nn.Module:
    """Make the feed-forward part of a block."""
    return GELU(config) if config.family == "gpt2" else SwiGLU(config)
