"""The summary over several recipes: one table of verdicts, with links to each recipe's report."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from ftkit import catalog
from ftkit.runs import write_whole

from ._plots import kind
from ._report import STYLE
from ._scorecard import BASELINES, Line, Scorecard
from ._words import change, count, duration, plain, ranked, size, span, standing, value, verdict

TEMPLATE = Path(__file__).with_name("_summary.html")
Cards = Sequence[tuple[Scorecard, Path]]


@dataclass(frozen=True)
class Row:
    """A variant as the table shows it.

    Attributes:
        standing: `best`, `tie` or `behind`, by the first metric.
        more: the recipe's other metrics, without which the first can mislead.
    """

    name: str
    mark: str
    score: str
    interval: str
    standing: str
    trained: str
    file: str
    time: str
    forgetting: str
    elsewhere: tuple[str, ...]
    more: tuple[str, ...]


@dataclass(frozen=True)
class Part:
    """One recipe's part of the summary."""

    recipe: str
    n: int
    title: str
    notice: str
    sentences: tuple[str, str]
    report: str
    rows: tuple[Row, ...]


def write_summary(cards: Cards, out: Path) -> None:
    """Write index.html, summary.md and summary.json.

    Args:
        cards: scorecards with their folders, which lie in `out`.
        out: the folder of the evaluation.
    """
    names = list(dict.fromkeys(card.recipe for card, _ in cards))
    parts = [_part(card, place.relative_to(out) / "report.html", names) for card, place in cards]
    write_whole(out / "summary.json", json.dumps(_plain(cards, out), indent=1) + "\n")
    write_whole(out / "summary.md", markdown(parts, names))
    write_whole(out / "index.html", _html(parts, names))


def _part(card: Scorecard, report: Path, names: Sequence[str]) -> Part:
    """Lay out a recipe's variants, the baselines left out that are not the best of them."""
    order, stands = ranked(card), standing(card)
    weak = [line for line in order if line.method in BASELINES][1:]
    rows = [
        _row(card, line, stands.get(line.name, "behind"), names)
        for line in card.variants
        if line not in weak
    ]
    reading = card.readings[card.primary]
    return Part(
        card.recipe, card.n, reading.title, card.notice, verdict(card), report.as_posix(),
        tuple(rows),
    )  # fmt: skip


def _row(card: Scorecard, line: Line, stands: str, names: Sequence[str]) -> Row:
    measure, reading = line.metrics[card.primary], card.readings[card.primary]
    tuned = line.method not in (*BASELINES, "base")
    own = catalog.load("recipes", card.recipe).metrics[1:]
    others = (change(line.elsewhere.get(name)) if name != card.recipe else "" for name in names)
    return Row(
        name=line.name,
        mark=kind(card, line),
        score=value(measure.mean, reading),
        interval=span(measure, reading),
        standing=stands,
        trained=count(line.cost.trainable_params) if tuned else "–",
        file=size(line.cost.bytes) if tuned else "–",
        time=duration(line.cost.seconds) if tuned else "–",
        forgetting=change(line.forgetting),
        elsewhere=tuple(others) if tuned else ("",) * len(names),
        more=tuple(
            f"{found.title.lower()} {value(line.metrics[name].mean, found)}"
            for name, found in card.readings.items()
            if name in own and line.metrics[name].mean is not None
        ),
    )


def markdown(parts: Sequence[Part], names: Sequence[str]) -> str:
    """Write the table for a README or a pull request."""
    heads = ["Recipe", "Variant", "Score", "Standing", "Trained", "File", "Time", "Forgetting"]
    heads += [*(f"on {name}" for name in names), "Also"]
    table = [heads, ["---", "---", *["---:"] * (len(heads) - 3), "---"]]
    for part in parts:
        for row in part.rows:
            score = f"{row.score} ({row.interval})" if row.interval else row.score
            cells = [f"{part.recipe}, {part.title.lower()}", row.name, score, row.standing]
            cells += [row.trained, row.file, row.time, row.forgetting, *row.elsewhere]
            cells.append("; ".join(row.more))
            table.append([plain(cell) for cell in cells])
    said = [f"- {part.recipe} (n = {part.n}): {' '.join(part.sentences)}" for part in parts]
    said += [f"- {part.recipe}: {part.notice}" for part in parts if part.notice]
    body = "\n".join(f"| {' | '.join(row)} |" for row in table)
    return "# All recipes\n\n" + "\n".join(said) + f"\n\n{body}\n\n{NOTE}\n"


NOTE = (
    "Scores are means with 95 % intervals; a tie is a variant that cannot be told from the "
    "recipe's best one. Forgetting is bits per byte on the base's own validation text, "
    "and on the other recipes' reference answers in the base's plain-text form, after tuning "
    "minus before."
)


def _html(parts: Sequence[Part], names: Sequence[str]) -> str:
    surroundings = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = surroundings.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(
        parts=parts, names=names, note=NOTE, style=STYLE.read_text(encoding="utf-8")
    )


def _plain(cards: Cards, out: Path) -> dict[str, Any]:
    """Give what the table shows as plain data."""
    return {
        "recipes": [
            {
                "recipe": card.recipe,
                "n": card.n,
                "metric": card.primary,
                "verdict": list(verdict(card)),
                "folder": place.relative_to(out).as_posix(),
                "variants": [
                    {
                        "name": line.name,
                        "method": line.method,
                        "mean": line.metrics[card.primary].mean,
                        "low": line.metrics[card.primary].low,
                        "high": line.metrics[card.primary].high,
                        "elsewhere": {
                            name: found.after - found.before
                            for name, found in line.elsewhere.items()
                        },
                    }
                    for line in card.variants
                ],
            }
            for card, place in cards
        ]
    }
