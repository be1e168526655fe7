"""Rotary positions: each pair of a head's entries turns by its position's angle (arXiv:2104.09864).

Stretched wavelengths follow transformers' modeling_rope_utils: "linear" (arXiv:2306.15595),
"llama3" (arXiv:2407.21783) and "yarn" (arXiv:2309.00071).
"""

# B rows, T positions, S positions of the whole context, N heads, H width of a head, P = H / 2 pairs

import math

import torch
from torch import Tensor

from .config import GPTConfig, Scaling


def rotary_table(config: GPTConfig) -> Tensor:
    """Return cosine and sine of each position's angles, as a table_2SH."""
    speed_P = config.rope_theta ** -(
        torch.arange(0, config.head_dim, 2, dtype=torch.float32) / config.head_dim
    )
    loudness = 1.0
    if config.rope_scaling is not None:
        speed_P, loudness = _stretched(speed_P, config, config.rope_scaling)
    position_S = torch.arange(config.max_position_embeddings, dtype=torch.float32)
    angle_SH = torch.outer(position_S, speed_P).repeat(1, 2)
    return torch.stack((angle_SH.cos(), angle_SH.sin())) * loudness


def rotate(x_BTNH: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """Turn each pair (i, i + H/2) of a head's entries by its position's angle."""
    cos, sin = turn
    first, second = x_BTNH.chunk(2, -1)
    turned_BTNH = x_BTNH * cos + torch.cat((-second, first), -1) * sin
    return turned_BTNH.to(x_BTNH.dtype)


def _stretched(speed_P: Tensor, config: GPTConfig, scaling: Scaling) -> tuple[Tensor, float]:
    """Slow some pairs down; also returns what cosine and sine are multiplied by."""
    if scaling.rope_type == "linear":
        return speed_P / scaling.factor, 1.0
    before = scaling.original_max_position_embeddings
    assert before is not None
    if scaling.rope_type == "llama3":
        low, high = scaling.low_freq_factor, scaling.high_freq_factor
        assert low is not None
        assert high is not None
        turns_P = before * speed_P / (2 * math.pi)  # within the old context
        kept_P = ((turns_P - low) / (high - low)).clamp(0, 1)
        return speed_P * kept_P + speed_P / scaling.factor * (1 - kept_P), 1.0
    fast, slow = (
        config.head_dim
        * math.log(before / (turns * 2 * math.pi))
        / (2 * math.log(config.rope_theta))
        for turns in (scaling.beta_fast or 32.0, scaling.beta_slow or 1.0)
    )
    first, last = max(math.floor(fast), 0), min(math.ceil(slow), config.head_dim - 1)
    pair_P = torch.arange(len(speed_P), dtype=torch.float32)
    slowed_P = ((pair_P - first) / max(last - first, 1e-3)).clamp(0, 1)
    loudness = scaling.attention_factor
    if loudness is None:
        loudness = 0.1 * math.log(scaling.factor) + 1.0 if scaling.factor > 1 else 1.0
    return speed_P * (1 - slowed_P) + speed_P / scaling.factor * slowed_P, loudness
