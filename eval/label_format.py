"""Format failures: the share of answers that are none of the labels, right or wrong."""

from typing import Any

from ._labels import COLUMNS, row
from ._metric import Metric, Score


class LabelFormat(Metric):
    """Share of answers that are no label, lower is better.

    Args:
        predictions: answers, one a row.
        references: the right labels, which do not matter here.
        labels: all labels there are, one a line.

    Returns:
        label_format: the share. scores: 1.0 for an answer that is no label, else 0.0. reasons:
        `no label`, `a label`.
    """

    columns = COLUMNS
    title = "Format failures"
    lower_is_better = True

    def score(self, answer: str, reference: str, labels: str) -> Score:
        """Look the answer up."""
        fails = answer not in labels.split("\n")
        return Score(float(fails), "no label" if fails else "a label")

    def row(self, outcome: Any, example: Any) -> tuple[Any, ...] | None:
        """Take the items that have labels."""
        return row(outcome, example)


METRIC = LabelFormat(keep_in_memory=True)
