"""What `ftkit data` shows of a recipe: gathered here, then laid out as lines or as a page."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from typing import Any

from rich.text import Text

from ._findings import findings
from ._golds import run_queries
from ._pieces import Piece, runs, tokens, words
from ._session import printable

SHOWN = 3  # examples
WIDE = 32  # characters of the longest bar
LEARNED = "bold green"
SPLITS = {"train": "training", "validation": "validation", "test": "test"}
LEGEND = (
    "· stands between two tokens, ⏎ before a line break, a small number behind characters that "
    "take so many tokens together."
)
HINT = (
    "These are characters: --base DIR shows the tokens, by the tokenizer of a base run or of any "
    "folder in the Hugging Face layout."
)


@dataclass(frozen=True)
class Template:
    """What stands around contents, by the exchange of a question and an answer.

    Args:
        name: whose it is.
        mark: the first digits of its SHA-256.
        frame: an exchange in it.
        stops: the tokens at which an answer ends.
        notes: what was done to rows for the template's sake.
    """

    name: str
    mark: str
    frame: list[Piece]
    stops: list[str]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Shown:
    """One example in pieces."""

    where: str
    pieces: list[Piece]


@dataclass(frozen=True)
class Preview:
    """All that there is to see of one recipe.

    Args:
        recipe: the recipe itself, for its name, limits and notes.
        parts: what each split holds, as `recipes._check.check` counted it.
        unit: `tokens` or `characters`.
        template: None without a tokenizer.
        examples: a few training rows.
        found: what reading the sources met, a `recipes._found.Found`; None for the embedded world.
        ran: which reference queries were run, in words; "" for none.
    """

    recipe: Any
    parts: dict[str, Any]
    unit: str
    template: Template | None
    examples: list[Shown]
    found: Any
    ran: str

    @property
    def limit(self) -> int | None:
        """The longest row that is trained on, where lengths are in tokens."""
        return int(self.recipe.length) if self.template else None


def preview(recipe: Any, renderer: Any, own: bool, seed: int) -> Preview:
    """Read a recipe's rows once, and take a few to be shown.

    Args:
        recipe: with its data; no mixture.
        renderer: of the base's template, or None for plain text.
        own: whether the template is the base's own.
        seed: which examples are taken; 0 begins with the first row.

    Raises:
        FtkitError: for rows that do not fit.
    """
    from ..recipes._check import check

    parts = check(recipe, renderer)
    rows = recipe.examples("train")
    count = len(rows)
    places = {(place * count // SHOWN + seed) % count for place in range(min(count, SHOWN))}
    put = words if renderer is None else partial(tokens, renderer)
    taken = [rows[place] for place in sorted(places)]
    shown = [Shown(row.where or "example", put(row.messages)) for row in taken]
    unit = "tokens" if renderer else "characters"
    template = _template(renderer, own) if renderer else None
    found, ran = run_queries(recipe, recipe.found())
    return Preview(recipe, parts, unit, template, shown, found, ran)


def _template(renderer: Any, own: bool) -> Template:
    """Show the template by an exchange of two words."""
    exchange = [{"role": "user", "content": "QUESTION"}, {"role": "assistant", "content": "ANSWER"}]
    text = str(renderer.tokenizer.chat_template)
    name = "the base's own" if own else "ftkit's plain text, as the base has none"
    stops = [str(renderer.tokenizer.convert_ids_to_tokens(stop)) for stop in renderer.stops]
    mark = hashlib.sha256(text.encode()).hexdigest()[:12]
    notes = tuple(f"Note: {note}." for note in renderer.notes)
    return Template(name, mark, tokens(renderer, exchange), stops, notes)


def counts(part: Any, split: str) -> str:
    """Put what a split holds into a line; a test row is asked however long it is."""
    from ..recipes._found import rows

    asked = split == "test"
    units = f"{part.units:,} unit{'s' * (part.units != 1)}"
    found = [f"{rows(part.rows + part.overlong * asked)} from {units}"]
    if part.duplicates:
        found.append(f"{part.duplicates:,} of them repeated")
    if part.tokens:
        about = "" if part.lengths.whole else "about "
        found.append(f"{about}{part.tokens:,} tokens, {part.supervised:,} learned")
        found.append(f"{part.longest} in the longest row")
    if part.overlong:
        fate = "are longer and asked all the same" if asked else "rows too long and left out"
        found.append(f"{part.overlong:,} {fate} ({', '.join(part.named)})")
    return "; ".join(found)


def decided(view: Preview) -> list[str]:
    """Say what was taken for granted and tried, with nothing in it that commands a terminal."""
    said = [*view.recipe.decided(), *([view.ran] if view.ran else [])]
    return [printable(f"{words[0].upper()}{words[1:]}.") for words in said]


def measured(view: Preview) -> str:
    """Say what the histogram shows, and how much of it was measured."""
    found = view.parts["train"].lengths
    some = "" if found.whole else f" ({len(found.sizes):,} of {found.rows:,}, taken evenly)"
    return f"Training rows{some} by length in {view.unit}"


def spread(view: Preview) -> str:
    """Say how long rows are."""
    found = view.parts["train"].lengths
    half, most, nearly = (f"{found.at(share):,}" for share in (0.5, 0.95, 0.99))
    return (
        f"Half of the rows have up to {half} {view.unit}, 95 % up to {most}, "
        f"99 % up to {nearly}, the longest {found.at(1):,}."
    )


def fit(view: Preview) -> str:
    """Say how many rows do not fit, and what becomes of them."""
    if view.limit is None:
        return HINT
    part = view.parts["train"]
    if not part.overlong:
        return f"All fit into recipe.length, {view.limit:,} tokens."
    about = "" if part.lengths.whole else "About "
    share = part.overlong / part.lengths.rows
    return (
        f"{about}{part.overlong:,} rows ({100 * share:.1f} %) are longer than recipe.length, "
        f"{view.limit:,} tokens, and are left out whole ({', '.join(part.named)}): raise it with "
        "--set recipe.length=... if the base reads as many."
    )


def bars(view: Preview) -> list[tuple[str, int, float, bool]]:
    """Lay out the histogram: label, rows, share of the longest bar, whether such rows fit."""
    found = view.parts["train"].lengths.bars(view.limit)
    most = max((bar.count for bar in found), default=1)
    return [
        (
            f"{bar.low:,}–{bar.high:,}" if bar.high > bar.low else f"{bar.low:,}",
            bar.count,
            bar.count / most,
            view.limit is None or bar.high <= view.limit,
        )
        for bar in found
    ]


def lines(view: Preview, *, colour: bool) -> Iterator[Text]:
    """Lay a preview out for a terminal, or with plain marks for what reads a pipe.

    Args:
        view: what is shown.
        colour: mark what is learned by colour instead of by « and ».
    """
    for split, part in view.parts.items():
        yield Text(f"{split:10} {counts(part, split)}")
    if view.recipe.notice:
        yield Text(view.recipe.notice)
    yield from map(Text, decided(view))
    for title, found in findings(view.found):
        yield Text(f"\n{title}:")
        yield from (Text(f"  {line}") for line in found)
    if not view.parts["train"].lengths.rows:
        yield Text("\nNo rows are left to train on.")
        return
    yield Text(f"\n{measured(view)}:")
    yield from _histogram(view)
    yield Text(spread(view))
    yield Text(fit(view))
    if view.template is not None:
        mark, stops = view.template.mark, " or ".join(view.template.stops)
        yield Text(f"\nThe chat template: {view.template.name} (SHA-256 {mark}…).")
        yield Text(" ".join([f"An answer ends at {stops}.", *view.template.notes]))
        yield shown(view.template.frame, colour=colour, between="")
        yield Text(f"\n{LEGEND}")
    for example in view.examples:
        yield Text(f"\n{example.where}: the loss falls on the marked part")
        yield shown(example.pieces, colour=colour)


def _histogram(view: Preview) -> Iterator[Text]:
    """Draw a bar a line, and a line where the recipe's length lies."""
    found = bars(view)
    wide = max((len(label) for label, *_ in found), default=0)
    tall = max((len(f"{count:,}") for _, count, *_ in found), default=0)
    place = sum(fits for *_, fits in found)
    drawn = [
        f"  {label:>{wide}}  {count:>{tall},}  {'█' * round(share * WIDE) or '▏' * bool(count)}"
        for label, count, share, _ in found
    ]
    if view.limit is not None:
        drawn.insert(place, f"  {'':─<{wide}}── recipe.length {view.limit:,}")
    yield from map(Text, map(str.rstrip, drawn))


