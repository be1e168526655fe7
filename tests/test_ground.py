"""The ground floor: settings are typed, files appear whole, unfinished runs are refused."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest

from ftkit import catalog
from ftkit.config import dump_toml, override, parse_sets, read_toml, table
from ftkit.errors import FtkitError
from ftkit.runs import Run, find_runs, fingerprint, free_name, write_whole


@dataclasses.dataclass(frozen=True)
class Knobs:
    """Settings with a field of each kind that the command line can set."""

    rank: int = 8
    lr: float = 1e-3
    names: tuple[str, ...] = ()
    folder: Path | None = None
    kind: Literal["soft", "hard"] = "soft"
    flag: bool = False


def test_override_reads_each_type() -> None:
    words = {"rank": "4", "lr": "1e-2", "names": "a,b", "folder": "x/y", "kind": "hard"}
    got = override(Knobs(), words | {"flag": "yes"}, "method")
    assert got == Knobs(4, 0.01, ("a", "b"), Path("x/y"), "hard", True)
    assert override(got, {"folder": "none"}, "method").folder is None


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (
            {"rnak": "4"},
            "unknown setting 'method.rnak': Knobs has rank, lr, names, folder, kind, flag; "
            "did you mean 'rank'?",
        ),
        ({"rank": "4.5"}, "'method.rank' takes a whole number, not '4.5'"),
        ({"rank": True}, "'method.rank' takes a whole number, not 'True'"),
        ({"lr": "nan"}, "'method.lr' takes a number, not 'nan'"),
        ({"flag": "maybe"}, "'method.flag' takes true or false, not 'maybe'"),
        ({"kind": "sofd"}, "'method.kind' cannot be 'sofd': did you mean 'soft'?"),
        ({"rank": "none"}, "'method.rank' takes a whole number, not 'none'"),
    ],
)
def test_override_refuses_in_one_sentence(values: dict[str, object], sentence: str) -> None:
    with pytest.raises(FtkitError) as caught:
        override(Knobs(), values, "method")
    assert str(caught.value) == sentence


def test_set_words_need_a_table_and_a_value() -> None:
    assert parse_sets(["method.rank=4", "method.x=a=b"]) == {"method": {"rank": "4", "x": "a=b"}}
    for word in ("rank=4", "method.rank", ".rank=4", "method.=4"):
        with pytest.raises(FtkitError, match=r"--set takes TABLE\.NAME=VALUE"):
            parse_sets([word])


def test_settings_survive_toml(tmp_path: Path) -> None:
    knobs = Knobs(names=("a",), folder=None, lr=0.1 + 0.2)
    write_whole(tmp_path / "run.toml", dump_toml({"method": knobs}))
    assert override(Knobs(), read_toml(tmp_path / "run.toml")["method"], "method") == knobs
    assert "folder" not in table(knobs)
    (tmp_path / "bad.toml").write_text("a = 1\nb == 2\n")
    with pytest.raises(FtkitError, match=r"bad.toml is not valid TOML: .*line 2"):
        read_toml(tmp_path / "bad.toml")


def test_catalog_lists_files_and_names_the_nearest() -> None:
    assert {"full", "lora", "soft_prompt"} <= set(catalog.names("adapters"))
    assert not [
        name for floor in catalog.EXPORTS for name in catalog.names(floor) if name[0] == "_"
    ]
    with pytest.raises(FtkitError, match=r"^no 'sqlqa' in recipes: did you mean 'sql_qa'\?$"):
        catalog.load("recipes", "sqlqa")


def test_a_run_that_was_killed_before_it_wrote_anything_may_begin_again(tmp_path: Path) -> None:
    (tmp_path / "a" / "run").mkdir(parents=True)
    assert Run.create(tmp_path / "a", {"command": "tune"}).settings == {"command": "tune"}
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "run").write_text("mine")
    with pytest.raises(FtkitError, match="exists and is not empty"):
        Run.create(tmp_path / "b", {})


def test_a_run_is_refused_until_it_is_done(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "a", {"command": "tune"})
    with pytest.raises(FtkitError, match="not finished: go on with --resume --out"):
        Run.open(run.path)
    with pytest.raises(FtkitError, match="exists and is not empty"):
        Run.create(run.path, {})
    assert run.resumed.endswith("/a")
    assert Run(Path("my runs/a")).resumed == "--resume --out 'my runs/a'"
    seen: list[str] = []

    def write(folder: Path) -> None:
        (folder / "model.safetensors").write_bytes(b"weights")
        (folder / "config.json").write_text("{}")
        seen.extend(file.name for file in run.path.iterdir())

    Run.resume(run.path).publish(write, {"seconds": 1.5})
    assert seen == ["run"]
    assert find_runs(tmp_path)[0].done["fingerprint"] == fingerprint(run.path)
    assert [found.path for found in find_runs(tmp_path, deep=True)] == [run.path]
    assert run.path in [found.path for found in find_runs(tmp_path.parent, deep=True)]
    assert run.path not in [found.path for found in find_runs(tmp_path.parent)]
    assert Run.open(run.path).done["seconds"] == 1.5
    with pytest.raises(FtkitError, match="finished already"):
        Run.resume(run.path)
    with pytest.raises(FtkitError, match="no run"):
        Run.open(tmp_path)


def test_fingerprint_sees_every_weight_and_no_note(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"1")
    first = fingerprint(tmp_path)
    (tmp_path / "README.md").write_text("note")
    assert fingerprint(tmp_path) == first
    (tmp_path / "model.safetensors").write_bytes(b"2")
    assert fingerprint(tmp_path) != first


def test_the_log_forgives_a_torn_last_line(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "a", {})
    for step in range(4):
        run.log({"step": step})
    with (run.inner / "log.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')
    assert [record["step"] for record in run.records()] == [0, 1, 2, 3]
    run.truncate_log(1)
    run.log({"step": 2})
    assert [record["step"] for record in run.records()] == [0, 1, 2]


def test_a_log_that_is_damaged_within_is_refused_by_line(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "a", {})
    for damaged in (b'{"step": 1, "lo\n', b"\xff\xfe\n", b"3\n"):
        (run.inner / "log.jsonl").write_bytes(b'{"step": 0}\n' + damaged + b'{"step": 2}\n')
        with pytest.raises(FtkitError, match=r"run/log\.jsonl:2 is damaged: it holds no JSON"):
            run.records()


def test_free_name_counts_on(tmp_path: Path) -> None:
    for name in ("r", "r-2"):
        (tmp_path / name).mkdir()
    assert free_name(tmp_path / "r").name == "r-3"


def test_a_killed_writer_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    write_whole(path, json.dumps({"n": 0}))
    code = (
        "import json, sys; from pathlib import Path; from ftkit.runs import write_whole\n"
        "n = 0\nprint('on', flush=True)\n"
        "while True:\n    n += 1\n"
        "    write_whole(Path(sys.argv[1]), json.dumps({'n': n, 'pad': 'x' * 2_000_000}))\n"
    )
    root = Path(catalog.__file__).parent.parent
    for _ in range(3):
        child = subprocess.Popen(
            [sys.executable, "-c", code, str(path)],
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": str(root)},
        )
        assert child.stdout is not None
        child.stdout.readline()
        try:
            child.wait(0.15)
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGKILL)
        child.communicate()
        assert json.loads(path.read_text())["n"] >= 0


def test_an_out_that_is_a_file_is_called_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FtkitError, match="file is a file: --out names a folder"):
        Run.create(tmp_path / "file", {})
    with pytest.raises(FtkitError, match="cannot be read: Is a directory"):
        read_toml(tmp_path)
