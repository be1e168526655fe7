"""Format failures: answers that cannot be taken as one, right or wrong, whatever they say."""

import re
from typing import Any

from ._metric import Metric, Score

TURN = re.compile(r"^\s*(?:user|assistant|system|human)\s*:|<\|", re.IGNORECASE | re.MULTILINE)
QUERY = re.compile(r"\s*(?:select|with)\b", re.IGNORECASE)


class FormatFailure(Metric):
    """Share of replies that are empty, cut off, of another's turn too, or no query if one is due.

    Args:
        predictions: replies as they were generated.
        stopped: whether each ended by itself.
        queries: whether a query is due.

    Returns:
        format_failure: the share, lower is better. scores: 1.0 or 0.0. reasons: `empty`, `cut off`,
        `another's turn`, `no query`, `an answer`.
    """

    columns = {"predictions": "string", "stopped": "bool", "queries": "bool"}  # noqa: RUF012
    title = "Format failures"
    lower_is_better = True

    def score(self, reply: str, stopped: bool, query: bool) -> Score:
        """Look for the first fault."""
        if not reply.strip():
            return Score(1.0, "empty")
        if not stopped:
            return Score(1.0, "cut off")
        if TURN.search(reply):
            return Score(1.0, "another's turn")
        if query and not QUERY.match(reply):
            return Score(1.0, "no query")
        return Score(0.0, "an answer")

    def row(self, outcome: Any, example: Any) -> tuple[Any, ...] | None:
        """Take what a model said; items with labels have `label_format`."""
        if outcome.stopped is None or example.meta.get("labels"):
            return None
        return outcome.reply, outcome.stopped, "sql" in example.meta


METRIC = FormatFailure(keep_in_memory=True)
