"""Context recall: what was told turns ago and is in the answer again, where an answer needs it."""

from typing import Any

from ._checks import has, holds
from ._key_facts import cut
from ._metric import Metric, Score

LOOKING = ("recall", "correction", "back")  # kinds of turns that need an earlier one


class ContextRecall(Metric):
    """Mean share of what an answer needs of earlier turns that it has.

    Args:
        predictions: answers, one a row.
        checks: how to grade each, as `turns_right` does; {} where `words` are counted instead.
        words: what the user told before and the reference says again, parted by `|`.
        references: which bound how much of an answer is read for such words.

    Returns:
        context_recall: the mean. scores: 0 to 1; None where nothing earlier is needed.
    """

    columns = dict.fromkeys(("predictions", "checks", "words", "references"), "string")
    title = "Context recalled"

    def score(self, answer: str, check: str, words: str, reference: str) -> Score:
        """Grade by the check, or count words."""
        if check and check != "{}":
            right = holds(check, answer)
            return Score(float(right), "recalled" if right else "lost")
        wanted = [word for word in words.split("|") if word]
        if not wanted:
            return Score(None, "nothing to recall")
        found = sum(has(cut(answer, reference), word) for word in wanted)
        return Score(found / len(wanted), f"{found} of {len(wanted)}")

    def row(self, outcome: Any, example: Any) -> tuple[Any, ...] | None:
        """Take the items that look back."""
        meta = example.meta
        if meta.get("kind") in LOOKING:
            return outcome.answer, meta["check"], "", example.reference
        recall = meta.get("recall")
        return (outcome.answer, "{}", recall, example.reference) if recall else None


METRIC = ContextRecall(keep_in_memory=True)
