"""`ftkit demo`: the whole job on the embedded worlds, from nothing to a report, stage by stage."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from ftkit import __version__, config
from ftkit.errors import FtkitError, Interrupted
from ftkit.runs import Run, write_whole

from . import _options, pretrain, tune
from ._stages import Stages
from ._work import RUNS, begin, going_on

TABLES = ("demo", "recipe")


@dataclass(frozen=True)
class Demo:
    """How large the demo is; every field is a knob of `--set demo.`.

    Args:
        recipes: what is taught.
        methods: by which methods, in this order.
        preset: size of the base.
        tokens: that the base is pretrained on.
        limit: most test items of a recipe that each variant is asked.
    """

    recipes: tuple[str, ...] = ("sql_qa", "medical", "chat")
    methods: tuple[str, ...] = ("soft_prompt", "lora", "full")
    preset: str = "nano"
    tokens: int = 3_500_000
    limit: int = 320


@click.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=RUNS / "demo",
    show_default=True,
    help="Where everything goes; what is finished there already is not done again.",
)
@_options.dry_run
@_options.common
def demo(out: Path, dry_run: bool, pairs: tuple[str, ...], seed: int) -> None:
    """Run the whole job, from nothing to a report.

    Pretrains one base on the embedded worlds, tunes it for every recipe by every method,
    evaluates. --set reaches the tables demo and recipe, such as demo.tokens=1000000.
    """
    sets = _options.settings(pairs, TABLES)
    if not _options.given("out", "dry_run", "debug"):
        seed, sets = _begun(out, seed, sets)
    size = config.override(Demo(), sets["demo"], "demo")
    world = {"world_seed": seed} | sets["recipe"]
    work = Work.of(size, world, seed)
    if dry_run:
        click.echo(work.words())
        return
    click.echo(f"demo folder: {out}")
    made = {recipe.name: config.table(recipe) for recipe in work.recipes}
    _same(out, {"seed": seed, "demo": config.table(size), "recipe": made})
    stages = Stages(out / "stages.json")
    try:
        runs = [work.base(out, stages)]
        runs += [
            work.variant(out, recipe, name, stages)
            for recipe in work.recipes
            for name in size.methods
        ]
        said = _evaluate(out, runs, size, stages)
    except (Interrupted, KeyboardInterrupt):  # the latter between stages, or before one's work
        again = "" if out == RUNS / "demo" else f" --out {shlex.quote(str(out))}"
        raise Interrupted(f"stopped: `ftkit demo{again}` goes on where it stopped") from None
    click.echo(f"\n{stages.words()}\n\n{said}")


def _begun(out: Path, seed: int, sets: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Take up the settings of a demo that lies there, so that its folder alone goes on with it."""
    note = out / "demo.toml"
    if not note.is_file():
        return seed, sets
    kept = config.read_toml(note)
    return kept.get("seed", seed), {name: kept.get(name, {}) for name in TABLES}


def _same(out: Path, settings: dict[str, Any]) -> None:
    """Refuse a folder that holds something else, or a demo with other settings."""
    note = out / "demo.toml"
    if note.exists():
        if config.read_toml(note) != {"ftkit": __version__, "command": "demo", **settings}:
            raise FtkitError(f"{out} holds a demo with other settings: choose another --out")
        return
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FtkitError(f"{out} exists and holds no demo: choose another --out")
    text = config.dump_toml({"ftkit": __version__, "command": "demo", **settings})
    write_whole(note, text)


@dataclass(frozen=True)
class Work:
    """The demo's plans, made and checked before anything is written.

    Args:
        pretraining: plan of the base.
        recipes: what is taught, in the worlds of the seed.
        methods: each by its name.
        tuning: plan of each tuning.
        world: what differs from the recipe's defaults.
        seed: of everything.
    """

    pretraining: Any
    recipes: list[Any]
    methods: dict[str, Any]
    tuning: Any
    world: dict[str, Any]
    seed: int

    @staticmethod
    def of(size: Demo, world: dict[str, Any], seed: int) -> "Work":
        """Make the plans, or refuse what cannot be planned."""
        for name in ("methods", "recipes"):
            if not getattr(size, name):
                raise FtkitError(f"'demo.{name}' names none")
        from ..recipes._mix import shared

        plan = pretrain.chosen({"preset": size.preset, "tokens": size.tokens, "seed": seed})
        taught = shared(size.recipes, world)
        parts = {
            name: tune.chosen(size.recipes[0], name, {"recipe": {}, "method": {}, "plan": {}})
            for name in size.methods
        }
        methods = {name: method for name, (_, method, _) in parts.items()}
        return Work(plan, taught, methods, parts[size.methods[0]][2], world, seed)

    def words(self) -> str:
        """Say what would be done."""
        from ._plan import pretraining

        settings = pretrain.tables(self.pretraining, (), self.world)
        lines = [pretraining(self.pretraining, pretrain.corpus(settings))]
        for recipe in self.recipes:
            rows = len(recipe.examples("train"))
            lines.append(f"then {recipe.name} by {', '.join(self.methods)}, {rows:,} rows")
        return "\n".join([*lines, "and an evaluation of all of them"])

    def base(self, out: Path, stages: Stages) -> Path:
        """Pretrain the base, or go on with it."""
        settings = pretrain.tables(self.pretraining, (), self.world)
        return _run(out / "base", settings, stages, lambda run, _: pretrain.train(run))

    def variant(self, out: Path, recipe: Any, name: str, stages: Stages) -> Path:
        """Tune the base for a recipe by one method, or go on with it."""
        base, method = str(out / "base"), self.methods[name]
        options = {"recipe": recipe.name, "methods": [name], "base": base, "seed": self.seed}

        def train(run: Run, resume: bool) -> None:
            tune.train(run, recipe, method, base, self.tuning, seed=self.seed, resume=resume)

        folder = out / f"{recipe.name}-{name}"
        return _run(folder, tune.tables(options, recipe, method, self.tuning), stages, train)


def _run(
    folder: Path, settings: dict[str, Any], stages: Stages, train: Callable[[Run, bool], None]
) -> Path:
    """Do a stage that makes a run folder, from its beginning or from where it stopped."""

    def work() -> None:
        run = Run(folder)
        if (run.inner / "done").exists():
            return
        if (run.inner / "run.toml").exists():
            with going_on(run):
                train(run, True)
        else:
            with begin(folder, folder.name, settings) as run:
                train(run, False)

    stages.run(folder.name, work)
    return folder


def _evaluate(out: Path, runs: Sequence[Path], size: Demo, stages: Stages) -> str:
    """Compare all runs and say what won, at what cost, and where everything lies."""
    from ..eval._groups import collect
    from .eval import lines, score, words

    def work() -> str:
        cards = score(collect(runs, limit=size.limit), out / "eval")
        tables = "\n\n".join(lines(card) for card, _ in cards)
        said = "\n".join(f"{card.recipe}: {' '.join(words(card))}" for card, _ in cards)
        report = cards[0][1] / "report.html" if len(cards) == 1 else out / "eval" / "index.html"
        return f"{tables}\n\n{said}\nThe report is {report} and the models lie in {out}."

    stages.run("eval", work)
    return str(stages.result("eval"))


command = demo
