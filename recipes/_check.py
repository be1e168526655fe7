"""Checks of a recipe's rows before any training: too long, unlabelled, twice, leaked."""

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from ftkit.errors import FtkitError

from ._recipe import Example, Recipe
from ._render import Rendered, Renderer
from ._split import digest

NAMED = 5  # rows that a message names


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
    """

    rows: int
    units: int
    duplicates: int
    tokens: int = 0
    supervised: int = 0
    longest: int = 0
    overlong: int = 0
    named: tuple[str, ...] = ()


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
