"""Label, leniently: the right label stands in the answer and no other one does."""

from typing import Any

from ._labels import COLUMNS, named, row
from ._metric import Metric, Score


class LabelLenient(Metric):
    """Share of answers that name the right label alone, in any case and among any other words.

    Args:
        predictions: answers, one a row.
        references: the right labels.
        labels: all labels there are, one a line.

    Returns:
        label_lenient: the share. scores: 1.0 or 0.0. reasons: `right`, `wrong`, `several`, `none`.
    """

    columns = COLUMNS
    title = "Label named"

    def score(self, answer: str, reference: str, labels: str) -> Score:
        """Look for the labels."""
        found = named(answer, labels.split("\n"))
        if len(found) == 1:
            return Score(float(found == {reference}), "right" if found == {reference} else "wrong")
        return Score(0.0, "several" if found else "none")

    def row(self, outcome: Any, example: Any) -> tuple[Any, ...] | None:
        """Take the items that have labels."""
        return row(outcome, example)


METRIC = LabelLenient(keep_in_memory=True)
