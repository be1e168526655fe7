"""Answer match: the answer is the reference but for case, spaces and the mark at its end.

SQuAD's exact match (arXiv:1606.05250) also drops articles and all punctuation; here they stay,
because in code, numbers and other languages they are the answer.
"""

import unicodedata
from typing import Any

from ._metric import Metric, Score

MARKS = ".!?。 "


class AnswerMatch(Metric):
    """Share of answers that equal the reference in one spelling.

    Args:
        predictions: answers, one a row.
        references: right answers.

    Returns:
        answer_match: the share. scores: 1.0 or 0.0. reasons: `same`, `different`.
    """

    columns = {"predictions": "string", "references": "string"}  # noqa: RUF012
    title = "Answer match"
    judges = True

    def score(self, answer: str, reference: str) -> Score:
        """Compare the two spellings."""
        same = spelling(answer) == spelling(reference)
        return Score(float(same), "same" if same else "different")

    def row(self, outcome: Any, example: Any) -> tuple[Any, ...] | None:
        """Take the items that can be answered in any words."""
        return None if example.meta.get("labels") else (outcome.answer, example.reference)


def spelling(text: str) -> str:
    """Write a text in one spelling.

    >>> spelling(' "Ein  Haus." ') == spelling("ein haus") == spelling('"Ein Haus".')
    True
    >>> [spelling(one) == spelling(two) for one, two in (("x > 1", "x < 1"), ("!", "?"))]
    [False, False]
    """
    words = " ".join(unicodedata.normalize("NFC", text.casefold()).split())
    return words.rstrip(MARKS).strip("\"'“”‘’").rstrip(MARKS) or words


METRIC = AnswerMatch(keep_in_memory=True)
