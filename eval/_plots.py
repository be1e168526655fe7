"""Geometry of the report's plots; the template draws it, so that every name is escaped there."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ._scorecard import BASELINES, Line, Scorecard
from ._words import count

LEFT, RIGHT, TOP, BOTTOM = 36.0, 14.0, 12.0, 34.0
WIDTH, HEIGHT = 420.0, 260.0
LETTER = 6.6  # width of one, on average
NARROW, LOW = 270.0, 180.0  # a learning curve's drawing; several stand side by side
Box = tuple[float, float, float, float]  # left, top, right, bottom


@dataclass(frozen=True)
class Tick:
    """A labelled place on an axis."""

    at: float
    label: str


@dataclass(frozen=True)
class Dot:
    """A variant in the plot, with the ends of its interval and the place of its label."""

    x: float
    y: float
    low: float
    high: float
    label: str
    kind: str
    text_x: float = 0.0
    text_y: float = 0.0
    anchor: str = "start"


@dataclass(frozen=True)
class Trace:
    """A line through points, as SVG wants them."""

    points: str
    kind: str
    label: str


@dataclass(frozen=True)
class Plot:
    """A drawing of `width` by `height` units; `below` says what lies along it."""

    x_ticks: Sequence[Tick]
    y_ticks: Sequence[Tick]
    dots: Sequence[Dot] = ()
    traces: Sequence[Trace] = ()
    title: str = ""
    below: str = ""
    width: float = WIDTH
    height: float = HEIGHT
    left: float = LEFT
    right: float = WIDTH - RIGHT
    top: float = TOP
    bottom: float = HEIGHT - BOTTOM


@dataclass(frozen=True)
class Curve:
    """How a training went: (step, loss) while training and (step, nats) on held-out rows."""

    name: str
    training: Sequence[tuple[float, float]]
    validation: Sequence[tuple[float, float]]


def kind(card: Scorecard, line: Line) -> str:
    """Name the colour of a variant: `none` for baselines, `base`, or `t1` to `t6`."""
    if line.method in BASELINES:
        return "none"
    if line.method == "base":
        return "base"
    tuned = [other.name for other in card.variants if other.method not in ("base", *BASELINES)]
    return f"t{tuned.index(line.name) % 6 + 1}"


def curve(name: str, records: Sequence[Mapping[str, Any]]) -> Curve:
    """Read a training's course out of its log."""
    training = [(r["step"], r["loss"]) for r in records if "loss" in r and "step" in r]
    checks = [(r["step"], r["validation"]["nats"]) for r in records if "validation" in r]
    return Curve(name, training, checks)


def quality_against_cost(card: Scorecard) -> Plot | None:
    """Lay the first metric over the trained parameters; levels without training are lines."""
    tuned = [line for line in card.variants if line.cost.trainable_params > 0]
    tuned = [line for line in tuned if line.method not in ("base", *BASELINES)]
    known = [line for line in card.variants if line.metrics[card.primary].mean is not None]
    if not tuned or not known:
        return None
    sizes = {line.name: line.cost.trainable_params for line in tuned}
    return _against(card, sizes, "trained parameters")


def quality_against_updates(card: Scorecard) -> Plot | None:
    """Lay the first metric over the length of training, where runs of one method differ in it."""
    ways: dict[str, list[Line]] = {}
    for line in card.variants:
        if line.cost.updates and line.metrics[card.primary].mean is not None:
            ways.setdefault(line.method, []).append(line)
    ways = {
        name: sorted(way, key=lambda line: line.cost.updates or 0)
        for name, way in ways.items()
        if len({line.cost.updates for line in way}) > 1 and name not in ("base", *BASELINES)
    }
    if not ways:
        return None
    lengths = {line.name: line.cost.updates or 1 for way in ways.values() for line in way}
    plot = _against(card, lengths, "updates of the training")
    places = {dot.label: f"{dot.x},{dot.y}" for dot in plot.dots}
    joined = [
        Trace(" ".join(places[line.name] for line in way), kind(card, way[0]), "")
        for way in ways.values()
    ]
    return replace(plot, traces=[*plot.traces, *joined])


