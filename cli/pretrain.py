"""`ftkit pretrain`: a base from nothing, or from another: corpus, GPT, a Hugging Face folder."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from ftkit import __version__, catalog
from ftkit.config import override, table
from ftkit.errors import FtkitError, Interrupted, WorkError
from ftkit.runs import Run, refuse_full

from ..basemodel.config import BIGRAM, FAMILY_NAMES, PRESETS
from . import _options
from ._bar import watch
from ._work import begin, going_on, helps, take_up

TABLES = ("plan", "recipe")


@click.command()
@click.option(
    "--data",
    metavar="SOURCE",
    multiple=True,
    help="Text to learn from, PATH[@WEIGHT] or hub:OWNER/NAME[:CONFIG][:SPLIT][@WEIGHT]; a path is "
    "a folder or a file: text, JSON lines, JSON or Parquet with a field text, also packed or in "
    "archives; again for more [default: the embedded corpus].",
)
@click.option(
    "--base",
    metavar="DIR|HUB",
    help="Go on from this model, ours or another's of these families, with its tokenizer "
    "[default: begin a new one].",
)
@click.option(
    "--preset", metavar=f"[{'|'.join(PRESETS)}]", help="Size of the model [default: nano]."
)
@click.option(
    "--family",
    metavar=f"[{'|'.join((*FAMILY_NAMES, BIGRAM))}]",
    help="Whose parts and names the model has; bigram has no blocks [default: the preset's].",
)
@click.option(
    "--tokenizer",
    metavar="[bpe|word|char]",
    help="What a token is: parts of words, words or characters [default: bpe].",
)
@click.option(
    "--tokens",
    type=int,
    callback=_options.above_zero,
    help="Train on so many tokens [default: the preset's].",
)
@click.option(
    "--minutes", type=float, callback=_options.above_zero, help="Train about this long instead."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The run folder [default: the next free runs/base].",
)
@_options.resume
@_options.dry_run
@_options.common
def pretrain(
    data: tuple[str, ...],
    base: str | None,
    preset: str | None,
    family: str | None,
    tokenizer: str | None,
    tokens: int | None,
    minutes: float | None,
    out: Path | None,
    resume: bool,
    dry_run: bool,
    pairs: tuple[str, ...],
    seed: int,
) -> None:
    """Pretrain a base from scratch, or go on from one.

    It is written as a Hugging Face folder. --set reaches the tables plan and recipe (of the
    embedded corpus), such as plan.batch=4096.
    """
    if helps():
        if not dry_run:
            help_along()
        return
    if resume:
        run = take_up(out)
        click.echo(f"run folder: {run.path}")
        with going_on(run):
            train(run)
        return
    if out is not None and not dry_run:
        refuse_full(out)  # before PyTorch is loaded
    sets = _options.settings(pairs, TABLES)
    if base is not None and Path(base).is_dir():
        base = str(Path(base).absolute())  # the run may be gone on with from elsewhere
    flags = {
        "base": base,
        "preset": preset,
        "family": family,
        "tokenizer": tokenizer,
        "tokens": tokens,
        "minutes": minutes,
    }
    sets["plan"] |= {name: value for name, value in flags.items() if value is not None}
    if "plan.seed" in (pair.partition("=")[0] for pair in pairs):
        raise FtkitError("plan.seed is the run's: use --seed")
    _one_budget(sets["plan"], tokens, minutes)
    plan = chosen(sets["plan"] | {"seed": seed})
    settings = tables(plan, data, sets["recipe"])
    if dry_run:
        from ..basemodel.corpus import Documents
        from ._plan import pretraining

        click.echo(pretraining(plan, Documents(data) if data else corpus(settings)))
        return
    with begin(out, "base", settings) as run:
        train(run)


def _one_budget(plan: dict[str, Any], tokens: int | None, minutes: float | None) -> None:
    """Let a flag win over the other way to say how long that a settings file holds."""
    if minutes is not None and tokens is None:
        plan.pop("tokens", None)
    elif tokens is not None and minutes is None:
        plan.pop("minutes", None)


def chosen(values: dict[str, Any]) -> Any:
    """Make the plan of a pretraining from what was set."""
    from ..basemodel.budget import Pretrain

    return override(Pretrain(), values, "plan")


def tables(plan: Any, data: Sequence[str], recipe: dict[str, Any]) -> dict[str, Any]:
    """Lay out the run.toml of a pretraining."""
    options: dict[str, Any] = {"seed": plan.seed}
    if data:
        options["data"] = list(data)
    settings = {"ftkit": __version__, "command": "pretrain", "options": options}
    settings |= {"plan": table(plan), "recipe": recipe}
    if recipe:  # words of --set become values of their type, those of one recipe in its own table
        typed = {embedded.name: table(embedded) for embedded in corpus(settings).recipes}
        words: dict[str, Any] = {}
        for name in recipe:
            part, dot, key = name.partition(".")
            if dot:
                words.setdefault(part, {})[key] = typed[part][key]
            elif name in typed:
                words.setdefault(name, {}).update({k: typed[name][k] for k in recipe[name]})
            else:
                words[name] = next(values[name] for values in typed.values() if name in values)
        settings["recipe"] = words
    return settings


def help_along() -> None:
    """Compute along with torchrun's first process, which makes the run and says where it lies."""
    from ..basemodel.group import join
    from ..basemodel.pretrain import pretrain as work

    run = Run(Path(join().agree()))
    try:
        for _ in work(run, chosen(run.settings["plan"])):
            pass
    except (Interrupted, WorkError) as known:  # in all processes: the first one says it
        raise SystemExit(known.exit_code) from None


