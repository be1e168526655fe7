"""Which variants can be compared: finished runs grouped by recipe, base and the items asked."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ftkit import catalog
from ftkit.config import override, table
from ftkit.errors import FtkitError
from ftkit.runs import Run, digest, fingerprint, read_json

from ..recipes._in_order import beside
from ..recipes._limits import Limits
from ..recipes._recipe import Example, Recipe


@dataclass(frozen=True)
class Tuned:
    """A finished tuning, or a foreign folder.

    Attributes:
        folder: where it lies.
        settings: its run.toml; empty for a foreign folder.
        size: trained parameters, for the order in tables; 0 when unknown.
    """

    folder: Path
    settings: Mapping[str, Any]
    size: int = 0

    @property
    def seed(self) -> int | None:
        """The seed of its training."""
        found = self.settings.get("options", {}).get("seed")
        return None if found is None else int(found)

    @property
    def key(self) -> str:
        """Name everything that made it but the seed."""
        if not self.settings:
            return str(self.folder)
        options = {
            name: value
            for name, value in self.settings.get("options", {}).items()
            if name not in ("seed", "out", "config", "method", "methods")
        }
        made = [self.settings.get(name, {}) for name in ("recipe", "method", "plan", "base")]
        ways = self.settings.get("options", {}).get("methods")
        return json.dumps([ways, options, *made], sort_keys=True, default=str)


@dataclass
class Group:
    """Variants of one base that are asked the same items.

    Attributes:
        recipe: with the settings of its runs.
        items: what is asked, in order.
        available: how many test items there are in all.
        base: folder or Hub id.
        base_fingerprint: its hash; "" for a Hub id.
        tuned: from the smallest to the largest.
        drawn: gives the training rows, where they are being drawn already.
        candidates: answers that are drawn beside the greedy one.
        limits: how far queries are held against the schema while they are written.
        settings: of the recipe, that were set for this evaluation.
    """

    recipe: Recipe
    items: Sequence[Example]
    available: int
    base: str
    base_fingerprint: str
    tuned: list[Tuned]
    drawn: Callable[[], Sequence[Example]] | None = None
    candidates: int = 0
    limits: Limits = ""
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def train(self) -> Sequence[Example]:
        """The training rows, which the baselines and the examples of a prompt are taken from."""
        return self.drawn() if self.drawn else self.recipe.examples("train")

    def shares_base(self, other: "Group") -> bool:
        """Say whether another group asks another recipe of the same base."""
        same = self.base_fingerprint or self.base, other.base_fingerprint or other.base
        return same[0] == same[1] and self.recipe.name != other.recipe.name

    @property
    def name(self) -> str:
        """A folder name for it."""
        return f"{self.recipe.name}-{Path(self.base).name}"


def collect(
    folders: Sequence[Path],
    recipe: str | None = None,
    data: Sequence[str] = (),
    limit: int | None = None,
    seed: int = 0,
    on_bad_rows: str | None = None,
    candidates: int = 0,
    limits: Limits = "",
    settings: Mapping[str, Any] | None = None,
) -> list[Group]:
    """Sort finished runs into groups.

    Args:
        folders: runs, model folders or PEFT folders.
        recipe: asks all of them by this one; None asks each by the recipe it was tuned on.
        data: other sources for the items than the runs' own.
        limit: at most so many items, drawn evenly by the seed.
        seed: of the draw.
        on_bad_rows: stop or skip; None as the run did.
        candidates: answers to draw beside the greedy one, of which the database may choose.
        limits: hold queries against the schema, and against the question, while they are written.
        settings: of the recipe, by name, for folders that do not say how they were tuned.

    Raises:
        FtkitError: for a folder that is none of these, or when nothing says what to ask.
    """
    if limit is not None and limit < 1:
        raise FtkitError(f"--limit takes 1 or more, not {limit}")
    groups: dict[tuple[str, ...], Group] = {}
    asked: dict[Recipe, tuple[Sequence[Example], int]] = {}
    for folder in {folder.resolve(): folder for folder in folders}.values():  # each once
        tuned, base, mark = _read(folder)
        if tuned is None and recipe is None:
            continue  # a base comes in with what was tuned on it
        for teaches in _recipes(tuned, recipe, data, folder, on_bad_rows, settings or {}):
            if teaches not in asked:
                items, available = _items(teaches, limit, seed)
                if (candidates or limits) and teaches.queries:
                    more = {"samples": candidates, "limits": limits}
                    items = [replace(item, meta=item.meta | more) for item in items]
                asked[teaches] = items, available
            items, available = asked[teaches]
            asks = [(item.messages, item.meta.get("labels")) for item in items]
            content = digest(json.dumps(asks))
            key = (teaches.name, mark or base, content)
            group = groups.setdefault(key, Group(teaches, items, available, base, mark, []))
            if tuned is not None:
                group.tuned.append(tuned)
    if not groups:
        where = ", ".join(map(str, folders)) or "no folders"
        raise FtkitError(
            f"nothing to evaluate in {where}: tune a variant first, or name a --recipe for a base"
        )
    if (candidates or limits) and not any(group.recipe.queries for group in groups.values()):
        option = "--candidates" if candidates else "--only"
        raise FtkitError(f"{option} is for recipes that ask a database: none of these does")
    for group in groups.values():
        if group.recipe.queries:
            group.candidates, group.limits = candidates, limits
        known = table(group.recipe)
        group.settings = {name: known[name] for name in settings or {}}
        group.tuned.sort(key=lambda tuned: tuned.size)
    return list(groups.values())


def draw_ahead(groups: Sequence[Group]) -> None:
    """Draw the training rows of embedded worlds in other processes, while this one goes on."""
    begun: dict[Recipe, Callable[[], Sequence[Example]]] = {}
    for group in groups:
        if not group.recipe.data:
            if group.recipe not in begun:
                begun[group.recipe] = beside(partial(group.recipe.examples, "train"))
            group.drawn = begun[group.recipe]


def _read(folder: Path) -> tuple[Tuned | None, str, str]:
    """Tell what a folder is: a variant (None for a base), its base, and the base's hash."""
    if not folder.is_dir():
        raise FtkitError(f"no run at {folder}: there is no such folder")
    if (folder / "run").is_dir():
        run = Run.open(folder)
        settings, facts = run.settings, run.done
        try:
            if settings.get("command") != "tune":
                return None, str(folder), facts["fingerprint"]
            base = settings["base"]
            run.records()  # the report draws its learning curve
            tuned = Tuned(folder, settings, int(facts.get("trainable_params", 0)))
            return tuned, base["path"], base["fingerprint"]
        except KeyError as missing:
            raise FtkitError(f"{folder / 'run'} is damaged: it does not say {missing}") from None
    if (folder / "adapter_config.json").is_file():
        base = read_json(folder / "adapter_config.json").get("base_model_name_or_path")
        if not base:
            raise FtkitError(f"{folder / 'adapter_config.json'} does not name its base")
        mark = fingerprint(Path(base)) if Path(base).is_dir() else ""
        return Tuned(folder, {}), base, mark
    if (folder / "config.json").is_file():
        return None, str(folder), fingerprint(folder)
    raise FtkitError(f"{folder} is no run, model or adapter folder: it has no config.json")


