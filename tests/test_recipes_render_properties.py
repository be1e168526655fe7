"""Whatever a row says: read, rendered, masked, packed and unpacked, it teaches what it answers."""

import gzip
import json
from collections.abc import Sequence
from functools import cache
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import zstandard
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ftkit.catalog import load, names
from ftkit.config import override
from ftkit.recipes._check import Encoded, encode
from ftkit.recipes._pack import Packer
from ftkit.recipes._recipe import Example
from ftkit.recipes._render import Renderer
from tests import foreign
from tests.test_recipes_read import columns, lines, table

SCHEMA = "CREATE TABLE singer (id INTEGER, name TEXT);"
CONTAINERS = {
    "r.jsonl": lines,
    "r.json": lambda rows: json.dumps(rows).encode(),
    "r.csv": table,
    "r.parquet": columns,
    "r.jsonl.gz": lambda rows: gzip.compress(lines(rows)),
    "r.jsonl.zst": lambda rows: zstandard.compress(lines(rows)),
}
# What a text may hold: words, blanks, other scripts, and what templates steer with.
STEERS = sorted({token for _, end, rest in foreign.CONTROL.values() for token in (end, *rest)})
WORDS = st.sampled_from(
    [
        "a",
        "SELECT",
        "It's",
        " ",
        "  ",
        "\n",
        "\t",
        "naïve",
        "世界",
        "🙂",
        "<s>",
        "[INST]",
        "12",
        *STEERS,
    ]
)
TEXT = st.lists(WORDS, min_size=1, max_size=8).map("".join).filter(str.strip)
TALK = st.lists(TEXT, min_size=1, max_size=3)  # the answers of a dialogue


RULES = [{"rule": "commas"}]


def rows(recipe: str, talks: Sequence[Sequence[str]], container: str) -> list[dict[str, Any]]:
    """Write down answers as a recipe's rows; a table holds no dialogues."""
    flat = [(f"{number}: {answers[0]}", answers[-1]) for number, answers in enumerate(talks)]
    if recipe == "sql_qa":
        found = [(asked, f"SELECT {number} FROM singer") for number, (asked, _) in enumerate(flat)]
        return [{"question": asked, "schema": SCHEMA, "sql": sql} for asked, sql in found]
    if recipe == "medical" or container == "r.csv":
        return [{"question": asked, "answer": answer} for asked, answer in flat]
    talk = [{"messages": messages(number, answers)} for number, answers in enumerate(talks)]
    return [row | {"instructions": RULES} for row in talk] if recipe == "following" else talk


def messages(number: int, answers: Sequence[str]) -> list[dict[str, str]]:
    turns = ((f"{number}, {turn}: {answer}", answer) for turn, answer in enumerate(answers))
    return [
        {"role": role, "content": content}
        for asked, answer in turns
        for role, content in (("user", asked), ("assistant", answer))
    ]


@cache
def renderer(template: str) -> Renderer:
    return Renderer(foreign.tokenizer(template), template)


def runs(made: Renderer, ids: Sequence[int], places: Sequence[int]) -> list[str]:
    """Put learned tokens that stand side by side into text, blanks around it aside."""
    texts: list[list[int]] = []
    for before, place in zip([None, *places], places, strict=False):
        if before is None or place != before + 1 or ids[before] == made.end:
            texts.append([])
        texts[-1].append(ids[place])
    return [made.decode(text).strip() for text in texts]


def answers(example: Example) -> list[str]:
    return [m["content"].strip() for m in example.messages if m["role"] == "assistant"]


def unpacked(made: Renderer, found: Encoded) -> list[list[str]]:
    """Lay examples out in wide rows, and take the learned texts of each out of them again."""
    packer = Packer(found.items, 64 * -(-max(found.items.sizes) // 32), 2, pad=0)
    taken = []
    for number in range(packer.updates):
        batch = packer(number)
        flat, positions = batch.ids_BT.flatten().tolist(), batch.positions_BT.flatten().tolist()
        learned = [place + 1 for place in batch.where_N.tolist()]
        assert len(set(learned)) == len(learned), "no token is learned twice"
        assert [flat[place] for place in learned] == batch.targets_N.tolist()
        starts = [place for place, position in enumerate(positions) if position == 0]
        for start, end in zip(starts, [*starts[1:], len(flat)], strict=True):
            if mine := [place for place in learned if start <= place < end]:
                assert start not in mine, "nothing stands before it"
                taken.append(runs(made, flat, mine))
    return taken


@pytest.mark.parametrize("container", CONTAINERS)
@settings(max_examples=12, deadline=None)
@given(
    recipe=st.sampled_from(names("recipes")),
    template=st.sampled_from(sorted(foreign.CONTROL)),
    talks=st.lists(TALK, min_size=4, max_size=6),
)
def test_what_is_learned_is_what_the_rows_answer(
    container: str, recipe: str, template: str, talks: list[list[str]]
) -> None:
    assume((recipe, container) != ("following", "r.csv"))  # a table holds no lists
    made = renderer(template)
    with TemporaryDirectory() as folder:
        file = Path(folder) / container
        file.write_bytes(CONTAINERS[container](rows(recipe, talks, container)))
        asked = {"data": [str(file)], "cache": str(Path(folder) / "cache"), "on_bad_rows": "skip"}
        taught = override(load("recipes", recipe), asked, "recipe")
        splits = [taught.examples(split) for split in ("train", "validation", "test")]
        examples = list(chain.from_iterable(splits))
    assert examples
    for example in examples:
        full, prompt = made.render(example.messages), made.prompt(example.prompt)
        assert full.ids[: len(prompt)] == prompt
    found = encode(examples, made, 100_000)
    assert sorted(unpacked(made, found)) == sorted(map(answers, examples))
