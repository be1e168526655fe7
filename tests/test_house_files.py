"""The laws of the house that can be read off the files: length, first sentence, no print."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOORS = ["ftkit", "basemodel", "adapters", "recipes", "eval", "cli"]
SOURCES = sorted(path for floor in FLOORS for path in (ROOT / floor).rglob("*.py"))
TESTS = sorted((ROOT / "tests").glob("*.py"))


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_a_file_says_in_its_first_sentence_what_it_owns(path: Path):
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert text, f"{name(path)} has no docstring"
    first = text.split("\n\n")[0]
    assert first.rstrip().endswith("."), f"{name(path)}: {first!r} is no sentence"


@pytest.mark.parametrize("path", SOURCES + TESTS, ids=name)
def test_a_file_ends_under_about_300_lines(path: Path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 310


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_nothing_prints_and_nothing_unpickles(path: Path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in ("print", "torch.load", "eval", "exec"), (
                f"{name(path)}:{node.lineno} calls {called}"
            )
        if isinstance(node, ast.Import | ast.ImportFrom):
            assert "pickle" not in ast.unparse(node), f"{name(path)}:{node.lineno}"


def test_no_tracked_file_names_a_machine():
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    # A path into somebody's home or scratch folder says nothing on another machine.
    machine = re.compile(r"(?<![\w.~-])/(?:home|root|Users|work|opt|mnt)/\w+")
    found = []
    for entry in filter(None, listed.stdout.split("\0")):
        try:
            text = (ROOT / entry).read_text(encoding="utf-8")
        except (UnicodeDecodeError, FileNotFoundError):
            continue
        found += [f"{entry}: {match.group()}" for match in machine.finditer(text)]
    assert found == []
