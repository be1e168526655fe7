"""By which recipes a run is asked: as it was tuned, with what is set for this evaluation."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from ftkit import catalog
from ftkit.config import override, table
from ftkit.errors import FtkitError

from ..recipes._recipe import Recipe

# Settings of which an evaluation of a run must not differ from its tuning: what was learned from
# might be asked.
ROWS = ("data", "whole", "validation", "world_seed", "on_bad_rows")


def recipes_of(
    settings: Mapping[str, Any],
    forced: str | None,
    data: Sequence[str],
    folder: Path,
    on_bad_rows: str | None,
) -> list[Recipe]:
    """Load the recipes with the settings that a run was tuned by; a mixture has several.

    Args:
        settings: the run's; empty for a folder that ftkit did not make.
        forced: a recipe to ask by in place of the run's own.
        data: other sources.
        folder: where the run lies, for messages.
        on_bad_rows: stop or skip; None as the run did.

    Raises:
        FtkitError: when nothing says what to ask.
    """
    taught = settings.get("options", {}).get("recipe", "")
    own = taught.split(",") if taught else []
    if not own and forced is None:
        raise FtkitError(f"{folder} does not say what it was tuned for: name a --recipe")
    if data and forced is None and len(own) > 1:
        raise FtkitError(f"{folder} was tuned for {taught}: say by --recipe which --data is for")
    found = []
    for name in own if forced is None else [forced]:
        values = dict(settings.get("recipe", {})) if name in own else {}
        values = dict(values.get(name, {})) if len(own) > 1 else values
        values |= {"on_bad_rows": on_bad_rows} if on_bad_rows else {}
        recipe: Recipe = override(catalog.load("recipes", name), values, "recipe")
        if data:
            if name in own:
                with suppress(FtkitError):  # the rows that it was tuned on may be gone
                    recipe = recipe.settled()
            recipe = replace(recipe, data=tuple(data), whole=True)
        found.append(recipe)
    return found


def refuse_unsettable(sets: Mapping[str, Any], asked: Sequence[Recipe]) -> None:
    """Refuse settings that none of the recipes has, and those that say which rows are asked."""
    for name, value in sets.items():
        taken = [key for one in asked for key in fitting(one, {name: value})]
        if asked and not taken:
            override(asked[0], {name: value}, "recipe")
        if said := next((key for key in taken if key in ROWS), None):
            raise FtkitError(
                f"'recipe.{said}' says which rows are for training and which are asked, so it "
                "cannot be set for an evaluation: --data names other rows to ask"
            )


def fitting(recipe: Recipe, sets: Mapping[str, Any]) -> dict[str, Any]:
    """Take the settings that are for a recipe: by their own names, or behind or under its name."""
    mine = sets.get(recipe.name, {})
    found = dict(mine) if isinstance(mine, Mapping) else {}
    before = f"{recipe.name}."
    found |= {key.removeprefix(before): sets[key] for key in sets if key.startswith(before)}
    known = {part.name for part in fields(recipe)}
    return {key: sets[key] for key in sets if key in known} | found


def changed(before: Recipe, after: Recipe) -> dict[str, Any]:
    """List the settings in which a recipe differs from another."""
    was = table(before)
    return {name: value for name, value in table(after).items() if was.get(name) != value}
