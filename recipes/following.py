"""Instructions that a program can check: a test for any chat variant, and rows to learn them from.

`ftkit eval RUN --recipe following` asks a variant of any recipe.
"""

import json
from dataclasses import dataclass
from typing import ClassVar

from ..basemodel.record import BadRow
from ._read import Row
from ._recipe import Example, Recipe, Split
from ._samples.following import following
from ._shapes import talk


@dataclass(frozen=True)
class Following(Recipe):
    """Ask for answers of a given form: so many words, no commas, capitals, a list.

    Args:
        rows: training requests, at most.
        tests: test requests, at most.
    """

    rows: int = 1000
    tests: int = 240
    max_new_tokens: int = 64
    metrics: ClassVar[tuple[str, ...]] = (
        *("instructions_strict", "instructions_loose", "format_failure", "calibration"),
    )
    fields: ClassVar[tuple[str, ...]] = ("instructions",)

    def world(self, split: Split) -> list[Example]:
        """Draw requests; no topic lies in two splits."""
        checks = max(50, round(self.validation * self.rows))
        count = {"train": self.rows, "validation": checks, "test": self.tests}[split]
        return [
            Example(
                (
                    {"role": "user", "content": request.text},
                    {"role": "assistant", "content": request.answer},
                ),
                {
                    "unit": request.topic,
                    "instructions": request.instructions,
                    "features": request.kinds,
                },
                f"following {split} {number}",
            )
            for number, request in enumerate(following(split, self.world_seed, count), 1)
        ]

    def take(self, row: Row, test: bool = False) -> list[Example]:
        """Take a prompt with an answer and its `instructions`, a list of objects with a `rule`."""
        told = row.fields.get("instructions")
        if not isinstance(told, list) or not all(isinstance(one, dict) for one in told) or not told:
            raise BadRow(row.where, "no instructions", "'instructions' is no list of objects")
        messages = talk(row)
        facts = {"unit": messages[0]["content"], "instructions": json.dumps(told)}
        return [Example(messages, facts, row.where)]


RECIPE = Following()
