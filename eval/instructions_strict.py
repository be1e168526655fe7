"""Instructions followed: the answer as it stands follows every instruction of its prompt."""

from typing import Any

from ._instructions import followed, row
from ._metric import Metric, Score


class InstructionsStrict(Metric):
    """Share of answers that follow all instructions of their prompt.

    Args:
        predictions: answers, one a row.
        instructions: JSON lists of objects with a `rule`; see _instructions.py.

    Returns:
        instructions_strict: the share. scores: 1.0 or 0.0. reasons: `all`, or `broken: …` with how
        many of them.
    """

    columns = {"predictions": "string", "instructions": "string"}  # noqa: RUF012
    title = "Instructions followed"
    judges = True

    def score(self, answer: str, instructions: str) -> Score:
        """Check every instruction."""
        kept = followed(instructions, answer)
        broken = kept.count(False)
        return Score(float(not broken), f"broken: {broken} of {len(kept)}" if broken else "all")

    def row(self, outcome: Any, example: Any) -> tuple[Any, ...] | None:
        """Take the items that have instructions."""
        return row(outcome, example)


METRIC = InstructionsStrict(keep_in_memory=True)
