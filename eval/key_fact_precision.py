"""Key-fact precision: the share of the facts that an answer states which are right."""

from typing import Any

from ._key_facts import COLUMNS, compare, row
from ._metric import Metric, Score


class KeyFactPrecision(Metric):
    """Mean share of right ones among the facts that an answer states.

    Args:
        predictions: answers, one a row.
        references: reference answers; what lies beyond 1.5 times their length is not read.
        facts: expected facts, one a line, wordings divided by ` | `.
        known: all facts there are, in the same form; "" takes each content word for a fact.
        questions: what was asked; other facts that it names itself count for nothing.
        names: of what is asked about; saying it states nothing.

    Returns:
        key_fact_precision: the mean. scores: 0 to 1, an answer that states no fact gets 0; None
        where no fact is expected.
    """

    columns = COLUMNS
    title = "Key-fact precision"

    def score(self, *row: str) -> Score:
        """Weigh the right facts against all that are stated."""
        found = compare(*row)
        if not found.expected:
            return Score(None, "no facts expected")
        stated = found.right + found.wrong
        return Score(found.right / stated if stated else 0.0, f"{found.right} of {stated}")

    def row(self, outcome: Any, example: Any) -> tuple[Any, ...] | None:
        """Compare with the facts that the example expects."""
        return row(outcome, example)


METRIC = KeyFactPrecision(keep_in_memory=True)
