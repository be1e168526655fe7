"""Scores in the model cards of variants: a section of README.md, and the Hub's model-index.

What a person wrote into a card stays. A folder that ftkit did not make is not touched: its card
lies beside the report.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from huggingface_hub import EvalResult, ModelCardData

from ftkit.runs import write_whole

from ..recipes._card import read_card
from ..recipes._limits import SAID
from ._scorecard import BASELINES, Bias, Line, Measure, Scorecard
from ._words import change, duration, plain, size, span, value, verdict

CARDS = "cards"  # beside the report
TABLE = ("| Measure | Mean | 95 % interval | n |", "| --- | ---: | ---: | ---: |")
LEANING = (
    "Of {n} pairs of sentences that differ in one word, this model finds the one with a prejudice "
    "likelier in {share} (95 % interval {low} to {high}); half would be no leaning. By what they "
    "are about: {groups}. So few pairs show a strong leaning only, and never that there is none."
)


def write_cards(card: Scorecard, out: Path) -> Iterator[str]:
    """Put the scores into the README.md of each variant; the base's own folder is left alone.

    Args:
        card: what was found.
        out: the evaluation's folder, for the cards of folders that ftkit did not make.

    Yields:
        A sentence on each card that could not be written.
    """
    taken: list[Path] = []
    for line in card.variants:
        if line.method in ("base", *BASELINES):
            continue
        for folder in map(Path, line.folders):
            ours = (folder / "run").is_dir()
            found = read_card(folder / "README.md")
            if found is None and ours and (folder / "README.md").is_file():
                yield f"{folder / 'README.md'} is left as it is: its front matter cannot be read"
                continue
            if ours and _held(card):
                yield f"{folder / 'README.md'} is left as it is: its scores are of free answers"
                continue
            place = folder if ours else _beside(out, folder, taken)
            if ours and (before := _asked(found, card)) > card.n:
                readme = folder / "README.md"
                yield f"{readme} keeps its scores of {before} items: these are of {card.n}"
                continue
            text = scored(*(found or _begun(folder, line)), card, line)
            try:
                write_whole(place / "README.md", text)
            except OSError as problem:
                yield f"{place / 'README.md'} is left as it is: {problem.strerror}"


def _asked(found: tuple[ModelCardData, str] | None, card: Scorecard) -> int:
    """Say of how many items the scores are that a card has for a recipe; 0 for none."""
    results = found[0].eval_results or [] if found else []
    mine = [one.metric_args or {} for one in results if one.dataset_type == _kind(card)]
    return max((args["n"] for args in mine if isinstance(args.get("n"), int)), default=0)


def _held(card: Scorecard) -> bool:
    """Say whether queries were held to their schema, which a card's scores do not tell."""
    return any(words and words in card.facts.get("decoding", "") for words in SAID.values())


def _kind(card: Scorecard) -> str:
    return f"ftkit/{card.recipe}"


def _beside(out: Path, folder: Path, taken: list[Path]) -> Path:
    """Choose a place beside the report, numbered where two folders have one name."""
    wanted = out / CARDS / folder.resolve().name
    names = [wanted, *(wanted.with_name(f"{wanted.name}-{n}") for n in range(2, len(taken) + 3))]
    taken.append(next(name for name in names if name not in taken))
    return taken[-1]


def scored(head: ModelCardData, text: str, card: Scorecard, line: Line) -> str:
    """Put one recipe's scores into a card, in the place of those it had.

    Args:
        head: front matter of the card as it lies there.
        text: the rest of it.
        card: the evaluation.
        line: the variant's own.
    """
    kind = _kind(card)
    head.model_name = head.model_name or Path(line.folders[0]).resolve().name
    others = [one for one in head.eval_results or [] if one.dataset_type != kind]
    head.eval_results = [*others, *_results(card, line, kind)]
    begin, end = f"<!-- scores:{card.recipe} -->", f"<!-- /scores:{card.recipe} -->"
    section = f"{begin}\n{_section(card, line)}{end}"
    there = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if there.search(text):
        text = there.sub(lambda _: section, text, count=1)
    else:
        text = f"{text.rstrip()}\n\n{section}\n"
    return f"---\n{head.to_yaml()}\n---\n{text}"


def _begun(folder: Path, line: Line) -> tuple[ModelCardData, str]:
    """Begin a card for a folder that has none."""
    library = "peft" if (folder / "adapter_config.json").is_file() else "transformers"
    head = ModelCardData(library_name=library, pipeline_tag="text-generation", tags=[line.method])
    return head, f"\n# {folder.resolve().name}\n"


def _results(card: Scorecard, line: Line, kind: str) -> Iterator[EvalResult]:
    """Give the scores in the Hub's words."""
    for name, reading in card.readings.items():
        if (mean := line.metrics[name].mean) is not None:
            yield EvalResult(
                task_type="text-generation",
                dataset_type=kind,
                dataset_name=f"{card.recipe}, test items",
                dataset_split="test",
                metric_type=name,
                metric_name=reading.title,
                metric_value=round(mean, 6),
                metric_args=_ends(line.metrics[name]),
            )


def _ends(measure: Measure) -> dict[str, float | None]:
    """Give what a mean is worth: the items it is of, and its 95 % interval."""
    return {"n": measure.n, "low": measure.low, "high": measure.high}


def _section(card: Scorecard, line: Line) -> str:
    """Write the section of one recipe."""
    facts = card.facts
    rows = []
    for name, reading in card.readings.items():
        measure = line.metrics[name]
        if measure.mean is not None:
            title = reading.title + (" ↓" if reading.lower_is_better else "")
            found = value(measure.mean, reading), span(measure, reading), str(measure.n)
            rows.append(f"| {title} | {' | '.join(found)} |")
    seeds = f", training seeds {', '.join(map(str, line.seeds))} averaged" if line.seeds[1:] else ""
    parts = [
        f"## Scores: {card.recipe}",
        plain(" ".join(filter(None, [card.notice, *verdict(card)]))),
        "\n".join([*TABLE, *rows]),
        f"Evaluation seed {facts.get('seed', '–')}{seeds}; ↓ lower is better. "
        f"Trained in {duration(line.cost.seconds)}, {size(line.cost.bytes)} beside the base.",
    ]
    if line.forgetting or line.elsewhere:
        parts.append(f"Forgetting, in bits per byte after tuning minus before: {_lost(line)}.")
    if line.bias is not None:
        parts.append(_leaning(line.bias))
    if "command" in facts:
        parts.append(f"```\n{facts['command']}\n```")
    return "\n\n".join(parts) + "\n"


def _lost(line: Line) -> str:
    """Write what was forgotten."""
    own = line.forgetting
    found = [f"{change(own)} on {size(own.bytes)} of {own.text}"] if own is not None else []
    found += [f"{change(lost)} on answers of {name}" for name, lost in line.elsewhere.items()]
    return ", ".join(found)


def _leaning(bias: Bias) -> str:
    """Write what the minimal pairs say."""
    shares = [bias.share.mean, bias.share.low, bias.share.high]
    mean, low, high = (f"{100 * (number or 0):.0f} %" for number in shares)
    groups = [f"{name} {100 * (m.mean or 0):.0f} %" for name, m in bias.groups.items()]
    said = LEANING.format(n=bias.share.n, share=mean, low=low, high=high, groups=", ".join(groups))
    return f"### Bias\n{said}"
