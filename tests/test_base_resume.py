"""Runs that are killed, at any moment and in any precision, end in the files of one that is not."""

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ftkit.runs import Run

ROOT = Path(__file__).parent.parent
WORDS = ["red", "green", "blue", "small", "large", "old", "new", "round", "flat", "dark"]

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = (
        f"Item {n}: a {WORDS[n % 10]} box by {n % 5} {WORDS[n // 7 % 10]} jars." for n in range(800)
    )
    lines = "".join(json.dumps({"text": row}) + "\n" for row in rows)
    (tmp_path / "corpus.jsonl").write_text(lines)
    return tmp_path


def attempt(folder: Path, device: dict[str, Any], *tries: tuple[str, dict[str, Any]]) -> None:
    script = str(Path(__file__).with_name("killed.py"))
    alone = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "TORCHINDUCTOR_COMPILE_THREADS": "1"}
    ran = subprocess.run(
        [sys.executable, script, str(folder), json.dumps(device), json.dumps(tries)],
        env=os.environ | alone,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr


def files(folder: Path, name: str) -> dict[str, str]:
    found: dict[str, str] = Run.open(folder / name).done["files"]
    return found


def test_a_process_may_die_between_any_two_touches_of_a_file(folder: Path) -> None:
    """Die while reading, tokenising, saving and publishing, at six seeded moments."""
    attempt(folder, {}, ("whole/base", {"touch": 0, "told": str(folder / "touched")}))
    touched = (folder / "touched").read_text().splitlines()
    publishing = touched.index(f"{folder}/whole/base/run/publishing")
    draw, moments = random.Random(5), list[int]()
    for begin, count in (
        ("corpus.jsonl", 1),
        ("whole/.corpora", 1),
        ("whole/base/run/checkpoints", 2),
    ):
        path = str(folder / begin)
        places = [n for n, seen in enumerate(touched[:publishing], 1) if seen.startswith(path)]
        moments += draw.sample(places, count)
    moments += draw.sample(range(publishing, len(touched) + 1), 2)
    tries = [
        attempted
        for number, moment in enumerate(moments)
        for attempted in ((f"run-{number}/base", {"touch": moment}), (f"run-{number}/base", {}))
    ]
    attempt(folder, {}, *tries)
    for number in range(len(moments)):
        assert files(folder, f"run-{number}/base") == files(folder, "whole/base"), moments[number]


@pytest.mark.parametrize("precision", ["compiled", "bfloat16"])
def test_going_on_is_exact_in_every_precision(folder: Path, precision: str) -> None:
    device = {"compile": True} if precision == "compiled" else {"dtype": "bfloat16"}
    if precision == "compiled" and not any(map(shutil.which, ("g++", "clang++", "c++"))):
        pytest.skip("there is no C++ compiler")
    step = random.Random(precision).randrange(3, 11)
    attempt(folder, device, ("whole", {}), ("cut", {"step": step}), ("cut", {}))
    decided = Run.open(folder / "cut").settings["decided"]
    assert decided | device == decided
    assert files(folder, "cut") == files(folder, "whole")
