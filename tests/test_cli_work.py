"""Runs begun by a command: refused ones leave nothing, stopped ones say how to go on."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from ftkit.cli import Commands, _bar, _options, _work
from ftkit.errors import FtkitError, WorkError
from ftkit.runs import Run

Work = Callable[[Run], None]


def go(work: Work, *words: str) -> Result:
    @click.command()
    @click.option("--out", type=click.Path(path_type=Path))
    @click.option("--tokens", type=int)
    @_options.resume
    @_options.debug
    def toy(out: Path | None, resume: bool, **rest: object) -> None:
        """Work in a run folder."""
        if resume:
            run = _work.take_up(out)
            with _work.going_on(run):
                work(run)
        else:
            with _work.begin(out, "toy", {"command": "toy"}) as run:
                work(run)

    class Toys(Commands):
        def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
            return toy

    return CliRunner().invoke(Toys(), ["toy", *words])


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def finish(run: Run) -> None:
    run.publish(lambda folder: None, {"seconds": 1.0})


def save(run: Run) -> None:
    (run.checkpoints / "step-00000001").mkdir(parents=True)
    (run.checkpoints / "step-00000001" / "facts.json").write_text("{}")


def fail(problem: BaseException, *, saved: bool = False) -> Work:
    def work(run: Run) -> None:
        if saved:
            save(run)
        raise problem

    return work


def test_the_folder_is_the_next_free_name_and_is_printed_first():
    assert go(finish).stdout == "run folder: runs/toy\n"
    assert go(finish).stdout == "run folder: runs/toy-2\n"


def test_an_out_that_holds_something_is_refused_and_left_alone(tmp_path: Path):
    kept = tmp_path / "mine" / "notes.txt"
    kept.parent.mkdir()
    kept.write_text("mine")
    result = go(finish, "--out", "mine")
    assert result.exit_code == 2
    assert result.stderr == "Error: mine exists and is not empty: choose another --out\n"
    assert kept.read_text() == "mine"


@pytest.mark.parametrize(
    ("problem", "code"), [(FtkitError("no"), 2), (WorkError("no"), 1), (ValueError("no"), 1)]
)
def test_work_that_ends_before_anything_is_saved_leaves_nothing(problem, code, tmp_path: Path):
    assert go(fail(problem), "--out", "deep/down/here").exit_code == code
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "empty").mkdir()
    assert go(fail(problem), "--out", "empty").exit_code == code
    assert list((tmp_path / "empty").iterdir()) == []


def test_a_refused_run_takes_no_other_run_with_it(tmp_path: Path):
    """Another began beside it meanwhile, in the folder that the refused one had made."""

    def refused(run: Run) -> None:
        other = run.path.with_name("other")
        other.mkdir()
        (other / "kept").write_text("work of hours")
        raise FtkitError("no")

    assert go(refused).exit_code == 2
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["other"]
    assert (tmp_path / "runs" / "other" / "kept").read_text() == "work of hours"


def test_a_failure_after_a_checkpoint_keeps_the_run():
    assert go(fail(WorkError("no"), saved=True), "--out", "a").exit_code == 1
    assert go(save, "--resume", "--out", "a").exit_code != 2


def test_ctrl_c_before_anything_is_saved(tmp_path: Path):
    result = go(fail(KeyboardInterrupt()))
    assert result.exit_code == 130
    assert result.stderr == "Error: stopped before anything was saved: nothing is left\n"
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_after_a_checkpoint_says_how_to_go_on_and_that_works():
    result = go(fail(KeyboardInterrupt(), saved=True))
    assert result.exit_code == 130
    assert result.stderr == "Error: stopped: `ftkit toy --resume --out runs/toy` goes on\n"
    assert go(finish, "--resume").exit_code == 0
    assert (Path("runs/toy/run/done")).exists()


def test_a_stopped_run_of_a_series_is_found_too():
    go(fail(KeyboardInterrupt(), saved=True), "--out", "runs/study/a")
    assert go(finish, "--resume").exit_code == 0
    assert (Path("runs/study/a/run/done")).exists()


def test_what_cannot_be_resumed():
    assert "no unfinished `ftkit toy` lies under runs/" in go(finish, "--resume").stderr
    go(finish, "--out", "a")
    assert go(finish, "--resume", "--out", "a").stderr == (
        "Error: a is finished already: there is nothing to resume\n"
    )
    assert go(finish, "--resume", "--out", "b").stderr == (
        "Error: b holds no run to resume: there is no b/run/run.toml\n"
    )
    Run.create(Path("c"), {"command": "other"})
    assert "c was begun by `ftkit other`, not by `ftkit toy`" in (
        go(finish, "--resume", "--out", "c").stderr
    )
    assert go(finish, "--resume", "--tokens", "5").stderr == (
        "Error: --resume goes on with the run's own settings: leave out --tokens\n"
    )


def test_plain_lines_without_a_terminal(capsys: pytest.CaptureFixture[str]):
    records = [
        {"event": "begins"},
        *({"step": n, "loss": 2.0, "tokens": 1000 * n, "seconds": n / 2} for n in range(1, 5)),
        {"step": 4, "validation": {"nats": 1.5}},
    ]
    last = _bar.watch(records, "toy", total=4)
    assert last["step"] == 4
    assert capsys.readouterr().out.splitlines() == [
        "toy: begins",
        "toy: 1/4 loss 2.000 · 2.0k tokens/s",
        "toy: 4/4 loss 2.000 · 2.0k tokens/s · 0:00 left",
        "toy: step 4: validation nats 1.500",
    ]


HOLDING = """
import os, sys, time
from pathlib import Path
from ftkit.runs import Run
with Run.create(Path(sys.argv[1]), {"command": "toy"}).held():
    if not os.fork():
        time.sleep(60)  # a worker that outlives it
    print("held", flush=True)
    time.sleep(60)
"""


def test_two_do_not_work_on_one_run_and_a_kill_frees_it(tmp_path: Path) -> None:
    out, root = tmp_path / "base", Path(__file__).parent.parent
    with subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(out)],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(root)},
        start_new_session=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        refused = go(finish, "--resume", "--out", str(out))
        assert refused.exit_code == 2
        assert f"base is being worked on by process {other.pid}: wait until it" in refused.output
        assert not (out / "run" / "done").exists()
        other.kill()
        other.wait()
        assert go(finish, "--resume", "--out", str(out)).exit_code == 0
        os.killpg(other.pid, signal.SIGKILL)  # the worker
    assert (out / "run" / "done").exists()
    assert not (out / "run" / "lock").exists()
