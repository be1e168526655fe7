"""`ftkit data`: look at a recipe's rows before training on them; no model is loaded."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from ftkit.errors import FtkitError
from ftkit.runs import whole, write_whole

from . import _options
from ._bar import console
from ._findings import reject
from ._preview import Preview, lines, page, preview


@click.command()
@click.option(
    "--recipe",
    type=_options.Words("recipes"),
    required=True,
    help="Whose rows; several with commas between are shown one after the other.",
)
@click.option(
    "--data",
    metavar="SOURCE",
    multiple=True,
    help="Rows, PATH[@WEIGHT]; again for more [default: the embedded world].",
)
@_options.on_bad_rows()
@click.option(
    "--rejected",
    metavar="FILE.jsonl",
    type=click.Path(path_type=Path),
    default=Path("rejected.jsonl"),
    show_default=True,
    help="Where --on-bad-rows skip writes the rows that cannot be used.",
)
@click.option(
    "--base",
    metavar="DIR|HUB",
    help="Show the tokens of this base's tokenizer, and count them [default: plain text].",
)
@click.option(
    "--html",
    metavar="FILE.html",
    type=click.Path(path_type=Path),
    help="Write the same as a page there: one file that needs no network.",
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
    on_bad_rows: str | None,
    rejected: Path,
    base: str | None,
    html: Path | None,
    prose: Path | None,
    count: int | None,
    out: Path | None,
    pairs: tuple[str, ...],
    seed: int,
) -> None:
    """Check, count and preview a recipe's rows.

    Shows what is wrong with rows and which are left out, how long they are, the chat template and
    three examples (others by another --seed), with the part marked on which the loss falls.
    --set reaches the table recipe.
    """
    from ..recipes._mix import load

    sets = _options.settings(pairs, ["recipe"])
    if count is not None or out is not None:
        console().print(_generate(recipe, sets["recipe"], count, seed, out))
        return
    _refuse_taken({"--html": html, "--prose": prose})
    _options.rows(sets["recipe"], data, on_bad_rows)
    taught = load(recipe, sets["recipe"])
    parts = list(getattr(taught, "parts", [taught]))
    skip = all(part.on_bad_rows == "skip" for part in parts)
    _refuse_taken({"--rejected": rejected if skip else None})
    # All is shown at once, whatever becomes of the bad rows in the end.
    parts = [replace(part, length=taught.length, on_bad_rows="skip") for part in parts]
    renderer, own = _renderer(base) if base is not None else (None, False)
    screen, views = console(), []
    for part in parts:
        views.append(preview(part, renderer, own, seed))
        if len(parts) > 1:
            screen.print(f"{'' if part is parts[0] else chr(10)}--- {part.name} ---")
        for line in lines(views[-1], colour=screen.is_terminal):
            screen.print(line)
    if html is not None:
        write_whole(html, page(views))
        screen.print(f"\n{html}: the same as a page")
    if said := reject([view.found for view in views if view.found], skip, rejected):
        screen.print(f"\n{said}")
    if prose is not None:
        screen.print(f"\n{_write(prose, parts)}")
    _refuse_overlong(taught, views)


def _generate(
    name: str, sets: Mapping[str, Any], count: int | None, seed: int, out: Path | None
) -> str:
    """Write rows of a recipe's world, and say what was written."""
    from ..recipes._generate import generate
    from ..recipes._mix import load

    if count is None or out is None:
        raise FtkitError("--generate N and --out FILE.jsonl go together")
    if "," in name:
        raise FtkitError(f"--generate takes one recipe at a time, not {name}")
    others = [f"'recipe.{key}'" for key in sets]
    others += _options.given("recipe", "count", "out", "seed", "config", "pairs", "debug")
    if others:
        raise FtkitError(
            f"{others[0]} does not go with --generate: rows are drawn from --seed alone, as "
            "`ftkit data --data` reads them"
        )
    made = generate(load(name, {}), count, seed, out)
    beside = f", {made.databases:,} databases beside them" if made.databases else ""
    return f"{out}: {made.rows:,} rows for --data {out}{beside}"


def _refuse_taken(places: dict[str, Path | None]) -> None:
    """Refuse to write over a file, or into a folder that is not there, before any work."""
    for option, path in places.items():
        if path is not None and path.exists():
            raise FtkitError(f"{path} exists: choose another name for {option}")
        if path is not None and not path.parent.is_dir():
            raise FtkitError(f"{option} {path}: there is no folder {path.parent}")


def _renderer(base: str) -> tuple[Any, bool]:
    """Open a base's tokenizer alone; say too whether it has a template of its own."""
    from transformers import AutoTokenizer

    from ..recipes._render import Renderer

    try:
        tokenizer = AutoTokenizer.from_pretrained(base)
    except (OSError, ValueError) as problem:
        reason = str(problem).strip().splitlines()[0]
        raise FtkitError(f"--base {base} has no tokenizer to open: {reason}") from None
    own = bool(tokenizer.chat_template)
    return Renderer(tokenizer, base), own


def _refuse_overlong(recipe: Any, views: Sequence[Preview]) -> None:
    """End as `ftkit tune` would where too many rows do not fit."""
    parts = [view.parts["train"] for view in views]
    over, rows = sum(part.overlong for part in parts), sum(part.lengths.rows for part in parts)
    if over > recipe.max_dropped * rows:
        raise FtkitError(
            f"{over:,} of {rows:,} rows are longer than {recipe.length:,} tokens, so `ftkit tune` "
            "would refuse them: raise 'recipe.length' or 'recipe.max_dropped'"
        )


def _write(path: Path, recipes: Sequence[Any]) -> str:
    """Write training rows as plain-text documents, one JSON object a line."""
    count = 0
    with whole(path) as file:
        for recipe in recipes:
            for text in recipe.documents():
                file.write(json.dumps({"text": text}).encode() + b"\n")
                count += 1
        if not count:
            names = ",".join(recipe.name for recipe in recipes)
            raise FtkitError(f"the recipe {names} has no plain-text form for its rows")
    return f"{path}: {count:,} documents for `ftkit pretrain --data {path}`"


command = data
