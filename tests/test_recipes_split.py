"""How rows are divided: named parts, sources that share documents, and what is near to a test."""

import tracemalloc
from array import array
from itertools import chain, count
from pathlib import Path

import numpy as np
import pytest

from ftkit.config import override
from ftkit.recipes import _near
from ftkit.recipes._near import Runs, asked_words, marks_of, near, runs_of
from ftkit.recipes._recipe import Example
from ftkit.recipes._split import APART, TEST, TRAIN, VALIDATION, Codes, Ledger, assign, digest
from ftkit.recipes.medical import RECIPE as MEDICAL
from tests.test_recipes_read import ROWS, lines

PLAIN, NAMED_TRAIN, NAMED_VALIDATION, NAMED_TEST = 0, TRAIN + 1, VALIDATION + 1, TEST + 1


def ledger(*rows: tuple[str, int, int]) -> Ledger:
    """Enter rows of a unit, a source and a part, no two the same."""
    made = Ledger()
    for number, (unit, source, part) in zip(count(), rows, strict=False):
        made.add(digest(str(number)), digest(unit), 0, source, part, 1, 0)
    return made


def units(made: Ledger, codes: Codes, code: int) -> set[int]:
    return set(np.array(made.unit, np.uint64)[codes == code].tolist())


def test_a_document_of_a_small_source_is_in_the_split_in_which_a_large_one_has_it() -> None:
    small = [(f"ill {n % 5}", 0, PLAIN) for n in range(40)]
    large = [(f"ill {n % 40}", 1, PLAIN) for n in range(160)]
    for rows in ([*small, *large], [*large, *small]):
        made = ledger(*rows)
        codes = assign(made, 0.2, whole=False)
        train, checked, asked = (units(made, codes, code) for code in (TRAIN, VALIDATION, TEST))
        assert train
        assert asked
        assert checked
        assert not train & asked
        assert not train & checked
        assert not checked & asked


def test_a_small_source_alone_is_divided_row_by_row() -> None:
    made = ledger(*((f"ill {n % 2}", n % 3, PLAIN) for n in range(90)))
    codes = assign(made, 0.2, whole=False)
    assert [int((codes == code).sum()) for code in (TEST, APART)] == [18, 0]


def test_named_files_keep_their_division_of_schemas_validation_too() -> None:
    parts = (NAMED_TRAIN, NAMED_VALIDATION, NAMED_TEST)
    made = ledger(*((f"schema {n}", 0, part) for part in parts for n in range(12)))
    meant = assign(made, 0.05, whole=False, strict=False)
    assert meant.tolist() == [TRAIN] * 12 + [VALIDATION] * 12 + [TEST] * 12
    refused = assign(made, 0.05, whole=False, strict=True)
    assert refused.tolist() == [APART] * 24 + [TEST] * 12


def asked(*words: int) -> Example:
    return Example(({"role": "user", "content": " ".join(f"w{word}" for word in words)},))


def add(runs: Runs, *rows: Example) -> None:
    held = [marks_of(asked_words(row)) for row in rows]
    runs.add(*runs_of(array("I", chain.from_iterable(held)), array("Q", map(len, held))))


def test_rows_near_to_a_test_are_found_however_few_are_looked_at_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [asked(*range(100 * n, 100 * n + 12)) for n in range(6)]
    rows += [asked(*range(100 * n, 100 * n + 11), 999) for n in range(6)]
    with Runs(tmp_path / "runs") as runs:
        add(runs, *rows)
    for together in (2**20, 25, 1):
        monkeypatch.setattr(_near, "AT_ONCE", together)
        found = near(runs, np.arange(6), np.arange(6, 12), rows.__getitem__)
        assert list(found) == [(n + 6, n) for n in range(6)]
    assert not list(near(runs, np.arange(6), np.arange(0), rows.__getitem__))
    assert not list(near(runs, np.arange(0), np.arange(12), rows.__getitem__))


def test_long_rows_are_held_against_the_test_in_little_memory(tmp_path: Path) -> None:
    other = asked(*range(4000))
    with Runs(tmp_path / "runs") as runs:
        add(runs, asked(*range(5000, 5100)), *[other] * 900)
    tracemalloc.start()
    assert not list(near(runs, np.arange(1), np.arange(1, 901), [other].__getitem__))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 60e6


