"""Rows of real data as examples: read once, checked, divided by the unit that leaks, kept on disk.

What was read is found again by what the sources hold, the recipe's settings and its code.
"""

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from ftkit.config import table
from ftkit.errors import FtkitError

from ._found import NAMED, Found, Group
from ._in_order import in_order
from ._near import Runs, near, runs_of
from ._read import Piece, Stream, sources
from ._recipe import Recipe, Split
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
    repeated,
)  # fmt: skip
from ._store import Rows, Store, Writer, made
from ._taken import Taken, groups, take

SHARED = 10  # rows with one long answer, from which on it may be no answer to any of them
SPLITS: dict[Split, int] = {"train": TRAIN, "validation": VALIDATION, "test": TEST}
FACTS, CODES, SOURCE, REJECTED = "facts.json", "codes.npy", "source.npy", "rejected.jsonl"
Task = tuple[int, Stream, Piece]  # number of the source, and what is read of it
LEFT_OUT = {
    TWICE: "repeat an earlier one",
    LEAKED: "repeat one of the test",
    APART: "belong to documents, schemas or dialogues that are held out",
    NEAR: "nearly repeat a question of the test",
    UNASKED: "are of the test, but cannot be asked",
}
# Settings that do not change what is read.
UNREAD = ("epochs", "length", "max_new_tokens", "max_dropped", "on_bad_rows", "cache", "data")


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


def _kept(place: Path, weights: tuple[float, ...]) -> Gathered:
    """Open what was read before."""
    facts = json.loads((place / FACTS).read_text(encoding="utf-8"))
    kinds = ("bad", "odd", "left_out")
    groups = {kind: tuple(Group(**group) for group in facts[kind]) for kind in kinds}
    unread, rejected = tuple(facts["unread"]), (place / REJECTED,)
    found = Found(facts["rows"], **groups, unread=unread, rejected=rejected)
    store = Store(place)
    if {len(np.load(place / name)) for name in (CODES, SOURCE)} != {len(store)}:
        raise ValueError(f"{place} is damaged")
    return Gathered(store, weights, found)


@lru_cache(maxsize=4)
def _gather(recipe: Recipe, weights: tuple[float, ...], key: str) -> Gathered:
    place = recipe.cached / "rows" / key
    try:
        if place.is_dir():
            return _kept(place, weights)
    except (OSError, EOFError, ValueError, KeyError, TypeError):  # damaged: what is there is no use
        shutil.rmtree(place, ignore_errors=True)
    try:
        with made(place) as folder:
            _Reading(recipe, folder).read()
            if _key(recipe)[1] != key:
                names = ", ".join(recipe.data)
                raise FtkitError(f"{names} changed while it was read: begin again")
    except OSError as problem:
        raise FtkitError(
            f"{recipe.cached} cannot be written ({problem.strerror or problem}): what is read is "
            "kept there; --set recipe.cache=FOLDER names another place"
        ) from None
    return _kept(place, weights)


def _key(recipe: Recipe) -> tuple[tuple[float, ...], str]:
    """Hash what decides what is read."""
    settings = {name: value for name, value in table(recipe).items() if name not in UNREAD}
    marks, weights = [], []
    for found, weight, _ in sources(recipe.data)[0]:
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


def _taken(recipe: Recipe, task: Task) -> Taken:
    number, _, piece = task
    return take(recipe, number, piece)


class _Reading:
    """One pass over the sources: examples go to disk, hashes to the ledger, problems to groups."""

    def __init__(self, recipe: Recipe, folder: Path) -> None:
        self.recipe, self.folder = recipe, folder
        self.sources, self.parts = sources(recipe.data)
        self.writer, self.ledger = Writer(folder), Ledger()
        self.runs = Runs(folder / "runs")
        self.groups = groups()
        self.read_of = Counter[tuple[int, Stream]]()  # a file may be in two sources

    def read(self) -> None:
        """Fill the folder."""
        unread: list[str] = []
        with (
            (self.folder / REJECTED).open("w", encoding="utf-8") as rejected,
            self.writer,
            self.runs,
        ):
            pieces = self._pieces(unread)
            for (number, stream, _), taken in in_order(partial(_taken, self.recipe), pieces):
                self.read_of[number, stream] += taken.rows
                self._enter(taken)
                rejected.writelines(taken.rejected)
            for (_, stream), rows in self.read_of.items():
                stream.refuse_empty(rows)
            self.writer.close()
        recipe = self.recipe
        codes = assign(self.ledger, recipe.validation, recipe.whole, recipe.strict, self.parts)
        store = Store(self.folder)
        self._count_shared(codes, store)
        self._leave_out_near(codes, store)
        self._count_left_out(codes, store)
        facts: dict[str, Any] = {
            kind: [vars(g) for g in groups.values()] for kind, groups in self.groups.items()
        }
        facts |= {"rows": sum(self.read_of.values()), "unread": unread}
        (self.folder / FACTS).write_text(json.dumps(facts), encoding="utf-8")
        np.save(self.folder / CODES, codes)
        np.save(self.folder / SOURCE, np.array(self.ledger.source))

    def _pieces(self, unread: list[str]) -> Iterator[Task]:
        """Read the sources, a piece at a time, and note which files are not read."""
        for number, (found, _, left) in enumerate(self.sources):
            unread += left
            for stream in found:
                self.read_of[number, stream] = 0
                yield from ((number, stream, piece) for piece in stream.pieces())

    def _enter(self, taken: Taken) -> None:
        """Write what a piece came to."""
        self.writer.add(taken.lines, taken.line_sizes)
        self.runs.add(*runs_of(taken.marks, taken.mark_sizes))
        self.ledger.extend(taken.ledger)
        for of, found in taken.groups.items():
            for kind, group in found.items():
                self._group(of, kind).join(group)

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
