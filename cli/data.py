"""`ftkit data`: look at a recipe's rows before training on them; no model is loaded."""

import json
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import click
from rich.text import Text

from ftkit import catalog
from ftkit.config import override
from ftkit.errors import FtkitError
from ftkit.runs import write_whole

from . import _options
from ._bar import console
from ._session import printable

SHOWN = 3  # examples
IGNORE = -100  # the label of a token that is not learned
LEARNED = "bold green"


@click.command()
@click.option("--recipe", type=_options.Word("recipes"), required=True, help="Whose rows.")
@click.option(
    "--data",
    metavar="SOURCE",
    multiple=True,
    help="Rows, PATH[@WEIGHT]; again for more [default: the embedded world].",
)
@click.option(
    "--base",
    metavar="DIR|HUB",
    help="Show the tokens of this base's tokenizer, and count them [default: plain text].",
)
@click.option(
    "--prose",
    metavar="FILE.jsonl",
    type=click.Path(path_type=Path),
    help="Write the training rows as plain text there, for `ftkit pretrain --data`.",
)
@click.option(
    "--generate",
    "count",
    metavar="N",
    type=int,
    callback=_options.above_zero,
    help="Write N different rows of the recipe's own world, drawn from --seed, and end.",
)
@click.option(
    "--out",
    metavar="FILE.jsonl",
    type=click.Path(path_type=Path),
    help="Where --generate writes them; databases go beside it.",
)
@_options.common
def data(
    recipe: str,
    data: tuple[str, ...],
    base: str | None,
    prose: Path | None,
    count: int | None,
    out: Path | None,
    pairs: tuple[str, ...],
    seed: int,
) -> None:
    """Check, count and preview a recipe's rows.

    Three examples are shown with the part marked on which the loss falls. --set reaches the
    table recipe.
    """
    if count is not None or out is not None:
        if count is None or out is None or data or base or prose or pairs:
            raise FtkitError("--generate N and --out FILE.jsonl go together, with --seed alone")
        console().print(_generate(recipe, count, seed, out))
        return
    if prose is not None and prose.exists():
        raise FtkitError(f"{prose} exists: choose another name for --prose")
    if prose is not None and not prose.parent.is_dir():
        raise FtkitError(f"--prose {prose}: there is no folder {prose.parent}")
    sets = _options.settings(pairs, ["recipe"])
    if data:
        sets["recipe"]["data"] = list(data)
    taught = override(catalog.load("recipes", recipe), sets["recipe"], "recipe")
    from ..recipes._check import check

    screen = console()
    render = _renderer(base) if base is not None else None
    for split, part in check(taught, render.tokenizer if render else None).items():
        screen.print(f"{split:10} {_counts(part)}")
    for note in taught.notes():
        screen.print(f"{note}.")
    if taught.notice:
        screen.print(taught.notice)
    rows = taught.examples("train")
    for example in rows[:SHOWN]:
        screen.print(f"\n{example.where or 'example'}: the loss falls on the marked part")
        screen.print(_tokens(example, render) if render else _plain(example))
    if prose is not None:
        screen.print(f"\n{_write(prose, taught)}")


def _generate(recipe: str, count: int, seed: int, out: Path) -> str:
    """Write rows of a recipe's world, and say what was written."""
    from ..recipes._generate import generate

    made = generate(catalog.load("recipes", recipe), count, seed, out)
    beside = f", {made.databases:,} databases beside them" if made.databases else ""
    return f"{out}: {made.rows:,} rows for --data {out}{beside}"


def _renderer(base: str) -> Any:
    """Open a base's tokenizer alone."""
    from transformers import AutoTokenizer

    from ..recipes._render import Renderer

    try:
        return Renderer(AutoTokenizer.from_pretrained(base), base)
    except (OSError, ValueError) as problem:
        reason = str(problem).strip().splitlines()[0]
        raise FtkitError(f"--base {base} has no tokenizer to open: {reason}") from None


def _counts(part: Any) -> str:
    """Put what a split holds into a line."""
    words = [f"{part.rows:,} rows from {part.units:,} units"]
    if part.duplicates:
        words.append(f"{part.duplicates:,} of them repeated")
    if part.tokens:
        words.append(f"{part.tokens:,} tokens, {part.supervised:,} learned")
        words.append(f"{part.longest} in the longest row")
    if part.overlong:
        words.append(f"{part.overlong:,} rows too long and left out ({', '.join(part.named)})")
    return "; ".join(words)


def _plain(example: Any) -> Text:
    """Show a dialogue with its learned part marked, without a tokenizer."""
    shown = Text()
    for message in example.messages:
        learned = message["role"] == "assistant"
        shown.append(f"{message['role']}: ")
        shown.append(*_marked(message["content"] + " <end>" if learned else "", learned))
        shown.append("\n" if learned else printable(f"{message['content']}\n"))
    return shown


def _tokens(example: Any, render: Any) -> Text:
    """Show a dialogue as the tokens that are trained on, the learned ones marked."""
    row, shown = render.render(example.messages), Text()
    learned = [label != IGNORE for label in row.labels]
    for mark, run in groupby(zip(learned, row.ids, strict=True), key=itemgetter(0)):
        shown.append(*_marked(render.tokenizer.decode([token for _, token in run]), mark))
    return shown


def _marked(text: str, learned: bool) -> tuple[str, str]:
    """Colour learned text on a terminal; elsewhere put marks around it."""
    text = printable(text)
    if not learned or not text:
        return text, ""
    return (text, LEARNED) if console().is_terminal else (f"«{text}»", "")


def _write(path: Path, recipe: Any) -> str:
    """Write training rows as plain-text documents, one JSON object a line."""
    lines = [json.dumps({"text": text}) for text in recipe.documents()]
    if not lines:
        raise FtkitError(f"the recipe {recipe.name} has no plain-text form for its rows")
    write_whole(path, "\n".join(lines) + "\n")
    return f"{path}: {len(lines):,} documents for `ftkit pretrain --data {path}`"


command = data
