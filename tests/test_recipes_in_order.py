"""Work in processes side by side: what one process makes, in its order, and none that stays."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from ftkit.basemodel import records
from ftkit.config import override
from ftkit.errors import FtkitError, WorkError
from ftkit.recipes import _rows
from ftkit.recipes._in_order import beside, in_order
from ftkit.recipes._recipe import Recipe
from ftkit.recipes.medical import RECIPE as MEDICAL
from ftkit.recipes.sql_qa import RECIPE as SQL


def slow_square(number: int) -> int:
    """Take longer for what comes first."""
    time.sleep(0.02 * (number % 3 == 0))
    return number * number


def die(number: int) -> int:
    """End as what runs out of memory is ended."""
    os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_work_is_done_in_another_process_until_it_is_asked_for() -> None:
    number = beside(os.getpid)
    assert (number() == os.getpid()) == (len(os.sched_getaffinity(0)) < 2)
    assert number() == number()


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one processor does the work itself")
def test_work_in_another_process_that_is_killed_is_said() -> None:
    with pytest.raises(WorkError, match="a process that read rows was killed"):
        beside(partial(die, 1))()


def test_results_come_in_the_order_of_the_items_and_few_are_held() -> None:
    ahead = []

    def items() -> Iterator[int]:
        for number in range(40):
            ahead.append(number)
            yield number

    for place, (item, made) in enumerate(in_order(slow_square, items(), 2)):
        assert (item, made) == (place, place * place)
        assert len(ahead) <= place + 7
    assert len(ahead) == 40


def test_a_process_that_is_killed_is_said() -> None:
    with pytest.raises(WorkError, match="a process that read rows was killed"):
        list(in_order(die, range(9), 2))


def test_no_process_outlives_a_parent_that_is_killed(tmp_path: Path) -> None:
    script = (
        "import time, os, sys; from ftkit.recipes._in_order import in_order\n"
        "def work(n): os.write(1, b'%d\\n' % os.getpid()); time.sleep(60)\n"
        "list(in_order(work, range(9), 2))\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        children = [int(parent.stdout.readline()) for _ in range(2)]
        assert len(set(children)) == 2
        parent.kill()
    until = time.monotonic() + 10
    while any(_runs(child) for child in children):
        assert time.monotonic() < until, "a child goes on without its parent"
        time.sleep(0.01)


def _runs(process: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


@pytest.mark.parametrize("recipe", [MEDICAL, SQL], ids=lambda recipe: str(recipe.name))
def test_rows_read_side_by_side_are_those_of_one_process(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "BLOCK", 700)  # some 5 rows
    monkeypatch.setattr(records, "AT_ONCE", 5)
    path = tmp_path / "r.jsonl"
    rows = [
        {"question": f"What is it {n} of {n % 7}?", "answer": f"It is {n}." * (n % 11 > 0)}
        if recipe is MEDICAL
        else {
            "question": f"How many {n} are there?",
            "schema": f"CREATE TABLE t{n % 5} (a)",
            "sql": f"SELECT {'a' if n % 9 else 'b'} FROM t{n % 5} WHERE a = {n}",
        }
        for n in range(300)
    ]
    lines = [json.dumps(row) for row in rows]
    lines[17], lines[200:200] = "{", ["", "[1]"]
    path.write_text("\n".join(lines) + "\n")
    held = {}
    for count in (1, 2):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, n=count: set(range(n)))
        made = {"data": [str(path)], "cache": str(tmp_path / str(count))}
        asked = override(recipe, made, "recipe")
        found = asked.found()
        assert found is not None
        store = _rows.gather(asked).store.folder
        assert found.rows == 301
        assert found.bad[0].where
        assert any(f"{path}:18" in group.where for group in found.bad)
        assert any(f"{path}:202" in group.where for group in found.bad)
        kept = {file.name: file.read_bytes() for file in store.iterdir()}
        held[count] = kept, replace(found, rejected=())
    assert held[1] == held[2]
    assert {"rows.jsonl", "ends.npy", "codes.npy", "rejected.jsonl"} <= set(held[1][0])


def test_a_file_that_is_two_sources_is_counted_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "BLOCK", 500)
    path = tmp_path / "r.jsonl"
    rows = [{"question": f"What is {n}?", "answer": f"It is {n}."} for n in range(300)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    made = {"data": [str(path), f"{path}@2"], "cache": str(tmp_path / "cache")}
    found = override(MEDICAL, made, "recipe").found()
    assert found is not None
    assert found.rows == 600


def test_a_file_of_blank_lines_beside_others_is_empty(tmp_path: Path) -> None:
    row = json.dumps({"question": "a", "answer": "b"})
    (tmp_path / "a.jsonl").write_text(f"{row}\n" * 3)
    (tmp_path / "b.jsonl").write_text("\n \n\n")
    made = {"data": [str(tmp_path)], "cache": str(tmp_path / "cache")}
    with pytest.raises(FtkitError, match=r"b\.jsonl is empty: it holds no rows"):
        override(MEDICAL, made, "recipe").found()
