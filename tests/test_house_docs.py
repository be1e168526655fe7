"""The documents say what the code does: tree, version, command line and results."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import ftkit

ROOT = Path(__file__).parent.parent
FLOORS = ["ftkit", "basemodel", "adapters", "recipes", "eval", "cli"]


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_changelog_opens_with_this_version():
    versions = re.findall(r"^## \[(\d+\.\d+\.\d+)\]", read("CHANGELOG.md"), flags=re.MULTILINE)
    assert versions[0] == ftkit.__version__


def test_the_tree_in_architecture_names_every_file_and_no_other():
    tree = read("ARCHITECTURE.md").split("<!-- tree -->")[1].split("<!-- /tree -->")[0]
    named, folder = set(), ""
    for line in tree.splitlines():
        if match := re.match(r"^([\w./]+/)(?:\s|$)", line):
            folder = match.group(1)
        elif match := re.match(r"^  ([\w./]+\.\w+)\s+\S", line):
            named.add(folder + match.group(1))
    there = {
        path.relative_to(ROOT).as_posix()
        for floor in FLOORS
        for path in (ROOT / floor).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".typed"
    }
    assert named == there


def test_written_parts_are_up_to_date():
    """docs/cli.md and the README's tables are what docs/write.py makes of commands and results."""
    done = subprocess.run(
        [sys.executable, "docs/write.py", "--check"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", ["README.md", "ARCHITECTURE.md"])
def test_links_to_files_lead_somewhere(page: str):
    for target in re.findall(r"\]\(([^)#]+)\)", read(page)):
        if "://" not in target:
            assert (ROOT / target).exists(), f"{page} links to {target}"


def test_readme_names_only_make_targets_and_commands_that_exist():
    targets = set(re.findall(r"^([a-z-]+):.*##", read("Makefile"), flags=re.MULTILINE))
    assert set(re.findall(r"`?make ([a-z-]+)", read("README.md"))) <= targets
