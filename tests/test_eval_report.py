"""The report: self-contained, hostile text shown as text, the verdict in words, the schema."""

import json
import re
from dataclasses import fields, replace
from itertools import combinations
from pathlib import Path

import pytest

from ftkit.eval._plots import (
    LETTER,
    Curve,
    _box,
    _shared,
    quality_against_cost,
    quality_against_updates,
)
from ftkit.eval._report import html
from ftkit.eval._samples import samples
from ftkit.eval._scorecard import (
    Bias,
    Comparison,
    Cost,
    Forgetting,
    Line,
    Measure,
    Reading,
    Scorecard,
)
from ftkit.eval._statistics import holm
from ftkit.eval._tally import build
from ftkit.eval._words import markdown, verdict
from tests import cards, pages, schema

CURVES = [
    Curve("sql_qa-lora", [(1, 2.0), (50, 0.9), (100, 0.5)], [(50, 1.1), (100, 0.7)]),
    Curve("<script>", [(1, 2.0)], [(2, 1.0)]),
]


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    return cards.items(tmp_path_factory.mktemp("report"), 300)


@pytest.fixture(scope="module")
def entries(asked):
    return cards.entries(asked)


@pytest.fixture(scope="module")
def card(asked, entries) -> Scorecard:
    facts = {"command": "ftkit eval <runs>", "recipe": {"rows": 4000}, "seed": 0}
    return build("sql_qa", asked, entries, cards.metrics(), 0, facts)


@pytest.fixture(scope="module")
def page(card, asked, entries) -> str:
    return html(card, samples(asked, entries, card.primary), CURVES)


def test_what_is_to_be_known_of_a_metric_stands_under_the_table(card, asked, entries):
    """Also that no difference can be detected, where items are few."""
    said = "3 of 300 items were judged on the file alone: "
    told = {"execution_accuracy": f"{said}<b>why</b>."}
    surest = [replace(one, detectable=None) for one in card.comparisons]
    known = replace(card, facts=card.facts | {"caveats": told}, comparisons=tuple(surest))
    page = html(known, samples(asked, entries, card.primary), CURVES)
    under = page.partition("<h2>All measures</h2>")[2].partition("</section>")[0]
    assert f"<p>{said}&lt;b&gt;why&lt;/b&gt;.</p>" in under
    assert f"after minus before. {said}&lt;b>why" in markdown(known)
    better = page.partition("<h2>Who is better than whom</h2>")[2].partition("</section>")[0]
    assert "<td>none</td>" in better
    assert "140.0" not in better
    assert "none where even the largest would not be" in better
    bits = card.readings | {card.primary: replace(card.readings[card.primary], share=False)}
    one = {card.primary: Measure(2.5, None, None, 1)}  # a mean without interval
    lines = tuple(replace(line, metrics=line.metrics | one) for line in card.variants)
    alone = replace(card, variants=lines, readings=bits)
    assert max(map(float, re.findall("--v:([0-9.]+)", html(alone, [], [])))) == 1.0
    assert min(dot.y for dot in quality_against_cost(alone).dots) > 0


def test_the_style_reaches_the_page_unescaped(page):
    style = page.partition("<style>")[2].partition("</style>")[0]
    assert "section > p" in style
    assert not re.search(r"&(gt|lt|amp|#34|quot);", style)


SCHEMA = json.loads((Path(__file__).parent.parent / "docs/scorecard.schema.json").read_text())


def test_the_json_has_the_schema_that_others_read(card):
    data = json.loads(json.dumps(card.json(), allow_nan=False))
    assert schema.faults(data, SCHEMA, SCHEMA) == []
    full = data["variants"][-1]
    assert (full["method"], full["seeds"], full["cost"]["bytes"]) == ("full", [0], 14_200_000)
    assert data["variants"][0]["metrics"]["bits_per_byte"]["mean"] is None
    assert data["variants"][3]["shots"] == 4
    for wrong, said in (
        ({"n": "300"}, "$.n is '300', no integer"),
        ({"n": -1}, "$.n is -1"),
        ({"more": 1}, "$ has more"),
        ({"comparisons": [data["comparisons"][0] | {"verdict": "equal"}]}, "is 'equal'"),
        ({"variants": [full | {"cost": {}}]}, "$.variants[0].cost lacks bytes"),
    ):
        assert said in " ".join(schema.faults(data | wrong, SCHEMA, SCHEMA))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *(("", Scorecard), ("line", Line), ("measure", Measure), ("cost", Cost), ("bias", Bias)),
        *(("forgetting", Forgetting), ("comparison", Comparison), ("reading", Reading)),
    ],
)
def test_the_schema_names_every_field_and_no_other(name, kind):
    part = SCHEMA["$defs"][name] if name else SCHEMA
    names = [field.name for field in fields(kind)]
    assert sorted(part["properties"]) == sorted(part["required"]) == sorted(names)
    assert part["additionalProperties"] is False


