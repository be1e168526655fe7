"""What a piece of a source comes to: examples as lines, hashes that divide them, problems met."""

import json
import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field

from ..basemodel.record import BadRow
from ._found import Group
from ._near import asked_words, marks_of
from ._read import Piece, Row
from ._recipe import Example, Recipe
from ._split import TEST, TRAIN, VALIDATION, Ledger, digest
from ._store import line

ALL = 2**64 - 1  # bits of a hash that lives no longer than the reading
TEXT = 80  # characters from which on an answer is a text of its own, and no "Yes."
PARTS = {"all": 0, "train": TRAIN + 1, "validation": VALIDATION + 1, "test": TEST + 1}
# What a row of a named part may serve; what is held out may turn out to be the test.
USES = {"train": (TRAIN,), "test": (TEST,)}
# What stands in a text by mistake, or looks as if it meant to steer the model.
ODD = re.compile(
    r"(?P<control><\|[^|<>\s]{1,40}\|>|</?s>|<(?:start|end)_of_turn>|\[/?INST\]|<</?SYS>>)"
    r"|(?P<replaced>\ufffd)|(?P<unprintable>[\0-\x08\x0b\x0c\x0e-\x1f\x7f])"
)
MAYBE = re.compile("[<[\ufffd\0-\x08\x0b\x0c\x0e-\x1f\x7f]")
ODD_KINDS = {
    "control": "hold what looks like a control token; it is text here and steers nothing",
    "replaced": "hold the sign for a character that was lost (U+FFFD)",
    "unprintable": "hold characters that cannot be printed",
}


def groups() -> dict[str, dict[str, Group]]:
    """Make room for what is met: of each sort, groups by their kind."""
    return {"bad": {}, "odd": {}, "left_out": {}}


@dataclass
class Taken:
    """What a piece came to.

    Args:
        rows: that were read.
        lines: of its examples, as a store has them, end to end.
        line_sizes: bytes of each.
        marks: of the words of the examples' questions, end to end.
        mark_sizes: how many each has.
        ledger: what divides the examples.
        groups: problems, of each sort by their kind.
        rejected: a line of JSON for each row that cannot be used.
    """

    rows: int = 0
    lines: bytearray = field(default_factory=bytearray)
    line_sizes: "array[int]" = field(default_factory=lambda: array("Q"))
    marks: "array[int]" = field(default_factory=lambda: array("I"))
    mark_sizes: "array[int]" = field(default_factory=lambda: array("Q"))
    ledger: Ledger = field(default_factory=Ledger)
    groups: dict[str, dict[str, Group]] = field(default_factory=groups)
    rejected: list[str] = field(default_factory=list)

    def group(self, of: str, kind: str) -> Group:
        """Give the group of a kind."""
        return self.groups[of].setdefault(kind, Group(kind))

    def add(self, example: Example, source: int, part: int, side: int) -> None:
        """Enter an example and what is known of it."""
        texts = [message["content"] for message in example.messages]
        meta, answer = example.meta, texts[-1]
        self.ledger.add(
            digest(*texts),
            digest(str(meta.get("unit", example.where))),
            hash(answer) & ALL if len(answer) >= TEXT else 0,
            source,
            part,
            meta.get("asked", True),
            side,
        )
        marks = marks_of(asked_words(example))
        self.marks.extend(marks)
        self.mark_sizes.append(len(marks))
        written = line(example)
        self.lines += written
        self.line_sizes.append(len(written))


def take(recipe: Recipe, source: int, piece: Piece) -> Taken:
    """Take the examples of a piece's rows.

    Args:
        recipe: its `take` makes examples of a row, and refuses one that does not fit.
        source: number of the source.
        piece: of it.
    """
    taken = Taken()
    for row in piece:
        taken.rows += 1
        problem = row if isinstance(row, BadRow) else _take(recipe, source, piece, row, taken)
        if problem is not None:
            taken.group("bad", problem.kind).add(problem.where, problem.words)
            taken.rejected.append(_rejected(problem, row) + "\n")
    return taken


def _take(recipe: Recipe, source: int, piece: Piece, row: Row, taken: Taken) -> BadRow | None:
    """Take a row's examples, or say why there are none."""
    try:
        if not recipe.cuts:
            examples = [(0, example) for example in recipe.take(row)]
        else:
            uses = USES.get(piece.part, (TRAIN, TEST))
            examples = [(use + 1, e) for use in uses for e in recipe.take(row, use == TEST)]
    except BadRow as problem:
        return problem
    odd = row.odd
    for side, example in examples:
        taken.add(example, source, PARTS[piece.part], side)
        odd += _odd(example)
    for kind in dict.fromkeys(odd):  # a row once, whatever is made of it
        taken.group("odd", kind).add(row.where)
    return None


def _odd(example: Example) -> Iterator[str]:
    """Say what stands in an example's texts by mistake, or looks as if it meant to steer."""
    for message in example.messages:
        if MAYBE.search(message["content"]):  # ten times as fast
            for match in ODD.finditer(message["content"]):
                yield ODD_KINDS[str(match.lastgroup)]


def _rejected(problem: BadRow, row: Row | BadRow) -> str:
    """Write a line about a row that cannot be used."""
    read = row.fields if isinstance(row, Row) else row.raw
    facts = {"where": problem.where, "kind": problem.kind, "reason": problem.words, "row": read}
    return json.dumps(facts, ensure_ascii=False, default=str)
