"""The contract of a recipe: examples, their split, their prompt, how they are asked and scored."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ftkit.errors import FtkitError

from ._limits import Allows, Limits
from ._read import Row, sources
from ._shapes import talk

if TYPE_CHECKING:  # gathering rows makes examples, so it imports this
    from ._found import Found

# Settings of any recipe that count something.
SIZES = ("rows", "tests", "length", "max_new_tokens", "characters", "longest")
Split = Literal["train", "validation", "test"]
WAYS = ("stop", "skip")


@dataclass(frozen=True)
class Example:
    """One dialogue that ends in the assistant's answer.

    Args:
        messages: `{"role": ..., "content": ...}` with the roles system, user and assistant.
        meta: what graders need (gold query, database, features ...) and `unit`, what leaks.
        where: `file:line` or the world's name of it, for messages.
    """

    messages: tuple[dict[str, str], ...]
    meta: dict[str, Any] = field(default_factory=dict)
    where: str = ""

    @property
    def prompt(self) -> tuple[dict[str, str], ...]:
        """The messages before the answer."""
        return self.messages[:-1]

    @property
    def reference(self) -> str:
        """The assistant's answer, which is what training teaches and eval compares with."""
        return self.messages[-1]["content"]


@dataclass(frozen=True)
class Prose:
    """An example in the plain text that a base has met in pretraining.

    Args:
        prompt: text up to where the answer begins.
        answer: the reference as it would go on.
        stop: a string that ends the answer.
    """

    prompt: str
    answer: str
    stop: str


