"""Repetition: how much of an answer says again what it has said (arXiv:1908.04319)."""

from typing import Any

from ._metric import Metric, Score

SPAN = 3  # words


class Repetition(Metric):
    """Mean share of an answer's three-word spans that stand in it already.

    Args:
        predictions: answers, one a row.

    Returns:
        repetition: the mean, lower is better. scores: 0 to 1, None for answers too short to repeat
        a span.
    """

    columns = {"predictions": "string"}  # noqa: RUF012
    title = "Repetition"
    lower_is_better = True

    def score(self, answer: str) -> Score:
        """Count spans that come again."""
        words = answer.lower().split()
        spans = [tuple(words[n : n + SPAN]) for n in range(len(words) - SPAN + 1)]
        if len(spans) < 2:
            return Score(None, "too short")
        again = len(spans) - len(set(spans))
        return Score(again / len(spans), "repeats" if again else "none")

    def row(self, outcome: Any, example: Any) -> tuple[Any, ...] | None:
        """Read the reply as it was generated; what the item itself asks to repeat is left out."""
        return None if example.meta.get("kind") == "instruction" else (outcome.reply,)


METRIC = Repetition(keep_in_memory=True)
