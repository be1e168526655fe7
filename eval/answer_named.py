"""Answer named: the reference stands somewhere in the answer, in any case and as whole words."""

import re
from typing import Any

from ._metric import Metric, Score
from .answer_match import spelling


class AnswerNamed(Metric):
    """Share of answers that have the reference in them: `answer_match`, leniently.

    Args:
        predictions: answers, one a row.
        references: right answers.

    Returns:
        answer_named: the share. scores: 1.0 or 0.0. reasons: `named`, `not named`.
    """

    columns = {"predictions": "string", "references": "string"}  # noqa: RUF012
    title = "Answer named"

    def score(self, answer: str, reference: str) -> Score:
        """Look for the reference's spelling."""
        wanted = rf"(?<!\w){re.escape(spelling(reference))}(?!\w)"
        named = re.search(wanted, " ".join(answer.casefold().split())) is not None
        named = named or spelling(answer) == spelling(reference)
        return Score(float(named), "named" if named else "not named")

    def row(self, outcome: Any, example: Any) -> tuple[Any, ...] | None:
        """Take the items that can be answered in any words."""
        return None if example.meta.get("labels") else (outcome.answer, example.reference)


METRIC = AnswerNamed(keep_in_memory=True)
