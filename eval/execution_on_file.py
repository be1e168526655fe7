"""Execution on the file alone: the query returns what the gold query returns there, by luck or not.

What other scorers call execution accuracy. The difference to execution_accuracy.py is luck.
"""

from typing import Any

# `evaluate` copies the files that are named here, not those that they name in turn.
from ._draw import drawn as drawn
from ._hardness import parts as parts
from ._instances import Instances as Instances
from ._mentions import mentions as mentions
from ._metric import Metric, Score
from ._normal import normal as normal
from ._schema import read as read
from ._sql import Sql as Sql
from ._ties import ends as ends
from ._verdict import Judge as Judge
from .execution_accuracy import METRIC as STRICT


class ExecutionOnFile(Metric):
    """Share of queries that return the rows of the reference query on the file as it is.

    Args:
        predictions: queries, one a row.
        references: gold queries.
        databases: paths of SQLite files; they are opened read-only.

    Returns:
        execution_on_file: the mean. scores and reasons as in execution_accuracy.py; two empty
        results agree only where the queries are the same.
    """

    columns = {"predictions": "string", "references": "string", "databases": "string"}  # noqa: RUF012
    title = "Execution on the file alone"

    def score(self, prediction: str, reference: str, database: str) -> Score:
        """Judge by the file."""
        if not database:
            return Score(None, "no database")
        verdict = STRICT.judge.on_file(prediction, reference, database)
        return Score(None if verdict.once is None else float(verdict.once), verdict.reason)

    def row(self, outcome: Any, example: Any) -> tuple[Any, ...]:
        """Compare the answer with the example's SQL on its database."""
        return outcome.answer, example.meta["sql"], str(example.meta.get("database") or "")


METRIC = ExecutionOnFile(keep_in_memory=True)