def shown(pieces: list[Piece], *, colour: bool, between: str = "·") -> Text:
    """Lay out pieces, what is learned in colour or between « and »."""
    text, last = Text(), None
    for learned, run in runs(pieces):
        style = LEARNED if learned and colour else ""
        for place, piece in enumerate(run):
            if last is not None and piece.tokens and last.tokens:
                _separate(text, between)
            if learned and not colour and not place:
                text.append("«")
            text.append(piece.shown, style)
            text.append(piece.number, "dim")
            last = piece
        if learned and not colour:
            text.append("»")
    return text


def _separate(text: Text, between: str) -> None:
    """Put a mark between two tokens; before a line break, so that no line begins with one."""
    broken = text.plain.endswith("\n")
    if broken:
        text.right_crop(1)
    text.append(between, "dim")
    text.append("\n" if broken else "")


def page(views: list[Preview]) -> str:
    """Write previews as one HTML page that needs no network and runs no script.

    Args:
        views: one for each recipe.
    """
    from jinja2 import Environment, StrictUndefined

    surroundings = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = surroundings.from_string((files(__package__) / "_preview.html").read_text("utf-8"))
    style = (files("ftkit.eval") / "_report.css").read_text("utf-8")
    return template.render(
        views=views, style=style, names=SPLITS, legend=LEGEND, counts=counts, measured=measured,
        spread=spread, fit=fit, bars=bars, findings=findings, decided=decided,
    )  # fmt: skip
