"""Turns right: the share of turns that a program can check in which the answer passes."""

from typing import Any

from ._checks import holds
from ._metric import Metric, Score


class TurnsRight(Metric):
    """Share of answers that pass the check of their turn.

    Args:
        predictions: answers, one a row.
        checks: JSON objects with a `rule` of _checks.py; {} checks nothing.

    Returns:
        turns_right: the share. scores: 1.0, 0.0, or None where nothing is checked. reasons:
        `right`, `wrong`.
    """

    columns = {"predictions": "string", "checks": "string"}  # noqa: RUF012
    title = "Turns right"
    judges = True

    def score(self, answer: str, check: str) -> Score:
        """Apply the check."""
        if not check or check == "{}":
            return Score(None, "not checked")
        right = holds(check, answer)
        return Score(float(right), "right" if right else "wrong")

    def row(self, outcome: Any, example: Any) -> tuple[Any, ...] | None:
        """Take the items that have a check."""
        check = example.meta.get("check")
        return (outcome.answer, check) if check else None


METRIC = TurnsRight(keep_in_memory=True)
