"""Labels: the fixed answers that a classification allows, and which of them an answer names."""

import re
from collections.abc import Sequence
from typing import Any

COLUMNS = {"predictions": "string", "references": "string", "labels": "string"}


def row(outcome: Any, example: Any) -> tuple[str, str, str] | None:
    """Take answer, reference and labels, one a line, of an item that has labels."""
    labels = example.meta.get("labels")
    return (outcome.answer, example.reference, "\n".join(labels)) if labels else None


def named(answer: str, labels: Sequence[str]) -> set[str]:
    """Find the labels that an answer names as whole words, in any case.

    Args:
        answer: text of a model.
        labels: to look for; of two that begin at one place the longer is meant.

    >>> sorted(named("Rather negative, not Positive.", ["negative", "positive"]))
    ['negative', 'positive']
    >>> named("It is very good!", ["good", "very good"])
    {'very good'}
    """
    spelt = {" ".join(label.casefold().split()): label for label in labels}
    options = "|".join(re.escape(text) for text in sorted(spelt, key=len, reverse=True))
    text = " ".join(answer.casefold().split())
    return {spelt[found] for found in re.findall(rf"(?<!\w)(?:{options})(?!\w)", text)}