def test_leaks_are_left_out_and_named(tmp_path: Path) -> None:
    words = "Which of the many plain old remedies that people name eases a cold of ill"
    train = [{"question": f"{words} {n}?", "answer": f"Tea {n}."} for n in range(30)]
    close = {"question": f"{words.upper()}, ill {7}", "answer": "Other."}
    test = [{"question": f"{words} 90?", "answer": "Tea."}, train[3], close]
    (tmp_path / "train.jsonl").write_bytes(lines([*train[:2], *ROWS, train[3], train[3]]))
    (tmp_path / "test.jsonl").write_bytes(lines(test))
    made = {"data": [str(tmp_path)], "cache": str(tmp_path / "cache")}
    recipe = override(MEDICAL, made, "recipe")
    found = recipe.found()
    assert found is not None
    left = {group.kind: group for group in found.left_out}
    assert left["nearly repeat a question of the test"].count == 2
    assert left["nearly repeat a question of the test"].where == [
        f"{tmp_path}/train.jsonl:1 (near {tmp_path}/test.jsonl:1)",
        f"{tmp_path}/train.jsonl:2 (near {tmp_path}/test.jsonl:1)",
    ]
    asked = {e.prompt[-1]["content"] for e in recipe.examples("test")}
    assert len(asked) == 3
    for split in ("train", "validation"):
        assert not asked & {e.prompt[-1]["content"] for e in recipe.examples(split)}


def test_an_instruction_that_all_rows_share_makes_none_near(tmp_path: Path) -> None:
    shared = "Read the following mail of a customer and say in one word how it was meant: "
    rows = [
        {"question": f"{shared}{n} parcels came {n + 1} days late", "answer": "x"}
        for n in range(400)
    ]
    (tmp_path / "r.jsonl").write_bytes(lines(rows))
    made = {"data": [str(tmp_path / "r.jsonl")], "cache": str(tmp_path / "cache")}
    recipe = override(MEDICAL, made, "recipe")
    found = recipe.found()
    assert found is not None
    assert found.left_out == ()
    twin = rows[5] | {"question": rows[5]["question"].upper() + "!", "answer": "y"}
    (tmp_path / "s" / "test.jsonl").parent.mkdir()
    (tmp_path / "s" / "test.jsonl").write_bytes(lines([*rows[100:], twin]))
    (tmp_path / "s" / "train.jsonl").write_bytes(lines(rows[:100]))
    recipe = override(MEDICAL, made | {"data": [str(tmp_path / "s")]}, "recipe")
    (group,) = recipe.found().left_out
    assert group.where == [f"{tmp_path}/s/train.jsonl:6 (near {tmp_path}/s/test.jsonl:301)"]


def test_files_given_one_by_one_are_parts_where_their_names_say_so(tmp_path: Path) -> None:
    files = {}
    for number, name in enumerate(("train", "dev", "test", "more")):
        rows = [{"question": f"Is {name} {n} so?", "answer": "Yes."} for n in range(20 + number)]
        files[name] = tmp_path / f"{name}.jsonl"
        files[name].write_bytes(lines(rows))

    def divided(*names: str) -> list[set[str]]:
        made = {"data": [str(files[n]) for n in names], "cache": str(tmp_path / "c")}
        recipe = override(MEDICAL, made, "recipe")
        return [
            {e.where.rpartition("/")[2].partition(".")[0] for e in recipe.examples(split)}
            for split in ("train", "validation", "test")
        ]

    assert divided("train", "dev", "test") == [{"train"}, {"dev"}, {"test"}]
    assert divided("test", "train") == [{"train"}, {"train"}, {"test"}]
    assert divided("dev", "train") == [{"train"}, {"train"}, {"dev"}]
    assert divided("train", "more") == [{"train", "more"}] * 3
    assert divided("dev", "test") == [{"dev", "test"}] * 3  # nothing else to learn from
    with_more = divided("train", "test", "more")
    assert with_more == [{"train", "more"}, {"train", "more"}, {"test", "more"}]
