"""Rivals: wrong answers of an answer's own type, beside which a model must find it the likeliest.

The type is what the question asks once the name of what it is about is masked; where answers are
made by a template, it is how the answer begins. A rival is the answer about something else of the
same type, with the name put in place of its own, so that the name gives nothing away.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any, overload

from ._recipe import Example

MASK = "\0"
OPENING = 4  # words of a made answer that show its template
POOL = 400  # answers of one type among which rivals are drawn


class Ranked(Sequence[Example]):
    """Test rows, each with its `candidates` in its `meta`: the right answer, then its rivals.

    Args:
        rows: the examples; those without `facts` or with too few others of their type stay as they
            are, and are not ranked.
        wanted: rivals beside the right answer.
    """

    def __init__(self, rows: Sequence[Example], wanted: int) -> None:
        self.rows, self.wanted = rows, wanted
        self.pools: dict[str, dict[str, None]] = defaultdict(dict)
        for row in rows:
            kind, answer = _masked(row)
            if kind and len(self.pools[kind]) < POOL:
                self.pools[kind][answer] = None

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, place: int) -> Example: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Example]: ...
    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return [self[at] for at in range(*place.indices(len(self)))]
        row = self.rows[place]
        kind, answer = _masked(row)
        pool = [text for text in self.pools.get(kind, ()) if text != answer]
        if not kind or len(pool) < self.wanted:
            return row
        drawn = Random(f"rivals {row.messages[0]['content']}").sample(pool, self.wanted)
        named = [text.replace(MASK, _name(row)) for text in drawn]
        candidates = tuple(dict.fromkeys((row.reference, *named)))
        return replace(row, meta=row.meta | {"candidates": candidates})


def _name(row: Example) -> str:
    return str(row.meta.get("focus") or row.meta.get("name") or "")


def _masked(row: Example) -> tuple[str, str]:
    """Give a row's type and its answer, both without the name; "" where it is not ranked."""
    name = _name(row)
    if not row.meta.get("facts") or not name:
        return "", ""
    named = re.compile(rf"(?<!\w){re.escape(name)}(?!\w)", re.IGNORECASE)
    answer = named.sub(MASK, row.reference)
    if "focus" in row.meta:
        question = named.sub(MASK, row.prompt[-1]["content"])
        return (question.lower() if MASK in question else ""), answer
    return (" ".join(answer.split()[:OPENING]) if MASK in answer else ""), answer
