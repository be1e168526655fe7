"""`ftkit eval`: ask every variant the same questions and say which one to ship."""

import gc
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ftkit.errors import FtkitError
from ftkit.runs import find_runs, free_name, refuse_full

from . import _options
from ._bar import watch
from ._work import RUNS

if TYPE_CHECKING:  # recipes take a while to load
    from ..recipes._limits import Limits


@click.command("eval")
@click.argument("runs", metavar="[RUN]...", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--recipe",
    type=_options.Word("recipes"),
    help="What to ask [default: what each run was tuned for].",
)
@click.option(
    "--data",
    metavar="SOURCE",
    multiple=True,
    help="Rows to ask; again for more [default: the test rows of what the runs were tuned on].",
)
@_options.on_bad_rows("as each run was tuned")
@click.option(
    "--limit",
    type=int,
    callback=_options.above_zero,
    help="Ask at most so many test items [default: all].",
)
@click.option(
    "--shots",
    type=int,
    default=4,
    show_default=True,
    callback=_options.not_negative,
    help="Show the base up to so many examples before a question, as far as they fit.",
)
@click.option(
    "--candidates",
    type=int,
    default=0,
    show_default=True,
    callback=_options.not_negative,
    help="Behind the greedy answer to a question to a database draw so many more at temperature 1, "
    "and judge the first that runs and finds something too; takes up to so many times as long.",
)
@click.option(
    "--only",
    "limits",
    type=click.Choice(("names", "texts")),
    help="While a query to a database is written, hold it to the names of the schema, or to these "
    "and to texts that stand in the question; the base and every variant alike [default: neither].",
)
@click.option(
    "--dtype",
    type=click.Choice(("float32", "bfloat16", "float16")),
    default="float32",
    show_default=True,
    help="Precision of the weights; 16 bits take half the memory, and may turn near ties between "
    "two words.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Where scorecard and report go [default: the next free runs/eval].",
)
@_options.common
def evaluate(
    runs: tuple[Path, ...],
    recipe: str | None,
    data: tuple[str, ...],
    on_bad_rows: str | None,
    limit: int | None,
    shots: int,
    candidates: int,
    limits: "Limits | None",
    dtype: str,
    out: Path | None,
    pairs: tuple[str, ...],
    seed: int,
) -> None:
    """Compare variants on the same test items.

    Writes scores with intervals, differences and costs. Each RUN is a finished run, a Hugging
    Face folder or a PEFT folder; without any, every finished run under runs/ is taken, grouped by
    recipe and base. --set reaches the table recipe, for folders that do not say how they were
    tuned.
    """
    sets = _options.settings(pairs, ["recipe"])["recipe"]
    found = [] if runs else find_runs(RUNS, deep=True)
    folders = list(runs) or [run.path for run in found if _is_model(run.settings)]
    if not folders:
        raise FtkitError(
            f"no finished run lies under {RUNS}/: name one, or begin with `ftkit demo`"
        )
    place = out if out is not None else free_name(RUNS / "eval")
    if not _unfinished(place):
        refuse_full(place)
    from ..eval._groups import collect, draw_ahead

    groups = collect(
        folders, recipe, data, limit, seed, on_bad_rows, candidates, limits or "", sets
    )
    click.echo(f"evaluation folder: {place}")
    draw_ahead(groups)  # the libraries that models need take seconds to load
    for card, folder in score(groups, place, shots=shots, seed=seed, dtype=dtype):
        click.echo(f"\n{lines(card)}\n\n{' '.join(words(card))}\nreport: {folder / 'report.html'}")


def _unfinished(place: Path) -> bool:
    """Tell whether a stopped evaluation of several groups lies there, which can go on."""
    if not place.is_dir() or (place / "index.html").exists():
        return False
    parts = list(place.iterdir())
    return bool(parts) and all((part / "scorecard.json").is_file() for part in parts)


def _is_model(settings: dict[str, Any]) -> bool:
    """Tell whether a run made a model."""
    return settings.get("command") in ("pretrain", "tune")


def score(groups: Sequence[Any], out: Path, **asked: Any) -> list[tuple[Any, Path]]:
    """Evaluate with the bar showing; return each group's scorecard and folder."""
    from ..eval._evaluate import evaluate_groups

    gc.collect()  # what is frozen is never freed, such as a model that `demo` trained before
    gc.freeze()  # what the libraries made stays; every collection would walk through it again
    cards: list[tuple[Any, Path]] = []

    def kept(records: Any) -> Any:
        for record in records:
            if "scorecard" in record:
                cards.append((record["scorecard"], record["out"]))
            else:
                yield record

    watch(kept(evaluate_groups(groups, out=out, two=True, **asked)), "eval")
    return cards


def words(card: Any) -> tuple[str, str]:
    """Say what won and at what cost."""
    from ..eval._words import verdict

    return verdict(card)


def lines(card: Any) -> str:
    """Lay out the variants by the first metric, with what they cost."""
    from ..eval._words import count, duration, span, value

    title = card.readings[card.primary].title
    rows = [(f"{card.recipe}, {card.n} items", title, "95 % interval", "trained", "time")]
    for line in card.variants:
        measure, reading = line.metrics[card.primary], card.readings[card.primary]
        trained = count(line.cost.trainable_params) if line.cost.trainable_params else "–"
        took = duration(line.cost.seconds) if line.cost.seconds else "–"
        rows.append(
            (line.name, value(measure.mean, reading), span(measure, reading), trained, took)
        )
    wide = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            [row[0].ljust(wide[0]), *(c.rjust(w) for c, w in zip(row[1:], wide[1:], strict=True))]
        )
        for row in rows
    )


command = evaluate