def train(run: Run) -> None:
    """Pretrain with the bar showing, by the run's own settings, and say where the base lies."""
    from ..basemodel.group import join
    from ..basemodel.pretrain import pretrain as work

    join().agree(str(run.path.absolute()))
    settings = run.settings
    plan = chosen(settings["plan"])
    sources = settings["options"].get("data", [])
    documents = None if sources else corpus(settings)
    text = None if documents is None else documents.told
    last = watch(work(run, plan, documents=documents, sources=sources, text=text), "pretrain")
    loss = f"training loss {last['loss']:.3f}" if last else "nothing left to train"
    checks = [row for row in run.records() if "validation" in row]
    nats = [row["validation"]["nats"] for row in checks]
    click.echo(f"finished: {run.path} ({loss}, validation {nats[-1]:.3f})")
    if min(nats) < 0.98 * nats[-1]:
        step = checks[nats.index(min(nats))]["step"]
        click.echo(
            f"validation was lower at step {step}, {min(nats):.3f}: the text is learned by heart; "
            "give more text or fewer --tokens"
        )


def corpus(settings: dict[str, Any]) -> "Embedded":
    """Gather the embedded corpora of the recipes that have one, as the settings say."""
    from ..recipes._mix import shared

    return Embedded(shared(catalog.names("recipes"), settings.get("recipe", {})))


class Embedded:
    """The documents of all embedded corpora, generated anew in each iteration."""

    def __init__(self, recipes: Sequence[Any]) -> None:
        self.recipes = recipes

    def __iter__(self) -> Iterator[str]:
        for recipe in self.recipes:
            yield from recipe.corpus()

    @property
    def told(self) -> Any:
        """What a model card says of them: they are part of ftkit, and so is their licence."""
        from ..basemodel.card import Text
        from ..recipes._recipe import Recipe

        have = [each for each in self.recipes if type(each).corpus is not Recipe.corpus]
        sources = [f"the embedded corpus of ftkit for `{each.name}`" for each in have]
        notices = dict.fromkeys(each.notice for each in have if each.notice)
        return Text(sources, "apache-2.0", " ".join(notices))


command = pretrain
