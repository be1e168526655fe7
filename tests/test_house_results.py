"""The README's tables are made from scorecards: every figure is in the file, none is typed."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.scripts import load

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def write() -> Any:
    """Load docs/write.py."""
    return load("docs/write.py")


CARD = {
    "recipe": "sql_qa",
    "title": "The embedded world.",
    "n": 500,
    "readings": {
        "execution_accuracy": {"title": "Execution accuracy", "share": True},
        "bits_per_byte": {"title": "Bits per byte", "share": False},
    },
    "variants": [
        {
            "name": "nearest",
            "method": "nearest",
            "metrics": {"execution_accuracy": {"mean": 0.02, "low": 0.011, "high": 0.036}},
            "cost": {"trainable_params": 0, "bytes": 0, "seconds": None},
        },
        {
            "name": "lora",
            "method": "lora",
            "metrics": {
                "execution_accuracy": {"mean": 0.7214, "low": 0.68, "high": 0.76, "spread": 0.012}
            },
            "cost": {"trainable_params": 149504, "bytes": 612345, "seconds": 41.2},
        },
    ],
    "facts": {"hardware": {"processor": "Some CPU", "threads": 2}},
}


def test_a_card_becomes_a_table(write):
    assert write.table(CARD).splitlines() == [
        "**The embedded world.** 500 test items; 95 % intervals in brackets; Some CPU, 2 threads.",
        "",
        "|  | Execution accuracy | trained | file | time |",
        "| --- | ---: | ---: | ---: | ---: |",
        "| nearest | 2.0 (1–4) | – | – | – |",
        "| lora | 72.1 ±1.2 (68–76) | 149,504 | 0.61 MB | 41 s |",
    ]


def test_a_page_is_filled_between_its_marks(write, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(write, "ROOT", tmp_path)
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "demo.json").write_text(json.dumps(CARD))
    page = "before\n<!-- results:demo -->\nold\n<!-- /results -->\nafter\n"
    filled = write.filled(page)
    assert filled.startswith("before\n<!-- results:demo -->\n**The embedded world.**")
    assert filled.endswith("41 s |\n<!-- /results -->\nafter\n")
    assert write.filled(filled) == filled


CARDS = sorted(p for p in (ROOT / "results").glob("*.json") if p.stem not in ("worlds", "methods"))
FIGURES = {path.stem: path for path in sorted((ROOT / "results" / "bench").glob("*.json"))}
FIGURES |= {path.stem: path for path in (ROOT / "results").glob("methods.json")}


@pytest.mark.parametrize("path", FIGURES.values(), ids=FIGURES)
def test_what_a_benchmark_kept_is_shown(path: Path, write):
    figures = json.loads(path.read_text(encoding="utf-8"))
    assert figures["hardware"]["processor"]
    assert figures["hardware"]["threads"] >= 1
    assert all(len(row) == len(figures["columns"]) for row in figures["rows"])
    page = "".join((ROOT / name).read_text(encoding="utf-8") for name in write.PAGES)
    assert f"<!-- {'bench' if path.parent.name == 'bench' else 'study'}:{path.stem} -->" in page
    assert write.measured(figures) in page


def test_figures_become_a_table(write):
    figures = {
        "title": "Speed",
        "hardware": {"processor": "Some CPU", "threads": 2, "bfloat16": "", "torch": "2.13"},
        "notes": "Ratio 2.",
        "columns": ["", "tokens/s"],
        "rows": [["ours", "1,000"]],
    }
    assert write.measured(figures).splitlines() == [
        "**Speed.** Ratio 2. Some CPU, no bfloat16 arithmetic; torch 2.13.",
        "",
        "|  | tokens/s |",
        "| --- | --- |",
        "| ours | 1,000 |",
    ]


@pytest.mark.skipif("memory" not in FIGURES, reason="not measured yet")
def test_tokenising_stays_under_its_bar_whatever_the_size():
    found = json.loads(FIGURES["memory"].read_text(encoding="utf-8"))
    assert all(row["peak_mib"] <= row["unique_mib"] < 1024 for row in found["measured"])
    assert found["measured"][-1]["mb"] >= 500
    assert found["last_to_first"] < 1.25


@pytest.mark.parametrize("path", CARDS, ids=lambda p: p.name)
def test_a_result_says_what_it_rests_on(path: Path, write):
    card = json.loads(path.read_text(encoding="utf-8"))
    assert card["n"] > 0
    assert card["facts"]["hardware"]["processor"]
    assert write.table(card)
    name, seed, _ = path.stem.partition("_seed")
    mark = f"<!-- {'seeds' if seed else 'results'}:{name} -->"
    assert mark in (ROOT / "docs" / "results.md").read_text(encoding="utf-8")


def test_seeds_stand_under_each_other_with_minutes_and_memory(write):
    stages = {
        "base": {"seconds": 90, "peak_memory": 2**30},
        "eval": {"seconds": 60, "peak_memory": 2**31},
    }
    cards = [
        CARD | {"facts": {"recipe": {"world_seed": seed}}, "stages": stages} for seed in (0, 1)
    ]
    assert write.seeds(cards).splitlines() == [
        "|  | nearest | lora | minutes | peak memory |",
        "| --- | ---: | ---: | ---: | ---: |",
        "| seed 0 | 2.0 (1–4) | 72.1 ±1.2 (68–76) | 2.5 | 2.00 GiB |",
        "| seed 1 | 2.0 (1–4) | 72.1 ±1.2 (68–76) | 2.5 | 2.00 GiB |",
    ]


def test_recipes_stand_under_each_other_with_the_base_in_its_best_form(write):
    measures = (0.1, 0.3, None)
    bases = [
        {"name": "base", "method": "base", "cost": CARD["variants"][0]["cost"]}
        | {"metrics": {"execution_accuracy": {"mean": m, "low": 0.0, "high": 0.5}}}
        for m in measures
    ]
    readings = {"execution_accuracy": CARD["readings"]["execution_accuracy"] | LOWER}
    card = CARD | {"variants": [*CARD["variants"], *bases], "readings": readings}
    card |= {"stages": {"base": {"seconds": 90, "peak_memory": 2**30}}, "notes": "one core"}
    assert write.summary([card]).splitlines() == [
        "| recipe | measure | nearest answer | base, best form | lora |",
        "| --- | --- | ---: | ---: | ---: |",
        "| sql_qa, n = 500 | Execution accuracy | 2.0 (1–4) | 30.0 (0–50) | 72.1 ±1.2 (68–76) |",
        "",
        "Shares in percent, 95 % intervals in brackets. Some CPU, 2 threads; one core. "
        "1.5 minutes in all, 1.00 GiB at most.",
    ]
    readings["execution_accuracy"] |= {"share": False, "lower_is_better": True}
    row = write.summary([card]).splitlines()[2]
    assert row.startswith("| sql_qa, n = 500 | Execution accuracy | 0.02 (0.01–0.04) | 0.10 (0.00")


LOWER = {"lower_is_better": False}
STAGE = {"seconds": 1.0, "peak_memory": 2**30}


@pytest.mark.parametrize("where", ["eval", "eval/sql_qa-base"])
def test_a_kept_result_names_no_folder_of_the_machine(where: str, tmp_path):
    folder = tmp_path / where
    folder.mkdir(parents=True)
    recipe = {"data": [str(tmp_path.parent / "sets" / "medical" / "medquad")]}
    command = f"ftkit eval {tmp_path / 'lora'} --seed 0"
    card = CARD | {"facts": {"command": command, "recipe": recipe}}
    (folder / "scorecard.json").write_text(json.dumps(card))
    (tmp_path / "stages.json").write_text(
        json.dumps({"base": STAGE | {"result": f"in {tmp_path}"}})
    )
    file = tmp_path / "kept.json"
    script = ROOT / "bench" / "keep.py"
    words = [sys.executable, script, folder, file, "--title", "A run"]
    subprocess.run(words, check=True)
    kept = json.loads(file.read_text())
    recipe = {"data": ["data/medical/medquad"]}
    assert kept["facts"] == {"command": "ftkit eval runs/lora --seed 0", "recipe": recipe}
    assert kept["title"] == "A run"
    assert kept["variants"] == CARD["variants"]
    assert kept["stages"] == {"base": STAGE}
    answers = [
        {"where": f"{place}/{name}:1", "variants": {"lora": {"scores": {"execution_accuracy": s}}}}
        for place, name, s in (("a", "x", 1.0), ("a", "x", None), ("b", "y", None))
    ]
    (folder / "answers.jsonl").write_text("\n".join(map(json.dumps, answers)))
    subprocess.run(words, check=True)
    by_source = json.loads(file.read_text())["by_source"]
    assert by_source == {"a": {"n": 1, "lora": 1.0}, "b": {"n": 0}}
