"""The preview of rows: tokens and their text, lengths, marks, a page on which rows do nothing."""

import random
import re
import shutil
import subprocess
import tracemalloc
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pages
import pytest
import small
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from ftkit.cli._pieces import MOST, tokens, words
from ftkit.cli._preview import (
    Preview,
    bars,
    counts,
    fit,
    lines,
    measured,
    page,
    preview,
    shown,
    spread,
)
from ftkit.recipes._check import check
from ftkit.recipes._lengths import Lengths
from ftkit.recipes._recipe import Example, Recipe, Split
from ftkit.recipes._render import Renderer

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
HOSTILE = (
    "<script>document.title = 'owned'</script>",
    "</pre></main><img src=x onerror=\"document.title='owned'\">",
    "{{ 7 * 7 }} {% raw %} &lt; ]]> <!-- \x1b[2J \u202e",
    "<iframe srcdoc='<script>parent.document.title=1</script>'></iframe>",
)


@dataclass(frozen=True)
class Rows(Recipe):
    """Whatever rows a test brings; validation and test have one each."""

    taught: tuple[Example, ...] = ()

    @property
    def name(self) -> str:
        return HOSTILE[0]

    def examples(self, split: Split) -> list[Example]:
        """Give the rows to training."""
        return list(self.taught) if split == "train" else [row(split, "v", split)]


def row(question: str, answer: str, where: str = "") -> Example:
    said = ({"role": "user", "content": question}, {"role": "assistant", "content": answer})
    return Example(said, {"unit": where}, where)


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    return Renderer(small.tokenizer())


def metaspace() -> Any:
    """Train a tokenizer whose tokens lose a leading space when they are decoded alone."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Metaspace()
    bpe.decoder = decoders.Metaspace()
    special = [*small.NAMES, "?"]
    trainer = trainers.BpeTrainer(vocab_size=200, special_tokens=special, show_progress=False)
    bpe.train_from_iterator(small.TEXTS, trainer)
    names = {"bos_token": "<|bos|>", "eos_token": "<|eos|>", "pad_token": "<|pad|>"}
    made = PreTrainedTokenizerFast(
        tokenizer_object=bpe, additional_special_tokens=small.NAMES[3:], **names
    )
    made.chat_template = small.TEMPLATE
    return made


TEXT = "Grüße 你好 😀\n\nSELECT <|end|> \ufffd! one  two"


@pytest.mark.parametrize("make", [small.tokenizer, metaspace])
def test_pieces_are_the_tokens_of_training_and_lose_no_text(make):
    renderer = Renderer(make())
    text = TEXT if make is small.tokenizer else "SELECT name FROM singer WHERE age"
    example = row(text, "SELECT name" if make is metaspace else "é x")
    pieces, item = tokens(renderer, example.messages), renderer.render(example.messages)
    assert sum(piece.tokens for piece in pieces) == len(item.ids)
    assert sum(piece.tokens for piece in pieces if piece.learned) == item.supervised
    assert "".join(piece.text for piece in pieces) == renderer.tokenizer.decode(item.ids)
    controls = [piece.text for piece in pieces if piece.control]
    assert controls == ["<|bos|>", "<|user|>", "<|end|>", "<|assistant|>", "<|end|>"]
    assert [piece.learned for piece in pieces if piece.control] == [False] * 4 + [True]


def test_a_character_of_several_tokens_is_shown_once_with_their_number(renderer):
    pieces = tokens(renderer, row("ü你😀", "é").messages)
    assert [(p.text, p.number) for p in pieces if p.tokens > 1] == [
        ("ü", "₂"), ("你", "₃"), ("😀", "₄"), ("é", "₂"),
    ]  # fmt: skip


def test_marks_on_a_pipe_and_colour_on_a_terminal(renderer):
    pieces = tokens(renderer, row("SELECT\n\nage", "age\nid").messages)
    plain = shown(pieces, colour=False).plain
    assert plain == (
        "<|bos|>·<|user|>·SELECT·⏎·\n⏎·\nag·e·<|end|>·<|assistant|>·«ag·e·⏎·\nid·<|end|>»"
    )
    coloured = shown(pieces, colour=True)
    assert coloured.plain == plain.replace("«", "").replace("»", "")
    green = [coloured.plain[s.start : s.end] for s in coloured.spans if "green" in str(s.style)]
    assert "".join(green) == "age⏎id<|end|>"


def test_a_row_commands_nothing_and_a_long_one_is_cut_in_the_middle(renderer):
    assert "\x1b" not in shown(tokens(renderer, row(HOSTILE[2], "x").messages), colour=False).plain
    pieces = tokens(renderer, row("id " * 2000, "x").messages)
    assert len(pieces) == MOST + 1
    assert sum(piece.learned for piece in pieces) == 2
    whole = len(renderer.render(row("id " * 2000, "x").messages).ids)
    assert pieces[MOST // 2].text == f"[… {whole - MOST:,} tokens not shown …]"
    text = shown(words(row("a" * 50_000, "b").messages), colour=False).plain
    assert "[… 48,800 characters not shown …]" in text
    assert text.endswith("\nassistant: «b <end>»")


def test_bars_hold_every_row_once_and_none_stands_across_the_limit():
    draw = random.Random(0)
    for _ in range(300):
        count, top, limit = draw.randint(1, 60), draw.choice([1, 9, 80, 5000]), draw.randint(1, 900)
        sizes = sorted(draw.randint(1, top) for _ in range(count))
        found = Lengths(sizes, count)
        bars = found.bars(limit)
        assert len(bars) <= 13
        assert [bar.count for bar in bars] == [
            sum(bar.low <= size <= bar.high for size in sizes) for bar in bars
        ]
        assert sum(bar.count for bar in bars) == count
        assert not any(bar.low <= limit < bar.high for bar in bars if max(sizes) > limit)
        assert found.over(limit) == sum(size > limit for size in sizes)
        assert all(sum(s <= found.at(p) for s in sizes) >= p * count for p in (0.5, 0.95, 0.99, 1))
    assert Lengths().bars(5) == []


class Lazy(Sequence[Example]):
    """Rows that exist only while they are looked at."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, place: Any) -> Any:
        if not 0 <= place < self.count:
            raise IndexError
        return row(f"{place} " + "x" * 4000, "age", f"f:{place}")


