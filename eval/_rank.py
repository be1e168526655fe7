"""Ranks: at which place a model finds the right answer among candidates, by likelihood per byte.

A sum of nats favours the shorter answer, and the answers here are free texts of any length; so each
candidate's nats, its end included, are divided by its length in UTF-8, which no tokenizer changes
(the harness's `acc_norm`; arXiv:2005.14165, section 2.4). An equal one counts as before the right
one.
"""

from typing import Any

COLUMNS = {"ranks": "int64", "candidates": "int64"}


def row(outcome: Any, example: Any) -> tuple[int, int] | None:
    """Find the right answer's place and the number of candidates.

    A prompt that leaves no room for the candidates puts the right one last. A baseline that looks
    answers up has no likelihoods.
    """
    candidates = example.meta.get("candidates")
    if not candidates or outcome.stopped is None:
        return None
    nats = {text: outcome.labels.get(text) for text in candidates}
    if None in nats.values():
        return len(candidates), len(candidates)
    each = {text: nats[text] / max(1, len(text.encode())) for text in candidates}
    right = each[example.reference]
    return sum(value <= right for value in each.values()), len(candidates)
