"""The report: self-contained, hostile text harmless in a real browser, the verdict in words."""

import json
import re
import shutil
import subprocess
from dataclasses import replace

import pytest

from ftkit.eval._plots import Curve, quality_against_cost
from ftkit.eval._report import html, samples
from ftkit.eval._scorecard import Scorecard
from ftkit.eval._tally import build
from ftkit.eval._words import markdown, verdict
from tests import cards, pages

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
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


def test_the_style_reaches_the_page_unescaped(page):
    style = page.partition("<style>")[2].partition("</style>")[0]
    assert "section > p" in style
    assert not re.search(r"&(gt|lt|amp|#34|quot);", style)


def test_the_json_has_the_schema_that_others_read(card):
    data = json.loads(json.dumps(card.json(), allow_nan=False))
    assert {"recipe", "n", "variants", "comparisons"} <= set(data)
    assert data["n"] == 300
    for line in data["variants"]:
        assert {"name", "method", "shots", "seeds", "metrics", "cost", "forgetting"} <= set(line)
        assert set(line["metrics"]) == set(cards.METRICS)
        for measure in line["metrics"].values():
            assert {"mean", "low", "high", "n"} <= set(measure)
        wanted = {"trainable_params", "bytes", "seconds", "peak_memory", "tokens_per_second"}
        assert wanted <= set(line["cost"])
    for compared in data["comparisons"]:
        assert {"a", "b", "metric", "difference", "low", "high", "p", "verdict"} <= set(compared)
    full = data["variants"][-1]
    assert (full["method"], full["seeds"], full["cost"]["bytes"]) == ("full", [0], 14_200_000)
    assert data["variants"][0]["metrics"]["bits_per_byte"]["mean"] is None
    assert data["variants"][3]["shots"] == 4


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
    assert verdict(few)[1] == (
        "Nothing that was tuned can be told from nearest, which needed no tuning."
    )
    none = replace(card, variants=())
    assert verdict(none)[0] == "Nothing could be scored."


def test_markdown_is_one_table_row_a_variant(card):
    rows = [line for line in markdown(card).splitlines() if line.startswith("| ")]
    assert len(rows) == 2 + len(card.variants)
    assert len({row.count("|") for row in rows}) == 1
    assert rows[0].startswith("| Variant | Execution accuracy | Valid SQL | Exact match |")
    assert " | 3.54M | 14.2 MB | 29 s | 1.10 GB | 14.6k | +0.177 |" in rows[-1]


def test_the_page_loads_nothing_runs_nothing_and_shows_hostile_text_as_text(page):
    shown = pages.shown(page)
    for text in cards.HOSTILE[:4]:
        assert text in shown
    assert "{{ 7 * 7 }} {% raw %} &lt;" in shown


def test_samples_are_spread_and_mostly_disputed(asked, entries):
    shown = samples(asked, entries, "execution_accuracy")
    assert len(shown) == 60
    assert [s.number for s in shown] == sorted({s.number for s in shown})
    assert sum(s.disputed for s in shown) >= 40
    assert shown[-1].number > 250
    reply = shown[0].replies[-1]
    assert (reply.variant, reply.method) == ("sql_qa-full", "full")
    assert shown[0].context == cards.SCHEMA


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


def test_a_card_without_scores_or_tunings_still_makes_a_page(asked):
    entry, scores = cards.entries(asked[:3])[0]
    card = build("sql_qa", asked[:3], [(entry, scores)], cards.metrics(), 0, {})
    assert "majority" in html(card, samples(asked[:3], [(entry, scores)], card.primary), [])
    unscored = {name: [replace(s, value=None) for s in found] for name, found in scores.items()}
    card = build("sql_qa", asked[:3], [(entry, unscored)], cards.metrics(), 0, {})
    assert "Nothing could be scored." in html(card, [], [])
    assert "| majority | – |" in markdown(card)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_hostile_text_does_nothing_in_a_real_browser(page, tmp_path):
    # The page's own policy is taken away: escaping alone must hold.
    bare = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    assert bare != page
    probe = "<p id=probe></p><script>onload = () => { probe.textContent = 'TITLE ' + document.title"
    probe += " + ' SCRIPTS ' + document.scripts.length + ' FRAMES ' + frames.length }</script>"
    (tmp_path / "page.html").write_text(bare.replace("</body>", probe + "</body>"))
    done = subprocess.run(
        [
            *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"),
            *("--no-first-run", "--disable-background-networking", "--disable-component-update"),
            *("--disable-sync", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"),
            (tmp_path / "page.html").as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    seen = re.search(r"TITLE (.*?) SCRIPTS (\d+) FRAMES (\d+)", done.stdout, re.DOTALL)
    assert seen, done.stderr[-2000:]
    assert seen.group(1).startswith("sql_qa: sql_qa-full is best")
    assert seen.groups()[1:] == ("1", "0")  # the probe itself
