"""Word overlap: ROUGE-L F1, the longest common subsequence of words (Lin 2004, W04-1013).

Words are runs of letters and digits in lower case, without stemming; a sign of Chinese or Japanese
is a word. The subsequence is counted with bits (Hyyrö 2004).
"""

import re
from collections.abc import Sequence
from typing import Any

from ._metric import Metric, Score

SIGNS = "\u3040-\u30ff\u3400-\u9fff"
WORD = re.compile(rf"[{SIGNS}]|(?:(?![{SIGNS}])\w)+")


class WordOverlap(Metric):
    """Mean ROUGE-L F1 of answers and references.

    Args:
        predictions: answers, one a row.
        references: right answers.

    Returns:
        word_overlap: the mean. scores: 0 to 1, None for a reference without a word. reasons:
        `all`, `some`, `none`.
    """

    columns = {"predictions": "string", "references": "string"}  # noqa: RUF012
    title = "Word overlap"

    def score(self, answer: str, reference: str) -> Score:
        """Weigh the common words, in their order, against both texts: F1 = 2 C / (A + R)."""
        said, right = (WORD.findall(text.lower()) for text in (answer, reference))
        if not right:
            return Score(None, "no words")
        share = 2 * common(said, right) / (len(said) + len(right))
        return Score(share, "all" if share == 1 else "some" if share else "none")

    def row(self, outcome: Any, example: Any) -> tuple[Any, ...] | None:
        """Take the items that can be answered in any words."""
        return None if example.meta.get("labels") else (outcome.answer, example.reference)


def common(first: Sequence[str], second: Sequence[str]) -> int:
    """Count the words of the longest common subsequence.

    >>> common("police killed the gunman".split(), "the gunman police killed".split())
    2
    """
    places: dict[str, int] = {}
    for place, word in enumerate(first):
        places[word] = places.get(word, 0) | 1 << place
    every = (1 << len(first)) - 1
    unused = every
    for word in second:
        taken = unused & places.get(word, 0)
        unused = (unused + taken | unused - taken) & every
    return len(first) - unused.bit_count()


METRIC = WordOverlap(keep_in_memory=True)
