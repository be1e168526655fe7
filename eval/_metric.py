"""The contract of a metric: an `evaluate.Metric` that also scores each single example.

It imports nothing of ftkit, so that `evaluate.load("eval/execution_accuracy.py")` can copy it
beside the metric and work alone, offline, from any folder.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import datasets
import evaluate


@dataclass(frozen=True)
class Score:
    """What one answer got.

    Attributes:
        value: None where the metric does not apply; the item is then left out of the mean.
        reason: why, in a few words; what stands before a colon can be counted.
    """

    value: float | None
    reason: str = ""


class Metric(evaluate.Metric, ABC):  # type: ignore[misc]
    """Score answers; a subclass says what a row holds and what it gets.

    Attributes:
        columns: name and Arrow type of each input of `compute`; `score` takes them in this order.
        title: for tables.
        lower_is_better: the direction.
        share: whether a score lies between 0 and 1 and is shown as a percentage.
        judges: whether 1.0 says that the answer is right and 0.0 that it is wrong, strictly.
        told: whether it is measured at the user's wish, so that progress lines tell it too.
    """

    columns: ClassVar[dict[str, str]]
    title: ClassVar[str]
    lower_is_better: ClassVar[bool] = False
    share: ClassVar[bool] = True
    judges: ClassVar[bool] = False
    told: ClassVar[bool] = False

    @abstractmethod
    def score(self, *row: Any) -> Score:
        """Score one row, its values in the order of `columns`."""

    @abstractmethod
    def row(self, outcome: Any, example: Any) -> tuple[Any, ...] | None:
        """Take a row out of an outcome and its example; None where the metric does not apply.

        Args:
            outcome: `Outcome` of _answers.py.
            example: `Example` of the recipe.
        """

    def scores(self, rows: Sequence[tuple[Any, ...]]) -> list[Score]:
        """Score all rows of a test; a measure that is no mean of single scores makes it one here.

        Args:
            rows: each with its values in the order of `columns`.
        """
        return [self.score(*row) for row in rows]

    def grades(self, outcomes: Sequence[Any], examples: Sequence[Any]) -> list[Score]:
        """Score the outcomes of a test, one score each."""
        rows = [self.row(*pair) for pair in zip(outcomes, examples, strict=True)]
        found = iter(self.scores([row for row in rows if row is not None]))
        return [Score(None, "does not apply") if row is None else next(found) for row in rows]

    def caveat(self, examples: Sequence[Any]) -> str:
        """Say in a sentence what a reader must know of how these items were scored, if anything.

        Args:
            examples: all that were asked, after every variant was scored.
        """
        return ""

    def grade(self, outcome: Any, example: Any) -> Score:
        """Score one outcome."""
        return self.grades([outcome], [example])[0]

    @property
    def about(self) -> str:
        """What it is, in the first sentence of the class's own words."""
        return (type(self).__doc__ or "").partition("\n")[0].replace("`", "")

    def _info(self) -> evaluate.MetricInfo:
        """Describe the metric to `evaluate`, from the class's own words."""
        features = {name: datasets.Value(kind) for name, kind in self.columns.items()}
        doc = type(self).__doc__ or ""
        return evaluate.MetricInfo(
            description=doc,
            citation="",
            inputs_description=doc,
            features=datasets.Features(features),
        )

    def _build_data_dir(self) -> str:
        """Make the cache folder of `evaluate` only for a metric that caches rows there."""
        return "" if self.keep_in_memory else str(super()._build_data_dir())

    def _compute(self, **inputs: Sequence[Any]) -> dict[str, Any]:
        """Score every row and average; nan where no row has a score."""
        rows = zip(*(inputs[name] for name in self.columns), strict=True)
        found = self.scores(list(rows))
        known = [score.value for score in found if score.value is not None]
        return {
            self.name: sum(known) / len(known) if known else math.nan,
            "scores": [score.value for score in found],
            "reasons": [score.reason for score in found],
        }
