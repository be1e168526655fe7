"""Label accuracy: the whole answer is the right label, letter by letter."""

from typing import Any

from ._labels import COLUMNS, named, row
from ._metric import Metric, Score


class LabelAccuracy(Metric):
    """Share of answers that are the right label and nothing else.

    Args:
        predictions: answers, one a row.
        references: the right labels.
        labels: all labels there are, one a line.

    Returns:
        label_accuracy: the share. scores: 1.0 or 0.0. reasons: `right`, `wrong: <label>` for
        another label, `more than the label: …` where the right one stands alone among other words,
        `no label` for the rest.
    """

    columns = COLUMNS
    title = "Label accuracy"
    judges = True

    def score(self, answer: str, reference: str, labels: str) -> Score:
        """Compare, and say what is wrong."""
        if answer == reference:
            return Score(1.0, "right")
        if answer in labels.split("\n"):
            return Score(0.0, f"wrong: {answer}")
        alone = named(answer, labels.split("\n")) == {reference}
        return Score(0.0, f"more than the label: {reference}" if alone else "no label")

    def row(self, outcome: Any, example: Any) -> tuple[Any, ...] | None:
        """Take the items that have labels."""
        return row(outcome, example)


METRIC = LabelAccuracy(keep_in_memory=True)
