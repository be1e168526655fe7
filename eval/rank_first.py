"""Ranked first: the right answer is likelier, per byte, than any other of its type."""

from typing import Any

from ._metric import Metric, Score
from ._rank import COLUMNS, row


class RankFirst(Metric):
    """Share of items whose right answer is the likeliest of its candidates; by luck 1 in 4 of 4.

    Args:
        ranks: the right answer's place among its candidates, 1 the likeliest per byte (_rank.py).
        candidates: how many there are; by luck 1 / candidates of the items are right.

    Returns:
        rank_first: the share. scores: 1.0 or 0.0. reasons: `1 of 4` and so on.
    """

    columns = COLUMNS
    title = "Right answer ranked first"

    def score(self, rank: int, candidates: int) -> Score:
        """Compare with the first place."""
        return Score(float(rank == 1), f"{rank} of {candidates}")

    def row(self, outcome: Any, example: Any) -> tuple[Any, ...] | None:
        """Take the items that have candidates."""
        return row(outcome, example)


METRIC = RankFirst(keep_in_memory=True)