def _against(card: Scorecard, places: Mapping[str, float], below: str) -> Plot:
    """Lay the first metric over a number of each variant, by its name, on a logarithmic axis."""
    known = [line for line in card.variants if line.metrics[card.primary].mean is not None]
    highs = [line.metrics[card.primary].ends[1] for line in known]
    share = card.readings[card.primary].share
    top = max(highs) * 1.1 or 1.0
    top = min(1.0, max(top, 0.1)) if share else top
    powers = [math.log10(number) for number in places.values()]
    least, most = math.floor(min(powers)), math.ceil(max(powers) + 0.3)

    def across(value: float) -> float:
        share_of_axis = (math.log10(value) - least) / max(1, most - least)
        return round(LEFT + share_of_axis * (WIDTH - LEFT - RIGHT), 1)

    def up(value: float | None) -> float:
        return round(HEIGHT - BOTTOM - (value or 0.0) / top * (HEIGHT - TOP - BOTTOM), 1)

    dots, traces = [], []
    for line in known:
        measure = line.metrics[card.primary]
        if line.name in places:
            x, (low, high) = across(places[line.name]), measure.ends
            heights = up(measure.mean), up(low), up(high)
            dots.append(Dot(x, *heights, line.name, kind(card, line)))
    plain = [line for line in known if line.method in ("base", *BASELINES)]
    level = max(plain, key=lambda line: _mean(card, line), default=None)
    if level is not None:
        y = up(level.metrics[card.primary].mean)
        points = f"{LEFT},{y} {WIDTH - RIGHT},{y}"
        traces.append(Trace(points, kind(card, level), f"{level.name}, untuned"))
    dots = _labelled(dots)
    x_ticks = [Tick(across(10.0**power), count(10.0**power)) for power in range(least, most + 1)]
    y_ticks = [Tick(up(value), _label(value, share)) for value in _ticks(0.0, top)]
    return Plot(x_ticks, y_ticks, dots, traces, below=below)


def _labelled(dots: Sequence[Dot]) -> list[Dot]:
    """Put each label where it hits no dot and no earlier label, as far as there is such a place."""
    taken = [(dot.x - 6, dot.high - 2, dot.x + 6, dot.low + 2) for dot in dots]
    found = []
    for dot in dots:
        wide = LETTER * len(dot.label)
        places = [(dot.x + 9, dot.y + 4, "start"), (dot.x - 9, dot.y + 4, "end")]
        for step in range(3):
            places += [
                (dot.x + side * 5, y + way * 13 * step, anchor)
                for way, y in ((-1, dot.high - 6), (1, dot.low + 14))
                for side, anchor in ((0, "middle"), (1, "end"), (-1, "start"))
            ]
        boxes = [_box(x, y, anchor, wide) for x, y, anchor in places]
        best = min(range(len(places)), key=lambda place: (_harm(boxes[place], taken), place))
        taken.append(boxes[best])
        x, y, anchor = places[best]
        found.append(replace(dot, text_x=round(x, 1), text_y=round(y, 1), anchor=anchor))
    return found


def _box(x: float, y: float, anchor: str, wide: float) -> Box:
    left = x - {"start": 0.0, "middle": wide / 2, "end": wide}[anchor]
    return left, y - 10, left + wide, y + 2


def _harm(box: Box, taken: Sequence[Box]) -> float:
    """Measure how much of a label would lie outside the drawing or on something else."""
    left, top, right, bottom = box
    outside = (right - left) * (bottom - top) - _shared(box, (LEFT, 0.0, WIDTH, HEIGHT - BOTTOM))
    return outside + sum(_shared(box, other) for other in taken)


def _shared(one: Box, other: Box) -> float:
    """Measure the area that two boxes share."""
    wide = min(one[2], other[2]) - max(one[0], other[0])
    return max(0.0, wide) * max(0.0, min(one[3], other[3]) - max(one[1], other[1]))


def _mean(card: Scorecard, line: Line) -> float:
    mean = line.metrics[card.primary].mean or 0.0
    return -mean if card.readings[card.primary].lower_is_better else mean


def learning(curve: Curve) -> Plot | None:
    """Lay loss over steps."""
    points = [*curve.training, *curve.validation]
    if len(points) < 2:
        return None
    last = max(step for step, _ in points) or 1.0
    top = max(loss for _, loss in points) * 1.05 or 1.0

    def place(step: float, loss: float) -> str:
        x = LEFT + step / last * (NARROW - LEFT - RIGHT)
        y = LOW - BOTTOM - loss / top * (LOW - TOP - BOTTOM)
        return f"{x:.1f},{y:.1f}"

    traces = [
        Trace(" ".join(place(*point) for point in (*part, part[-1])), name, name)
        for name, part in (("training", curve.training), ("validation", curve.validation))
        if part
    ]
    x_ticks = [Tick(float(place(v, 0).split(",")[0]), f"{v:g}") for v in _ticks(0.0, last, 4)]
    y_ticks = [Tick(float(place(0, v).split(",")[1]), f"{v:g}") for v in _ticks(0.0, top, 4)]
    return Plot(
        x_ticks, y_ticks, traces=traces, title=curve.name,
        width=NARROW, height=LOW, right=NARROW - RIGHT, bottom=LOW - BOTTOM,
    )  # fmt: skip


def _ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Choose round numbers.

    >>> _ticks(0.0, 1.0), _ticks(0.0, 260.0, 4)
    ([0.0, 0.2, 0.4, 0.6, 0.8, 1.0], [0.0, 100.0, 200.0])
    """
    raw = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * unit for unit in (1, 2, 5, 10) if power * unit >= raw * 0.999)
    return [round(low + number * step, 10) for number in range(int((high - low) / step + 1e-9) + 1)]


def _label(value: float, share: bool) -> str:
    return f"{100 * value:.0f}" if share else f"{value:g}"
