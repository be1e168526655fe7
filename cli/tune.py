"""`ftkit tune`: adapt a base to a recipe by one or several methods, a folder for each."""

from pathlib import Path
from typing import Any

import click

from ftkit import __version__, catalog
from ftkit.config import override, table
from ftkit.errors import FtkitError
from ftkit.runs import Run

from . import _options
from ._bar import watch
from ._work import begin, going_on, newest_base, take_up

TABLES = ("recipe", "method", "plan")


@click.command()
@click.option(
    "--recipe",
    type=_options.Words("recipes"),
    help="What to teach; several with commas between are taught together.",
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
    "--minutes",
    type=float,
    callback=_options.above_zero,
    help="Train about this long [default: the recipe's epochs].",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The run folder [default: the next free runs/RECIPE-METHOD].",
)
@_options.resume
@_options.dry_run
@_options.common
def tune(
    recipe: str | None,
    methods: tuple[str, ...],
    base: str | None,
    data: tuple[str, ...],
    on_bad_rows: str | None,
    minutes: float | None,
    out: Path | None,
    resume: bool,
    dry_run: bool,
    pairs: tuple[str, ...],
    seed: int,
) -> None:
    """Adapt a base to a recipe.

    What was learned is written as a Hugging Face or PEFT folder. --set reaches the tables
    recipe, method and plan, such as method.rank=4.
    """
    if resume:
        _go_on(take_up(out))
        return
    if recipe is None or not methods:
        missing = "--recipe" if recipe is None else "--method"
        floor = "recipes" if recipe is None else "adapters"
        raise FtkitError(f"tune needs {missing}: there are {', '.join(catalog.names(floor))}")
    if out is not None and len(methods) > 1:
        raise FtkitError("--out names one folder: give one --method with it, or leave it out")
    sets = _options.settings(pairs, TABLES)
    _options.rows(sets["recipe"], data, on_bad_rows)
    work = [(name, chosen(recipe, name, sets)) for name in dict.fromkeys(methods)]
    place = base if base is not None else str(newest_base())
    options = _options.options("data", "on_bad_rows") | {"base": place}
    for name, (taught, method, plan) in work:
        if dry_run:
            from ._plan import tuning

            click.echo(tuning(taught, method, place, plan, minutes))
            continue
        settings = tables(options | {"methods": [name]}, taught, method, plan)
        with begin(out, f"{recipe.replace(',', '+')}-{name}", settings) as run:
            train(run, taught, method, place, plan, seed=seed, minutes=minutes)


def chosen(recipe: str, method: str, sets: dict[str, dict[str, Any]]) -> tuple[Any, Any, Any]:
    """Load a recipe and a method by name and apply what was set; the plan comes with them."""
    from ..recipes._mix import load
    from ..recipes._tune import Tuning

    return (
        load(recipe, sets["recipe"]),
        override(catalog.load("adapters", method), sets["method"], "method"),
        override(Tuning(), sets["plan"], "plan"),
    )


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
    click.echo(f"finished: {run.path} ({loss})")


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
