"""Execution accuracy: the predicted query returns what the gold query returns, on a real database.

The rules of the comparison stand in _verdict.py, the walls around the queries in _sql.py.
"""

from typing import Any

from ._metric import Metric, Score
from ._normal import normal
from ._sql import Sql
from ._verdict import Judge


class ExecutionAccuracy(Metric):
    """Share of queries that return the rows of the reference query.

    Args:
        predictions: queries, one a row.
        references: gold queries.
        databases: paths of SQLite files; they are opened read-only.

    Returns:
        execution_accuracy: the mean. scores: 1.0, 0.0, or None where the gold query fails or there
        is no database. reasons: `right`, `wrong rows: …`, `error: …`, `timeout: …`, `refused: …`,
        `gold empty: …`, `gold fails: …`.
    """

    columns = {"predictions": "string", "references": "string", "databases": "string"}  # noqa: RUF012
    title = "Execution accuracy"
    judges = True

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.judge = Judge(Sql(), normal)

    def score(self, prediction: str, reference: str, database: str) -> Score:
        """Run both queries and compare their rows."""
        if not database:
            return Score(None, "no database")
        verdict = self.judge.verdict(prediction, reference, database)
        return Score(None if verdict.right is None else float(verdict.right), verdict.reason)

    def row(self, outcome: Any, example: Any) -> tuple[Any, ...]:
        """Compare the answer with the example's SQL on its database."""
        return outcome.answer, example.meta["sql"], str(example.meta.get("database") or "")


METRIC = ExecutionAccuracy(keep_in_memory=True)
