"""How the next token is chosen: greedy or seeded sampling, repetition penalty, top-k and top-p.

Top-p is that of arXiv:1904.09751, the penalty that of arXiv:1909.05858.
"""

# B rows of a batch, V vocabulary.

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ftkit.errors import FtkitError

COLDEST = 1e-30  # a logit over less than this is infinite in float32, and no share of anything


@dataclass(frozen=True)
class Sampling:
    """The options of a choice.

    Args:
        temperature: 0 takes the likeliest token each time; above, divides the logits.
        top_k: sample among the k likeliest tokens; 0 among all.
        top_p: sample among the likeliest tokens that hold this share of the probability.
        repetition_penalty: above 1 makes tokens that the row has less likely, below 1 more.
        seed: of the sampling.

    Raises:
        FtkitError: for a value out of its range, by its name.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, fits, range_ in (
            ("temperature", 0 <= self.temperature < math.inf, "be 0 or more"),
            ("top_k", self.top_k >= 0, "be 0 or more"),
            ("top_p", 0 < self.top_p <= 1, "lie above 0 and be 1 at most"),
            ("repetition_penalty", 0 < self.repetition_penalty < math.inf, "be above 0"),
        ):
            if not fits:
                raise FtkitError(f"{name} is {getattr(self, name)}: it must {range_}")

    def draw(self, place: int) -> torch.Generator:
        """Give each prompt its own stream of chances, whatever batch it is in."""
        return torch.Generator().manual_seed((self.seed * 1_000_003 + place) % 2**63)

    def choose(
        self, logits_BV: Tensor, seen_BV: Tensor | None, draws: Sequence[torch.Generator | None]
    ) -> Tensor:
        """Pick the next token of each row.

        Args:
            logits_BV: of the model.
            seen_BV: True for the tokens that a row has; None where there is no penalty.
            draws: each row's stream; None for a row that is done, whose token does not matter.
        """
        if seen_BV is not None:
            logits_BV = self.penalised(logits_BV.float(), seen_BV)
        if not self.temperature:
            if logits_BV.device.type != "cpu" or logits_BV.dtype != torch.float32:
                return logits_BV.argmax(-1)
            return torch.from_numpy(logits_BV.numpy().argmax(-1))
        order_BV = logits_BV.float().argsort(dim=-1, descending=True, stable=True)
        ranked_BV = logits_BV.float().gather(-1, order_BV) / max(self.temperature, COLDEST)
        if self.top_k > 0:
            ranked_BV[:, self.top_k :] = -torch.inf
        share_BV = ranked_BV.softmax(-1)
        before_BV = share_BV.cumsum(-1) - share_BV
        share_BV[before_BV >= self.top_p] = 0.0  # the likeliest token always stays: 0 lies before
        share_BV[:, 0].clamp_(min=1e-30)
        reach_BV = share_BV.cpu().double().cumsum(-1)  # Apple GPUs have no float64
        chances = [0.0 if draw is None else _chance(draw) for draw in draws]
        chance_B1 = torch.tensor(chances, dtype=torch.float64)[:, None]
        place_B1 = torch.searchsorted(reach_BV, chance_B1 * reach_BV[:, -1:], right=True)
        place_B1 = place_B1.clamp(max=reach_BV.shape[-1] - 1).to(order_BV.device)
        return order_BV.gather(-1, place_B1)[:, 0]

    def penalised(self, logits_BV: Tensor, seen_BV: Tensor) -> Tensor:
        """Lower the logits of the tokens that a row has, on either side of 0."""
        penalty = self.repetition_penalty
        lower_BV = torch.where(logits_BV < 0, logits_BV * penalty, logits_BV / penalty)
        return torch.where(seen_BV, lower_BV, logits_BV)


def _chance(draw: torch.Generator) -> float:
    return float(torch.rand(1, generator=draw, dtype=torch.float64))