@dataclass(frozen=True)
class Many(Recipe):
    """Many rows that are not in memory."""

    def examples(self, split: Split) -> Any:
        """Give training 20,000 rows of 4 kB."""
        return Lazy(20_000) if split == "train" else []


def test_rows_are_counted_without_holding_their_text():
    tracemalloc.start()
    parts = check(Many())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (parts["train"].rows, parts["train"].units) == (20_000, 20_000)
    assert peak < 8e6  # their text has 80e6 characters


def test_of_many_rows_some_are_measured_and_the_rest_is_estimated(renderer):
    rows = tuple(row(f"{n} {'age ' * (n % 7)}", "id", f"f:{n}") for n in range(400))
    exact = check(Rows(taught=rows), renderer)["train"]
    some = check(Rows(taught=rows), renderer, most=100)["train"]
    assert exact.lengths.whole
    assert (len(some.lengths.sizes), some.lengths.rows, some.rows) == (100, 400, 400)
    assert some.tokens == pytest.approx(exact.tokens, rel=0.05)
    view = preview(Rows(taught=rows), renderer, True, 0)
    view = replace(view, parts=view.parts | {"train": some})
    said = " ".join(map(str, lines(view, colour=False)))
    assert "Training rows (100 of 400, taken evenly) by length in tokens" in said
    assert f"about {some.tokens:,} tokens" in said


@pytest.fixture(scope="module")
def view(renderer) -> Preview:
    rows = tuple(row(text, f"answer {text}", text) for text in HOSTILE[:3])
    rows += tuple(row(f"age {'id ' * n}", "name", f"f:{n}") for n in range(90))
    return preview(Rows(taught=rows, length=100), renderer, True, 0)


@pytest.fixture(scope="module")
def html(view) -> str:
    """Two recipes: with tokens, all examples hostile, and without."""
    rows = tuple(row(text, text, text) for text in HOSTILE)
    first = preview(Rows(taught=rows), Renderer(small.tokenizer()), True, 0)
    return page(
        [replace(view, examples=first.examples), preview(Rows(taught=rows), None, False, 1)]
    )


def test_the_page_loads_nothing_runs_nothing_and_shows_hostile_text_as_text(html):
    text = pages.shown(html)
    for hostile in (HOSTILE[0], HOSTILE[1], HOSTILE[3]):
        assert hostile in text
    assert "{{ 7 * 7 }} {% raw %} &lt; ]]> <!-- \ufffd[2J \ufffd" in text


def test_the_page_says_what_the_screen_says(view, html):
    tags = pages.Tags()
    tags.feed(html)
    said = " ".join("".join(tags.text).split())
    for sentence in (measured(view), spread(view), fit(view), *view.template.stops):
        assert sentence in said
    for split, part in view.parts.items():
        assert counts(part, split) in said
    for label, count, *_ in bars(view):
        assert f">{label}</span>" in html
        assert f"<b>{count:,}</b>" in html
    assert re.search('class="tok( odd)? learned control">&lt;[|]end[|]&gt;', html)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_hostile_rows_do_nothing_in_a_real_browser(html: str, tmp_path: Path):
    # The page's own policy is taken away: escaping alone must hold.
    bare = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", html)
    assert bare != html
    probe = "<p id=probe></p><script>onload = () => { probe.textContent = 'TITLE ' + document.title"
    probe += " + ' SCRIPTS ' + document.scripts.length + ' FRAMES ' + frames.length"
    probe += " + ' WIDE ' + (document.documentElement.scrollWidth > innerWidth) + ' END' }</script>"
    (tmp_path / "page.html").write_text(bare.replace("</body>", probe + "</body>"))
    done = subprocess.run(
        [
            *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"),
            *("--no-first-run", "--disable-background-networking", "--disable-component-update"),
            *("--disable-sync", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"),
            *("--window-size=500,900", (tmp_path / "page.html").as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    seen = re.search(r"TITLE (.*?) SCRIPTS (\d+) FRAMES (\d+) WIDE (\w+) END<", done.stdout, re.S)
    assert seen, done.stderr[-2000:]
    assert seen.group(1).startswith("ftkit data: ")
    assert seen.groups()[1:] == ("1", "0", "false")  # the probe itself, and no sideways scrolling
