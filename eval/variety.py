"""Variety: how many different answers sampling gives to one question."""

from typing import Any

from ._metric import Metric, Score


class Variety(Metric):
    """Mean share of different texts among several sampled answers to one question.

    Args:
        predictions: the sampled answers to a question, one a line, one question a row.

    Returns:
        variety: the mean. scores: 1 / samples where all are alike, 1 where none are; None for fewer
        than two samples.
    """

    columns = {"predictions": "string"}  # noqa: RUF012
    title = "Variety of samples"

    def score(self, samples: str) -> Score:
        """Count different lines, whatever their case; an empty one is no answer."""
        texts = [" ".join(line.lower().split()) for line in samples.split("\n")]
        if len(texts) < 2:
            return Score(None, "not sampled")
        different = len(set(texts) - {""})
        return Score(different / len(texts), f"{different} of {len(texts)}")

    def row(self, outcome: Any, example: Any) -> tuple[Any, ...] | None:
        """Take the samples that the item asks for."""
        if len(outcome.samples) < 2:
            return None
        return ("\n".join(" ".join(sample.split()) for sample in outcome.samples),)


METRIC = Variety(keep_in_memory=True)
