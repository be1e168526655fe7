"""Bits per byte of the reference: how surprising the right answer was, whatever the tokenizer."""

import math
from typing import Any

from ._metric import Metric, Score


class BitsPerByte(Metric):
    """Mean over the rows of the reference's negative log-likelihood in bits per byte of its text.

    Args:
        nats: negative log-likelihood of each reference.
        bytes: its length in UTF-8.

    Returns:
        bits_per_byte: the mean, lower is better. scores: one a row.
    """

    columns = {"nats": "float64", "bytes": "int64"}  # noqa: RUF012
    title = "Bits per byte"
    lower_is_better = True
    share = False

    def score(self, nats: float, size: int) -> Score:
        """Turn nats into bits and divide."""
        return Score(nats / math.log(2) / size if size else None)

    def row(self, outcome: Any, example: Any) -> tuple[Any, ...] | None:
        """Read off the outcome; a baseline that looks answers up has no likelihood."""
        return None if outcome.nll is None else (outcome.nll, outcome.target_bytes)


METRIC = BitsPerByte(keep_in_memory=True)
