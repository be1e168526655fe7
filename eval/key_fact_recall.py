"""Key-fact recall: the share of a right answer's key facts that the answer states."""

from typing import Any

from ._key_facts import COLUMNS, compare, row
from ._metric import Metric, Score


class KeyFactRecall(Metric):
    """Mean share of the expected facts that an answer states in 1.5 times the reference's length.

    Args:
        predictions: answers, one a row.
        references: reference answers.
        facts: expected facts, one a line, wordings divided by ` | `.
        known: all facts there are, in the same form; "" takes each content word for a fact.
        questions: what was asked; other facts that it names itself count for nothing.
        names: of what is asked about; saying it states nothing.

    Returns:
        key_fact_recall: the mean. scores: 0 to 1, None where no fact is expected. reasons: `all`,
        `some: …`, `none`.
    """

    columns = COLUMNS
    title = "Key-fact recall"

    def score(self, *row: str) -> Score:
        """Count the expected facts."""
        found = compare(*row)
        if not found.expected:
            return Score(None, "no facts expected")
        if not found.right:
            return Score(0.0, "none")
        if found.right == found.expected:
            return Score(1.0, "all")
        return Score(found.right / found.expected, f"some: {found.right} of {found.expected}")

    def row(self, outcome: Any, example: Any) -> tuple[Any, ...] | None:
        """Compare with the facts that the example expects."""
        return row(outcome, example)


METRIC = KeyFactRecall(keep_in_memory=True)
