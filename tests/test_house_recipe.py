"""A recipe written from docs/add_a_recipe.md alone works, in a copy of the checkout."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import small

from ftkit import catalog

ROOT = Path(__file__).parent.parent
FLOORS = ("ftkit", "basemodel", "adapters", "recipes", "eval", "cli")
PAGE = (ROOT / "docs" / "add_a_recipe.md").read_text(encoding="utf-8")
# What a test adds to a command of the page, so that it ends in seconds.
BRIEFLY = {
    "tune": ["--set", "recipe.length=96", "--set", "recipe.epochs=0.4"],
    "eval": ["--shots", "0"],
}
# One process for all commands: each would load the libraries anew.
WORK = """
import json, sys
from ftkit.cli import ftkit
for words in json.loads(sys.argv[1]):
    print("$", *words, flush=True)
    ftkit.main(words, standalone_mode=False)
"""


def block(kind: str) -> str:
    found = re.search(rf"^```{kind}\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
    assert found, f"the page has no block of {kind}"
    return found.group(1)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with the page's recipe in it and a small base beside it."""
    folder = tmp_path_factory.mktemp("plugin") / "checkout"
    for floor in FLOORS:
        shutil.copytree(ROOT / floor, folder / floor, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "recipes" / "days.py").write_text(block("python"), encoding="utf-8")
    (folder / "days.jsonl").write_text(block("json"), encoding="utf-8")
    small.base(folder / "runs" / "base")
    return folder


def test_the_recipe_of_the_page_is_one_short_file():
    code = block("python")
    assert len(code.splitlines()) < 60
    assert code.rstrip().endswith("RECIPE = Days()")
    assert "days" not in catalog.names("recipes"), "the checkout itself has no such recipe"


def test_the_rows_of_the_page_can_be_looked_at(copy: Path):
    world, rows = said(copy, "data")
    assert re.search(r"^train +149 rows from 149 units$", world, flags=re.MULTILINE)
    assert "assistant: «Tuesday <end>»" in rows


@pytest.mark.slow
def test_the_recipe_of_the_page_is_tuned_and_evaluated(copy: Path):
    said(copy, "tune")
    assert (copy / "runs" / "days-full" / "run" / "done").is_file()
    assert "answer match" in said(copy, "eval")[0]
    card = json.loads(next(copy.glob("runs/eval*/scorecard.json")).read_text(encoding="utf-8"))
    assert (card["recipe"], card["n"]) == ("days", 40)
    assert next(iter(card["readings"])) == "answer_match"


def said(copy: Path, command: str) -> list[str]:
    """Run the page's lines of one command; give what each printed."""
    lines = [shlex.split(line)[1:] for line in block("sh").splitlines()]
    assert {words[0] for words in lines} == {"data", "tune", "eval"}
    lines = [words + BRIEFLY.get(command, []) for words in lines if words[0] == command]
    done = subprocess.run(
        [sys.executable, "-c", WORK, json.dumps(lines)],
        cwd=copy,
        env=os.environ | {"PYTHONPATH": str(copy), "XDG_CACHE_HOME": str(copy / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return re.split(r"^\$ .*\n", done.stdout, flags=re.MULTILINE)[1:]
