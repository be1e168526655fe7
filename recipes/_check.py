"""Checks of a recipe's rows before any training: too long, unlabelled, twice, leaked."""

import dataclasses
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ftkit.errors import FtkitError

from ._flat import Flat, Packed, chunks
from ._lengths import Lengths
from ._recipe import Example, Recipe, Split
from ._render import Renderer
from ._split import digest
from ._store import Rows

NAMED = 5  # rows that a message names
MEASURED = 50_000  # rows of a split that are put into tokens to see how long they are
AT_ONCE = 1024  # rows that are rendered together
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


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
        lengths: of the examples before any was left out, where `check` measured them.
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
    lengths: Lengths = dataclasses.field(default_factory=Lengths)


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
            f"the longest {beyond[2]:,}; raise 'recipe.length', at most to what the base reads "
            "('plan.context' when it is pretrained), or 'recipe.max_dropped'"
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
    return Encoded(Rows(examples, np.array(places, np.int64)), items, part)


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


def check(
    recipe: Recipe, renderer: Renderer | None = None, most: int = MEASURED
) -> dict[str, Part]:
    """Check all splits of a recipe, one row at a time.

    Args:
        recipe: with its data.
        renderer: of the base's template; without one lengths are in characters.
        most: rows of a split whose lengths are measured in tokens; of more, some taken evenly.

    Returns:
        A part for each of `train`, `validation` and `test`.

    Raises:
        FtkitError: for a row with nothing to learn, or a test row that training shows.
    """
    parts: dict[str, Part] = {}
    words: dict[str, array[int]] = {}
    for split in SPLITS:
        examples = recipe.examples(split)
        parts[split], words[split] = _part(examples, renderer, recipe.length, most)
    asked = set(words["test"])
    taught = {mark for split in ("train", "validation") for mark in words[split] if mark in asked}
    twice = [place for place, mark in enumerate(words["test"]) if mark in taught]
    if twice:
        test = recipe.examples("test")
        named = _some([test[place].where for place in twice[: NAMED + 1]])
        raise FtkitError(f"{len(twice)} test rows lie in the training rows too: {named}")
    return parts


def _part(
    examples: Sequence[Example], renderer: Renderer | None, length: int, most: int
) -> "tuple[Part, array[int]]":
    """Count a split in one pass that keeps numbers alone, and the hash of every row."""
    words, units, sizes = array("Q"), array("Q"), array("q")
    for example in examples:
        words.append(_words(example))
        units.append(digest(str(example.meta.get("unit", example.where))))
        sizes.append(sum(len(message["content"]) for message in example.messages))
    repeated = len(words) - len(set(words))
    part = Part(len(words), len(set(units)), repeated, lengths=_lengths(sizes, len(words)))
    return part if renderer is None else _measured(part, examples, renderer, length, most), words


def _measured(
    part: Part, examples: Sequence[Example], renderer: Renderer, length: int, most: int
) -> Part:
    """Measure a split in tokens, or some rows of it, taken evenly, for the whole."""
    sizes, named, supervised = array("q"), list[str](), 0
    units = set[int]()
    some = np.arange(0, len(examples), max(1, -(-len(examples) // most)))
    for example, row in _rendered(Rows(examples, some), renderer):
        if not row.supervised:
            raise FtkitError(f"{example.where}: nothing in this row would be learned")
        sizes.append(len(row))
        if len(row) <= length:
            supervised += row.supervised
            units.add(digest(str(example.meta.get("unit", example.where))))
        else:
            named += [example.where][: NAMED - len(named)]
    found = _lengths(sizes, part.rows)
    fit = found.sizes[: len(sizes) - found.over(length)]
    scale = part.rows / max(1, len(sizes))
    over = round(found.over(length) * scale)
    return dataclasses.replace(
        part,
        rows=part.rows - over,
        units=len(units) if len(some) == len(examples) else part.units,
        tokens=round(sum(fit) * scale),
        supervised=round(supervised * scale),
        longest=max(fit, default=0),
        overlong=over,
        named=tuple(named),
        lengths=found,
    )


def _lengths(sizes: "array[int]", rows: int) -> Lengths:
    return Lengths(array("q", sorted(sizes)), rows)


def _words(example: Example) -> int:
    return digest(*(message["content"] for message in example.messages))


def _some(places: Sequence[str]) -> str:
    return ", ".join(places[:NAMED]) + (" ..." if len(places) > NAMED else "")
