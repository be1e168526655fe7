"""Shapes of rows: those that are recognised, and the sets on the Hub that have them."""

import json
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from ftkit import catalog
from ftkit.basemodel.record import BadRow
from ftkit.config import override
from ftkit.recipes._read import Row
from ftkit.recipes._shapes import exchange, talk
from ftkit.recipes.chat import RECIPE as CHAT


def turns(*texts: str, role: str = "role", content: str = "content") -> list[dict[str, Any]]:
    """Give each text, by its first letter, to the system, the user or the assistant."""
    names = {"s": "system", "q": "user", "a": "assistant"}
    if role == "from":
        names |= {"q": "human", "a": "gpt"}
    return [{role: names[text[0]], content: text} for text in texts]


SHARED_GPT = {"role": "from", "content": "value"}
PARTS = [{"role": "user", "content": [{"type": "text", "text": "q"}]}, *turns("a")]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"messages": turns("q", "a")}, "q|a"),
        ({"messages": turns("s", "q", "a", "q2", "a2")}, "s|q|a|q2|a2"),
        ({"messages": PARTS}, "q|a"),
        ({"conversations": turns("q", "a", **SHARED_GPT)}, "q|a"),
        ({"conversations": turns("q", "a")}, "q|a"),
        ({"system": "s", "conversations": turns("q", "a", **SHARED_GPT)}, "s|q|a"),
        ({"instruction": "q", "input": "", "output": "a"}, "q|a"),
        ({"instruction": "q", "input": "i", "output": "a", "system": "s"}, "s|q\n\ni|a"),
        ({"prompt": "q", "completion": "a"}, "q|a"),
        ({"instruction": "q", "output": None, "response": "a"}, "q|a"),
        ({"system": "  ", "conversations": turns("q", "a", **SHARED_GPT)}, "q|a"),
        ({"system_prompt": "s", "messages": turns("q", "a")}, "s|q|a"),
        ({"prompt": "q", "prompt_id": "7", "messages": turns("q", "a")}, "q|a"),
        ({"prompt": turns("q"), "completion": turns("a")}, "q|a"),
        ({"question": "q", "context": "c", "answer": "a"}, "q\n\nc|a"),
        ({"input": "q", "target": "a"}, "q|a"),
        ({"text": "q", "label": "a"}, "q|a"),
        ({"article": "q", "highlights": "a", "id": "x"}, "q|a"),
        ({"text": "a"}, "a"),
    ],
)
def test_shapes_are_recognised(fields: dict[str, Any], said: str) -> None:
    found = talk(Row(fields, "x:1"))
    assert "|".join(message["content"] for message in found) == said
    names = {"system": "s", "user": "q", "assistant": "a"}
    assert all(names[message["role"]] == message["content"][0] for message in found)


def test_a_question_and_answer_is_no_dialogue(tmp_path: Path) -> None:
    turns = [
        {"role": r, "content": r} for r in ("system", "user", "assistant", "user", "assistant")
    ]
    assert exchange(Row({"messages": turns[:3]}, "x:1")) == ("user", "assistant")
    with pytest.raises(BadRow, match="x:1: it has 4 turns, not a question and its answer"):
        exchange(Row({"messages": turns}, "x:1"))
    with pytest.raises(BadRow, match="it is a text, and no dialogue"):
        CHAT.take(Row({"text": "a"}, "x:1"))


COLD = {"input": "What is a cold?", "output": "An infection."}
TABLE = "CREATE TABLE a (b INTEGER)"
FILLED = f"{TABLE}; INSERT INTO a (b) VALUES (1);"
COUNT = "SELECT COUNT(*) FROM a"
# The columns of sets on the Hub that people tune on, with a row of our own each.
HUB_SETS: dict[str, tuple[str, dict[str, Any]]] = {
    "medalpaca/medical_meadow_medical_flashcards": (
        "medical",
        {"instruction": "Answer this question truthfully", **COLD},
    ),
    "lavita/ChatDoctor-HealthCareMagic-100k": (
        "medical",
        {"instruction": "If you are a doctor, answer the question.", **COLD},
    ),
    "HuggingFaceH4/ultrachat_200k": (
        "chat",
        {"prompt": "q?", "prompt_id": "a", "messages": turns("q?", "a")},
    ),
    "b-mc2/sql-create-context": (
        "sql_qa",
        {"question": "How many?", "context": TABLE, "answer": COUNT},
    ),
    "gretelai/synthetic_text_to_sql": (
        "sql_qa",
        {"id": 1, "domain": "d", "sql_prompt": "How many?", "sql_context": FILLED, "sql": COUNT},
    ),
}


@pytest.mark.parametrize("name", HUB_SETS)
def test_known_sets_of_the_hub_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    recipe, row = HUB_SETS[name]
    chat = recipe == "chat"
    (tmp_path / name / "data").mkdir(parents=True)
    for split in ("train_sft", "test_sft", "train_gen") if chat else ("train", "test"):
        made = json.loads(json.dumps(row).replace("?", f" {split}?"))
        file = tmp_path / name / "data" / f"{split}-00000-of-00001.parquet"
        parquet.write_table(pyarrow.Table.from_pylist([made]), file)
    monkeypatch.chdir(tmp_path)
    values = {"data": [f"hub:{name}"], "cache": str(tmp_path / "cache")}
    loaded = override(catalog.load("recipes", recipe), values, "recipe")
    found = loaded.found()
    assert found is not None
    assert (found.rows, found.bad) == (2, ())
    assert found.unread == (("train_gen",) if chat else ())
    if recipe == "sql_qa":
        assert loaded.examples("train")[0].meta["schema"] == TABLE
        assert loaded.examples("train")[0].reference.replace("( ", "(") == COUNT
    if recipe == "medical":  # an instruction that all rows share is no question
        assert loaded.examples("test")[0].prompt[-1]["content"] == "What is a cold test?"
