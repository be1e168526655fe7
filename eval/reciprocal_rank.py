"""Reciprocal rank: one over the right answer's place among others of its type, by likelihood."""

from typing import Any

from ._metric import Metric, Score
from ._rank import COLUMNS, row


class ReciprocalRank(Metric):
    """Mean of 1 / rank of the right answer among its candidates; by luck 52 % among 4.

    Args:
        ranks: the right answer's place among its candidates, 1 the likeliest per byte (_rank.py).
        candidates: how many there are; by luck the mean is that of 1, 1/2 ... 1 / candidates.

    Returns:
        reciprocal_rank: the mean. scores: 1, 1/2, 1/3 ... reasons: `1 of 4` and so on.
    """

    columns = COLUMNS
    title = "Mean reciprocal rank"

    def score(self, rank: int, candidates: int) -> Score:
        """Turn the rank over."""
        return Score(1 / rank, f"{rank} of {candidates}")

    def row(self, outcome: Any, example: Any) -> tuple[Any, ...] | None:
        """Take the items that have candidates."""
        return row(outcome, example)


METRIC = ReciprocalRank(keep_in_memory=True)
