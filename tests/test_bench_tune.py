"""What bench/tune.py says when a run fails, and of what every process spends."""

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).parent.parent / "bench"
HELD_OUT = {"nats": [2.0, 4.0, 6.0], "memory": 2**20, "warm": 10.0}
OURS, SLOW = HELD_OUT | {"cpu": 5.0, "nats": [1.0, 3.0, 5.5]}, HELD_OUT | {"cpu": 10.0}
FAILED = {"warm": 0.0, "failed": "no memory"}


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCH))
    return importlib.import_module("tune")


def shown(bench: Any, out: Path, **runs: Any) -> list[list[str]]:
    found = {"default": SLOW, "best": SLOW, "ours": OURS, "searched": [], "rows": 3} | runs
    one = found | {"labelled": 6} | bench.judged(found, 6)
    bench.show(out, {"trl": one}, 3)
    rows: list[list[str]] = json.loads(out.read_text())["rows"]
    return rows


def test_it_ends_with_the_ratios(
    bench: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = shown(bench, tmp_path / "out.json")
    assert [row[0] for row in rows] == [
        "lora, trl at its default", "lora, trl at its best", "lora, ours",
    ]  # fmt: skip
    assert rows[2][1:] == ["5", "10.0", "1", "1.5833"]
    said = capsys.readouterr().out
    assert "lora loss, ours less trl at its default: " in said
    assert said.endswith("ratio 2.00\nwarm 1.00\n")


def test_the_ratio_is_to_the_shortest_whole_run(bench: Any) -> None:
    """A setting that compiles is the fastest when warm, and may take longest in all."""
    plain, compiled = {"warm": 20.0, "cpu": 18.0}, {"warm": 25.0, "cpu": 230.0}
    best, ours = SLOW | {"cpu": 200.0, "warm": 27.0}, OURS | {"cpu": 100.0, "warm": 54.0}
    found = {"default": FAILED, "best": best, "ours": ours, "rows": 2192, "on": 192}
    said = bench.judged(found | {"searched": [plain, compiled, FAILED]}, 6)
    assert said["expected"] == [118.0, 310.0]
    assert (said["ratio"], said["warm"]) == (1.18, 2.0)
    assert bench.judged(found | {"searched": [compiled]}, 6)["ratio"] == 2.0


@pytest.mark.parametrize("name", ["default", "best", "ours"])
def test_a_run_that_fails_leaves_its_row_and_the_figures_of_others(
    bench: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    out = tmp_path / "out.json"
    if name == "default":
        shown(bench, out, default=FAILED)
    else:
        with pytest.raises(SystemExit):
            shown(bench, out, **{name: FAILED})
    kept = json.loads(out.read_text())
    assert sum(row[1] == "failed" for row in kept["rows"]) == 1
    assert kept["peers"]["trl"][name]["failed"] == "no memory"
    last = "ratio 2.00\nwarm 1.00\n" if name == "default" else "ratio failed\nwarm failed\n"
    assert capsys.readouterr().out.endswith(last)


def test_every_way_to_fail_is_a_row(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed without a word, not there, without figures, and never done."""
    monkeypatch.setattr(bench, "PATIENCE", 0.5)
    ways = {
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)": "died with",
        "print('hello')": "Expecting value",
        "raise SystemExit('no trl')": "no trl",
        "import time; time.sleep(9)": "timed out",
    }
    for script, why in ways.items():
        found = bench.measured([sys.executable, "-S", "-c", script], {})
        assert found["warm"] == 0
        assert why in found["failed"]
    assert "No such file" in bench.measured(["nowhere/python"], {})["failed"]


def test_a_peak_is_not_that_of_the_parent(bench: Any) -> None:
    script = f"import sys; sys.path.insert(0, {str(BENCH)!r}); import json, _spent; "
    script += "print(json.dumps({'warm': 0, 'cpu': 0, 'memory': _spent.peak()}))"
    held = bytearray(200 * 2**20)
    found = bench.measured([sys.executable, "-S", "-c", script], {})
    assert 0 < found["memory"] < len(held)


def test_each_run_is_kept_when_it_ends(
    bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stops a later run costs no earlier one."""
    runs = iter([SLOW, OURS, SLOW])
    monkeypatch.setattr(bench, "measured", lambda *_: dict(next(runs)))
    job = {"few": "few.jsonl", "rows": "rows.jsonl", "folder": "here", "count": 3, "searched": 2}
    known, out = dict[str, Any](), tmp_path / "out.json"

    def go_on() -> None:
        for one in bench.compare("trl", [], [], job, 1, default=True):
            known["trl"] = one | {"labelled": 6} | bench.judged(one, 6)
            bench.keep(out, known, 3)

    with pytest.raises(RuntimeError):  # there is no fourth
        go_on()
    kept = json.loads(out.read_text())
    assert [row[1] for row in kept["rows"]] == ["not run", "10", "5"]
    assert kept["peers"]["trl"]["default"]["failed"] == "not run"
    assert kept["peers"]["trl"]["ratio"] == 2


def test_the_default_can_be_left_out(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = iter([SLOW, OURS, SLOW])  # of the search, ours, the peer at its best
    monkeypatch.setattr(bench, "measured", lambda *_: dict(next(runs)))
    job = {"few": "few.jsonl", "rows": "rows.jsonl", "folder": "here", "count": 3, "searched": 2}
    *_, found = bench.compare("trl", [], [], job, 1, default=False)
    assert next(runs, None) is None
    assert found["default"]["failed"] == "not run"
    assert bench.judged(found, 6)["ratio"] == 2


def test_an_update_holds_about_as_many_tokens_as_a_peers_rows(bench: Any, tmp_path: Path) -> None:
    rows = [{"ids": [0] * size} for size in (40, 60, 80)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert bench.batch(tmp_path / "rows.jsonl") == 8 * 60 + 32  # in steps of 64
    (tmp_path / "none.jsonl").write_text("")
    with pytest.raises(SystemExit, match="no row is short enough"):
        bench.batch(tmp_path / "none.jsonl")


def test_a_default_on_fewer_rows_says_so_and_is_compared_with_nothing(
    bench: Any, tmp_path: Path
) -> None:
    rows = shown(bench, tmp_path / "out.json", default=SLOW | {"rows": 192})
    assert rows[0][0] == "lora, trl at its default (192 rows)"
    one = {"default": SLOW | {"rows": 192}, "best": SLOW, "ours": OURS, "searched": [], "rows": 3}
    assert "gap to default" not in bench.judged(one, 6)
    assert "gap to best" in bench.judged(one, 6)


def test_rows_are_those_that_are_trained_on(bench: Any, tmp_path: Path) -> None:
    schema, data = "CREATE TABLE singer (name TEXT)", tmp_path / "data.jsonl"
    lines = [
        json.dumps({"question": f"Who {n}?", "schema": schema, "sql": f"SELECT {n}"}) + "\n"
        for n in range(90)
    ]
    bench.cut("sql_qa", lines, 40, data)
    assert len(bench.taught("sql_qa", data).examples("train")) == 40
    assert len(data.read_text().splitlines()) > 40
    bench.cut("sql_qa", lines, 400, data)
    assert data.read_text() == "".join(lines), "all there are"


def test_a_cell_that_fails_costs_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(BENCH))
    plan, out = importlib.import_module("plan"), tmp_path / "plan.json"
    good = {"seconds": 2.0, "memory": 2**20}
    found = iter([good, good | {"seconds": 2.5}, {"failed": "no memory"}, good])
    monkeypatch.setattr(plan, "measured", lambda *_: next(found))
    monkeypatch.setattr(plan, "base", lambda *_: None)
    monkeypatch.setattr(sys, "argv", ["plan.py", "--cells", "2", "--out", str(out)])
    with pytest.raises(SystemExit):
        plan.main()
    kept = json.loads(out.read_text())
    assert [row[3:] for row in kept["rows"]] == [["2.0 / 2.5", "1 / 1"], ["failed", "no memory"]]
    assert "seconds: median error 20.0%" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("lines", "taken"),
    [("111111", 4), ("01010101010", 8), ("3333", 1), ("0102222", 4), ("11", 2), ("9", 1)],
)
def test_as_many_lines_are_taken_as_hold_so_many_rows(
    bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: str, taken: int
) -> None:
    """Each line of the test says how many rows it makes; four are wanted."""
    given, data = importlib.import_module("_given"), tmp_path / "data"

    class Recipe:
        def examples(self, _: str) -> list[int]:
            return [0] * sum(map(int, data.read_text()))

    monkeypatch.setattr(given, "taught", lambda *_: Recipe())
    given.cut("chat", lines, 4, data)
    assert data.read_text() == lines[:taken]
