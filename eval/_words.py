"""Numbers as words: the verdict in two sentences, units, and the card as a Markdown table."""

import re
from collections.abc import Mapping, Sequence

from ._scorecard import BASELINES, OWN, Comparison, Forgetting, Line, Measure, Reading, Scorecard


def value(measure: float | None, reading: Reading) -> str:
    """Write a metric's value.

    >>> value(0.924, Reading("Exact match", False, True)), value(1.25, Reading("Bits", True, False))
    ('92.4 %', '1.250')
    """
    if measure is None:
        return "–"
    return f"{100 * measure:.1f} %" if reading.share else f"{measure:.3f}"


def span(measure: Measure, reading: Reading) -> str:
    """Write a metric's interval, and the spread between seeds where there are several."""
    if measure.low is None or measure.high is None:
        return ""
    scale, digits = (100, 1) if reading.share else (1, 3)
    ends = f"{scale * measure.low:.{digits}f} to {scale * measure.high:.{digits}f}"
    spread = "" if measure.spread is None else f", seeds ±{scale * measure.spread:.{digits}f}"
    return ends + spread


def count(number: float | None) -> str:
    """Write a number of parameters or tokens.

    >>> count(0), count(5120), count(98304), count(3_540_000), count(None)
    ('0', '5,120', '98.3k', '3.54M', '–')
    """
    if number is None:
        return "–"
    if number >= 999_500:
        return f"{number / 1e6:.3g}M" if number < 1e9 else f"{number / 1e9:.3g}B"
    return f"{number / 1e3:.3g}k" if number >= 1e4 else f"{number:,.0f}"


def size(number: float | None) -> str:
    """Write bytes.

    >>> size(20_600), size(14_200_000), size(3_100_000_000), size(None)
    ('21 kB', '14.2 MB', '3.10 GB', '–')
    """
    if number is None:
        return "–"
    if number >= 1e9:
        return f"{number / 1e9:.2f} GB"
    return f"{number / 1e6:.1f} MB" if number >= 1e6 else f"{number / 1e3:.0f} kB"


def duration(seconds: float | None) -> str:
    """Write seconds.

    >>> duration(31.4), duration(125), duration(7330), duration(None)
    ('31 s', '2 min 5 s', '2 h 2 min', '–')
    """
    if seconds is None:
        return "–"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s" if whole >= 10 else f"{seconds:.1f} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def change(forgetting: Forgetting | None) -> str:
    """Write what a variant forgot, in bits per byte, after minus before."""
    return "–" if forgetting is None else f"{forgetting.after - forgetting.before:+.3f}"