def test_means_are_those_of_the_scores_and_comparisons_agree(card, entries):
    for line, (_, scores) in zip(card.variants, entries, strict=True):
        values = [score.value for score in scores["execution_accuracy"]]
        measure = line.metrics["execution_accuracy"]
        assert measure.mean == pytest.approx(sum(values) / 300)
        assert measure.low < measure.mean < measure.high
        assert sum(line.reasons.values()) == 300
        assert line.reasons["right"] == sum(values)
        assert line.features["count"].n == 250
    means = {line.name: line.metrics for line in card.variants}
    assert len(card.comparisons) == 28 * 3 + 15 * 2  # baselines neither stop nor have likelihoods
    for compared in card.comparisons:
        a, b = means[compared.a][compared.metric].mean, means[compared.b][compared.metric].mean
        assert compared.difference == pytest.approx(a - b)
        assert compared.p <= compared.p_holm <= 1
        if compared.verdict != "tie":
            lower = card.readings[compared.metric].lower_is_better
            assert (compared.verdict == "a better") == ((a < b) if lower else (a > b))


def test_the_metric_that_ranks_is_a_family_of_its_own(card):
    primary = [c for c in card.comparisons if c.metric == card.primary]
    assert [c.p_holm for c in primary] == holm([c.p for c in primary])
    every = holm([c.p for c in card.comparisons])
    rest = [(c.p_holm, p) for c, p in zip(card.comparisons, every, strict=True)]
    assert [a for a, _ in rest[len(primary) :]] == [p for _, p in rest[len(primary) :]]
    assert any(a < p for a, p in rest[: len(primary)])


def test_the_verdict_names_the_winner_its_ties_and_the_price(card):
    first, second = verdict(card)
    best = card.variants[-1]
    assert first.startswith(
        f"sql_qa-full is best with {100 * best.metrics[card.primary].mean:.1f} %"
    )
    assert first.endswith("; sql_qa-lora cannot be told from it.")
    assert second.startswith("The cheapest of these, sql_qa-lora, trained 150k parameters in 31 s")
    assert "for +0.007 bits per byte on the base's own text" in second
    assert "without tuning base prose reaches" in second
    alone = replace(card, variants=tuple(v for v in card.variants if v.method != "lora"))
    assert verdict(alone)[0].endswith("n = 300), ahead of every other variant.")
    assert verdict(alone)[1].startswith("It trained 3.54M parameters in 29 s and takes 14.2 MB")
    few = replace(card, variants=card.variants[:3])
    assert verdict(few)[1] == "Nothing here was tuned."
    plain, tuned = card.variants[-4], card.variants[-1]
    worse = (replace(tuned, method="base"), replace(plain, method="full"))
    worse = replace(card, variants=worse)
    assert verdict(worse)[0].endswith("n = 300), ahead of every other variant.")
    assert verdict(worse)[1] == (
        "The best that tuning reached does not beat sql_qa-full, which needed none."
    )
    pair = {(plain.name, tuned.name), (tuned.name, plain.name)}
    tied = [replace(c, verdict="tie") if (c.a, c.b) in pair else c for c in card.comparisons]
    close = replace(card, variants=(plain, tuned), comparisons=tuple(tied))
    unsure = f"The best that tuning reached cannot be told from {plain.name}, which needed none."
    assert verdict(close)[1] == unsure
    few = replace(close, variants=(plain, replace(tuned, seeds=(0, 1))))
    assert verdict(few)[1] == f"{unsure} Two training seeds tell little apart, three tell more."
    lora, full = card.variants[-2:]
    both = verdict(replace(card, variants=(lora, full)))[0]
    assert both.startswith("No other variant can be told from sql_qa-full, which has 81.0 %")
    none = replace(card, variants=())
    assert verdict(none)[0] == "Nothing could be scored."


def test_markdown_is_one_table_row_a_variant(card):
    rows = [line for line in markdown(card).splitlines() if line.startswith("| ")]
    assert len(rows) == 2 + len(card.variants)
    assert len({row.count("|") for row in rows}) == 1
    assert rows[0].startswith("| Variant | Standing | Execution accuracy | Valid SQL |")
    assert rows[-1].startswith("| sql_qa-full | best | 81.0 % (76.2 to 85.0) |")
    assert rows[-2].startswith("| sql_qa-lora | tie |")
    assert rows[-3].startswith("| sql_qa-soft_prompt | behind |")
    assert rows[-1].endswith(" | 3.54M | 14.2 MB | 29 s | 1.10 GB | 14.6k | +0.177 | 0 |")
    assert "n = 300 items, the same for all, evaluation seed 0;" in markdown(card)
    assert "```\nftkit eval <runs>\n```" in markdown(card)
    named = replace(card.variants[0], name="<img src=x>\n| *a* [b](c)")
    hostile = markdown(replace(card, variants=(named, *card.variants[1:])))
    assert "| &lt;img src=x> \\| \\*a\\* \\[b\\](c) | behind |" in hostile


def test_the_page_loads_nothing_runs_nothing_and_shows_hostile_text_as_text(page):
    shown = pages.shown(page)
    for text in cards.HOSTILE[:4]:
        assert text in shown
    assert "{{ 7 * 7 }} {% raw %} &lt;" in shown


