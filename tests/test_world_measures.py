"""What bench/worlds.py measures: Spider's levels, wordings, and figures that the code gives."""

import gzip
import importlib
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
SPIDER = ROOT.parent / "shared" / "data" / "sql_qa" / "spider"


@pytest.fixture(scope="module")
def bench() -> Any:
    """Load bench/worlds.py with what lies beside it."""
    sys.path.insert(0, str(ROOT / "bench"))
    try:
        yield importlib.import_module("worlds")
    finally:
        sys.path.remove(str(ROOT / "bench"))


@pytest.mark.parametrize(
    ("sql", "level"),
    [
        ("SELECT count(*) FROM singer", "easy"),
        ("SELECT name FROM t WHERE a = 1", "easy"),
        ("SELECT a, b FROM t WHERE c = 1", "medium"),
        ("SELECT a FROM t ORDER BY b LIMIT 1", "medium"),
        ("SELECT avg(a), min(a) FROM t WHERE c = 1", "medium"),
        ("SELECT a FROM t WHERE b LIKE 'x%'", "medium"),
        ("SELECT a FROM t WHERE b = 1 OR c = 2", "medium"),
        ("SELECT a FROM t WHERE (b = 1 OR c = 2) AND d = 3", "medium"),
        ("SELECT a FROM t WHERE b > (SELECT avg(b) FROM t)", "hard"),
        ("SELECT a FROM t WHERE b IN (SELECT b FROM u INTERSECT SELECT b FROM v)", "hard"),
        ("SELECT a FROM t INTERSECT SELECT a FROM u", "hard"),
        ("SELECT a FROM t JOIN u ON t.i = u.i GROUP BY a ORDER BY b", "hard"),
        ("SELECT a, b FROM t WHERE a = 1 EXCEPT SELECT a, b FROM u", "extra hard"),
        ("SELECT a, b FROM t JOIN u ON t.i = u.i GROUP BY a ORDER BY count(*) LIMIT 1",
         "extra hard"),
        ("SELECT a FROM t WHERE b NOT IN (SELECT b FROM u)", "hard"),
        ("SELECT max(a) FROM t WHERE b NOT IN (SELECT b FROM u)", "extra hard"),
        ("SELECT a FROM t GROUP BY a HAVING count(*) > 1", "easy"),
        ("SELECT max(a) FROM t GROUP BY a HAVING count(*) > 1 AND sum(b) > 2", "medium"),
    ],
)  # fmt: skip
def test_levels_are_spiders(bench: Any, sql: str, level: str) -> None:
    """What Spider's own program says of these queries, or of ones of the same shape."""
    assert bench.hardness(sql) == level


@pytest.mark.skipif(not SPIDER.is_dir(), reason="the shared data sets are not here")
def test_spiders_own_queries_have_the_levels_that_its_program_gives(bench: Any) -> None:
    with gzip.open(SPIDER / "dev.jsonl.gz", "rt", encoding="utf-8") as file:
        told = Counter(bench.hardness(json.loads(line)["sql"]) for line in file)
    assert told == {"easy": 97, "medium": 186, "hard": 86, "extra hard": 32}


def test_a_wording_is_the_question_without_names_and_values(bench: Any) -> None:
    items = bench.items("test", 0, 72)
    said = {item.question: bench.of_item(item) for item in items}
    asked = "Which furnace name has the most blowers?"
    assert said[asked] == "which N has the most N?"
    asked = (
        "List the code of every tram for which the length is lower than the length of the tram "
        "whose code is 'X12'."
    )
    wanted = "list the N of every N for which the N is lower than the N of the N whose N is V."
    assert said[asked] == wanted
    assert not any(char.isdigit() for wording in said.values() for char in wording)
    words = ["pond", "drum", "field"]
    assert bench.of_talk("Say these words: pond, drum and field!", words) == "say these words: V"


def test_new_wordings_are_counted_by_intent(bench: Any) -> None:
    found = bench.wordings(
        [("list", "a"), ("list", "a"), ("count", "b")], [("list", "b"), ("list", "c")], also=["d"]
    )
    assert found["rows"] == [
        ["count", "1", "1", "0", "0", "–"],
        ["list", "2", "1", "2", "2", "50 %"],
        ["all", "3", "2", "2", "2", "50 %"],
    ]


def test_kept_figures_are_what_the_worlds_hold(bench: Any) -> None:
    kept = json.loads((ROOT / "results" / "worlds.json").read_text(encoding="utf-8"))["tables"]
    assert set(kept) == {"sql_features", *bench.TABLES}
    for name in ("chat_distances", "medical_facts", "medical_wordings"):
        assert bench.TABLES[name]() == kept[name]
    page = (ROOT / "docs" / "worlds.md").read_text(encoding="utf-8")
    assert all(f"<!-- worlds:{name} -->" in page for name in kept)


def test_half_of_the_test_asks_in_words_that_training_never_has() -> None:
    kept = json.loads((ROOT / "results" / "worlds.json").read_text(encoding="utf-8"))["tables"]
    for name in ("sql_wordings", "chat_wordings", "medical_wordings"):
        whole = kept[name]["rows"][-1]
        assert whole[0] == "all"
        assert int(whole[-1].removesuffix(" %")) >= 40
