"""Execution accuracy, guided: of several answers to a question the database chooses one."""

import json
from typing import Any

# `evaluate` copies the files that are named here, not those that they name in turn.
from ._draw import drawn as drawn
from ._guided import guided
from ._hardness import parts as parts
from ._instances import Instances as Instances
from ._mentions import mentions as mentions
from ._metric import Metric, Score
from ._normal import normal as normal
from ._schema import read as read
from ._sql import Sql
from ._ties import ends as ends
from ._verdict import Judge as Judge
from .execution_accuracy import METRIC as STRICT


class ExecutionGuided(Metric):
    """Share right when the first answer of several that runs and finds something is taken.

    Args:
        predictions: the answers to a question as a JSON list, the most trusted first.
        references: gold queries; they judge what was chosen and choose nothing.
        databases: paths of SQLite files; they are opened read-only.

    Returns:
        execution_guided: the share. scores and reasons: as `execution_accuracy` gives them.
    """

    columns = {"predictions": "string", "references": "string", "databases": "string"}  # noqa: RUF012
    title = "Execution, guided"

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.sql = Sql()

    def score(self, predictions: str, reference: str, database: str) -> Score:
        """Let the database choose, then judge."""
        if not database:
            return Score(None, "no database")
        queries = json.loads(predictions)
        taken = queries[guided(lambda query: self.sql.query(database, query), queries)]
        return STRICT.score(taken, reference, database)

    def row(self, outcome: Any, example: Any) -> tuple[Any, ...] | None:
        """Take the greedy answer, then those that were drawn beside it, if any were to be."""
        if not example.meta.get("samples"):
            return None
        queries = json.dumps([outcome.answer, *outcome.samples])
        return queries, example.meta["sql"], str(example.meta.get("database") or "")


METRIC = ExecutionGuided(keep_in_memory=True)
