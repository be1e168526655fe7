"""`ftkit tune`: adapt a base to a recipe by one or several methods, a folder for each."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from ftkit import __version__, catalog
from ftkit.config import override, table
from ftkit.errors import FtkitError
from ftkit.runs import Run

from . import _options
from ._bar import watch
from ._series import One, at, finished, told, values_of, variants
from ._work import begin, going_on, newest_base, take_up

TABLES = ("recipe", "method", "plan", "base")


@click.command()
@click.option(
    "--recipe",
    "recipe",
    type=_options.Words("recipes"),
    multiple=True,
    help="What to teach; several with commas between are taught to one variant, again for others.",
)
@click.option(
    "--method",
    "methods",
    type=_options.Word("adapters"),
    multiple=True,
    help="Which weights move; several are trained one after the other.",
)
@click.option(
    "--base",
    metavar="DIR|HUB",
    help="The model to start from [default: the newest finished base under runs/].",
)
@click.option(
    "--data",
    metavar="SOURCE",
    multiple=True,
    help="Rows to learn from, PATH[@WEIGHT]; again for more [default: the embedded world].",
)
@_options.on_bad_rows()
@click.option(
    "--seeds",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Train so many variants that differ in the seed alone, from --seed on; eval folds them.",
)
@click.option(
    "--minutes",
    type=float,
    callback=_options.above_zero,
    help="Train about this long [default: the recipe's epochs].",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The run folder; of several variants, the folder that theirs lie in, where the same "
    "command again goes on [default: the next free runs/RECIPE-METHOD].",
)
@_options.resume
@_options.dry_run
@_options.common
def tune(
    recipe: tuple[str, ...],
    methods: tuple[str, ...],
    base: str | None,
    data: tuple[str, ...],
    on_bad_rows: str | None,
    seeds: int,
    minutes: float | None,
    out: Path | None,
    resume: bool,
    dry_run: bool,
    pairs: tuple[str, ...],
    seed: int,
) -> None:
    """Adapt a base to a recipe; to several, by several methods, with several seeds.

    What was learned is written as a Hugging Face or PEFT folder. --set reaches the tables
    recipe, method, plan and base, such as method.rank=4 or base.quantize=nf4.
    """
    if resume:
        _go_on(take_up(out))
        return
    if not recipe or not methods:
        missing = "--recipe" if not recipe else "--method"
        floor = "recipes" if not recipe else "adapters"
        raise FtkitError(f"tune needs {missing}: there are {', '.join(catalog.names(floor))}")
    from ..recipes._shelf import Shelf

    sets = _options.settings(pairs, TABLES)
    _options.rows(sets["recipe"], data, on_bad_rows)
    series = variants(recipe, methods, seed, seeds)
    sets_of = _dealt(list(dict.fromkeys(recipe)), sets)
    work = [chosen(one.recipe, one.method, sets_of[one.recipe]) for one in series]
    opened = _opened(sets["base"], [method for _, method, _ in work])
    options = _options.options("data", "on_bad_rows", "seeds")
    options["base"] = place = base if base is not None else str(newest_base())
    shelf = Shelf(work[0][2].held_out)
    with told(len(series) > 1, out):
        for one, (taught, method, plan) in zip(series, work, strict=True):
            rest: dict[str, Any] = {"seed": one.seed, "minutes": minutes, "shelf": shelf}
            if dry_run:
                from ._plan import tuning

                click.echo(tuning(taught, method, place, plan, opened=opened, **rest))
                continue
            named = {"recipe": one.recipe, "methods": [one.method], "seed": one.seed}
            settings = tables(options | named, taught, method, plan) | {"base": table(opened)}
            settings["data"] = {"mark": taught.mark()}
            with _begun(one, out, len(series) > 1, settings) as (run, resume):
                if run is not None:
                    train(run, taught, method, place, plan, resume=resume, **rest)


@contextmanager
def _begun(
    one: One, out: Path | None, several: bool, settings: dict[str, Any]
) -> Iterator[tuple[Run | None, bool]]:
    """Give the run of one variant, and whether it goes on; None for one that is done already."""
    if out is None or not several:
        with begin(out, one.folder, settings) as run:
            yield run, False
    elif finished(out / one.folder, settings):
        click.echo(f"finished already: {out / one.folder}")
        yield None, False
    else:
        with at(out / one.folder, settings) as (run, resume):
            yield run, resume


def _dealt(recipes: list[str], sets: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Give each of several recipes its settings, and of the sources those that it takes."""
    values = dict(sets["recipe"])
    if len(recipes) == 1:
        return {recipes[0]: sets | {"recipe": values_of(recipes[0], recipes, values)}}
    from ..recipes._mix import deal, load

    words = values.pop("data", [])
    mine = {recipe: values_of(recipe, recipes, values) for recipe in recipes}
    names = list(dict.fromkeys(name for recipe in recipes for name in recipe.split(",")))
    sources = deal([load(name, {}) for name in names], words) if words else {}
    for recipe in recipes:
        for name in recipe.split(",") if sources else ():
            key = "data" if name == recipe else f"{name}.data"
            mine[recipe][key] = sources[name]
    return {recipe: sets | {"recipe": mine[recipe]} for recipe in recipes}


