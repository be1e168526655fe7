"""Valid SQL: SQLite compiles the answer as one read-only query on the database's own schema."""

import re
from typing import Any

from ._metric import Metric, Score
from ._sql import Sql

# EXPLAIN QUERY PLAN is another command; comments and a byte order mark may stand before it.
PLAN = re.compile(r"(?>[\s\ufeff]|--[^\n]*\n|/\*.*?\*/)*+query\b", re.IGNORECASE | re.DOTALL)


class ValidSql(Metric):
    """Share of answers that are a query which SQLite accepts; nothing is run.

    Args:
        predictions: queries, one a row.
        databases: paths of SQLite files; they are opened read-only.

    Returns:
        valid_sql: the mean. scores: 1.0, 0.0, or None where there is no database. reasons: `valid`,
        `error: …`, `refused: …`.
    """

    columns = {"predictions": "string", "databases": "string"}  # noqa: RUF012
    title = "Valid SQL"

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.sql = Sql()

    def score(self, prediction: str, database: str) -> Score:
        """Let SQLite explain the query."""
        if not database:
            return Score(None, "no database")
        if not prediction.strip() or PLAN.match(prediction):
            return Score(0.0, "error: no query")
        failure = self.sql.query(database, f"EXPLAIN {prediction}").failure
        return Score(float(not failure), failure or "valid")

    def row(self, outcome: Any, example: Any) -> tuple[Any, ...]:
        """Check the answer against the example's database."""
        return outcome.answer, str(example.meta.get("database") or "")


METRIC = ValidSql(keep_in_memory=True)
