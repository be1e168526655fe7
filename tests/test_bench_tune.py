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
    found = {"default": SLOW, "best": SLOW, "ours": OURS} | runs
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
