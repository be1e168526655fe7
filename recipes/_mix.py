"""Mixtures: several recipes taught at once, and settings that several recipes share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from ftkit import catalog
from ftkit.config import override, table
from ftkit.errors import FtkitError

from ..basemodel.record import BadRow
from ._found import Found, joined
from ._limits import Allows, Limits
from ._read import Row, streams
from ._recipe import Example, Recipe, Split
from ._split import repeated
from ._store import Rows


@dataclass(frozen=True)
class Mixture(Recipe):
    """Teach several recipes to one variant; eval asks it each recipe's own questions.

    Args:
        parts: the recipes; each one's epochs say how often its rows come in an epoch of the whole.
    """

    epochs: float = 1.0
    parts: tuple[Recipe, ...] = ()

    def __post_init__(self) -> None:
        """Stand by every notice of a part; be asked in each way that a part is."""
        super().__post_init__()
        notices = dict.fromkeys(part.notice for part in self.parts if part.notice)
        object.__setattr__(self, "notice", " ".join(notices))
        for way in ("turns", "queries"):
            object.__setattr__(self, way, any(getattr(part, way) for part in self.parts))

    @property
    def name(self) -> str:
        """The parts' names, as `--recipe` takes them."""
        return ",".join(part.name for part in self.parts)

    def examples(self, split: Split) -> Sequence[Example]:
        """Give the parts' examples one after the other."""
        found: list[Sequence[Example]] = []
        for part in self.parts:
            examples = part.examples(split)
            if split == "train":
                examples = Rows(examples, repeated(len(examples), part.epochs))
            found.append(_Named(part.name, examples))
        return _Joined(tuple(found))

    def mark(self) -> str:
        """Hash what the parts' sources hold."""
        return " ".join(part.mark() for part in self.parts)

    def found(self) -> Found | None:
        """Say what reading the parts' sources met."""
        known = [(part.name, found) for part in self.parts if (found := part.found())]
        return joined(known) if known else None

    def decided(self) -> tuple[str, ...]:
        """Say what was taken for granted, each sentence behind its recipe's name."""
        return tuple(f"{part.name}: {said}" for part in self.parts for said in part.decided())

    def ask(self, text: str, database: Path | None = None) -> Example:
        """Put a user's words as the part does that asks databases, if there is a database."""
        asks = self._querying if database is not None else None
        return asks.ask(text, database) if asks else super().ask(text, database)

    def answer(self, reply: str, example: Example) -> str:
        """Take the answer as the part does that put the question."""
        asks = self._querying if "schema" in example.meta else None
        return asks.answer(reply, example) if asks else super().answer(reply, example)

    def so_far(self, reply: str, example: Example) -> str:
        """Show of an unfinished answer what that part shows."""
        asks = self._querying if "schema" in example.meta else None
        return asks.so_far(reply, example) if asks else super().so_far(reply, example)

    def grammar(self, example: Example, limits: Limits) -> Allows | None:
        """Hold replies to questions to a database against it, as that part does."""
        asks = self._querying if "schema" in example.meta else None
        return asks.grammar(example, limits) if asks else None

    @property
    def _querying(self) -> Recipe | None:
        return next((part for part in self.parts if part.queries), None)


@dataclass(frozen=True)
class _Named(Sequence[Example]):
    """A part's examples, whose units are named after the part too."""

    name: str
    examples: Sequence[Example]

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return _Named(self.name, self.examples[place])
        example = self.examples[place]
        unit = f"{self.name} {example.meta.get('unit', example.where)}"
        return replace(example, meta=example.meta | {"unit": unit})


@dataclass(frozen=True)
class _Joined(Sequence[Example]):
    """Sequences one after the other."""

    parts: tuple[Sequence[Example], ...]

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return [self[number] for number in range(*place.indices(len(self)))]
        for part in self.parts:
            if place < len(part):
                return part[place]
            place -= len(part)
        raise IndexError(place)


