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

SHAPE = "a prediction is a JSON list of queries, one or more"


class ExecutionGuided(Metric):
    """Share right when the first answer of several that runs and finds something is taken.

    Gold queries of benchmarks nearly always find something. Where the right answer may be 0 or
    nobody, the share says too much.

    Args:
        predictions: the answers to a question as a JSON list, the most trusted first.
        references: gold queries; they judge what was chosen and choose nothing.
        databases: paths of SQLite files; they are opened read-only.

    Returns:
        execution_guided: the share. scores and reasons: as `execution_accuracy` gives them, which
        also says what `instances` and `seed` are.
    """

    columns = {"predictions": "string", "references": "string", "databases": "string"}  # noqa: RUF012
    title = "Execution, guided"
    told = True

    def __init__(self, instances: int = 4, seed: int = 0, **settings: Any) -> None:
        super().__init__(seed=seed, **settings)
        self.sql = Sql()
        # What the usual one has judged is not judged again. (`evaluate` would take a class that is
        # imported by its name for this file's metric.)
        usual = (instances, seed) == (4, 0)
        self.strict = STRICT if usual else type(STRICT)(instances, seed, **settings)

    def score(self, predictions: str, reference: str, database: str) -> Score:
        """Let the database choose, then judge."""
        if not database:
            return Score(None, "no database")
        taken = guided(lambda query: self.sql.query(database, query), _queries(predictions))
        return self.strict.score(taken, reference, database)

    def row(self, outcome: Any, example: Any) -> tuple[Any, ...] | None:
        """Take the greedy answer, then those that were drawn beside it, if any were to be."""
        if not example.meta.get("samples"):
            return None
        queries = json.dumps([outcome.answer, *outcome.samples])
        return queries, example.meta["sql"], str(example.meta.get("database") or "")


def _queries(text: str) -> list[str]:
    """Read a prediction.

    Raises:
        ValueError: when it is none.
    """
    try:
        queries = json.loads(text)
    except ValueError:
        raise ValueError(f"{SHAPE}, not {text!r:.80}") from None
    if not isinstance(queries, list) or not queries or not all(isinstance(q, str) for q in queries):
        raise ValueError(f"{SHAPE}, not {text!r:.80}")
    return queries


METRIC = ExecutionGuided(keep_in_memory=True)
