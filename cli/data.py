"""`ftkit data`: look at a recipe's rows before training on them; no model is loaded."""

import json
from collections.abc import Iterable
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

SHOWN = 3  # examples
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
@_options.common
def data(
    recipe: str,
    data: tuple[str, ...],
    base: str | None,
    prose: Path | None,
    pairs: tuple[str, ...],
    seed: int,
) -> None:
    """Check and count the rows of a recipe and show what the loss falls on.

    --set reaches the table recipe.
    """
    if prose is not None and prose.exists():
        raise FtkitError(f"{prose} exists: choose another name for --prose")
    sets = _options.settings(pairs, ["recipe"])
    if data:
        sets["recipe"]["data"] = list(data)
    taught = override(catalog.load("recipes", recipe), sets["recipe"], "recipe")
    screen = console()
    splits = {split: taught.examples(split) for split in ("train", "validation", "test")}
    for split, examples in splits.items():
        units = {example.meta.get("unit", example.where) for example in examples}
        screen.print(f"{split:10} {len(examples):7,} rows from {len(units):,} {_unit(examples)}")
    render = _renderer(base) if base is not None else None
    if render is not None:
        screen.print(_lengths(splits["train"], render))
    for example in splits["train"][:SHOWN]:
        screen.print(f"\n{example.where or 'example'}: the loss falls on the marked part")
        screen.print(_tokens(example, render) if render else _plain(example), end="\n")
    if prose is not None:
        screen.print(f"\n{_write(prose, taught, splits['train'])}")


def _unit(examples: Iterable[Any]) -> str:
    """Name what rows are grouped by."""
    return "databases" if any("db_id" in example.meta for example in examples) else "units"


def _renderer(base: str) -> Any:
    """Open a base's tokenizer alone."""
    from transformers import AutoTokenizer

    from ..recipes._render import Renderer

    try:
        return Renderer(AutoTokenizer.from_pretrained(base), base)
    except (OSError, ValueError) as problem:
        reason = str(problem).strip().splitlines()[0]
        raise FtkitError(f"--base {base} has no tokenizer to open: {reason}") from None


def _lengths(examples: Iterable[Any], render: Any) -> str:
    """Count tokens: how long rows are, and how much of them is learned."""
    rows = [render.render(example.messages) for example in examples]
    lengths = sorted(len(row.ids) for row in rows)
    learned, total = sum(row.supervised for row in rows), sum(lengths)
    middle, longest = lengths[len(lengths) // 2], lengths[-1]
    return (
        f"tokens     {total:7,} in training rows, {learned:,} of them learned; "
        f"a row has {middle} in the middle and {longest} at most"
    )


def _plain(example: Any) -> Text:
    """Show a dialogue with its learned part marked, without a tokenizer."""
    shown = Text()
    for message in example.messages:
        learned = message["role"] == "assistant"
        shown.append(f"{message['role']}: ")
        shown.append(*_marked(message["content"] + " <end>" if learned else "", learned))
        shown.append("\n" if learned else f"{message['content']}\n")
    return shown


def _tokens(example: Any, render: Any) -> Text:
    """Show a dialogue as tokens divided by bars, the learned ones marked."""
    row, shown = render.render(example.messages), Text()
    pieces = [render.tokenizer.decode([token]) for token in row.ids]
    for piece, label in zip(pieces, row.labels, strict=True):
        shown.append(*_marked(piece, label != -100))
    return shown


def _marked(text: str, learned: bool) -> tuple[str, str]:
    """Colour learned text on a terminal; elsewhere put marks around it."""
    if not learned or not text:
        return text, ""
    return (text, LEARNED) if console().is_terminal else (f"«{text}»", "")


def _write(path: Path, recipe: Any, examples: Iterable[Any]) -> str:
    """Write training rows as plain-text documents, one JSON object a line."""
    documents = []
    for example in examples:
        if (prose := recipe.prose(example)) is not None:
            documents.append(json.dumps({"text": prose.prompt + prose.answer + prose.stop}))
    if not documents:
        raise FtkitError(f"the recipe {recipe.name} has no plain-text form for its rows")
    write_whole(path, "\n".join(documents) + "\n")
    return f"{path}: {len(documents):,} documents for `ftkit pretrain --data {path}`"


command = data
