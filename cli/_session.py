"""A conversation with a variant: the recipe's own prompt, or raw text for a base."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ftkit import catalog
from ftkit.config import override
from ftkit.errors import FtkitError
from ftkit.runs import Run

ROWS = 20  # of a query's result, at most
LONGEST = 256  # new tokens of raw text


@dataclass(frozen=True)
class Session:
    """A variant that is asked one thing after another.

    Args:
        variant: what `open_variant` gave.
        recipe: what it was tuned for; None for raw text.
        database: a SQLite file that queries are run on, if any.
    """

    variant: Any
    recipe: Any
    database: Path | None = None

    @staticmethod
    def open(folder: Path, database: Path | None, *, raw: bool) -> "Session":
        """Open a variant with the recipe it was tuned for.

        Raises:
            FtkitError: when there is no variant, or it cannot be asked in this way.
        """
        from ..adapters._variant import open_variant

        variant = open_variant(folder)
        settings = Run(folder).settings if (folder / "run" / "run.toml").is_file() else {}
        name = settings.get("options", {}).get("recipe")
        raw = raw or name is None
        if raw and database is not None:
            raise FtkitError(f"--db needs a variant that was tuned to query: {folder} was not")
        if database is not None and not database.is_file():
            raise FtkitError(f"no such file: {database}")
        if raw:
            return Session(variant, None)
        recipe = override(catalog.load("recipes", name), settings["recipe"], "recipe")
        return Session(variant, recipe, database)

    @cached_property
    def renderer(self) -> Any:
        """The variant's chat template."""
        from ..recipes._render import Renderer

        return Renderer(self.variant.tokenizer, self.variant.name)

    def reply(self, text: str) -> str:
        """Answer a text; a query's rows follow it when there is a database."""
        if self.recipe is None:
            return self._complete(text)
        example = self.recipe.ask(text, self.database)
        prompt = self.renderer.prompt(example.prompt)
        answer = self.recipe.answer(self._generate(prompt, self.recipe.max_new_tokens), example)
        return answer if self.database is None else f"{answer}\n{self._rows(answer)}"

    def _complete(self, text: str) -> str:
        """Go on with raw text; what looks like a control token in it is text."""
        from tokenizers import Tokenizer

        tokenizer = self.variant.tokenizer
        plain: Any = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        plain.encode_special_tokens = True
        opening = [] if tokenizer.bos_token_id is None else [int(tokenizer.bos_token_id)]
        return self._generate(opening + plain.encode(text, add_special_tokens=False).ids, LONGEST)

    def _generate(self, prompt: list[int], room: int) -> str:
        """Generate greedily."""
        from ..basemodel.generate import generate

        ends = {*self.variant.stops, *(self.renderer.stops if self.recipe else ())}
        (made,) = generate(
            self.variant.decoder, [prompt], max_new_tokens=room, stop=ends, pad=self.variant.pad
        )
        return printable(self.variant.tokenizer.decode(made.ids, skip_special_tokens=True))

    def _rows(self, sql: str) -> str:
        """Run a query where it can only read, and lay out its rows."""
        from ..eval._sql import Sql

        assert self.database is not None
        worker = Sql(seconds=10.0)
        try:
            result = worker.query(self.database, sql)
        except ValueError as problem:
            raise FtkitError(str(problem)) from None
        finally:
            worker.close()
        if result.failure:
            return f"({result.failure})"
        shown = [" | ".join(printable(str(value)) for value in row) for row in result.rows[:ROWS]]
        more = len(result.rows) - len(shown)
        return "\n".join([*shown, f"({more:,} more)"] if more else shown) or "(no rows)"


def printable(text: str) -> str:
    r"""Take out what could command a terminal.

    >>> printable("a\x1b[2Jb\n")
    'a\ufffd[2Jb\n'
    """
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)
