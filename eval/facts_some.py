"""Some facts right: the answer states at least one key fact of the right one."""

from typing import Any

from ._key_facts import COLUMNS, compare, row
from ._metric import Metric, Score


class FactsSome(Metric):
    """Share of answers with an expected fact, whatever else they state: leniently right.

    Args:
        predictions: answers, one a row.
        references: reference answers.
        facts: expected facts, one a line, wordings divided by ` | `.
        known: all facts there are, in the same form; "" takes each content word for a fact.
        questions: what was asked; other facts that it names itself count for nothing.
        names: of what is asked about; saying it states nothing.

    Returns:
        facts_some: the share. scores: 1.0, 0.0, None where no fact is expected. reasons: `right`,
        `none`.
    """

    columns = COLUMNS
    title = "Some facts right"

    def score(self, *row: str) -> Score:
        """Count the facts."""
        found = compare(*row)
        if not found.expected:
            return Score(None, "no facts expected")
        return Score(float(found.right > 0), "right" if found.right else "none")

    def row(self, outcome: Any, example: Any) -> tuple[Any, ...] | None:
        """Compare with the facts that the example expects."""
        return row(outcome, example)


METRIC = FactsSome(keep_in_memory=True)