def chosen(recipe: str, method: str, sets: dict[str, dict[str, Any]]) -> tuple[Any, Any, Any]:
    """Load a recipe and a method by name and apply what was set; the plan comes with them."""
    from ..recipes._mix import load
    from ..recipes._tune import Tuning

    return (
        load(recipe, sets["recipe"]),
        override(catalog.load("adapters", method), sets["method"], "method"),
        override(Tuning(), sets["plan"], "plan"),
    )


def _opened(values: dict[str, Any], methods: list[Any]) -> Any:
    """Settle how the base is opened, for methods that all can work on it."""
    from ..adapters._quantize import Opened

    opened = override(Opened(), values, "base")
    for method in methods:
        opened.check(method)
    return opened


def tables(options: dict[str, Any], recipe: Any, method: Any, plan: Any) -> dict[str, Any]:
    """Lay out the run.toml of a tuning."""
    from ..recipes._mix import settings

    head = {"ftkit": __version__, "command": "tune", "options": options}
    return head | {"recipe": settings(recipe), "method": table(method), "plan": table(plan)}


def train(run: Run, recipe: Any, method: Any, base: str, plan: Any, **rest: Any) -> None:
    """Train one variant with the bar showing, and say where it lies."""
    from ..recipes._tune import tune as work

    last = watch(work(run, recipe, method, base, plan, **rest), f"tune {method.name}")
    loss = f"training loss {last['loss']:.3f}" if last else "nothing left to train"
    click.echo(f"finished: {run.path} ({loss}; {gained(run.done)})")


def gained(facts: dict[str, Any]) -> str:
    """Say what held-out rows cost in nats a token, and whether that is less than before.

    >>> gained({"validation_nats": 1.5, "validation_nats_before": 2.25})
    'validation loss 1.500, before training 2.250'
    >>> gained({"validation_nats": 2.25, "validation_nats_before": 2.25})
    'validation loss 2.250, no better than before training: 2.250'
    """
    now, before = facts["validation_nats"], facts["validation_nats_before"]
    if before is None:  # the log of the first session is gone
        return f"validation loss {now:.3f}"
    than = "before training" if now < before else "no better than before training:"
    return f"validation loss {now:.3f}, {than} {before:.3f}"


def _go_on(run: Run) -> None:
    """Take up a stopped run with the settings in its run.toml."""
    settings = run.settings
    options = settings["options"]
    sets = {name: settings.get(name, {}) for name in TABLES}
    recipe, method, plan = chosen(options["recipe"], options["methods"][0], sets)
    click.echo(f"run folder: {run.path}")
    with going_on(run):
        train(
            run, recipe, method, options["base"], plan,
            seed=options["seed"], minutes=options.get("minutes"), resume=True,
        )  # fmt: skip


command = tune
