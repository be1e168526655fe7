"""Execution accuracy, leniently: the query is looked for in the reply, behind words and fences."""

import re
from typing import Any

from ._metric import Metric, Score
from .execution_accuracy import METRIC as STRICT

FENCE = re.compile(r"```(?:\w+\n)?(.*?)(?:```|$)", re.DOTALL)
# "with" is a word of prose too, but not before a name and "as".
START = re.compile(
    r"\b(?:select\b|with\s+(?:recursive\s+)?[\w\"`\[\]]+\s*(?:\([^)]*\)\s*)?as\b)", re.IGNORECASE
)


class ExecutionLenient(Metric):
    """Share of replies in which some query stands that is right as `execution_accuracy` says.

    Args:
        predictions: queries as found in the replies, one a row.
        references: gold queries.
        databases: paths of SQLite files.

    Returns:
        execution_lenient: the share. scores and reasons: as `execution_accuracy` gives them.
    """

    columns = {"predictions": "string", "references": "string", "databases": "string"}  # noqa: RUF012
    title = "Execution, leniently"

    def score(self, *row: str) -> Score:
        """Judge the query."""
        return STRICT.score(*row)

    def row(self, outcome: Any, example: Any) -> tuple[Any, ...] | None:
        """Take the query out of the reply, then as the recipe takes it; a right one stays."""
        query = dug(outcome.reply)
        if query != outcome.reply and not outcome.right:
            # Here, since `evaluate` loads this file alone, without ftkit.
            from ..recipes.sql_qa import RECIPE

            query = RECIPE.answer(query, example)
        else:
            query = outcome.answer
        database = str(example.meta.get("database") or "")
        return query or outcome.answer, example.meta["sql"], database


def dug(reply: str) -> str:
    r"""Find where a query begins, in a code fence if there is one.

    >>> dug("Sure:\n```sql\nSELECT 1\n```\nThat is it."), dug("It is SELECT 2;"), dug("none")
    ('SELECT 1\n', 'SELECT 2;', 'none')
    """
    fenced = FENCE.search(reply)
    text = fenced.group(1) if fenced else reply
    found = START.search(text)
    return text[found.start() :] if found else reply


METRIC = ExecutionLenient(keep_in_memory=True)
