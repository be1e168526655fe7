"""The report in a real browser: hostile text does nothing, it fits a phone, it can be sifted."""

import re
import shutil
import subprocess
from dataclasses import replace

import pytest

from ftkit.eval._plots import Curve
from ftkit.eval._report import html
from ftkit.eval._samples import samples
from ftkit.eval._scorecard import Scorecard
from ftkit.eval._summary import Part, Row, _html
from ftkit.eval._tally import build
from tests import browser, cards

pytestmark = pytest.mark.skipif(browser.CHROMIUM is None, reason="no Chromium here")
SCRIPT, IMAGE, BREAK = cards.HOSTILE[:3]
FRAME = cards.HOSTILE[3]


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    made = cards.items(tmp_path_factory.mktemp("browser"), 120)
    return [
        replace(item, meta=item.meta | {"features": [SCRIPT, IMAGE], "question": BREAK})
        for item in made
    ]


@pytest.fixture(scope="module")
def entries(asked):
    """Answers, names, folders and other recipes' names are hostile, each in its own way."""
    made = cards.entries(asked)
    found = []
    for place, (entry, scores) in enumerate(made):
        lost = {IMAGE: entry.forgetting} if entry.forgetting else {}
        name = entry.name + cards.HOSTILE[place % 5]
        bias = {FRAME: [1.0, 0.0]} if entry.folder else {}
        cost = replace(entry.cost, updates=10 + place if entry.folder else None)
        changed = replace(
            entry, name=name, key=name, folder=name, elsewhere=lost, bias=bias, cost=cost
        )
        found.append((changed, scores))
    return found


@pytest.fixture(scope="module")
def card(asked, entries) -> Scorecard:
    facts = {"command": f"ftkit eval {SCRIPT}", IMAGE: {FRAME: BREAK}, "seed": 0}
    return build(BREAK, asked, entries, cards.metrics(), 0, facts, SCRIPT)


@pytest.fixture(scope="module")
def page(card, asked, entries) -> str:
    curves = [Curve(text, [(1, 2.0)], [(2, 1.0)]) for text in cards.HOSTILE]
    made = html(card, samples(asked, entries, card.primary), curves)
    # The page's own policy is taken away: escaping alone must hold.
    bare = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", made)
    assert bare != made
    return bare


LOOK = """(page, view) => [
  page.title, page.scripts.length, view.frames.length, page.images.length,
  page.querySelectorAll('iframe, object, embed, link, form, base, svg[onload]').length,
  [...page.querySelectorAll('*')].filter((one) => [...one.attributes].some(
    (a) => a.name.startsWith('on') || ['src', 'href', 'srcdoc'].includes(a.name))).length,
  page.documentElement.scrollWidth, page.querySelectorAll('section').length]"""


def test_hostile_text_does_nothing_and_a_phone_needs_no_sideways_scrolling(page, tmp_path):
    found = browser.probe(page, tmp_path, LOOK)
    assert found[0].startswith(BREAK + ": ")
    assert found[0] != "owned"
    assert found[1:6] == [0, 0, 0, 0, 0]
    assert found[6] == 390
    assert found[7] == page.count("<section>") >= 10


def test_the_summary_holds_too(tmp_path):
    row = Row(SCRIPT, "t1", IMAGE, BREAK, "best", FRAME, "1", "2", "3", (SCRIPT,), (IMAGE,))
    part = Part(SCRIPT, 3, IMAGE, BREAK, (FRAME, SCRIPT), "a/report.html", (row,) * 3)
    found = browser.probe(_html([part, part], [SCRIPT]), tmp_path, LOOK)
    assert found[1:5] == [0, 0, 0, 0]
    assert found[5] == 4  # the links to the reports
    assert found[6] == 390


def test_items_are_sifted_without_script(asked, tmp_path):
    entries = cards.entries(asked)
    card = build("sql_qa", asked, entries, cards.metrics(), 0, {})
    shown = samples(asked, entries, card.primary)
    right = [[reply.right for reply in sample.replies] for sample in shown]
    counts = browser.probe(
        html(card, shown, []),
        tmp_path,
        """(page, view, seen, choose) => {
          const found = [seen('.sample')];
          choose('r8'); found.push(seen('.sample'));
          choose('w7'); found.push(seen('.sample'));
          choose('a8'); choose('a7'); choose('only'); found.push(seen('.sample'));
          return found; }""",
    )
    assert counts == [
        60,
        sum(row[7] for row in right),
        sum(row[7] and not row[6] for row in right),
        sum(sample.disputed for sample in shown),
    ]
    assert len({0, *counts}) == 5, "each choice leaves another number"


@pytest.mark.slow
def test_print_has_every_section_and_a_dozen_items(page, tmp_path):
    if shutil.which("pdftotext") is None:
        pytest.skip("no pdftotext here")
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
    pdf = tmp_path / "page.pdf"
    words = (f"--print-to-pdf={pdf}", "--no-pdf-header-footer")
    browser.chromium(tmp_path, *words, (tmp_path / "page.html").as_uri())
    done = subprocess.run(["pdftotext", str(pdf), "-"], capture_output=True, text=True, check=True)
    for title in re.findall(r"<h2>([\w ]+)", page):
        assert title in done.stdout
    assert done.stdout.count("Reference") == 12
    assert "<script>document.title = 'owned'</script>" in done.stdout
    assert "Show only items" not in done.stdout
