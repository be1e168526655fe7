"""A conversation with a variant: the recipe's own prompt, or raw text for a base."""

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from itertools import chain
from pathlib import Path
from typing import Any
from unicodedata import category

from ftkit import catalog
from ftkit.errors import FtkitError
from ftkit.runs import Run

LONGEST = 256  # new tokens of raw text
KEPT = "\n\t\u200c\u200d"  # characters that command nothing: the last two join letters and emoji

Exchange = tuple[dict[str, str], ...]  # what was asked, and the answer


@dataclass
class Session:
    """A variant that is asked one thing after another.

    Args:
        variant: what `open_variant` gave.
        recipe: what it was tuned for; None for raw text.
        database: a SQLite file that queries are run on, if any.
        temperature: as for `generate`, and so are all options down to `seed`.
        top_k: sample among the k likeliest tokens; 0 among all.
        top_p: sample among the likeliest tokens that hold this share of the probability.
        repetition_penalty: above 1 makes tokens that stand there already less likely.
        seed: of sampling; each question draws anew from it.
        max_tokens: of an answer; None takes the recipe's, or LONGEST.
        candidates: further queries to draw where the database finds nothing by the first.
        limits: how far queries are held against the schema while they are written.
        notice: what is to be said beside the answers.
        history: the exchanges that stand before the next question, where the recipe has turns.
        forgotten: how many older ones no longer fitted.
        asked: how many questions there were.
    """

    variant: Any
    recipe: Any
    database: Path | None = None
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    seed: int = 0
    max_tokens: int | None = None
    candidates: int = 0
    limits: str = ""
    notice: str = ""
    history: list[Exchange] = field(default_factory=list)
    forgotten: int = 0
    asked: int = 0

    @staticmethod
    def open(folder: Path, database: Path | None, *, raw: bool, **options: Any) -> "Session":
        """Open a variant with the recipe it was tuned for.

        Args:
            folder: a run, a Hugging Face folder or a PEFT folder.
            database: a SQLite file that queries are run on, if any.
            raw: complete plain text, whatever the variant was tuned for.
            options: fields of the session, from `temperature` to `limits`.

        Raises:
            FtkitError: when there is no variant, or it cannot be asked in this way.
        """
        from ..adapters._variant import open_variant
        from ..recipes._mix import load

        variant = open_variant(folder)
        settings = Run(folder).settings if (folder / "run" / "run.toml").is_file() else {}
        name = settings.get("options", {}).get("recipe")
        taught = load(name, settings["recipe"]) if name else None
        notice = taught.notice if taught else ""  # raw text too comes with it
        if settings.get("command") == "pretrain" and not settings["options"].get("data"):
            notice = load(",".join(catalog.names("recipes")), {}).notice  # it has read all worlds
        if database is not None and (raw or taught is None or not taught.queries):
            raise FtkitError(f"--db needs a variant that was tuned to query: {folder} was not")
        if raw or taught is None:
            return Session(variant, None, None, notice=notice, **options)
        if database is not None and not database.is_file():
            raise FtkitError(f"no such file: {database}")
        return Session(variant, taught, database, notice=notice, **options)

    @cached_property
    def renderer(self) -> Any:
        """The variant's chat template."""
        from ..recipes._render import Renderer

        return Renderer(self.variant.tokenizer, self.variant.name)

    @property
    def room(self) -> int:
        """How many tokens an answer may have."""
        return self.max_tokens or (self.recipe.max_new_tokens if self.recipe else LONGEST)

    @property
    def remembers(self) -> bool:
        """Whether what was said before is part of the next prompt."""
        return self.recipe is not None and bool(self.recipe.turns)

    def forget(self) -> None:
        """Begin a new conversation."""
        self.history, self.forgotten = [], 0

    def reply(self, text: str) -> Generator[str, None, None]:
        """Answer a text piece by piece; where there is a database, a query's rows follow in words.

        An answer that is not read to its end stays in the conversation as far as it was read.

        Args:
            text: what was typed.

        Returns:
            The pieces, one or more for each token, maybe empty; together they are the answer.

        Raises:
            FtkitError: at once, when the text cannot be asked; the conversation stays as it was.
        """
        if (shown := text.encode(errors="replace").decode()) != text:
            raise FtkitError(f"this is not UTF-8 text: {shown}")
        if self.recipe is None:
            return self._pieces(self._tokens(self._plain(text), self.room, None), None)
        example = self.recipe.ask(text, self.database)
        prompt, kept = self._prompt(example)
        tokens = self._tokens(prompt, self.room, example)
        self.forgotten += len(self.history) - len(kept)
        self.history = kept
        return self._pieces(tokens, example, prompt)

    def _prompt(self, example: Any) -> tuple[list[int], list[Exchange]]:
        """Lay the conversation before a question: the newest exchanges that leave room to answer.

        Returns:
            The prompt's tokens, and the exchanges in it.
        """
        head = [message for message in example.prompt if message["role"] == "system"]
        rest = [message for message in example.prompt if message["role"] != "system"]
        for first in range(len(self.history) + 1):
            kept = self.history[first:]
            ids = self.renderer.prompt([*head, *chain.from_iterable(kept), *rest])
            if len(ids) + self.room <= self.variant.context:
                break
        return ids, kept  # without any, the answer is given the room that there is

    def _plain(self, text: str) -> list[int]:
        """Encode raw text; what looks like a control token in it is text."""
        from tokenizers import Tokenizer

        tokenizer = self.variant.tokenizer
        plain: Any = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        plain.encode_special_tokens = True
        opening = [] if tokenizer.bos_token_id is None else [int(tokenizer.bos_token_id)]
        return opening + list(plain.encode(text, add_special_tokens=False).ids)

    def _tokens(
        self, prompt: Sequence[int], room: int, example: Any, temperature: float | None = None
    ) -> Iterator[int]:
        """Generate; a recipe's prompt that does not fit is refused at once, plain text goes on."""
        from ..basemodel.generate import stream
        from ..recipes._limits import Held

        grammar = self.recipe.grammar(example, self.limits) if self.limits else None
        made = stream(
            self.variant.decoder,
            prompt,
            max_new_tokens=room,
            stop={*self.variant.stops, *(self.renderer.stops if self.recipe else ())},
            temperature=self.temperature if temperature is None else temperature,
            top_k=self.top_k,
            top_p=self.top_p,
            repetition_penalty=self.repetition_penalty,
            seed=self.seed,
            crop=self.recipe is None,
            place=self.asked,
            allowed=Held(grammar, self.renderer.decode) if grammar else None,
        )
        self.asked += 1
        return made

    def _pieces(
        self, tokens: Iterable[int], example: Any, prompt: Sequence[int] = ()
    ) -> Generator[str, None, None]:
        """Turn tokens into pieces of the answer, and keep what was said."""
        answer = reply = ""
        try:
            for reply in growing(self.variant.tokenizer, tokens):
                sure = self.recipe.so_far(reply, example) if self.recipe else reply
                piece = sure.removeprefix(answer) if sure.startswith(answer) else ""
                answer += piece
                yield printable(piece)
            whole = self.recipe.answer(reply, example) if self.recipe else reply
            # A decoder that takes back what it said is rare: then the answer is said once more.
            rest = whole.removeprefix(answer) if whole.startswith(answer) else f"\n{whole}"
            answer = whole
            yield printable(rest)
        finally:
            if self.remembers and answer.strip():
                asked = [message for message in example.prompt if message["role"] != "system"]
                self.history.append((*asked, {"role": "assistant", "content": answer}))
        if self.database is not None and (answer or self.candidates):
            yield from self._rows(example, prompt, answer)

    def _rows(self, example: Any, prompt: Sequence[int], sql: str) -> Iterator[str]:
        """Run a query where it can only read, lay out its rows and say them in words.

        Where it fails or finds nothing, a further query that does better takes its place.
        """
        from ..eval._guided import FINDS, worth
        from ..eval._sql import Sql
        from ._in_words import told

        assert self.database is not None
        worker = Sql(seconds=10.0)
        run = cache(partial(worker.query, self.database))
        try:
            result = first = run(sql)
            if self.candidates and worth(first) != FINDS:
                why = printable(first.failure) or "it finds nothing"
                yield f"\n({why}; drawing further queries)"
                for query in self._further(prompt, example):
                    yield ""  # here Ctrl-C is heard
                    if query is not None and worth(run(query)) > worth(result):
                        sql, result = query, run(query)
                    if worth(result) == FINDS:
                        break
                better = worth(result) > worth(first)
                yield f"\n{printable(sql)}" if better else "\n(none does better)"
            said = f"({result.failure})"
            if "no such" in result.failure and not self.limits:
                said += "\n(--only names holds a query to the names that are there)"
            if not result.failure:
                question = example.meta["question"]
                said = told(question, sql, result.rows, lambda other: run(other).rows)
            yield f"\n{printable(said)}"
        except ValueError as problem:
            raise FtkitError(str(problem)) from None
        finally:
            worker.close()

    def _further(self, prompt: Sequence[int], example: Any) -> Iterator[str | None]:
        """Draw further queries; after each token of one comes None, and behind the last the query.

        One that runs on to the token limit is none.
        """
        for _ in range(self.candidates):
            ids: list[int] = []
            for token in self._tokens(prompt, self.room, example, self.temperature or 1.0):
                ids.append(token)
                yield None
            if len(ids) < self.room:
                yield self.recipe.answer(self.renderer.decode(ids), example)


def growing(tokenizer: Any, tokens: Iterable[int]) -> Iterator[str]:
    """Decode tokens as they come: the text so far after each, and in the end the whole text.

    The bytes of half a character, and control tokens, are left out.

    Args:
        tokenizer: transformers' fast tokenizer.
        tokens: the ids, one by one.
    """
    ids: list[int] = []
    text = ""
    for token in tokens:
        ids.append(token)
        text = tokenizer.decode(ids, skip_special_tokens=True)
        yield text.rstrip("\ufffd")
    yield text


def printable(text: str) -> str:
    r"""Take out what could command a terminal.

    >>> printable("a\x1b[2Jb\n")
    'a\ufffd[2Jb\n'
    """
    return "".join(
        c if c.isprintable() or c in KEPT or category(c) == "Zs" else "\ufffd" for c in text
    )