def _recipes(
    tuned: Tuned | None,
    forced: str | None,
    data: Sequence[str],
    folder: Path,
    on_bad_rows: str | None,
    sets: Mapping[str, Any],
) -> list[Recipe]:
    """Load the recipes with the settings that the run was tuned by; a mixture has several."""
    settings = tuned.settings if tuned is not None else {}
    taught = settings.get("options", {}).get("recipe", "")
    own = taught.split(",") if taught else []
    if not own and forced is None:
        raise FtkitError(f"{folder} does not say what it was tuned for: name a --recipe")
    if data and forced is None and len(own) > 1:
        raise FtkitError(f"{folder} was tuned for {taught}: say by --recipe which --data is for")
    found = []
    for name in own if forced is None else [forced]:
        if sets and name in own:  # others would divide its rows anew, and ask what it has learned
            raise FtkitError(
                f"{folder} is asked by the settings that it was tuned by: --set is for folders "
                "that do not say any"
            )
        values = dict(settings.get("recipe", {})) if name in own else {}
        values = dict(values.get(name, {})) if len(own) > 1 else values
        values |= dict(sets) | ({"on_bad_rows": on_bad_rows} if on_bad_rows else {})
        recipe: Recipe = override(catalog.load("recipes", name), values, "recipe")
        if data:
            if name in own:
                with suppress(FtkitError):  # the rows that it was tuned on may be gone
                    recipe = recipe.settled()
            recipe = replace(recipe, data=tuple(data), whole=True)
        found.append(recipe)
    return found


def _items(recipe: Recipe, limit: int | None, seed: int) -> tuple[Sequence[Example], int]:
    """Take the test items, or an even draw of them in their order."""
    items = recipe.examples("test")
    if not items:
        raise FtkitError(
            f"recipe {recipe.name} has no test items to ask: its sources hold no dev or test file, "
            "and too few different documents, dialogues or databases to keep some apart"
        )
    if limit is None or limit >= len(items):
        return items, len(items)
    drawn = sorted(np.random.default_rng(seed).permutation(len(items))[:limit].tolist())
    return [items[place] for place in drawn], len(items)
