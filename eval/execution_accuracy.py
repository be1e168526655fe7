"""Execution accuracy: the query returns what the gold query returns, on any values in the tables.

The rules of the comparison stand in _verdict.py, the walls around the queries in _sql.py, how the
tables are refilled in _instances.py.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

# `evaluate` copies the files that are named here, not those that they name in turn.
from ._draw import drawn as drawn
from ._hardness import parts
from ._instances import Instances
from ._mentions import mentions as mentions
from ._metric import Metric, Score
from ._normal import normal
from ._schema import read as read
from ._sql import Sql
from ._ties import ends as ends
from ._verdict import Judge, Verdict

CAVEAT = (
    "{} of {} items were judged on the file alone: their database cannot be refilled, or ties "
    "leave open what their gold query gives there."
)


class ExecutionAccuracy(Metric):
    """Share of queries that return the rows of the reference query.

    Args:
        predictions: queries, one a row.
        references: gold queries.
        databases: paths of SQLite files; they are opened read-only.

    `evaluate.load(path, instances=4, seed=0)` says on how many refilled instances of each database
    a query must also agree (0: on the file alone), and what they are drawn from.

    Returns:
        execution_accuracy: the mean. scores: 1.0, 0.0, or None where the gold query fails or there
        is no database. reasons: `right`, `wrong rows: …`, `by luck: …`, `error: …`, `timeout: …`,
        `refused: …`, `gold empty: …`, `gold fails: …`. on_file_alone, on_file_scores: the same
        without refilled instances. timeouts, empty_golds: how many rows. by_hardness, by_clause:
        mean and number of rows for each level of Spider's, and for each clause of the gold query.
    """

    columns = {"predictions": "string", "references": "string", "databases": "string"}  # noqa: RUF012
    title = "Execution accuracy"
    judges = True

    def __init__(self, instances: int = 4, seed: int = 0, **settings: Any) -> None:
        super().__init__(seed=seed, **settings)
        self.judge = Judge(Sql(), normal, Instances(instances, seed) if instances else None)

    def verdict(self, prediction: str, reference: str, database: str) -> Verdict:
        """Run both queries and compare their rows."""
        if not database:
            return Verdict(None, "no database")
        return self.judge.verdict(prediction, reference, database)

    def score(self, prediction: str, reference: str, database: str) -> Score:
        """Judge by the file and its instances."""
        verdict = self.verdict(prediction, reference, database)
        return Score(_value(verdict.right), verdict.reason)

    def row(self, outcome: Any, example: Any) -> tuple[Any, ...]:
        """Compare the answer with the example's SQL on its database."""
        return outcome.answer, *_asked(example)

    def caveat(self, examples: Sequence[Any]) -> str:
        """Count the items that instances could not tell of."""
        pairs = [_asked(one) for one in examples]
        alone = sum(bool(file) and self.judge.by_file_alone(gold, file) for gold, file in pairs)
        return CAVEAT.format(alone, len(pairs)) if alone else ""

    def _compute(self, **inputs: Sequence[Any]) -> dict[str, Any]:
        """Judge every row once, and average in the ways that the class's text lists."""
        rows = list(zip(*(inputs[name] for name in self.columns), strict=True))
        verdicts = [self.verdict(*row) for row in rows]
        scores, once = ([_value(right) for right in side] for side in _sides(verdicts))
        levels, clauses = defaultdict(list), defaultdict(list)
        for (_, reference, _), score in zip(rows, scores, strict=True):
            level, used = parts(reference)
            levels[level].append(score)
            for clause in used:
                clauses[clause].append(score)
        return {
            self.name: _mean(scores),
            "scores": scores,
            "reasons": [verdict.reason for verdict in verdicts],
            "on_file_alone": _mean(once),
            "on_file_scores": once,
            "timeouts": sum(verdict.reason.startswith("timeout") for verdict in verdicts),
            "empty_golds": sum(verdict.empty for verdict in verdicts),
            "by_hardness": {name: _part(found) for name, found in levels.items() if name},
            "by_clause": {name: _part(found) for name, found in clauses.items()},
        }


def _asked(example: Any) -> tuple[str, str]:
    """Give the gold query and the database, "" for none."""
    return example.meta["sql"], str(example.meta.get("database") or "")


def _sides(verdicts: Sequence[Verdict]) -> tuple[list[bool | None], list[bool | None]]:
    return [verdict.right for verdict in verdicts], [verdict.once for verdict in verdicts]


def _value(right: bool | None) -> float | None:
    return None if right is None else float(right)


def _mean(scores: Sequence[float | None]) -> float:
    """Average what has a score; nan where nothing has."""
    known = [score for score in scores if score is not None]
    return sum(known) / len(known) if known else math.nan


def _part(scores: Sequence[float | None]) -> dict[str, float]:
    return {"mean": _mean(scores), "n": sum(score is not None for score in scores)}


METRIC = ExecutionAccuracy(keep_in_memory=True)
