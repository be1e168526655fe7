"""Rows that cannot be used: told by kind and place, refused, or skipped and written down."""

import json
from pathlib import Path

import pytest
import small
from click.testing import CliRunner, Result

from ftkit.cli import ftkit
from ftkit.cli._findings import findings
from ftkit.recipes._found import Found, Group


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def go(*words: str | Path) -> Result:
    return CliRunner().invoke(ftkit, list(map(str, words)))


def rows(folder: Path, bad: bool = True) -> Path:
    """Write 40 good training rows and 5 test rows; four bad ones, a double and a leak."""
    folder.mkdir()
    good = [
        {"question": f"What helps against ill {n}?", "answer": f"Rest for {n} days.", "focus": n}
        for n in range(45)
    ]
    good = [row | {"focus": f"ill {row['focus']}"} for row in good]
    lines = [json.dumps(row) for row in good[:40]]
    if bad:
        lines[3:3] = ['{"question": "What?", "answer": "  "}', "{broken", json.dumps(good[0])]
        lines += ['{"question": "Who?", "answer": ""}', '["a list"]', json.dumps(good[41])]
    (folder / "train.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "dev.jsonl").write_text("\n".join(map(json.dumps, good[40:])))
    return folder


def test_all_that_is_wrong_is_told_by_kind_and_place_and_the_rest_is_shown():
    source = rows(Path("set"))
    result = go("data", "--recipe", "medical", "--data", source, "--html", "page.html")
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: set/train.jsonl:4: 'answer' is empty; ")
    assert result.stderr.endswith(
        "; 4 of 51 rows cannot be used; --on-bad-rows skip leaves such rows out\n"
    )
    said = result.stdout
    assert "\n4 of 51 rows cannot be used:\n" in said
    assert "  2 × 'answer' is empty: set/train.jsonl:4, set/train.jsonl:44\n" in said
    assert "      set/train.jsonl:4: 'answer' is empty; " in said
    assert "  1 × broken JSON: set/train.jsonl:5\n" in said
    assert "  1 × no object: set/train.jsonl:45\n" in said
    left = said.partition("\nLeft out, rows that:\n")[2].partition("\n\n")[0]
    assert "1 × repeat an earlier one: set/train.jsonl:6" in left
    assert "set/train.jsonl:46" in left
    assert said.count("the loss falls on the marked part") == 3
    assert not Path("rejected.jsonl").exists()
    page = Path("page.html").read_text()
    assert "<h2>4 of 51 rows cannot be used</h2>" in page
    assert "2 × &#39;answer&#39; is empty: set/train.jsonl:4, set/train.jsonl:44" in page
    assert "<h2>Left out, rows that</h2>" in page


def test_skipped_rows_are_written_down_and_never_over_a_file():
    words = ("data", "--recipe", "medical", "--data", rows(Path("set")), "--on-bad-rows", "skip")
    result = go(*words)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.endswith(
        "rejected.jsonl: 4 rows that cannot be used, with place and reason\n"
    )
    found = [json.loads(line) for line in Path("rejected.jsonl").read_text().splitlines()]
    assert [(row["where"], row["kind"]) for row in found] == [
        ("set/train.jsonl:4", "'answer' is empty"),
        ("set/train.jsonl:5", "broken JSON"),
        ("set/train.jsonl:44", "'answer' is empty"),
        ("set/train.jsonl:45", "no object"),
    ]
    assert found[0]["row"] == {"question": "What?", "answer": "  "}
    assert all(set(row) == {"where", "kind", "reason", "row"} for row in found)
    again = go(*words)
    assert again.exit_code == 0, again.stderr
    assert "\nrejected-2.jsonl: 4 rows" in again.stdout
    named = go(*words, "--rejected", "rejected.jsonl")
    assert named.stderr == "Error: rejected.jsonl exists: choose another name for --rejected\n"
    assert go(*words, "--rejected", "other.jsonl").exit_code == 0
    assert Path("other.jsonl").read_text() == Path("rejected.jsonl").read_text()


def test_good_rows_leave_nothing_behind_and_bad_ones_alone_are_told():
    source = rows(Path("set"), bad=False)
    result = go("data", "--recipe", "medical", "--data", source, "--on-bad-rows", "skip")
    assert result.exit_code == 0, result.stderr
    assert "cannot be used" not in result.stdout
    assert not Path("rejected.jsonl").exists()
    Path("bad.jsonl").write_text('{"question": "What?", "answer": ""}\n')
    result = go("data", "--recipe", "medical", "--data", "bad.jsonl")
    assert result.exit_code == 2
    assert "1 of 1 rows cannot be used:" in result.stdout
    assert "No rows are left to train on." in result.stdout


@pytest.mark.slow
def test_tune_and_eval_take_the_same_word(tmp_path: Path):
    base, source = small.base(tmp_path / "base"), rows(tmp_path / "set")
    words = ["tune", "--recipe", "medical", "--method", "lora", "--base", base, "--data", source]
    words += ["--out", "run", "--set", "recipe.epochs=0.2", "--set", "recipe.length=200"]
    words += ["--set", "recipe.max_new_tokens=4", "--set", "plan.checks=1"]
    refused = go(*words)
    assert refused.exit_code == 2
    assert "4 of 51 rows cannot be used" in refused.stderr
    assert not Path("run").exists()
    result = go(*words, "--on-bad-rows", "skip")
    assert result.exit_code == 0, result.stderr
    kept = Path("run/run/rejected.jsonl").read_text().splitlines()
    assert [json.loads(line)["where"].rpartition(":")[2] for line in kept] == ["4", "5", "44", "45"]
    asked = ["eval", "run", "--data", source / "train.jsonl", "--limit", 3, "--shots", 0]
    refused = go(*asked, "--on-bad-rows", "stop", "--out", "first")
    assert refused.exit_code == 2
    assert "rows cannot be used" in refused.stderr
    result = go(*asked, "--out", "second")  # as the run did
    assert result.exit_code == 0, result.stderr


def test_a_report_commands_no_terminal():
    bad = Group("field '\x1b[2J'", 1, ["a\x1b.jsonl:1"], "it has '\x1b[2J'")
    found = Found(3, (bad,), (), (), ("\x1bnotes",), ())
    said = [line for _, lines in findings(found) for line in lines]
    assert len(said) == 3
    assert "\x1b" not in "".join(said)
    assert findings(None) == []


def test_where_no_row_is_of_use_nobody_is_told_to_leave_them_out(tmp_path: Path) -> None:
    row = json.dumps({"question": "a"})
    for count, words in ((1, "none of 1 row can be used"), (2, "none of 2 rows can be used")):
        (tmp_path / "r.jsonl").write_text(f"{row}\n" * count)
        result = CliRunner().invoke(
            ftkit, ["data", "--recipe", "medical", "--data", str(tmp_path / "r.jsonl")]
        )
        assert result.exit_code == 2
        assert result.stderr.endswith(f"; {words}\n")
        assert "--on-bad-rows" not in result.stderr
