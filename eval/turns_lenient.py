"""Turns right, leniently: the answer passes with a line, quotation marks or markup taken off."""

from typing import Any

from ._checks import holds
from ._loose import forms
from ._metric import Metric, Score


class TurnsLenient(Metric):
    """Share of answers of which some loose form passes the check of their turn.

    Args:
        predictions: answers, one a row.
        checks: JSON objects with a `rule`, as for `turns_right`; {} checks nothing.

    Returns:
        turns_lenient: the share. scores: 1.0, 0.0, or None where nothing is checked. reasons:
        `right`, `wrong`.
    """

    columns = {"predictions": "string", "checks": "string"}  # noqa: RUF012
    title = "Turns right, leniently"

    def score(self, answer: str, check: str) -> Score:
        """Apply the check to every form."""
        if not check or check == "{}":
            return Score(None, "not checked")
        right = any(holds(check, form) for form in forms(answer))
        return Score(float(right), "right" if right else "wrong")

    def row(self, outcome: Any, example: Any) -> tuple[Any, ...] | None:
        """Take the items that have a check."""
        check = example.meta.get("check")
        return (outcome.answer, check) if check else None


METRIC = TurnsLenient(keep_in_memory=True)
