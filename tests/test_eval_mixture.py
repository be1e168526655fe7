"""Several recipes in one evaluation: a mixture is in each part's table, and all in a summary."""

import json
import shutil
import sqlite3
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ftkit.catalog import load
from ftkit.cli import ftkit
from ftkit.cli._session import Session
from ftkit.errors import FtkitError
from ftkit.runs import Run

SMALL = [
    *("--set", "recipe.rows=40", "--set", "recipe.tests=14", "--set", "recipe.epochs=0.5"),
    *(
        "--set",
        "recipe.max_new_tokens=12",
        "--set",
        "plan.checks=1",
        "--set",
        "recipe.max_dropped=1",
    ),
]


def run(*words: str) -> Result:
    result = CliRunner().invoke(ftkit, words)
    assert result.exit_code == 0, result.stderr
    return result


@pytest.fixture(scope="module")
def out(tiny_base: Path, tmp_path_factory) -> Path:
    """Tune for chat, for medical and for both, and evaluate all three."""
    place = tmp_path_factory.mktemp("mixture")
    for recipe in ("chat", "medical", "chat,medical"):
        folder = place / f"{recipe}-lora"
        words = ["--recipe", recipe, "--method", "lora", "--base", str(tiny_base)]
        run("tune", *words, "--out", str(folder), *SMALL)
    runs = [str(path) for path in sorted(place.iterdir())]
    run("eval", *runs, "--shots", "0", "--out", str(place / "eval"))
    return place


def test_a_mixture_is_asked_the_questions_of_each_part(out: Path) -> None:
    summary = json.loads((out / "eval" / "summary.json").read_text())
    assert {part["recipe"] for part in summary["recipes"]} == {"chat", "medical"}
    for part in summary["recipes"]:
        card = json.loads((out / "eval" / part["folder"] / "scorecard.json").read_text())
        names = [line["name"] for line in card["variants"]]
        assert set(names) >= {f"{part['recipe']}-lora", "chat,medical-lora", "base", "base prose"}
        assert part["n"] == card["n"] == 14
        other = ({"chat", "medical"} - {part["recipe"]}).pop()
        lines = {line["name"]: line for line in card["variants"]}
        assert set(lines["chat,medical-lora"]["elsewhere"]) == {other, "sql_qa", "instruct"}
        assert lines["base"]["elsewhere"] == {}
        # Not the 14 items of the other runs here: what was forgotten is read in one way always.
        recipe = load("recipes", other)
        items = recipe.examples("test")
        size = sum(len(recipe.prose(one).answer.encode()) for one in items[:: len(items) // 100])
        assert size / 2 < lines["chat,medical-lora"]["elsewhere"][other]["bytes"] <= size
        assert part["metric"] == next(iter(card["readings"]))


def test_each_metric_of_a_recipe_is_in_its_card(out: Path) -> None:
    """None of them is all None: every metric found items that it applies to."""
    wanted = {
        "chat": {"turns_right", "context_recall", "variety", "own_stop", "bits_per_byte"},
        "medical": {"key_fact_recall", "key_fact_precision", "escalation", "false_escalation"},
    }
    for recipe, metrics in wanted.items():
        (folder,) = (out / "eval").glob(f"{recipe}-*")
        card = json.loads((folder / "scorecard.json").read_text())
        assert metrics <= set(card["readings"])
        tuned = next(line for line in card["variants"] if line["name"] == f"{recipe}-lora")
        assert all(tuned["metrics"][name]["n"] > 0 for name in metrics)


class Links(HTMLParser):
    """Collect where a page leads, and whether it loads or runs anything."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.found += [value or "" for name, value in attrs if name in ("href", "src")]


def test_the_index_leads_to_every_report_and_loads_nothing(out: Path) -> None:
    page = Links()
    page.feed((out / "eval" / "index.html").read_text())
    assert not page.tags & {"script", "img", "link", "iframe"}
    assert len(set(page.found)) == 2
    assert all((out / "eval" / link).is_file() for link in page.found)


def test_the_notice_stands_on_every_surface_of_a_medical_variant(out: Path, capsys) -> None:
    for name, there in (("medical-lora", True), ("chat,medical-lora", True), ("chat-lora", False)):
        assert ("Not medical advice." in (out / name / "README.md").read_text()) is there
        answered = run("chat", str(out / name), "-p", "What is asthma?")
        assert ("Not medical advice." in answered.stderr) is there
    for page in ("index.html", "summary.md"):
        assert "Not medical advice." in (out / "eval" / page).read_text()
    for recipe, there in (("medical", True), ("chat", False)):
        (report,) = (out / "eval").glob(f"{recipe}-*/report.html")
        assert ("Not medical advice." in report.read_text()) is there


def test_a_mixture_is_talked_to_as_a_conversation_and_goes_on_as_itself(out: Path) -> None:
    session = Session.open(out / "chat,medical-lora", None, raw=False)
    assert session.remembers
    assert session.notice == "Not medical advice."
    settings = Run(out / "chat,medical-lora").settings
    assert settings["options"]["recipe"] == "chat,medical"
    assert settings["recipe"]["chat"]["rows"] == settings["recipe"]["medical"]["rows"] == 40


def test_an_evaluation_that_was_stopped_between_two_recipes_goes_on(out: Path) -> None:
    whole, half = out / "eval", out / "half"
    runs = [str(out / f"{name}-lora") for name in ("chat", "medical", "chat,medical")]
    shutil.copytree(whole, half)
    for name in ("index.html", "summary.md", "summary.json"):
        (half / name).unlink()
    shutil.rmtree(next(half.glob("medical-*")))
    run("eval", *runs, "--shots", "0", "--out", str(half))
    assert sorted(p.name for p in half.iterdir()) == sorted(p.name for p in whole.iterdir())
    refused = CliRunner().invoke(ftkit, ["eval", *runs, "--out", str(half)])
    assert refused.stderr == f"Error: {half} exists and is not empty: choose another --out\n"
    mixed = [str(out / "chat,medical-lora"), "--data", "rows.jsonl"]
    refused = CliRunner().invoke(ftkit, ["eval", *mixed, "--out", str(out / "other")])
    assert "was tuned for chat,medical: say by --recipe which --data is for" in refused.stderr


def test_only_what_was_taught_to_query_takes_a_database(out: Path, tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / "d.sqlite").close()
    for name in ("chat-lora", "chat,medical-lora"):
        with pytest.raises(FtkitError, match="--db needs a variant that was tuned to query"):
            Session.open(out / name, tmp_path / "d.sqlite", raw=False)


def test_a_base_that_read_the_medical_world_says_so_too(out: Path, tiny_base: Path) -> None:
    """The tiny base was given documents, so its settings name no data of the user's."""
    answered = run("chat", str(tiny_base), "-p", "Signs of asthma are")
    assert "Not medical advice." in answered.stderr


def test_a_recipe_that_comes_twice_is_refused(tiny_base: Path) -> None:
    words = ["tune", "--recipe", "chat,chat", "--method", "lora", "--base", str(tiny_base)]
    result = CliRunner().invoke(ftkit, words)
    assert (result.exit_code, result.stderr) == (2, "Error: 'chat' stands twice in 'chat,chat'\n")
