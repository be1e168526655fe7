"""Instructions followed, loosely: without a first or last line, or without markup."""

from typing import Any

from ._instructions import followed, row
from ._loose import forms
from ._metric import Metric, Score


class InstructionsLoose(Metric):
    """Share of answers that follow all instructions of their prompt, in some loose form.

    Args:
        predictions: answers, one a row.
        instructions: JSON lists of objects with a `rule`; see _instructions.py.

    Returns:
        instructions_loose: the share. scores: 1.0 or 0.0. reasons: `all`, or `broken: …` with how
        many of them.
    """

    columns = {"predictions": "string", "instructions": "string"}  # noqa: RUF012
    title = "Instructions followed, loosely"

    def score(self, answer: str, instructions: str) -> Score:
        """Check every instruction on every form."""
        tried = [followed(instructions, form) for form in forms(answer) or [""]]
        kept = [any(form[place] for form in tried) for place in range(len(tried[0]))]
        broken = kept.count(False)
        return Score(float(not broken), f"broken: {broken} of {len(kept)}" if broken else "all")

    def row(self, outcome: Any, example: Any) -> tuple[Any, ...] | None:
        """Take the items that have instructions."""
        return row(outcome, example)


METRIC = InstructionsLoose(keep_in_memory=True)
