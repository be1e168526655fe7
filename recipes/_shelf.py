"""A tuning's rows as tokens, kept from one variant of a series to the next."""

from collections.abc import Sequence

from ftkit.errors import FtkitError

from ._check import Encoded, encode
from ._recipe import Example, Recipe
from ._render import Renderer


class Shelf:
    """The rows that were read last, and as tokens: variants of a series differ in method and seed.

    Args:
        checked: most rows to validate with.
    """

    def __init__(self, checked: int) -> None:
        self._checked = checked
        self._recipe: Recipe | None = None
        self._examples: tuple[Sequence[Example], ...] = ()
        self._base = ("", "")
        self._most = 0
        self._tokens: tuple[Encoded, ...] = ()

    def read(self, recipe: Recipe) -> None:
        """Read a recipe's rows, unless they are what was read last.

        Raises:
            FtkitError: where there are none.
        """
        if self._recipe == recipe:
            return
        self._recipe, self._examples, self._tokens = None, (), ()
        rows = recipe.examples("train")
        checks = _spread(recipe.examples("validation"), self._checked)
        if not rows or not checks:
            raise FtkitError(
                f"recipe {recipe.name} gives no rows to train on and to validate with: three rows "
                "with different questions are the least"
            )
        self._recipe, self._examples = recipe, (rows, checks)

    def tokens(
        self, base: tuple[str, str], renderer: Renderer, most: int
    ) -> tuple[Encoded, Encoded]:
        """Give the rows that were read as tokens, to train on and to validate with.

        Args:
            base: its place and hash, which settle the tokenizer.
            renderer: the base's template.
            most: tokens of an example. A method with slots leaves fewer, which matters only where
                rows are longer.

        Raises:
            FtkitError: where too many are too long.
        """
        assert self._recipe is not None, "rows are read first"
        longest = max((part.part.longest for part in self._tokens), default=most + 1)
        dropped = any(part.part.overlong for part in self._tokens)
        if self._base != base or (self._most != most and (dropped or longest > most)):
            self._tokens = ()
        if not self._tokens:
            rows, checks = self._examples
            self._base, self._most = base, most
            self._tokens = (
                _encoded(rows, renderer, most, "training", self._recipe.max_dropped),
                _encoded(checks, renderer, most, "validation"),
            )
        train, held_out = self._tokens
        return train, held_out


def _encoded(
    rows: Sequence[Example], renderer: Renderer, most: int, which: str, dropped: float = 1.0
) -> Encoded:
    """Put the rows of a split into tokens."""
    part = encode(rows, renderer, most, dropped)
    if not part.items:
        raise FtkitError(f"every {which} row is longer than {most} tokens: raise 'recipe.length'")
    return part


def _spread(rows: Sequence[Example], most: int) -> Sequence[Example]:
    """Take some rows from all over a split."""
    if len(rows) <= most:
        return rows
    return [rows[place * len(rows) // most] for place in range(most)]