def listed(names: Sequence[str]) -> str:
    """Join names.

    >>> listed(["a"]), listed(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def ranked(card: Scorecard) -> list[Line]:
    """Order the variants by the first metric, the best one first."""
    worst_first = card.readings[card.primary].lower_is_better
    known = [(line.metrics[card.primary].mean, line) for line in card.variants]
    scored = [(mean, line) for mean, line in known if mean is not None]
    scored.sort(key=lambda pair: pair[0] if worst_first else -pair[0])
    return [line for _, line in scored]


def between(card: Scorecard, one: Line, other: Line, metric: str) -> Comparison | None:
    """Find the comparison of two variants."""
    pair = {one.name, other.name}
    return next((c for c in card.comparisons if c.metric == metric and {c.a, c.b} == pair), None)


def ties(card: Scorecard, best: Line) -> list[Line]:
    """List the variants that cannot be told from the best one by the first metric."""
    found = []
    for line in ranked(card):
        compared = between(card, best, line, card.primary)
        if compared is not None and compared.verdict == "tie":
            found.append(line)
    return found


def verdict(card: Scorecard) -> tuple[str, str]:
    """Say in two sentences what won and at what cost."""
    order = ranked(card)
    if not order:
        return "Nothing could be scored.", "No item has a reference that could be checked."
    best, equals = order[0], ties(card, order[0])
    reading, measure = card.readings[card.primary], best.metrics[card.primary]
    if not measure.mean and not reading.lower_is_better:
        title = reading.title.lower()
        return f"Nobody scored anything by {title} (n = {measure.n}).", "There is nothing to rank."
    found = f"{value(measure.mean, reading)} {reading.title.lower()}"
    found += f" ({span(measure, reading)}; n = {measure.n})"
    names = listed([line.name for line in equals])
    first = f"{best.name} is best with {found}"
    if len(order) > 1 and len(equals) == len(order) - 1:
        first = f"No other variant can be told from {best.name}, which has {found}."
    elif equals:
        first += f"; {names} cannot be told from it."
    else:
        first += ", ahead of every other variant." if len(order) > 1 else "."
    if all(line.method in ("base", *BASELINES) for line in order):
        return first, "Nothing here was tuned."
    untrained = [line for line in [best, *equals] if line.method in ("base", *BASELINES)]
    if untrained:
        plain = listed([line.name for line in untrained])
        beaten = "does not beat" if best in untrained else "cannot be told from"
        few = any(len(line.seeds) == 2 for line in order)
        more = " Two training seeds tell little apart, three tell more." if few else ""
        return first, f"The best that tuning reached {beaten} {plain}, which needed none.{more}"
    cheap = min([best, *equals], key=lambda line: line.cost.trainable_params)
    return first, _price(card, cheap, alone=not equals)


def _price(card: Scorecard, line: Line, *, alone: bool) -> str:
    """Say what a variant cost, and what there was without it."""
    who = "It" if alone else f"The cheapest of these, {line.name},"
    text = f"{who} trained {count(line.cost.trainable_params)} parameters"
    if line.cost.seconds is not None:
        text += f" in {duration(line.cost.seconds)}"
    text += f" and takes {size(line.cost.bytes)}"
    if line.forgetting is not None:
        text += f", for {change(line.forgetting)} bits per byte on {line.forgetting.text}"
    without = [other for other in ranked(card) if other.method in ("base", *BASELINES)]
    if without:
        reached = value(without[0].metrics[card.primary].mean, card.readings[card.primary])
        text += f"; without tuning {without[0].name} reaches {reached}"
    return text + "."


def standing(card: Scorecard) -> dict[str, str]:
    """Say of each variant that has a score whether it is the best, ties with it or is behind."""
    order = ranked(card)
    equal = {line.name for line in ties(card, order[0])} if order else set()
    said = {line.name: "tie" if line.name in equal else "behind" for line in order}
    return said | {line.name: "best" for line in order[:1]}


def markdown(card: Scorecard) -> str:
    """Write the card for a README or a pull request."""
    heads = [
        reading.title + (" ↓" if reading.lower_is_better else "")
        for reading in card.readings.values()
    ]
    heads = ["Variant", "Standing", *heads, "Trained", "File", "Time", "Memory", "Tokens/s"]
    heads += ["Forgetting", "Seeds"]
    stands = standing(card)
    rows = [[plain(cell) for cell in _row(card, line, stands)] for line in card.variants]
    table = [heads, ["---", "---", *["---:"] * (len(heads) - 2)], *rows]
    body = "\n".join(f"| {' | '.join(row)} |" for row in table)
    read = next((line.forgetting.text for line in card.variants if line.forgetting), OWN)
    note = (
        f"n = {card.n} items, the same for all, evaluation seed {card.facts.get('seed', '–')}; in "
        "brackets 95 % intervals. A tie cannot be told from the best. Forgetting is bits per "
        f"byte on {read}, after minus before."
    )
    note = " ".join([note, *map(plain, card.facts.get("caveats", {}).values())])
    said = plain(" ".join(filter(None, [card.notice, *verdict(card)])))
    again = f"\n```\n{card.facts['command']}\n```\n" if "command" in card.facts else ""
    return f"# {card.recipe}\n\n{said}\n\n{body}\n\n{note}\n{again}"


def plain(text: str) -> str:
    r"""Make text safe for a cell of a Markdown table: no markup, no cell's or line's end.

    >>> plain("<b>a|b</b>\n`c`")
    '&lt;b>a\\|b&lt;/b> \\`c\\`'
    """
    text = " ".join(text.split("\n")).replace("<", "&lt;")
    return re.sub(r"([|`\[\]*])", r"\\\1", text)


def _row(card: Scorecard, line: Line, stands: Mapping[str, str]) -> list[str]:
    cells = [stands.get(line.name, "–")]
    for name, reading in card.readings.items():
        measure = line.metrics[name]
        ends = span(measure, reading)
        other = f", n = {measure.n}" if measure.n != card.n else ""
        cells.append(value(measure.mean, reading) + (f" ({ends}{other})" if ends else ""))
    cost = line.cost
    rate = count(cost.tokens_per_second)
    costs = [count(cost.trainable_params), size(cost.bytes), duration(cost.seconds)]
    if line.method in BASELINES:
        costs, rate = ["–", "–", "–"], "–"
    seeds = ", ".join(map(str, line.seeds)) or "–"
    costs += [size(cost.peak_memory), rate, change(line.forgetting), seeds]
    return [line.name, *cells, *costs]