def test_the_plot_keeps_its_points_inside(card):
    plot = quality_against_cost(card)
    assert [dot.label for dot in plot.dots] == [
        f"sql_qa-{m}" for m in ("soft_prompt", "lora", "full")
    ]
    for dot in plot.dots:
        assert plot.left <= dot.x <= plot.right
        assert plot.top <= dot.high < dot.y < dot.low <= plot.bottom
    assert plot.traces[0].label == "base prose, untuned"
    assert quality_against_cost(replace(card, variants=card.variants[:5])) is None


def test_labels_of_runs_with_equal_cost_lie_side_by_side(card):
    lora = next(line for line in card.variants if line.method == "lora")
    twins = [replace(lora, name=f"sql_qa-lora-{seed}") for seed in range(3)]
    plot = quality_against_cost(replace(card, variants=(*card.variants, *twins)))
    boxes = [_box(dot.text_x, dot.text_y, dot.anchor, LETTER * len(dot.label)) for dot in plot.dots]
    assert len(boxes) == 6
    for a, b in combinations(boxes, 2):
        assert _shared(a, b) == 0


def test_runs_of_one_method_that_differ_in_length_make_a_curve(card):
    assert quality_against_updates(card) is None
    lora = next(line for line in card.variants if line.method == "lora")
    runs = [
        replace(lora, name=f"lora-{n}", cost=replace(lora.cost, updates=n)) for n in (400, 50, 100)
    ]
    other = replace(card.variants[-1], cost=replace(lora.cost, updates=50))
    plot = quality_against_updates(replace(card, variants=(*card.variants[:5], *runs, other)))
    assert {dot.label for dot in plot.dots} == {"lora-50", "lora-100", "lora-400"}
    xs = {dot.label: dot.x for dot in plot.dots}
    assert xs["lora-50"] < xs["lora-100"] < xs["lora-400"]
    assert xs["lora-400"] - xs["lora-100"] == pytest.approx(2 * (xs["lora-100"] - xs["lora-50"]))
    (joined,) = [trace for trace in plot.traces if not trace.label]
    places = [float(point.split(",")[0]) for point in joined.points.split()]
    assert places == [xs["lora-50"], xs["lora-100"], xs["lora-400"]]


def test_answers_are_broken_down_by_hardness(asked, entries):
    queries = {
        "easy": "SELECT name FROM station",
        "medium": "SELECT a, b FROM t ORDER BY c",
        "extra hard": "SELECT a, count(*) FROM t JOIN u ON t.i = u.i WHERE b > 1 AND c < 3 "
        "GROUP BY a, d ORDER BY count(*) LIMIT 3",
        "": "no query (",
    }
    levels = [list(queries)[place % 4] for place in range(300)]
    items = [
        replace(item, meta=item.meta | {"sql": queries[level]})
        for item, level in zip(asked, levels, strict=True)
    ]
    card = build("sql_qa", items, entries, cards.metrics(), 0, {})
    assert list(card.variants[0].levels) == ["easy", "medium", "extra hard"]
    for line, (_, scores) in zip(card.variants, entries, strict=True):
        for level, measure in line.levels.items():
            pairs = zip(scores[card.primary], levels, strict=True)
            own = [score.value for score, at in pairs if at == level]
            assert measure.n == 75
            assert measure.mean == pytest.approx(sum(own) / 75)
            assert measure.low <= measure.mean + 1e-9 <= measure.high
    page = html(card, [], [])
    assert "<h2>By hardness</h2>" in page
    assert page.count("extra hard") == 1
    assert "<h2>By hardness</h2>" not in html(replace(card, variants=()), [], [])


def test_every_number_stands_with_its_n_and_seed(card, page):
    shown = pages.shown(page)
    assert "n = 300 items, the same for all variants · evaluation seed 0" in shown
    assert "mean over n = 300 items" in shown
    few = replace(
        card.variants[-1],
        metrics=card.variants[-1].metrics
        | {"exact_match": replace(card.variants[-1].metrics["exact_match"], n=17)},
        seeds=(3, 4),
    )
    text = pages.shown(html(replace(card, variants=(*card.variants[:-1], few)), [], []))
    assert "n = 17" in text
    assert "3, 4" in text
    assert "n = 17" not in shown
    for name in ("Who is better than whom", "How to reproduce"):
        assert name in shown
    assert "ftkit eval <runs>" in shown


def test_a_card_without_scores_or_tunings_still_makes_a_page(asked):
    entry, scores = cards.entries(asked[:3])[0]
    card = build("sql_qa", asked[:3], [(entry, scores)], cards.metrics(), 0, {})
    assert "majority" in html(card, samples(asked[:3], [(entry, scores)], card.primary), [])
    unscored = {name: [replace(s, value=None) for s in found] for name, found in scores.items()}
    card = build("sql_qa", asked[:3], [(entry, unscored)], cards.metrics(), 0, {})
    assert "Nothing could be scored." in html(card, [], [])
    assert "| majority | – |" in markdown(card)
