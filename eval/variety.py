"""Variety: how many different answers sampling gives to one question."""

from typing import Any

from ._metric import Metric, Score


class Variety(Metric):
    """Mean share of different texts among several sampled answers to one question.

    Args:
        predictions: the sampled answers to a question, one a line, one question a row.

    Returns:
        variety: the mean. scores: from 1 / samples, all alike, to 1, all different; None for fewer
        than two samples.
    """

    columns = {"predictions": "string"}  # noqa: RUF012
    title = "Variety of samples"

    def score(self, samples: str) -> Score:
        """Count different lines, whatever their case."""
        texts = [" ".join(line.lower().split()) for line in samples.split("\n")]
        if len(texts) < 2:
            return Score(None, "not sampled")
        return Score(len(set(texts)) / len(texts), f"{len(set(texts))} of {len(texts)}")

    def row(self, outcome: Any, example: Any) -> tuple[Any, ...] | None:
        """Take the samples that the item asks for."""
        if len(outcome.samples) < 2:
            return None
        return ("\n".join(" ".join(sample.split()) for sample in outcome.samples),)


METRIC = Variety(keep_in_memory=True)
