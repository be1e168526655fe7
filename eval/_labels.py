"""Labels: the fixed answers that a classification allows, and which of them an answer names."""

import re
from collections.abc import Sequence
from typing import Any

COLUMNS = {"predictions": "string", "references": "string", "labels": "string"}


def row(outcome: Any, example: Any) -> tuple[str, str, str] | None:
    """Take answer, reference and labels, one a line, of an item that has labels.

    A reference that training rows never have is a label here too, or the right answer were none.
    """
    if not (labels := example.meta.get("labels")):
        return None
    return outcome.answer, example.reference, "\n".join(dict.fromkeys((*labels, example.reference)))


def named(answer: str, labels: Sequence[str]) -> set[str]:
    """Find the labels that an answer names as whole words, in any case; one that it is it names.

    Args:
        answer: text of a model.
        labels: to look for; of two that begin at one place the longer is meant.

    >>> sorted(named("Rather negative, not Positive.", ["negative", "positive"]))
    ['negative', 'positive']
    >>> named("It is very good!", ["good", "very good"])
    {'very good'}
    >>> named("Yes", ["Yes", "yes"]), sorted(named("YES!", ["Yes", "yes"]))
    ({'Yes'}, ['Yes', 'yes'])
    """
    if answer in labels:
        return {answer}
    spelt = {label: " ".join(label.casefold().split()) for label in labels}
    options = "|".join(re.escape(text) for text in sorted(spelt.values(), key=len, reverse=True))
    text = " ".join(answer.casefold().split())
    found = set(re.findall(rf"(?<!\w)(?:{options})(?!\w)", text))
    return {label for label in labels if spelt[label] in found}
