"""Checks of a recipe's rows before any training: too long, unlabelled, twice, leaked."""

import dataclasses
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ftkit.errors import FtkitError

from ._lengths import Lengths
from ._recipe import Example, Recipe, Split
from ._render import Rendered, Renderer
from ._split import digest

NAMED = 5  # rows that a message names
MEASURED = 50_000  # rows of a split that are put into tokens to see how long they are
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
    named: tuple[str, ...] = ()
    lengths: Lengths = dataclasses.field(default_factory=Lengths)


@dataclass(frozen=True)
class Encoded:
    """A split's examples as tokens, those that fit, and what was found."""

    examples: list[Example]
    items: list[Rendered]
    part: Part


def encode(
    examples: Sequence[Example], renderer: Renderer, length: int, max_dropped: float = 1.0
) -> Encoded:
    """Render examples, and leave out those that are too long to be trained on whole.

    Args:
        examples: of one split.
        renderer: the base's template.
        length: most tokens of an example.
        max_dropped: largest share that may be left out.

    Raises:
        FtkitError: when more are too long, or one has no token to learn.
    """
    kept: list[tuple[Example, Rendered]] = []
    overlong: list[str] = []
    for example in examples:
        item = renderer.render(example.messages)
        if not item.supervised:
            raise FtkitError(f"{example.where}: nothing in this row would be learned")
        if len(item.ids) > length:
            overlong.append(example.where)
        else:
            kept.append((example, item))
    if len(overlong) > max_dropped * len(examples):
        raise FtkitError(
            f"{len(overlong)} of {len(examples)} rows are longer than {length} tokens "
            f"({_some(overlong)}): raise 'recipe.length' or 'recipe.max_dropped'"
        )
    used = [example for example, _ in kept]
    items = [item for _, item in kept]
    part = dataclasses.replace(
        count(used),
        tokens=sum(len(item.ids) for item in items),
        supervised=sum(item.supervised for item in items),
        longest=max((len(item.ids) for item in items), default=0),
        overlong=len(overlong),
        named=tuple(overlong[:NAMED]),
    )
    return Encoded(used, items, part)


def count(examples: Sequence[Example]) -> Part:
    """Count what can be counted without a tokenizer."""
    words, units = set[int](), set[int]()  # hashes: the rows themselves may not fit
    for example in examples:
        words.add(_words(example))
        units.add(digest(str(example.meta.get("unit", example.where))))
    return Part(len(examples), len(units), len(examples) - len(words))


def check(recipe: Recipe, tokenizer: Any = None, most: int = MEASURED) -> dict[str, Part]:
    """Check all splits of a recipe, one row at a time.

    Args:
        recipe: with its data.
        tokenizer: of the base; without one lengths are in characters.
        most: rows of a split whose lengths are measured in tokens; of more, some taken evenly.

    Returns:
        A part for each of `train`, `validation` and `test`.

    Raises:
        FtkitError: for a row with nothing to learn, or a test row that training shows.
    """
    renderer = None if tokenizer is None else Renderer(tokenizer)
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
    supervised, overlong = 0, list[str]()
    every = max(1, -(-len(examples) // most))
    for place, example in enumerate(examples):
        words.append(_words(example))
        units.append(digest(str(example.meta.get("unit", example.where))))
        if renderer is None:
            sizes.append(sum(len(message["content"]) for message in example.messages))
        elif place % every == 0:
            item = renderer.render(example.messages)
            if not item.supervised:
                raise FtkitError(f"{example.where}: nothing in this row would be learned")
            sizes.append(len(item.ids))
            if len(item.ids) <= length:
                supervised += item.supervised
            elif len(overlong) < NAMED:
                overlong.append(example.where)
    found = Lengths(array("q", sorted(sizes)), len(examples))
    repeated = len(words) - len(set(words))
    part = Part(len(examples), len(set(units)), repeated, lengths=found)
    if renderer is None or not sizes:
        return part, words
    fit = found.sizes[: len(sizes) - found.over(length)]
    scale = len(examples) / len(sizes)
    left = round(found.over(length) * scale)
    return dataclasses.replace(
        part,
        rows=len(examples) - left,
        tokens=round(sum(fit) * scale),
        supervised=round(supervised * scale),
        longest=max(fit, default=0),
        overlong=left,
        named=tuple(overlong),
    ), words


def _words(example: Example) -> int:
    return digest(*(message["content"] for message in example.messages))


def _some(places: Sequence[str]) -> str:
    return ", ".join(places[:NAMED]) + (" ..." if len(places) > NAMED else "")
