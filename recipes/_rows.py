"""Rows of real data as examples: read once, checked, divided by the unit that leaks, kept on disk.

What was read is found again by what the sources hold, the recipe's settings and its code.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ftkit.config import table

from ..basemodel.record import BadRow
from ._found import NAMED, Found, Group
from ._near import Runs, near
from ._read import Row, streams
from ._recipe import Example, Recipe, Split
from ._split import (
    APART,
    LEAKED,
    NEAR,
    TEST,
    TRAIN,
    TWICE,
    UNASKED,
    VALIDATION,
    Codes,
    Ledger,
    assign,
    digest,
    repeated,
)  # fmt: skip
from ._store import Rows, Store, Writer, made

SHARED = 10  # rows with one long answer, from which on it may be no answer to any of them
ALL = 2**64 - 1  # bits of a hash that lives no longer than the reading
TEXT = 80  # characters from which on an answer is a text of its own, and no "Yes."
SPLITS: dict[Split, int] = {"train": TRAIN, "validation": VALIDATION, "test": TEST}
FACTS, CODES, SOURCE, REJECTED = "facts.json", "codes.npy", "source.npy", "rejected.jsonl"
PARTS = {"all": 0, "train": TRAIN + 1, "validation": VALIDATION + 1, "test": TEST + 1}
# What a row of a named part may serve; what is held out may turn out to be the test.
USES = {"train": (TRAIN,), "test": (TEST,)}
LEFT_OUT = {
    TWICE: "repeat an earlier one",
    LEAKED: "repeat one of the test",
    APART: "belong to documents, schemas or dialogues that are held out",
    NEAR: "nearly repeat a question of the test",
    UNASKED: "are of the test, but cannot be asked",
}
# Settings that do not change what is read.
UNREAD = ("epochs", "length", "max_new_tokens", "max_dropped", "on_bad_rows", "cache", "data")
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


@dataclass(frozen=True)
class Gathered:
    """The rows of a recipe's sources.

    Args:
        store: all examples.
        weights: of each source.
        found: what was met.
    """

    store: Store
    weights: tuple[float, ...]
    found: Found

    def split(self, split: Split) -> Rows:
        """Give a split; training rows come as often as the weight of their source says."""
        numbers = np.flatnonzero(np.load(self.store.folder / CODES) == SPLITS[split])
        if split != "train":
            return Rows(self.store, numbers)
        source = np.load(self.store.folder / SOURCE)[numbers]
        taken = [
            numbers[source == place][repeated(int((source == place).sum()), weight)]
            for place, weight in enumerate(self.weights)
        ]
        return Rows(self.store, np.concatenate(taken))


def gather(recipe: Recipe) -> Gathered:
    """Read a recipe's sources, or find what was read of them before.

    Args:
        recipe: with data; its `take` makes examples of a row, and refuses one that does not fit.

    Raises:
        FtkitError: for a source that is missing or cannot be read at all.
    """
    weights, key = _key(recipe)
    asked = replace(recipe, on_bad_rows="skip"), weights, key
    gathered = _gather(*asked)
    if not gathered.store.folder.is_dir():  # others came, and it was the one used longest ago
        _gather.cache_clear()
        gathered = _gather(*asked)
    return gathered


@lru_cache(maxsize=4)
def _gather(recipe: Recipe, weights: tuple[float, ...], key: str) -> Gathered:
    place = recipe.cached / "rows" / key
    if not place.is_dir():
        with made(place) as folder:
            _Reading(recipe, folder).read()
    facts = json.loads((place / FACTS).read_text(encoding="utf-8"))
    kinds = ("bad", "odd", "left_out")
    groups = {kind: tuple(Group(**group) for group in facts[kind]) for kind in kinds}
    found = Found(
        facts["rows"], **groups, unread=tuple(facts["unread"]), rejected=(place / REJECTED,)
    )
    return Gathered(Store(place), weights, found)


def _key(recipe: Recipe) -> tuple[tuple[float, ...], str]:
    """Hash what decides what is read."""
    settings = {name: value for name, value in table(recipe).items() if name not in UNREAD}
    marks, weights = [], []
    for word in recipe.data:
        found, weight, _ = streams(word)
        weights.append(weight)
        marks.append([[str(stream.place), stream.part, stream.digest()] for stream in found])
    beside = [
        (str(file), file.stat().st_size, file.stat().st_mtime_ns)
        for folder in recipe.beside()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    ]
    whole = json.dumps([recipe.name, settings, marks, beside, _code()], default=str)
    return tuple(weights), hashlib.sha256(whole.encode()).hexdigest()[:24]


@lru_cache(maxsize=1)
def _code() -> str:
    """Hash the code that reads, so that what an older one made is not taken for its own."""
    here = Path(__file__).parent
    files = [*here.glob("*.py"), *(here.parent / "basemodel").glob("*.py")]
    return hashlib.sha256(b"".join(file.read_bytes() for file in sorted(files))).hexdigest()


class _Reading:
    """One pass over the sources: examples go to disk, hashes to the ledger, problems to groups."""

    def __init__(self, recipe: Recipe, folder: Path) -> None:
        self.recipe, self.folder = recipe, folder
        self.writer, self.ledger = Writer(folder), Ledger()
        self.runs = Runs(folder / "runs")
        self.groups: dict[str, dict[str, Group]] = {"bad": {}, "odd": {}, "left_out": {}}
        self.rows = 0

    def read(self) -> None:
        """Fill the folder."""
        unread: list[str] = []
        with (
            (self.folder / REJECTED).open("w", encoding="utf-8") as rejected,
            self.writer,
            self.runs,
        ):
            for number, word in enumerate(self.recipe.data):
                found, _, left = streams(word)
                unread += left
                for part, row in (pair for stream in found for pair in stream):
                    self.rows += 1
                    problem = row if isinstance(row, BadRow) else self._take(row, number, part)
                    if problem is not None:
                        self._group("bad", problem.kind).add(problem.where, problem.words)
                        rejected.write(_rejected(problem, row) + "\n")
            self.writer.close()
        codes = assign(self.ledger, self.recipe.validation, self.recipe.whole, self.recipe.strict)
        store = Store(self.folder)
        self._count_shared(codes, store)
        self._leave_out_near(codes, store)
        self._count_left_out(codes, store)
        facts: dict[str, Any] = {
            kind: [vars(g) for g in groups.values()] for kind, groups in self.groups.items()
        }
        facts |= {"rows": self.rows, "unread": unread}
        (self.folder / FACTS).write_text(json.dumps(facts), encoding="utf-8")
        np.save(self.folder / CODES, codes)
        np.save(self.folder / SOURCE, np.array(self.ledger.source))

    def _take(self, row: Row, number: int, part: str) -> BadRow | None:
        """Take a row's examples, or say why there are none."""
        try:
            if not self.recipe.cuts:
                taken = [(0, example) for example in self.recipe.take(row)]
            else:
                uses = USES.get(part, (TRAIN, TEST))
                taken = [(use + 1, e) for use in uses for e in self.recipe.take(row, use == TEST)]
        except BadRow as problem:
            return problem
        for side, example in taken:
            self._enter(example, number, part, side)
        odd = (kind for _, example in taken for kind in _odd(example))
        for kind in dict.fromkeys([*row.odd, *odd]):  # a row once, whatever is made of it
            self._group("odd", kind).add(row.where)
        return None

    def _enter(self, example: Example, number: int, part: str, side: int) -> None:
        """Write an example and what is known of it."""
        texts = [message["content"] for message in example.messages]
        meta, answer = example.meta, texts[-1]
        self.ledger.add(
            digest(*texts),
            digest(str(meta.get("unit", example.where))),
            hash(answer) & ALL if len(answer) >= TEXT else 0,
            number,
            PARTS[part],
            meta.get("asked", True),
            side,
        )
        self.runs.add(example)
        self.writer.add(example)

    def _group(self, of: str, kind: str) -> Group:
        return self.groups[of].setdefault(kind, Group(kind))

    def _count_shared(self, codes: Codes, store: Store) -> None:
        """Count rows whose long answer many others have too: it may be boilerplate."""
        told = np.array(self.ledger.told, np.uint64)
        _, places, counts = np.unique(told, return_inverse=True, return_counts=True)
        numbers = np.flatnonzero((counts[places] >= SHARED) & (told > 0) & (codes <= TEST))
        for number in numbers.tolist():
            self._group("odd", f"have an answer that {SHARED} rows or more have").add(
                store[number].where
            )

    def _leave_out_near(self, codes: Codes, store: Store) -> None:
        rest = np.flatnonzero((codes == TRAIN) | (codes == VALIDATION))
        test = np.flatnonzero(codes == TEST)
        for number, other in near(self.runs, test, rest, store.__getitem__):
            codes[number] = NEAR
            places = f"{store[number].where} (near {store[other].where})"
            self._group("left_out", LEFT_OUT[NEAR]).add(places)
        self.runs.path.unlink()

    def _count_left_out(self, codes: Codes, store: Store) -> None:
        for code, kind in LEFT_OUT.items():
            numbers = np.flatnonzero(codes == code)
            if len(numbers) and code != NEAR:
                group = self._group("left_out", kind)
                for number in numbers[: 2 * NAMED].tolist():
                    group.add(store[number].where)
                group.count = len(numbers)


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