def load(name: str, values: Mapping[str, Any]) -> Recipe:
    """Load a recipe, or the mixture of several, and apply settings.

    Args:
        name: of a recipe, or several with commas between.
        values: `--set recipe.` by name, for one part as `sql_qa.rows` or in a table of its name.
            Sources in `data` go to the parts whose fields their rows have.

    Raises:
        FtkitError: for an unknown setting, or sources that do not fit the parts.
    """
    names = name.split(",")
    if len(names) == 1:
        recipe: Recipe = override(catalog.load("recipes", name), values, "recipe")
        return recipe
    parts = shared(names, {key: value for key, value in values.items() if key != "data"})
    if values.get("data"):
        parts = _with_data(parts, list(values["data"]))
    most = {key: max(getattr(part, key) for part in parts) for key in ("length", "max_new_tokens")}
    return Mixture(parts=tuple(parts), **most)


def settings(recipe: Recipe) -> dict[str, Any]:
    """Write a recipe's settings as `load` takes them."""
    if isinstance(recipe, Mixture):
        return {part.name: table(part) for part in recipe.parts}
    return table(recipe)


def shared(names: Sequence[str], values: Mapping[str, Any]) -> list[Any]:
    """Load recipes and apply settings, each to those recipes that have it.

    Args:
        names: of the recipes.
        values: `--set recipe.` by name; for one recipe as `chat.rows`, or in a table of its name.

    Raises:
        FtkitError: for a setting that no recipe has.
    """
    own: dict[str, dict[str, Any]] = {name: {} for name in names}
    common: dict[str, Any] = {}
    for key, value in values.items():
        name, dot, rest = key.partition(".")
        if name not in own:
            common[key] = value
        elif dot:
            own[name][rest] = value
        elif isinstance(value, Mapping):
            own[name] |= value
        else:
            raise FtkitError(f"'recipe.{name}' is a recipe: set one of its own, as {name}.epochs=2")
    loaded = [catalog.load("recipes", name) for name in names]
    known = [set(table(recipe)) for recipe in loaded]
    unknown = {key: value for key, value in common.items() if not any(key in k for k in known)}
    if unknown and loaded:
        override(loaded[0], unknown, "recipe")
    found = []
    for recipe, have in zip(loaded, known, strict=True):
        fits = {key: value for key, value in common.items() if key in have}
        mine = override(recipe, fits, "recipe")
        found.append(override(mine, own[recipe.name], f"recipe.{recipe.name}"))
    return found


def _with_data(parts: Sequence[Recipe], data: Sequence[str]) -> list[Recipe]:
    """Give each part its sources beside those that it has."""
    dealt = deal(parts, data)
    return [replace(part, data=(*part.data, *dealt[part.name])) for part in parts]


def deal(parts: Sequence[Recipe], data: Sequence[str]) -> dict[str, list[str]]:
    """Give each source to the recipe whose fields its first row has, or that alone takes it.

    A row that cannot be read is passed over here: the part that gets its source counts it.

    Args:
        parts: the recipes; each must get a source, or have one.
        data: the sources.

    Raises:
        FtkitError: for a source that no recipe takes, or several, and a recipe without one.
    """
    dealt: dict[str, list[str]] = {part.name: [] for part in parts}
    for word in data:
        row = _first(word)
        fits = [part for part in parts if part.fields and set(part.fields) <= set(row.fields)]
        fits = sorted(fits, key=lambda part: -len(part.fields))[:1]
        fits = fits or [part for part in parts if _takes(part, row)]
        if len(fits) != 1:
            names = ", ".join(part.name for part in fits or parts)
            if fits:
                hint = f"--set recipe.{fits[0].name}.data={word} says whose it is"
                raise FtkitError(f"{row.where}: each of {names} takes this row: {hint}")
            has = ", ".join(row.fields)
            raise FtkitError(f"{row.where}: none of {names} takes this row, which has {has}")
        dealt[fits[0].name].append(word)
    for part in parts:
        if not dealt[part.name] and not part.data:
            raise FtkitError(
                f"--data brings no rows for {part.name}: add some, or leave {part.name} out"
            )
    return dealt


def _first(word: str) -> Row:
    """Read the first row of a source that can be read; where none can, the first says why."""
    found, _, _ = streams(word)
    bad: BadRow | None = None
    for row in chain.from_iterable(found):
        if isinstance(row, Row):
            return row
        bad = bad or row
    found[0].refuse_empty(bad is not None)
    assert bad is not None
    raise bad


def _takes(recipe: Recipe, row: Row) -> bool:
    try:
        return bool(recipe.take(row))
    except BadRow:
        return False
