"""The report: one HTML file that needs no network and runs no script.

Model text is hostile: the template escapes everything, and the page's own policy forbids scripts,
so even markup that slipped through could not act.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from ..recipes._recipe import Example
from ._metric import Score
from ._plots import Curve, kind, learning, quality_against_cost
from ._scorecard import BASELINES, Comparison, Line, Scorecard
from ._tally import Entry, Scores
from ._words import change, count, duration, ranked, size, span, value, verdict

TEMPLATE = Path(__file__).with_name("_report.html")
STYLE = Path(__file__).with_name("_report.css")
SHOWN = 60  # items side by side, two thirds of them ones on which variants disagree
LONGEST = 600  # characters of one text; models that run on would fill the page


@dataclass(frozen=True)
class Reply:
    """One variant's answer to a shown item."""

    variant: str
    method: str
    answer: str
    score: float | None
    reason: str


@dataclass(frozen=True)
class Sample:
    """One item with what the variants made of it."""

    number: int
    question: str
    context: str
    reference: str
    replies: Sequence[Reply]

    @property
    def disputed(self) -> bool:
        """Whether models disagree; baselines nearly always differ and do not count."""
        return len({r.score for r in self.replies if r.method not in BASELINES}) > 1


def samples(
    items: Sequence[Example], entries: Sequence[tuple[Entry, Scores]], primary: str
) -> list[Sample]:
    """Choose items to show, spread over the whole set.

    Args:
        items: what was asked.
        entries: what was answered, one of each variant is shown.
        primary: the metric whose verdict is shown.
    """
    first = {entry.key: (entry, scores[primary]) for entry, scores in reversed(entries)}
    shown = [first[key] for key in dict.fromkeys(entry.key for entry, _ in entries)]
    made = [_sample(place, item, shown) for place, item in enumerate(items)]
    disputed = [sample for sample in made if sample.disputed]
    agreed = [sample for sample in made if not sample.disputed]
    most = max(SHOWN * 2 // 3, SHOWN - len(agreed))
    chosen = _spread(disputed, most)
    chosen += _spread(agreed, SHOWN - len(chosen))
    return sorted(chosen, key=lambda sample: sample.number)


def _sample(place: int, item: Example, shown: Sequence[tuple[Entry, Sequence[Score]]]) -> Sample:
    question = str(item.meta.get("question") or item.prompt[-1]["content"])
    prompt = item.prompt[-1]["content"]
    replies = [
        Reply(
            entry.name,
            entry.method,
            _cut(entry.outcomes[place].answer, LONGEST),
            scores[place].value,
            _cut(scores[place].reason, 160),
        )
        for entry, scores in shown
    ]
    reference = str(item.meta.get("sql") or item.reference)
    earlier = [f"{message['role']}: {message['content']}" for message in item.prompt[:-1]]
    shown_before = prompt.removesuffix(question).strip() if prompt != question else ""
    context = "\n".join(filter(None, [*earlier, shown_before]))
    question, context, reference = (_cut(t, 5 * LONGEST) for t in (question, context, reference))
    return Sample(place + 1, question, context, reference, replies)


def _cut(text: str, most: int) -> str:
    """Shorten a text."""
    return text if len(text) <= most else f"{text[:most]} …"


def _spread(found: Sequence[Sample], most: int) -> list[Sample]:
    """Take at most so many, evenly."""
    if len(found) <= most:
        return list(found)
    return [found[place * len(found) // most] for place in range(most)]


def curve(name: str, records: Sequence[Mapping[str, Any]]) -> Curve:
    """Read a training's course out of its log."""
    training = [(r["step"], r["loss"]) for r in records if "loss" in r and "step" in r]
    checks = [(r["step"], r["validation"]["nats"]) for r in records if "validation" in r]
    return Curve(name, training, checks)


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
    plots = [plot for item in curves if (plot := learning(item)) is not None]
    best = ranked(card)[:1]
    return template.render(
        card=card,
        primary=card.readings[card.primary],
        sentences=sentences,
        scale=_scale(card),
        cost_plot=quality_against_cost(card),
        learning_plots=plots,
        samples=shown,
        disputed=sum(sample.disputed for sample in shown),
        features=_features(card),
        ours=[c for c in card.comparisons if c.metric == card.primary],
        against=[c for c in card.comparisons if _about(c, best, card.primary)],
        forgot=[line for line in card.variants if line.forgetting or line.elsewhere],
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
    return max((line.metrics[card.primary].high or 0.0 for line in card.variants), default=1) or 1.0


def _features(card: Scorecard) -> list[str]:
    """List the features with enough items to say something, the commonest first."""
    names = card.variants[0].features if card.variants else {}
    return [name for name, measure in names.items() if measure.n >= min(10, card.n)]


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
