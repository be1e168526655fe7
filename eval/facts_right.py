"""Facts right: the answer states all key facts of the right one and no other fact."""

from typing import Any

from ._key_facts import COLUMNS, compare, row
from ._metric import Metric, Score


class FactsRight(Metric):
    """Share of answers with every expected fact and no wrong one: `key_fact_recall`, strictly.

    Args:
        predictions: answers, one a row.
        references: reference answers.
        facts: expected facts, one a line, wordings divided by ` | `.
        known: all facts there are, in the same form; "" takes each content word for a fact.
        questions: what was asked; other facts that it names itself count for nothing.
        names: of what is asked about; saying it states nothing.

    Returns:
        facts_right: the share. scores: 1.0, 0.0, None where no fact is expected. reasons: `right`,
        `missing`, `wrong facts`.
    """

    columns = COLUMNS
    title = "Facts right"
    judges = True

    def score(self, *row: str) -> Score:
        """Count the facts."""
        found = compare(*row)
        if not found.expected:
            return Score(None, "no facts expected")
        if found.right < found.expected:
            return Score(0.0, "missing")
        return Score(float(not found.wrong), "wrong facts" if found.wrong else "right")

    def row(self, outcome: Any, example: Any) -> tuple[Any, ...] | None:
        """Compare with the facts that the example expects."""
        return row(outcome, example)


METRIC = FactsRight(keep_in_memory=True)
