"""Calibration: how far an answer's likelihood lies from the share of such answers that are right.

Expected calibration error over bins of equal numbers of items (Guo et al. 2017, arXiv:1706.04599;
equal numbers: Nguyen & O'Connor 2015, arXiv:1508.05154). Perfect likelihoods come out above 0 too,
by luck: at 32 items a bin by up to 0.07, so compare variants on the same items.
"""

import math
from collections.abc import Sequence
from typing import Any

from ._metric import Metric, Score

BINS = 10
LEAST = 10  # items of a bin


class Calibration(Metric):
    """Mean over bins of the distance between mean confidence and the share of right answers.

    Where items have labels or candidates, the confidence is the probability of the likeliest one
    among them, and it is right if it is the reference; items without are then left out, since the
    two kinds of confidence have no scale in common. Elsewhere it is the likelihood of the whole
    reply, and right is what the recipe's strict metric says.

    Args:
        confidences: probabilities, one a row.
        right: 1.0 or 0.0.

    Returns:
        calibration: the error, lower is better. scores: an item's confidence minus its right, with
        the sign of its bin: their mean is the error exactly. reasons: `bin 3: …` with the bin's
        mean confidence and share of right answers, which is the reliability curve.
    """

    columns = {"confidences": "float64", "right": "float64"}  # noqa: RUF012
    title = "Calibration error"
    lower_is_better = True

    def score(self, *row: float) -> Score:
        """Score a test of one row."""
        return self.scores([row])[0]

    def scores(self, rows: Sequence[tuple[float, ...]]) -> list[Score]:
        """Put the rows into bins by confidence, and give each its share of its bin's distance."""
        order = sorted(range(len(rows)), key=lambda place: rows[place][0])
        count = max(1, min(BINS, len(rows) // LEAST))
        found: dict[int, Score] = {}
        for number in range(count):
            first, end = (len(rows) * edge // count for edge in (number, number + 1))
            places = order[first:end]
            sure, right = (sum(rows[place][side] for place in places) for side in (0, 1))
            sign = 1.0 if sure >= right else -1.0
            size = max(1, len(places))
            told = f"bin {number + 1}: {sure / size:.2f} sure, {right / size:.2f} right"
            for place in places:
                found[place] = Score(sign * (rows[place][0] - rows[place][1]), told)
        return [found[place] for place in range(len(rows))]

    def grades(self, outcomes: Sequence[Any], examples: Sequence[Any]) -> list[Score]:
        """Score one kind of items: those with labels or candidates, or all where none has any."""
        choices = [bool(_choices(example)) for example in examples]
        taken = [place for place, some in enumerate(choices) if some == any(choices)]
        found = super().grades([outcomes[n] for n in taken], [examples[n] for n in taken])
        scores = dict(zip(taken, found, strict=True))
        return [scores.get(n, Score(None, "does not apply")) for n in range(len(examples))]

    def row(self, outcome: Any, example: Any) -> tuple[Any, ...] | None:
        """Take what has a likelihood and is right or wrong."""
        if outcome.labels and _choices(example):
            best = min(outcome.labels, key=outcome.labels.get)
            least = outcome.labels[best]
            total = sum(math.exp(least - nats) for nats in outcome.labels.values())
            return 1 / total, float(best == example.reference)
        if _choices(example):  # they did not fit the context
            return None
        right, said = getattr(outcome, "right", None), getattr(outcome, "said", None)
        return None if said is None or right not in (0.0, 1.0) else (math.exp(-said), right)


def _choices(example: Any) -> Any:
    """Give the labels or candidates among which an item's answer is found."""
    return example.meta.get("labels") or example.meta.get("candidates")


METRIC = Calibration(keep_in_memory=True)
