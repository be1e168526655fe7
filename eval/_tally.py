"""From outcomes to a scorecard: grade each answer, fold seeds, bound means, compare variants."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from itertools import combinations
from statistics import fmean
from typing import Any

from sqlglot.errors import SqlglotError

from ..recipes._recipe import Example
from ._answers import Outcome
from ._hardness import LEVELS, hardness
from ._metric import Metric, Score
from ._scorecard import (
    Bias,
    Comparison,
    Cost,
    Forgetting,
    Line,
    Measure,
    Reading,
    Scorecard,
)
from ._seeds import Folded, fold, fold_all
from ._statistics import Difference, differences, holm, intervals, verdict

Scores = dict[str, list[Score]]  # metric name -> a score an item


@dataclass(frozen=True)
class Entry:
    """One trained run, or one way of asking the base, or a baseline: what goes into the card.

    Attributes:
        name: unique in the card.
        method: `base`, `nearest`, `majority` or the name of a method.
        outcomes: one an item.
        key: entries with equal keys differ in their training seed alone and are folded.
        seed: of training.
        form: `chat` or `prose`.
        shots: examples shown first.
        elsewhere: by the name of another recipe, what was forgotten of its answers.
        bias: by group, which way it leans on each minimal pair; see _bias.py.
    """

    name: str
    method: str
    outcomes: Sequence[Outcome]
    key: str
    seed: int | None = None
    form: str = "chat"
    shots: int = 0
    cost: Cost = field(default_factory=Cost)
    forgetting: Forgetting | None = None
    elsewhere: Mapping[str, Forgetting] = field(default_factory=dict)
    fingerprint: str = ""
    folder: str = ""
    bias: Mapping[str, Sequence[float]] = field(default_factory=dict)


def grade(entry: Entry, items: Sequence[Example], metrics: Mapping[str, Metric]) -> Scores:
    """Score every outcome by every metric; those behind one that judges know what is right."""
    outcomes, found = entry.outcomes, dict[str, list[Score]]()
    for name, metric in metrics.items():
        found[name] = metric.grades(outcomes, items)
        if metric.judges:
            graded = zip(outcomes, found[name], strict=True)
            outcomes = [
                replace(one, right=score.value if one.right is None else one.right)
                for one, score in graded
            ]
    return found


def build(
    recipe: str,
    items: Sequence[Example],
    entries: Sequence[tuple[Entry, Scores]],
    metrics: Mapping[str, Metric],
    seed: int,
    facts: Mapping[str, Any],
    notice: str = "",
) -> Scorecard:
    """Fold seeds, bound the means and compare every two variants.

    Args:
        recipe: its name.
        items: what was asked.
        entries: with their scores, in table order.
        metrics: by name, the one that ranks first.
        seed: of the bootstrap.
        facts: kept as they are.
        notice: what must stand beside every answer.
    """
    groups: dict[str, list[tuple[Entry, Scores]]] = {}
    for entry, scores in entries:
        groups.setdefault(entry.key, []).append((entry, scores))
    names = {key: _name([entry for entry, _ in group]) for key, group in groups.items()}
    folded: dict[str, list[Folded]] = {}
    measures: dict[str, dict[str, Measure]] = {key: {} for key in groups}
    for name, metric in metrics.items():
        values = [[_values(scores[name]) for _, scores in group] for group in groups.values()]
        folded[name] = fold_all(values)
        found = intervals(folded[name], seed, metric.share)
        for key, interval, variant in zip(groups, found, folded[name], strict=True):
            measures[key][name] = Measure(**asdict(interval), spread=variant.spread)
    primary = next(iter(metrics))
    seeds = [[_values(scores[primary]) for _, scores in group] for group in groups.values()]
    share = metrics[primary].share
    features = _by(_features(items), seeds, seed, share)
    levels = _by(_levels(items), seeds, seed, share)
    lines = [
        replace(
            _line(names[key], group, measures[key], primary),
            features=features[place],
            levels=levels[place],
            bias=_bias([entry for entry, _ in group], seed),
        )
        for place, (key, group) in enumerate(groups.items())
    ]
    compared = _compare(metrics, folded, lines, seed)
    readings = {
        m: Reading(x.title, x.lower_is_better, x.share, x.about) for m, x in metrics.items()
    }
    return Scorecard(
        recipe, len(items), tuple(lines), tuple(compared), readings, dict(facts), notice
    )


def _values(scores: Sequence[Score]) -> list[float | None]:
    return [score.value for score in scores]


def _name(entries: Sequence[Entry]) -> str:
    """Name a variant after its first run, and say how many seeds it stands for."""
    return entries[0].name + (f" (and {len(entries) - 1} more)" if len(entries) > 1 else "")


def _line(
    name: str,
    group: Sequence[tuple[Entry, Scores]],
    measures: dict[str, Measure],
    primary: str,
) -> Line:
    """Put a variant's runs together."""
    runs = [entry for entry, _ in group]
    reasons = Counter(
        score.reason.partition(":")[0] for _, scores in group for score in scores[primary]
    )
    names = dict.fromkeys(name for run in runs for name in run.elsewhere)
    return Line(
        name=name,
        method=runs[0].method,
        shots=runs[0].shots,
        seeds=tuple(run.seed for run in runs if run.seed is not None),
        metrics=measures,
        cost=_mean_cost([run.cost for run in runs]),
        forgetting=_mean_forgetting([run.forgetting for run in runs]),
        elsewhere={
            name: found
            for name in names
            if (found := _mean_forgetting([run.elsewhere.get(name) for run in runs])) is not None
        },
        form=runs[0].form,
        fingerprints=tuple(run.fingerprint for run in runs if run.fingerprint),
        folders=tuple(run.folder for run in runs if run.folder),
        reasons=dict(sorted(reasons.items(), key=lambda pair: (pair[0] != "right", -pair[1]))),
        features={},
    )


