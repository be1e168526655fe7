"""A second process asks variants: results are the same, and what goes wrong there costs none."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from ftkit.eval import _answers, _evaluation
from ftkit.eval._ahead import Ahead, possible
from ftkit.eval._evaluate import evaluate_groups
from ftkit.eval._groups import collect
from ftkit.runs import WEIGHTS

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="nothing is forked elsewhere")
THREE = [Path("a"), Path("b"), Path("c")]


@pytest.fixture(autouse=True)
def threads():
    """Two threads, which are there again afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)


def test_another_process_does_the_work_in_order(tmp_path):
    def work(folder: Path) -> None:
        (tmp_path / folder).write_text(f"{os.getpid()} {torch.get_num_threads()} {time.time()}")

    ahead = Ahead(work, THREE)
    time.sleep(0.2)
    assert list(tmp_path.iterdir()) == [], "nothing before it may begin"
    ahead.begin()
    assert torch.get_num_threads() == 1
    for folder in THREE:
        list(ahead.until(folder))
        assert (tmp_path / folder).is_file()
    assert list(ahead.until(Path("not its own"))) == []
    found = [(tmp_path / folder).read_text().split() for folder in THREE]
    assert len({pid for pid, *_ in found} - {str(os.getpid())}) == 1
    assert {threads for _, threads, _ in found} == {"1"}
    assert sorted(found, key=lambda one: float(one[2])) == found


def raises() -> None:
    raise ValueError("as it will in the first process")


@pytest.mark.parametrize("end", [raises, lambda: os.kill(os.getpid(), signal.SIGKILL)])
def test_what_it_did_not_reach_is_left_to_the_first_process(tmp_path, end):
    def work(folder: Path) -> None:
        if folder.name == "b":
            end()
        (tmp_path / folder).touch()

    ahead = Ahead(work, THREE)
    ahead.begin()
    for folder in THREE:
        list(ahead.until(folder))
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_it_ends_with_the_first_process(tmp_path):
    code = (
        "import time, torch; from pathlib import Path; from ftkit.eval._ahead import Ahead;"
        "torch.set_num_threads(2);"
        "ahead = Ahead(lambda folder: time.sleep(60), [Path('a')]); ahead.begin();"
        "print(ahead._process.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()
    for _ in range(100):
        if not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text():
            return
        time.sleep(0.05)
    pytest.fail("it outlived the first process")


def test_it_is_for_small_models_on_few_threads(tmp_path, monkeypatch):
    (tmp_path / f"model{WEIGHTS}").write_bytes(b"1234")
    assert possible([str(tmp_path)])
    assert not possible([str(tmp_path), "owner/name"])
    monkeypatch.setattr("ftkit.eval._ahead.SMALL", 3)
    assert not possible([str(tmp_path)])
    monkeypatch.setattr("ftkit.eval._ahead.SMALL", 4)
    for threads in (1, 16):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        assert not possible([str(tmp_path)])
    monkeypatch.undo()


def test_an_evaluation_by_two_finds_what_one_finds(tiny_runs, tmp_path, monkeypatch):
    whole = _answers.generate

    def generate(*given, **named):
        with (tmp_path / "pids").open("a") as file:
            file.write(f"{os.getpid()}\n")
        return whole(*given, **named)

    monkeypatch.setattr(_answers, "generate", generate)
    monkeypatch.setattr(_evaluation, "worlds", lambda _: [])
    found = {}
    for two in (True, False):
        groups = collect(list(tiny_runs.values()), limit=6)
        out = tmp_path / str(two) / "eval"
        list(evaluate_groups(groups, out=out, shots=0, two=two))
        card = json.loads((out / "scorecard.json").read_text())
        pids = (tmp_path / "pids").read_text().split()
        (tmp_path / "pids").unlink()
        assert len({*pids}) == 1 + two
        assert pids.count(str(os.getpid())) == (2 if two else 5)
        assert card["facts"]["hardware"]["threads"] == 2
        answers = map(json.loads, (out / "answers.jsonl").read_text().splitlines())
        replies = [[v["reply"] for v in item["variants"].values()] for item in answers]
        means = {
            f"{variant['name']} {name}": measure["mean"]
            for variant in card["variants"]
            for name, measure in variant["metrics"].items()
            if measure["mean"] is not None
        }
        lost = [v["forgetting"]["after"] for v in card["variants"] if v["forgetting"]]
        found[two] = replies, means, lost
    one, both = found[False], found[True]
    assert both[0] == one[0]
    assert both[1] == pytest.approx(one[1], rel=1e-4, abs=1e-9)  # of one thread and of two
    assert both[2] == pytest.approx(one[2], rel=1e-5)


def test_a_base_alone_keeps_both_threads(tiny_base, tmp_path, monkeypatch):
    monkeypatch.setattr(_evaluation, "worlds", lambda _: [])
    groups = collect([tiny_base], recipe="sql_qa", limit=2)
    threads = {
        torch.get_num_threads()
        for _ in evaluate_groups(groups, out=tmp_path / "eval", shots=0, two=True)
    }
    assert threads == {2}
