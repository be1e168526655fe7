"""Macro F1: the F1 of each label, averaged with equal weight (arXiv:1911.03347).

F1 is no mean over items, but error bars here are made of means. So each item gets its pseudo-value
of the infinitesimal jackknife (Efron 1982): their mean is macro F1 exactly, and resampling them
gives its interval to first order.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from ._labels import COLUMNS, row
from ._metric import Metric, Score


class MacroF1(Metric):
    """Mean over labels of 2 right / (asked + answered); an answer that is no label is just missing.

    Args:
        predictions: answers, one a row.
        references: the right labels.
        labels: all labels there are, one a line; those nobody asked or answered do not count.

    Returns:
        macro_f1: the mean. scores: pseudo-values, which may lie outside 0 to 1; only their mean is
        an F1. reasons: `right`, `wrong`.
    """

    columns = COLUMNS
    title = "Macro F1"

    def score(self, *row: str) -> Score:
        """Score a test of one row."""
        return self.scores([row])[0]

    def scores(self, rows: Sequence[tuple[str, ...]]) -> list[Score]:
        """Give each row its pseudo-value: macro F1 and N times its first derivative by the row.

        For a label with F1 = 2 R / D, where D counts the rows that ask for it and those that
        answer it, a row adds r to R and d to D: the derivative is (2 r - F1 d) / D.
        """
        pairs = [(answer if answer in known.split("\n") else "", right)
                 for answer, right, known in rows]  # fmt: skip
        hits = Counter(right for answer, right in pairs if answer == right)
        size = Counter(label for pair in pairs for label in pair if label)
        f1 = {label: 2 * hits[label] / size[label] for label in size}
        mean = sum(f1.values()) / len(f1) if f1 else 0.0
        found = []
        for answer, right in pairs:
            slope = 2 * (answer == right) / size[right]
            slope -= sum(f1[label] / size[label] for label in (answer, right) if label)
            value = mean + len(rows) * slope / len(f1)
            found.append(Score(value, "right" if answer == right else "wrong"))
        return found

    def row(self, outcome: Any, example: Any) -> tuple[Any, ...] | None:
        """Take the items that have labels."""
        return row(outcome, example)


METRIC = MacroF1(keep_in_memory=True)
