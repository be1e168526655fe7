"""Rows by the thousand: how full packed rows are, how little memory they take, what is too long."""

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ftkit.catalog import load, names
from ftkit.config import override
from ftkit.errors import FtkitError
from ftkit.recipes._check import encode
from ftkit.recipes._flat import IGNORE, Flat, Packed, Rendered
from ftkit.recipes._pack import Packer, row_width
from ftkit.recipes._recipe import Example
from ftkit.recipes._render import Renderer
from tests import foreign, small

SHARED = Path(__file__).parent.parent.parent / "shared" / "data"


def talk(question: str, answer: str, where: str) -> Example:
    turns = ({"role": "user", "content": question}, {"role": "assistant", "content": answer})
    return Example(turns, {}, where)


def fullness(recipe: Any, slots: int) -> float:
    """Pack a recipe's training rows as a tuning does."""
    found = encode(recipe.examples("train"), Renderer(small.tokenizer()), 2048)
    sizes = found.items.sizes + slots
    return Packer(found.items, row_width(sizes.tolist(), 128), 8, slots=slots).efficiency


@pytest.mark.parametrize("slots", [0, 20])
@pytest.mark.parametrize("recipe", names("recipes"))
def test_packed_rows_of_every_recipe_are_95_percent_full(recipe: str, slots: int) -> None:
    taught = load("recipes", recipe)
    if hasattr(taught, "rows"):
        taught = override(taught, {"rows": 600}, "recipe")
    assert fullness(taught, slots) >= 0.95


def test_rows_are_widened_only_where_that_fills_them_and_no_further_than_allowed() -> None:
    assert row_width([126] * 64, 128) == 128
    assert row_width([100] * 64, 128) == 512
    assert row_width([100] * 64, 128, most=384) == 320, "the fullest of those that are allowed"
    short = [*range(5, 50)] * 20
    assert row_width([300, *short], 128, most=512) == 512, "one row of 320 is no update of 512"
    assert row_width([120, *short], 128, most=512) == 128, "four rows are"
    assert row_width([310] * 50, 128, most=512) == 320, "wider rows would hold no more"
    assert row_width([100] * 64, 128, most=0) == 128
    assert row_width([700, 20], 128, most=384) == 704, "an example is never cut"


def test_rows_laid_end_to_end_are_the_rows() -> None:
    draw = np.random.default_rng(0)
    rows = []
    for size in draw.integers(0, 40, 200).tolist():
        ids = draw.integers(0, 2**31 - 1, size).tolist()
        mask = draw.integers(0, 2, size).tolist()
        rows.append(Rendered(ids, [i if on else IGNORE for i, on in zip(ids, mask, strict=True)]))
    flat = Flat.of(rows)
    assert [*flat] == rows
    assert (flat[-1], flat[3:5], len(flat)) == (rows[-1], rows[3:5], 200)
    assert flat.sizes.tolist() == [len(row.ids) for row in rows]
    assert flat.supervised == sum(row.supervised for row in rows)
    assert flat.digest == Flat.of(rows).digest != Flat.of(rows[1:]).digest
    with pytest.raises(IndexError):
        flat[200]


def test_a_million_rows_of_100_tokens_take_less_than_a_gibibyte() -> None:
    """A twentieth of them are laid out; the memory is that of each row, and grows by an eighth."""
    row = Packed(bytes(400), bytes(100))
    tracemalloc.start()
    flat = Flat(row for _ in range(50_000))
    packer = Packer(flat, 512, 8)
    assert packer.updates == 1252
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 20 * most < 2**30


def test_what_is_too_long_is_told_in_percentiles() -> None:
    renderer = Renderer(small.tokenizer())
    rows = [talk("a", "b", "f:0")] * 100
    rows += [talk("a", "x" * size, f"f:{size}") for size in range(101, 201)]
    found = encode(rows, renderer, 40).part
    around = len(renderer.render(talk("a", "", "").messages).ids)
    assert (found.rows, found.overlong) == (100, 100)
    assert found.beyond == (around + 150, around + 195, around + 200)
    with pytest.raises(
        FtkitError, match="half of them have up to 156, 95 % up to 201, the longest 206"
    ):
        encode(rows, renderer, 40, 0.1)


def test_a_row_that_the_template_would_change_is_named() -> None:
    renderer = Renderer(foreign.tokenizer("qwen3"), "that base")
    rows = [talk("a", "b", "f:1"), talk("a", "<think>c</think>b", "f:2")]
    with pytest.raises(FtkitError, match=r"^f:2: the chat template of that base changes the text"):
        encode(rows, renderer, 40)


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data sets are not here")
@pytest.mark.parametrize("slots", [0, 20])
@pytest.mark.parametrize(
    ("recipe", "data"),
    [
        ("medical", ["medical/medquad"]),
        ("chat", ["chat/sgd"]),
        ("sql_qa", ["sql_qa/wikisql", "sql_qa/spider"]),
    ],
)
def test_packed_rows_of_real_sets_are_95_percent_full(
    recipe: str, data: list[str], slots: int, tmp_path: Path
) -> None:
    asked = {"data": [str(SHARED / place) for place in data], "cache": str(tmp_path)}
    assert fullness(override(load("recipes", recipe), asked, "recipe"), slots) >= 0.95
