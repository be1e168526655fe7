"""Checks of a recipe's rows before any training: too long, unlabelled, twice, leaked."""

import dataclasses
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, overload

import numpy as np

from ftkit.errors import FtkitError

from ._flat import Flat, Packed, chunks
from ._recipe import Example, Recipe
from ._render import Renderer
from ._split import digest

NAMED = 5  # rows that a message names
AT_ONCE = 1024  # rows that are rendered together


@dataclass(frozen=True)
class Part:
    """What a split holds, in numbers.

    Args:
        rows: examples that are used.
        units: schemas, documents or dialogues among them.
        duplicates: examples that repeat an earlier one word for word (they are used).
        tokens: of all used examples.
        supervised: tokens that have a label.
        longest: tokens of the longest used example.
        overlong: how many examples were left out because they are too long.
        beyond: tokens of those: the median, the 95th percentile and the longest.
        named: where the first of those stand.
    """

    rows: int
    units: int
    duplicates: int
    tokens: int = 0
    supervised: int = 0
    longest: int = 0
    overlong: int = 0
    beyond: tuple[int, ...] = ()
    named: tuple[str, ...] = ()


class _Kept(Sequence[Example]):
    """The examples of a split that are used, read again when they are asked for."""

    def __init__(self, examples: Sequence[Example], places: Sequence[int]) -> None:
        self._examples, self._places = examples, places

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, place: int) -> Example: ...
    @overload
    def __getitem__(self, place: slice) -> list[Example]: ...
    def __getitem__(self, place: int | slice) -> Example | list[Example]:
        if isinstance(place, slice):
            return [self._examples[at] for at in self._places[place]]
        return self._examples[self._places[place]]


@dataclass(frozen=True)
class Encoded:
    """A split's examples as tokens, those that fit, and what was found."""

    examples: Sequence[Example]
    items: Flat
    part: Part

    def where(self, item: int) -> str:
        """Say where an example stands in its file."""
        return self.examples[item].where


def encode(
    examples: Sequence[Example], renderer: Renderer, length: int, max_dropped: float = 1.0
) -> Encoded:
    """Render examples, and leave out those that are too long to be trained on whole.

    Only tokens stay in memory, five bytes each.

    Args:
        examples: of one split.
        renderer: the base's template.
        length: most tokens of an example.
        max_dropped: largest share that may be left out.

    Raises:
        FtkitError: when more are too long, or one has no token to learn or none that the template
            shows as it is.
    """
    items, places, tally = Flat(), array("q"), _Tally()
    named: list[str] = []
    sizes = array("q")  # of those that are too long
    for place, (example, row) in enumerate(_rendered(examples, renderer)):
        if not row.supervised:
            raise FtkitError(f"{example.where}: nothing in this row would be learned")
        if len(row) <= length:
            items.append(row)
            places.append(place)
            tally.add(example)
        else:
            sizes.append(len(row))
            named += [example.where][: NAMED + 1 - len(named)]
    beyond = tuple(int(size) for size in np.percentile(sizes, [50, 95, 100])) if sizes else ()
    if len(sizes) > max_dropped * len(examples):
        raise FtkitError(
            f"{len(sizes)} of {len(examples)} rows are longer than {length} tokens "
            f"({_some(named)}): half of them have up to {beyond[0]:,}, 95 % up to {beyond[1]:,}, "
            f"the longest {beyond[2]:,}; raise 'recipe.length' or 'recipe.max_dropped'"
        )
    part = dataclasses.replace(
        tally.part,
        tokens=int(items.sizes.sum()),
        supervised=items.supervised,
        longest=int(items.sizes.max(initial=0)),
        overlong=len(sizes),
        beyond=beyond,
        named=tuple(named[:NAMED]),
    )
    return Encoded(_Kept(examples, places), items, part)


def _rendered(examples: Iterable[Example], renderer: Renderer) -> Iterator[tuple[Example, Packed]]:
    """Render many examples at a time; of those that cannot be, name the first."""
    for chunk in chunks(examples, AT_ONCE):
        try:
            rows = renderer.pack([example.messages for example in chunk])
        except FtkitError:
            for example in chunk:
                try:
                    renderer.render(example.messages)
                except FtkitError as problem:
                    raise FtkitError(f"{example.where}: {problem}") from None
            raise
        yield from zip(chunk, rows, strict=True)


class _Tally:
    """What can be counted without a tokenizer, one example after the other."""

    def __init__(self) -> None:
        self.rows = 0
        self.seen: set[int] = set()  # hashes: the rows themselves may not fit
        self.units: set[int] = set()

    def add(self, example: Example) -> None:
        self.rows += 1
        self.seen.add(_words(example))
        self.units.add(digest(str(example.meta.get("unit", example.where))))

    @property
    def part(self) -> Part:
        return Part(self.rows, len(self.units), self.rows - len(self.seen))


def count(examples: Iterable[Example]) -> Part:
    """Count what can be counted without a tokenizer."""
    tally = _Tally()
    for example in examples:
        tally.add(example)
    return tally.part


def leaks(train: Iterable[Example], held_out: Iterable[Example]) -> list[str]:
    """Name the held-out examples that training shows word for word."""
    seen = {_words(example) for example in train}
    return [example.where for example in held_out if _words(example) in seen]


def check(recipe: Recipe, tokenizer: Any = None) -> dict[str, Part]:
    """Check all splits of a recipe.

    Args:
        recipe: with its data.
        tokenizer: of the base; without one nothing is said about tokens.

    Returns:
        A part for each of `train`, `validation` and `test`.

    Raises:
        FtkitError: for rows that do not fit, or a test row that training shows.
    """
    splits = {
        "train": recipe.examples("train"),
        "validation": recipe.examples("validation"),
        "test": recipe.examples("test"),
    }
    found = leaks(chain(splits["train"], splits["validation"]), splits["test"])
    if found:
        raise FtkitError(f"{len(found)} test rows lie in the training rows too: {_some(found)}")
    if tokenizer is None:
        return {split: count(examples) for split, examples in splits.items()}
    renderer = Renderer(tokenizer)
    return {
        split: encode(examples, renderer, recipe.length, recipe.max_dropped).part
        for split, examples in splits.items()
    }


def _words(example: Example) -> int:
    return digest(*(message["content"] for message in example.messages))


def _some(places: Sequence[str]) -> str:
    return ", ".join(places[:NAMED]) + (" ..." if len(places) > NAMED else "")
