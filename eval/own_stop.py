"""Own stop: the answer ended by itself, not at the token limit (LESSONS of missing end tokens)."""

from typing import Any

from ._metric import Metric, Score


class OwnStop(Metric):
    """Share of answers that the model ended by itself.

    Args:
        predictions: true where the model stopped, one a row.

    Returns:
        own_stop: the mean. scores: 1.0 or 0.0. reasons: `ended`, `cut off`.
    """

    columns = {"predictions": "bool"}  # noqa: RUF012
    title = "Ended by itself"

    def score(self, stopped: bool) -> Score:
        """Count a stop."""
        return Score(float(stopped), "ended" if stopped else "cut off")

    def row(self, outcome: Any, example: Any) -> tuple[Any, ...] | None:
        """Read off the outcome; a baseline that looks answers up does not stop or go on."""
        return None if outcome.stopped is None else (outcome.stopped,)


METRIC = OwnStop(keep_in_memory=True)