@dataclass(frozen=True)
class Recipe:
    """Say what is taught and how it is asked; every field is a knob of `--set recipe.`.

    Args:
        data: sources, `PATH[@WEIGHT]`; none means the embedded world.
        world_seed: where the embedded world comes from.
        epochs: passes over the training rows.
        length: most tokens of an example, and tokens of a packed row.
        max_new_tokens: most tokens of an answer.
        validation: share of the units (schemas, documents, dialogues) held out from training.
        max_dropped: largest share of rows that may be too long before the recipe refuses.
        whole: ask all rows of a plain file, and keep none for training; `ftkit eval --data` does.
        on_bad_rows: "stop" at rows that cannot be used, or "skip" them and say which.
        cache: folder for what was read, and for databases; "" for ftkit's in the user's cache.
    """

    data: tuple[str, ...] = ()
    world_seed: int = 0
    epochs: float = 2.0
    length: int = 512
    max_new_tokens: int = 64
    validation: float = 0.05
    max_dropped: float = 0.2
    whole: bool = False
    on_bad_rows: str = "stop"
    cache: str = ""

    metrics: ClassVar[tuple[str, ...]] = ()  # names in eval/, the first is what ranks variants
    notice: ClassVar[str] = ""  # what stands beside every answer that a person is shown
    fields: ClassVar[tuple[str, ...]] = ()  # what a row of a source has
    queries: ClassVar[bool] = False  # whether questions are put to a database
    turns: ClassVar[bool] = False  # in a session, what was said before stands before a question
    strict: ClassVar[bool] = True  # train and dev files may have no unit in common
    cuts: ClassVar[bool] = False  # a row is cut otherwise for the test than for training

    def __post_init__(self) -> None:
        """Refuse sizes that make no split, naming the setting."""
        for name in SIZES:
            if getattr(self, name, 1) < 1:
                raise FtkitError(f"'recipe.{name}' takes 1 or more, not {getattr(self, name)}")
        if self.epochs <= 0:
            raise FtkitError(f"'recipe.epochs' takes a number above 0, not {self.epochs:g}")
        if not 0 < self.validation < 1:
            raise FtkitError(f"'recipe.validation' is a share of 0 to 1, not {self.validation}")
        if self.on_bad_rows not in WAYS:
            raise FtkitError(f"'recipe.on_bad_rows' is stop or skip, not {self.on_bad_rows!r}")

    @property
    def name(self) -> str:
        """The file's name, which is the word behind `--recipe`."""
        return type(self).__module__.rpartition(".")[2]

    @property
    def cached(self) -> Path:
        """The folder where things are kept between runs."""
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        return Path(self.cache) if self.cache else Path(home) / "ftkit"

    def world(self, split: Split) -> Sequence[Example]:
        """Give a split of the embedded rows, always the same and in the same order."""
        raise FtkitError(f"the recipe {self.name} has no rows of its own: give --data")

    def take(self, row: Row, test: bool = False) -> list[Example]:
        """Make examples of a row of a source.

        Args:
            row: of any file; `row.odd` may be told what is worth a look.
            test: for the test; it matters only to recipes that say `cuts`.

        Returns:
            Each with a `unit` in its meta, the document, schema or dialogue that must not lie in
            two splits. `asked` False there says that the row cannot be tested with.

        Raises:
            BadRow: when it does not fit.
        """
        messages = talk(row)
        return [Example(messages, {"unit": messages[0]["content"]}, row.where)]

    def examples(self, split: Split) -> Sequence[Example]:
        """Give a split, always the same and in the same order; no unit lies in two splits.

        Raises:
            FtkitError: for rows that cannot be used, unless they are to be skipped.
        """
        if not self.data:
            return self.world(split)
        from ._rows import gather

        rows = gather(self)
        if self.on_bad_rows == "stop":
            rows.found.refuse()
        return rows.split(split)

    def folders(self) -> tuple[Path, ...]:
        """Name the folders in which the sources' files lie."""
        paths = [
            Path(word if Path(word).exists() else word.rpartition("@")[0]) for word in self.data
        ]
        return tuple(path if path.is_dir() else path.parent for path in paths)

    def beside(self) -> tuple[Path, ...]:
        """Name folders that are read beside the sources; what they hold decides what is read."""
        return ()

    def mark(self) -> str:
        """Hash what the sources hold; "" without sources."""
        marks = [s.digest() for found, _, _ in sources(self.data)[0] for s in found]
        return hashlib.sha256("\n".join(marks).encode()).hexdigest() if marks else ""

    def found(self) -> "Found | None":
        """Say what reading the sources met; nothing without sources."""
        from ._rows import gather

        return gather(self).found if self.data else None

    def generate(self, seed: int, folder: Path) -> Iterator[dict[str, Any]]:
        """Yield rows of the embedded world as `data` has them; the same one may come again.

        Args:
            seed: what they are drawn from.
            folder: where the databases go that the rows name.

        Raises:
            FtkitError: when the recipe has no world.
        """
        raise FtkitError(f"the recipe {self.name} has no world of its own to draw rows from")

    def notes(self) -> tuple[str, ...]:
        """Say in sentences which rows of the sources are not used, and why, and what they are."""
        found = self.found()
        return (*(found.notes if found else ()), *self.decided())

    def decided(self) -> tuple[str, ...]:
        """Say in sentences what was taken from the rows for granted, such as their labels."""
        return ()

    def settled(self) -> "Recipe":
        """Make settings of what was taken for granted, so that it holds for other rows too."""
        return self

    def corpus(self) -> Iterator[str]:
        """Yield plain-text documents that hold the skill as prose, for pretraining."""
        yield from ()

    def prose(self, example: Example) -> Prose | None:
        """Ask an example in the base's own plain-text form, where there is one."""
        return None

    def documents(self) -> Iterator[str]:
        """Yield the training rows as plain-text documents, to pretrain on beside other text."""
        for example in self.examples("train"):
            if (prose := self.prose(example)) is not None:
                yield prose.prompt + prose.answer + prose.stop

    def ask(self, text: str, database: Path | None = None) -> Example:
        """Put a user's own words as training put its questions; the answer is still empty.

        Args:
            text: what was typed.
            database: a SQLite file to ask, where the recipe is about one.
        """
        messages = ({"role": "user", "content": text}, {"role": "assistant", "content": ""})
        return Example(messages)

    def answer(self, reply: str, example: Example) -> str:
        """Take the answer from a reply, the same way for all variants and strictly."""
        return reply.strip()

    def grammar(self, example: Example, limits: Limits) -> Allows | None:
        """Give what says which replies there can be to an example, where a recipe can tell.

        Args:
            example: what is asked.
            limits: how far they are held against it.
        """
        return None

    def so_far(self, reply: str, example: Example) -> str:
        """Take from an unfinished reply what the answer begins with, whatever follows.

        A recipe with an `answer` of its own shows nothing before the end, unless it says here what.
        """
        plain = type(self).answer is Recipe.answer
        return self.answer(reply, example) if plain else ""
