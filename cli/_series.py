"""Many variants by one command: each recipe by each method with each seed, a folder for each."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from ftkit.config import plain
from ftkit.errors import FtkitError, Interrupted
from ftkit.runs import Run, fingerprint

from ._work import begin, going_on

SET_OF_BASE = ("quantize",)  # beside them a run notes which base it was


@dataclass(frozen=True)
class One:
    """A variant to train.

    Args:
        recipe: its name, or several with commas between.
        method: its name.
        seed: of its training.
        folder: its name under runs/, or under the folder of the series.
    """

    recipe: str
    method: str
    seed: int
    folder: str


def variants(recipes: Sequence[str], methods: Sequence[str], seed: int, seeds: int) -> list[One]:
    """List each recipe by each method with each seed, without repetition.

    Args:
        recipes: names, in order.
        methods: names, in order.
        seed: the first.
        seeds: how many, one after the other.
    """
    return [
        One(recipe, method, each, _name(recipe, method) + (f"-seed{each}" if seeds > 1 else ""))
        for recipe in dict.fromkeys(recipes)
        for method in dict.fromkeys(methods)
        for each in range(seed, seed + seeds)
    ]


def _name(recipe: str, method: str) -> str:
    return f"{recipe.replace(',', '+')}-{method}"


def values_of(recipe: str, recipes: Sequence[str], values: Mapping[str, Any]) -> dict[str, Any]:
    """Choose from the settings of several recipes those of one: its own and those of all.

    >>> values_of("chat", ["chat", "sql_qa"], {"length": 9, "chat.rows": 5, "sql_qa.rows": 7})
    {'length': 9, 'rows': 5}
    """
    mine = recipe.split(",")
    others = {name for each in recipes for name in each.split(",")} - set(mine)
    kept: dict[str, Any] = {}
    for key, value in values.items():
        owner, dot, rest = key.partition(".")
        if owner in others:
            continue
        if len(mine) > 1 or owner != recipe:
            kept[key] = value
        elif dot:
            kept[rest] = value
        else:
            kept |= value
    return kept


@contextmanager
def at(out: Path, settings: Mapping[str, Any]) -> Iterator[tuple[Run, bool]]:
    """Give the run of one variant of a series: begun, or taken up where it stopped.

    Args:
        out: its folder.
        settings: the tables of run.toml; a run that is there must have been begun with the same.

    Yields:
        The run, and whether it goes on.

    Raises:
        FtkitError: when the folder holds something else.
    """
    run = Run(out)
    if not (run.inner / "run.toml").is_file():
        with begin(out, out.name, settings) as begun:
            yield begun, False
        return
    _same(run, settings)
    click.echo(f"run folder: {out}")
    with going_on(run):
        yield run, True


def finished(out: Path, settings: Mapping[str, Any]) -> bool:
    """Say whether a variant of a series is there and done.

    Raises:
        FtkitError: when what is there was made with other settings, on another base or other rows.
    """
    run = Run(out)
    if not (run.inner / "done").is_file():
        return False
    _same(run, settings)
    base = Path(settings["options"]["base"])
    if base.is_dir() and fingerprint(base) != run.settings["base"]["fingerprint"]:
        raise FtkitError(
            f"{base} is no longer the base that {run.path} was made on: choose another --out, or "
            "take that folder away"
        )
    rows = run.settings.get("data")  # which older runs do not note
    if rows is not None and rows != settings["data"]:
        raise FtkitError(
            f"the files of --data have changed since {run.path} was trained: choose another --out, "
            "or take that folder away"
        )
    return True


def _same(run: Run, settings: Mapping[str, Any]) -> None:
    """Refuse a run that was begun otherwise."""
    there = dict(run.settings)
    there["base"] = {k: v for k, v in there.get("base", {}).items() if k in SET_OF_BASE}
    for name in ("options", "recipe", "method", "plan", "base"):
        if there.get(name, {}) != plain(settings.get(name, {})):
            raise FtkitError(
                f"{run.path} was begun with other settings ({name}): choose another --out, or "
                "take that folder away"
            )


@contextmanager
def told(several: bool, out: Path | None) -> Iterator[None]:
    """Say at the end of a series that was stopped how all of it goes on."""
    try:
        yield
    except Interrupted as problem:
        if several and out is not None:
            raise Interrupted(f"{problem}; the same command again goes on with all") from None
        raise
