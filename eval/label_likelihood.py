"""Likeliest label: of all labels the model finds the right one likeliest, whatever it writes.

A label's likelihood is that of the whole reply: all its tokens and the end of the turn, summed. So
labels of any length compare as they are: each is a whole event, and no shorter one has a head
start by being how a longer one begins. Dividing by length would undo that (the harness's `acc`
against `acc_norm`; arXiv:2005.14165, section 2.4; arXiv:2104.08315).
"""

from typing import Any

from ._metric import Metric, Score


class LabelLikelihood(Metric):
    """Share of items whose right label is the likeliest reply among the labels.

    Args:
        predictions: the likeliest label of each item; "" where the context did not hold them.
        references: the right labels.

    Returns:
        label_likelihood: the share. scores: 1.0 or 0.0. reasons: `right`, `wrong: <label>`,
        `not asked`.
    """

    columns = {"predictions": "string", "references": "string"}  # noqa: RUF012
    title = "Likeliest label"

    def score(self, likeliest: str, reference: str) -> Score:
        """Compare."""
        same = likeliest == reference
        wrong = f"wrong: {likeliest}" if likeliest else "not asked"
        return Score(float(same), "right" if same else wrong)

    def row(self, outcome: Any, example: Any) -> tuple[Any, ...] | None:
        """Take the items that have labels; a baseline that looks answers up has no likelihoods."""
        if not example.meta.get("labels") or outcome.stopped is None:
            return None
        return min(outcome.labels, key=outcome.labels.get, default=""), example.reference


METRIC = LabelLikelihood(keep_in_memory=True)
