"""The options that commands share, and the order in which they win: default < --config < flags."""

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from ftkit import catalog
from ftkit.config import parse_sets, read_toml
from ftkit.errors import FtkitError

from . import DEBUG

F = TypeVar("F", bound=Callable[..., Any])
TABLES = "ftkit.tables"  # the key under which the tables of --config are kept
# Tables of run.toml that a run works out itself: they are no settings to be read back.
NOTES = ("ftkit", "command", "options", "base", "decided", "data")


class Word(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # generic since 8.4
    """A plug-in's name; an unknown one gets the nearest."""

    name = "name"

    def __init__(self, floor: str) -> None:
        self.floor = floor

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """Show the names that there are, read off the folder."""
        return f"[{'|'.join(catalog.names(self.floor))}]"

    def convert(self, value: Any, param: Any, ctx: Any) -> str:
        """Refuse a name for which there is no file, without importing the file."""
        known = catalog.names(self.floor)
        if value not in known:
            raise FtkitError(f"no '{value}' in {self.floor}{catalog.nearest(str(value), known)}")
        return str(value)


class Words(Word):
    """One plug-in's name, or several different ones with commas between."""

    def convert(self, value: Any, param: Any, ctx: Any) -> str:
        """Refuse any name for which there is no file, and one that comes twice."""
        names = [super(Words, self).convert(name, param, ctx) for name in str(value).split(",")]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise FtkitError(f"'{twice}' stands twice in '{value}'")
        return ",".join(names)


def above_zero(ctx: click.Context, param: click.Parameter, value: float | None) -> float | None:
    """Refuse a budget that is zero, negative or not a number, by the option's name."""
    if value is not None and not (value > 0 and math.isfinite(value)):
        raise FtkitError(f"{param.opts[0]} must be above 0, not {value:g}")
    return value


def not_negative(ctx: click.Context, param: click.Parameter, value: int | None) -> int | None:
    """Refuse a negative count, by the option's name."""
    if value is not None and value < 0:
        raise FtkitError(f"{param.opts[0]} cannot be negative, but it is {value}")
    return value


def finite(ctx: click.Context, param: click.Parameter, value: float) -> float:
    """Refuse a number that is negative or none at all, by the option's name."""
    if not (value >= 0 and math.isfinite(value)):
        raise FtkitError(f"{param.opts[0]} must be 0 or above, not {value:g}")
    return value


def share(ctx: click.Context, param: click.Parameter, value: float) -> float:
    """Refuse what is no share of a whole, by the option's name."""
    if not 0 < value <= 1:
        raise FtkitError(f"{param.opts[0]} must be above 0 and 1 at most, not {value:g}")
    return value


def _debug(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    ctx.meta[DEBUG] = value


def _config(ctx: click.Context, param: click.Parameter, value: Path | None) -> None:
    """Take a settings file: its [options] become this command's defaults, its tables settings."""
    if value is None:
        return
    data = read_toml(value)
    made_by = data.get("command", ctx.info_name)
    if made_by != ctx.info_name:
        raise FtkitError(f"{value} holds settings for `ftkit {made_by}`, not {ctx.info_name}")
    options = data.get("options", {})
    known = {option.name for option in ctx.command.params if option.name}
    for key in options:
        if key not in known:
            near = catalog.nearest(key, sorted(known))
            raise FtkitError(f"{value}: unknown option 'options.{key}'{near}")
    several = {option.name for option in ctx.command.params if getattr(option, "multiple", False)}
    ctx.default_map = {
        key: [value] if key in several and isinstance(value, str) else value
        for key, value in options.items()
    }
    ctx.meta[TABLES] = {
        key: table for key, table in data.items() if key not in NOTES and isinstance(table, dict)
    }
    if "quantize" in data.get("base", {}):  # a setting, with notes of which base it was beside it
        ctx.meta[TABLES]["base"] = {"quantize": data["base"]["quantize"]}


def common(command: F) -> F:
    """Add what every working command takes: --seed, --config, --set, --debug."""
    for option in reversed(
        [
            click.option(
                "--seed",
                type=int,
                default=0,
                show_default=True,
                callback=not_negative,
                help="What all randomness comes from.",
            ),
            click.option(
                "--config",
                metavar="FILE.toml",
                type=click.Path(path_type=Path),
                is_eager=True,
                expose_value=False,
                callback=_config,
                help="Settings to start from, such as the run.toml of a run; flags win over it.",
            ),
            click.option(
                "--set",
                "pairs",
                metavar="A.B=VALUE",
                multiple=True,
                help="Override one setting, such as method.rank=4; again for more.",
            ),
        ]
    ):
        command = option(command)
    return debug(command)


def debug(command: F) -> F:
    """Add --debug: show the traceback of an error."""
    return click.option(
        "--debug",
        is_flag=True,
        expose_value=False,
        callback=_debug,
        help="Show the traceback of an error.",
    )(command)


def on_bad_rows(default: str = "stop") -> Callable[[F], F]:
    """Add --on-bad-rows: what becomes of rows of a source that cannot be used.

    Args:
        default: what help says of the word that is not given.
    """
    return click.option(
        "--on-bad-rows",
        type=click.Choice(["stop", "skip"]),
        help="At rows that cannot be used: name them and stop, or go on without them "
        f"[default: {default}].",
    )


def dry_run(command: F) -> F:
    """Add --dry-run: print the plan with its estimates, train nothing, write nothing."""
    return click.option(
        "--dry-run", is_flag=True, help="Print the plan with its estimates and do nothing."
    )(command)


def resume(command: F) -> F:
    """Add --resume: go on with a run that was stopped."""
    return click.option(
        "--resume", is_flag=True, help="Go on with a run that was stopped, with its settings."
    )(command)


def settings(pairs: Iterable[str], known: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Merge the tables of --config with --set, which wins, and refuse tables that nobody reads.

    Args:
        pairs: the words of --set.
        known: the tables that the command reads, such as `method`.

    Returns:
        For each known table the values given for it, maybe none.

    Raises:
        FtkitError: for an unknown table, with the nearest known one.
    """
    context, names = click.get_current_context(), list(known)
    merged: dict[str, dict[str, Any]] = {name: {} for name in names}
    for tables in (context.meta.get(TABLES, {}), parse_sets(pairs)):
        for owner, values in tables.items():
            if owner not in merged:
                near = catalog.nearest(owner, names)
                raise FtkitError(f"unknown settings '{owner}' in `ftkit {context.info_name}`{near}")
            merged[owner] |= values
    return merged


def rows(table: dict[str, Any], data: tuple[str, ...], on_bad_rows: str | None) -> None:
    """Put --data and --on-bad-rows into the settings of a recipe."""
    if data:
        table["data"] = list(data)
    if on_bad_rows is not None:
        table["on_bad_rows"] = on_bad_rows


def given(*aside: str) -> list[str]:
    """List the options that were typed on this command line, other than the named ones."""
    context = click.get_current_context()
    return [
        option.opts[0]
        for option in context.command.params
        if option.name
        and option.name not in aside
        and context.get_parameter_source(option.name) is ParameterSource.COMMANDLINE
    ]


def options(*aside: str) -> dict[str, Any]:
    """Return the command's options as they were resolved, to be kept in run.toml.

    Where the run lies (--out) and how the command was to be run (--dry-run, --resume) are left
    out, so that `--config run.toml` makes a new run of the same kind.
    """
    context = click.get_current_context()
    skipped = {"out", "pairs", "dry_run", "resume", *aside}
    return {
        name: str(value) if isinstance(value, Path) else value
        for name, value in sorted(context.params.items())
        if name not in skipped and not (value is None or value is False or value == ())
    }
