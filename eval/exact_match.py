"""Exact match: the answer is the reference query but for case, spaces, quotes and aliases."""

from typing import Any

from ._metric import Metric, Score
from ._normal import normal


class ExactMatch(Metric):
    """Share of queries that equal the reference after normalisation with sqlglot.

    Args:
        predictions: queries, one a row.
        references: gold queries.

    Returns:
        exact_match: the mean. scores: 1.0 or 0.0. reasons: `same`, `different`.
    """

    columns = {"predictions": "string", "references": "string"}  # noqa: RUF012
    title = "Exact match"

    def score(self, prediction: str, reference: str) -> Score:
        """Compare the two normal forms."""
        same = normal(prediction) == normal(reference)
        return Score(float(same), "same" if same else "different")

    def row(self, outcome: Any, example: Any) -> tuple[Any, ...]:
        """Compare the answer with the example's SQL."""
        return outcome.answer, example.meta["sql"]


METRIC = ExactMatch(keep_in_memory=True)
