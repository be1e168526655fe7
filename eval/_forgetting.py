"""What tuning cost the base: bits per byte on its own text, and on other recipes' answers."""

import json
import math
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from ftkit import catalog
from ftkit.runs import digest, write_whole

from ..adapters._variant import Variant
from ..recipes._recipe import Example, Recipe
from ._answers import identity
from ._ask import Asker, Form
from ._likely import Row, likelihoods
from ._scorecard import OWN, Forgetting

MOST = 32_000  # bytes of text; enough to tell a hundredth of a bit
ITEMS = 100  # of another recipe
MARGIN = 128  # tokens of the context that a soft prompt may take
DOCUMENTS = 400  # of each embedded world's corpus, from which plain English is taken
PLAIN = "plain text that ftkit brings"  # for a base that brings none
ANSWERS = "its reference answers, asked in plain text"
LONGEST = 512  # tokens of a window, so that a soft prompt's shorter context reads the same ones

Read = tuple[float, int]  # bits per byte, and bytes


def own_text(base: Path) -> list[str]:
    """Read the documents that a base run held out from its corpus, up to MOST bytes.

    Args:
        base: a base folder; a foreign one has no such text.
    """
    path = base / "run" / "validation.jsonl"
    if not path.is_file():
        return []
    return _sample([str(json.loads(line)["text"]) for line in path.read_text("utf-8").splitlines()])


def plain_text() -> list[str]:
    """Give plain English of the embedded worlds, for bases that bring no text of their own."""
    documents = (islice(recipe.corpus(), DOCUMENTS) for recipe in _worlds())
    return _sample([text for part in documents for text in part])


def worlds(known: Container[str]) -> list[tuple[Recipe, Sequence[Example]]]:
    """List the recipes that have a world of their own, with its test items, save those known."""
    return [(one, one.examples("test")) for one in _worlds() if one.name not in known]


def _worlds() -> Iterator[Recipe]:
    found = (catalog.load("recipes", name) for name in catalog.names("recipes"))
    return (recipe for recipe in found if type(recipe).world is not Recipe.world)


def _sample(held: Sequence[str]) -> list[str]:
    """Take up to MOST bytes of documents."""
    texts, left = [], MOST
    # A corpus has its sources one after the other, so the documents are taken from all over it.
    every = max(1, sum(len(text.encode()) for text in held) // MOST)
    for text in [text for first in range(every) for text in held[first::every]]:
        texts.append(text.encode()[:left].decode(errors="ignore"))
        left -= len(text.encode())
        if left <= 0:
            break
    return texts


@dataclass
class Memory:
    """What a base knew before it was tuned, and what its variants still know.

    Args:
        recipe: that is evaluated; only for its tokenizer's rules.
        others: other recipes with their items.
        folder: where results are kept.
        texts: the base's own, or plain English where it brings none.
        named: what these are, in words.
        context: the base's.
        before: bits per byte of the base and bytes read, by recipe, "" for its own text.
    """

    recipe: Recipe
    others: Sequence[tuple[Recipe, Sequence[Example]]]
    folder: Path
    texts: list[str] = field(default_factory=list)
    named: str = ""
    context: int = 0
    before: dict[str, Read] = field(default_factory=dict)

    def learn(self, variant: Variant, place: Path) -> None:
        """Take up what a base knows; `place` is its folder."""
        self.look(variant, place)
        self.before = self.read(variant)

    def look(self, variant: Variant, place: Path) -> None:
        """Choose what is read, as a base and its folder have it."""
        own = own_text(place)
        self.context, self.texts = variant.context, own or plain_text()
        self.named = OWN if own else PLAIN

    def lost(self, variant: Variant) -> dict[str, Forgetting]:
        """Compare a variant with the base, by recipe, "" for the base's own text."""
        if not self.before:
            return {}
        told = {recipe.name: ", from ".join([ANSWERS, *recipe.data]) for recipe, _ in self.others}
        told[""] = self.named
        return {
            name: Forgetting(self.before[name][0], after, size, told[name])
            for name, (after, size) in self.read(variant).items()
            if name in self.before
        }

    def read(self, variant: Variant) -> dict[str, Read]:
        """Let a model read it all, by recipe, "" for the base's own text."""
        found: dict[str, Read | None] = {}
        if self.texts:
            args = self.recipe, self.texts, self.context, self.folder
            found[""] = bits_per_byte(variant, *args), sum(len(t.encode()) for t in self.texts)
        for recipe, items in self.others:
            found[recipe.name] = elsewhere(variant, recipe, items, self.context, self.folder)
        return {name: bits for name, bits in found.items() if bits is not None}


def bits_per_byte(
    variant: Variant, recipe: Recipe, texts: Sequence[str], context: int, folder: Path
) -> float:
    """Score texts through a variant, soft prompt and adapter included.

    Args:
        variant: what reads.
        recipe: only for its tokenizer's rules.
        texts: documents.
        context: of the base; half of it, at most LONGEST, is a window.
        folder: where the result is kept.
    """
    window = min(LONGEST, context // 2)
    path = folder / f"{digest(json.dumps([identity(variant), window, list(texts)]))}.json"
    if path.is_file():
        return float(json.loads(path.read_text(encoding="utf-8"))["bits_per_byte"])
    asker = Asker(variant, recipe, Form())
    rows: list[Row] = []
    for text in texts:
        ids = asker.encode(text)
        for first in range(0, len(ids), window):
            part = ids[first : first + window]
            rows.append((asker.opening + part, [-100] * len(asker.opening) + part))
    return _scored(variant, rows, sum(len(text.encode()) for text in texts), path)


def elsewhere(
    variant: Variant, recipe: Recipe, items: Sequence[Example], context: int, folder: Path
) -> Read | None:
    """Score another recipe's references, asked in the plain-text form that the base knows.

    Args:
        variant: what reads.
        recipe: the other one.
        items: of its test, of which about ITEMS are read, from all over them.
        context: of the base; what fits it only just is left out, so that a soft prompt's shorter
            context reads the same ones.
        folder: where the result is kept.

    Returns:
        Bits per byte, and the bytes of the references; None for a recipe without such a form.
    """
    asker = Asker(variant, recipe, Form("prose"))
    every = max(1, len(items) // ITEMS)
    asked = [item for item in map(asker.ask, items[::every]) if item is not None]
    asked = [item for item in asked if len(item.row[0]) <= context - MARGIN]
    rows, size = [item.row for item in asked], sum(item.target_bytes for item in asked)
    if not size:
        return None
    path = folder / f"{digest(json.dumps([identity(variant), recipe.name, rows]))}.json"
    if path.is_file():
        return float(json.loads(path.read_text(encoding="utf-8"))["bits_per_byte"]), size
    return _scored(variant, rows, size, path), size


def _scored(variant: Variant, rows: Sequence[Row], size: int, path: Path) -> float:
    """Score rows and keep the result."""
    found = math.fsum(likelihoods(variant, rows)) / math.log(2) / size
    facts = {"variant": variant.fingerprint, "bits_per_byte": found}
    write_whole(path, json.dumps(facts) + "\n")
    return found
