"""The list of mutations names code that is there, once, and tests that are there."""

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PARTS = tomllib.loads((ROOT / "bench" / "mutations.toml").read_text(encoding="utf-8"))
ROWS = [row for rows in PARTS.values() for row in rows]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["check"])
def test_a_mutation_fits_the_code(row):
    assert (ROOT / row["file"]).read_text(encoding="utf-8").count(row["find"]) == 1
    assert row["put"] != row["find"]
    path, _, name = row["test"].partition("::")
    assert not name or f"def {name}(" in (ROOT / path).read_text(encoding="utf-8")
