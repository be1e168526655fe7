"""The report: one HTML file that needs no network and runs no script.

Model text is hostile: the template escapes everything, and the page's own policy forbids scripts,
so even markup that slipped through could not act.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from ._plots import Curve, kind, learning, quality_against_cost, quality_against_updates
from ._samples import Sample
from ._scorecard import BASELINES, Comparison, Line, Measure, Scorecard
from ._words import change, count, duration, ranked, size, span, value, verdict

TEMPLATE = Path(__file__).with_name("_report.html")
STYLE = Path(__file__).with_name("_report.css")


def html(card: Scorecard, shown: Sequence[Sample], curves: Sequence[Curve]) -> str:
    """Write the report.

    Args:
        card: what was found.
        shown: items with all variants' answers.
        curves: of the trainings, in table order.
    """
    surroundings = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = surroundings.from_string(TEMPLATE.read_text(encoding="utf-8"))
    sentences = [_kept_together(sentence) for sentence in verdict(card)]
    best = ranked(card)[:1]
    return template.render(
        card=card,
        primary=card.readings[card.primary],
        sentences=sentences,
        scale=_scale(card),
        n=_scored(card),
        cost_plot=quality_against_cost(card),
        length_plot=quality_against_updates(card),
        learning_plots=[plot for item in curves if (plot := learning(item)) is not None],
        samples=shown,
        disputed=sum(sample.disputed for sample in shown),
        filters=_filters(shown),
        breakdowns=_breakdowns(card),
        contenders=_contenders(card),
        ours=[c for c in card.comparisons if c.metric == card.primary],
        against=[c for c in card.comparisons if _about(c, best, card.primary)],
        forgot=[line for line in card.variants if line.forgetting or line.elsewhere],
        leaning=[line for line in card.variants if line.bias is not None],
        baselines=BASELINES,
        style=STYLE.read_text(encoding="utf-8"),
        kind=lambda line: kind(card, line),
        value=lambda mean, reading: _kept_together(value(mean, reading)),
        span=span, count=count, size=size, duration=duration, change=change,
        points=_points, chance=_chance, who=_who,
    )  # fmt: skip


def _scale(card: Scorecard) -> float:
    """Find what a full bar stands for."""
    if card.readings[card.primary].share:
        return 1.0
    return max((line.metrics[card.primary].ends[1] for line in card.variants), default=1) or 1.0


def _scored(card: Scorecard) -> str:
    """Count the items that the first metric applies to."""
    counts = {line.metrics[card.primary].n for line in card.variants} - {0} or {0}
    return " to ".join(map(str, sorted({min(counts), max(counts)})))


def _filters(shown: Sequence[Sample]) -> list[tuple[str, int, int]]:
    """List the variants that items can be sifted by, with how many each has right and not."""
    columns = list(zip(*(sample.replies for sample in shown), strict=True))
    if all(reply.score is None for column in columns for reply in column):
        return []
    found = []
    for column in columns:
        right = sum(reply.right for reply in column)
        found.append((column[0].variant, right, sum(reply.wrong for reply in column)))
    return found


def _breakdowns(card: Scorecard) -> list[tuple[str, str, dict[str, int]]]:
    """List hardness and features, each part with enough items to say something and its n."""
    if not card.variants:
        return []
    first, least = card.variants[0], min(10, card.n)
    parts: list[tuple[str, str, Mapping[str, Measure]]] = [
        ("By hardness", "levels", first.levels),
        ("By feature", "features", first.features),
    ]
    sized = [
        (title, place, {name: measure.n for name, measure in found.items() if measure.n >= least})
        for title, place, found in parts
    ]
    return [part for part in sized if part[2]]


def _contenders(card: Scorecard) -> list[Line]:
    """List what was tuned, and the best of what was not."""
    plain = [line.name for line in ranked(card) if line.method in ("base", *BASELINES)][1:]
    return [line for line in card.variants if line.name not in plain]


def _about(comparison: Comparison, best: Sequence[Line], metric: str) -> bool:
    names = {line.name for line in best}
    return comparison.metric == metric and bool({comparison.a, comparison.b} & names)


def _kept_together(text: str) -> str:
    """Keep numbers and their units on one line."""
    return re.sub(r"(?<=\d) (?=%|[kMG]B|s\b|min\b|h\b)", "\u00a0", text)


def _points(difference: float, share: bool) -> str:
    """Write a difference: percentage points, or the metric's own unit."""
    return f"{100 * difference:+.1f}" if share else f"{difference:+.3f}"


def _chance(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _who(comparison: Comparison) -> str:
    """Name the better variant."""
    named = {"a better": comparison.a, "b better": comparison.b}
    return named.get(comparison.verdict, "tie")