def _mean_forgetting(found: Sequence[Forgetting | None]) -> Forgetting | None:
    """Average what was forgotten over seeds."""
    known = [one for one in found if one is not None]
    if not known:
        return None
    return replace(known[0], after=fmean(one.after for one in known))


def _mean_cost(costs: Sequence[Cost]) -> Cost:
    """Average costs over seeds."""
    known = [asdict(cost) for cost in costs]
    means = {}
    for name in known[0]:
        values = [cost[name] for cost in known if cost[name] is not None]
        means[name] = fmean(values) if values else None
        if values and name in ("trainable_params", "bytes", "peak_memory"):
            means[name] = round(fmean(values))
    return Cost(**means)  # type: ignore[arg-type]


def _features(items: Sequence[Example]) -> dict[str, list[int]]:
    """Find the places of the items that have each feature, the commonest feature first."""
    have = Counter(name for item in items for name in item.meta.get("features", ()))
    return {
        name: [place for place, item in enumerate(items) if name in item.meta.get("features", ())]
        for name, _ in have.most_common()
    }


def _levels(items: Sequence[Example]) -> dict[str, list[int]]:
    """Find the places of the queries of each hardness, the easiest first."""
    found: dict[str, list[int]] = {level: [] for level in LEVELS}
    for place, item in enumerate(items):
        with suppress(SqlglotError):  # a reference that cannot be read has no level
            if sql := item.meta.get("sql"):
                found[hardness(sql)].append(place)
    return {level: places for level, places in found.items() if places}


def _by(
    parts: Mapping[str, Sequence[int]],
    variants: Sequence[Sequence[list[float | None]]],
    seed: int,
    share: bool,
) -> list[dict[str, Measure]]:
    """Measure each variant on parts of the items, given by their places."""
    found: list[dict[str, Measure]] = [{} for _ in variants]
    for name, places in parts.items():
        part = fold_all([[[run[at] for at in places] for run in seeds] for seeds in variants])
        for measures, interval in zip(found, intervals(part, seed, share), strict=True):
            measures[name] = Measure(**asdict(interval))
    return found


def _bias(runs: Sequence[Entry], seed: int) -> Bias | None:
    """Measure how a variant leans on the minimal pairs, its seeds averaged pair by pair."""
    if not all(run.bias for run in runs):
        return None
    kinds = {name: [run.bias[name] for run in runs] for name in runs[0].bias}
    every = [[lean for leans in run.bias.values() for lean in leans] for run in runs]
    parts: dict[str, list[Sequence[float]]] = {"": [*every], **kinds}
    # One at a time, since they have different numbers of pairs.
    found = {name: intervals([fold(seeds)], seed, share=True)[0] for name, seeds in parts.items()}
    measures = {name: Measure(**asdict(interval)) for name, interval in found.items()}
    return Bias(measures.pop(""), measures)


def _compare(
    metrics: Mapping[str, Metric],
    folded: Mapping[str, Sequence[Folded]],
    lines: Sequence[Line],
    seed: int,
) -> list[Comparison]:
    """Compare every two variants by every metric; the later one in the table is a.

    What is claimed first, who is better by the metric that ranks, is a family of its own for Holm;
    the other metrics' comparisons are corrected over all there are.
    """
    pairs = [(b, a) for a, b in combinations(range(len(lines)), 2)]
    found = [
        (name, pair, difference)
        for name in metrics
        for pair, difference in zip(pairs, differences(folded[name], pairs, seed), strict=True)
        if difference is not None
    ]
    every = [difference.p for _, _, difference in found]
    count = sum(name == next(iter(metrics)) for name, _, _ in found)  # they come first
    corrected = holm(every[:count]) + holm(every)[count:]
    families = [count] * count + [len(found)] * (len(found) - count)
    return [
        Comparison(
            a=lines[a].name,
            b=lines[b].name,
            metric=name,
            difference=difference.difference,
            low=difference.low,
            high=difference.high,
            p=difference.p,
            verdict=verdict(difference, p_holm, metrics[name].lower_is_better),
            p_holm=p_holm,
            n=difference.n,
            detectable=_detectable(difference, family, metrics[name].share),
        )
        for (name, (a, b), difference), p_holm, family in zip(
            found, corrected, families, strict=True
        )
    ]


def _detectable(difference: Difference, family: int, share: bool) -> float | None:
    """State what would be called; None where not even a whole difference would be."""
    least = difference.detectable(family)
    return None if math.isinf(least) or (share and least > 1) else least
