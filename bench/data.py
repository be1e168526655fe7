"""What is wrong with real data sets: every row read by its recipe, findings counted by kind.

python bench/data.py DATA --out results/bench/data.json

DATA holds TASK/SET for the recipes sql_qa, medical and chat, each with train.jsonl.gz and perhaps
dev.jsonl.gz. Nothing is trained; what `ftkit data --on-bad-rows skip` says of a set is kept.
"""

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from _figures import kept

from ftkit import catalog
from ftkit.cli._golds import run_queries

COLUMNS = ("set", "rows", "what becomes of them", "which", "how many", "first places")
TASKS = ("sql_qa", "medical", "chat")
FATES = {"bad": "cannot be used", "odd": "used, worth a look", "left_out": "left out: they"}
NAMED = 2  # places in the table


def met(recipe: Any, name: str, data: Path, cache: str) -> dict[str, Any]:
    """Read one set and keep what was met, its places without the folder that all lies in."""
    began = time.perf_counter()
    taught = replace(recipe, data=(str(data / name),), on_bad_rows="skip", cache=cache)
    read = taught.found()
    seconds = time.perf_counter() - began
    found, ran = run_queries(taught, read, seconds=600.0)
    print(f"{name}: {found.rows:,} rows in {seconds:.1f} s. {ran}", flush=True)
    groups = [
        {
            "fate": fate,
            "kind": group.kind,
            "count": group.count,
            "where": [place.replace(f"{data / name}/", "") for place in group.where],
        }
        for fate in FATES
        for group in getattr(found, fate)
    ]
    return {"set": name, "rows": found.rows, "seconds": round(seconds, 2), "groups": groups}


def lines(measured: dict[str, Any]) -> list[list[str]]:
    """Lay out one set's findings, a row for each kind."""
    head = [measured["set"], f"{measured['rows']:,}"]
    rest = ["", ""]
    found = [
        [
            FATES[group["fate"]],
            group["kind"].rstrip(","),
            f"{group['count']:,}",
            ", ".join(group["where"][:NAMED]),
        ]
        for group in measured["groups"]
    ] or [["–", "–", "0", ""]]
    return [[*(rest if number else head), *line] for number, line in enumerate(found)]


def main() -> None:
    """Read all sets that are there."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as cache:
        found = [
            met(catalog.load("recipes", task), f"{task}/{place.name}", given.data, cache)
            for task in TASKS
            for place in sorted((given.data / task).iterdir())
            if (place / "train.jsonl.gz").is_file()
        ]
    rows, seconds = sum(one["rows"] for one in found), sum(one["seconds"] for one in found)
    notes = (
        f"{rows:,} rows of {len(found)} sets, read, checked and divided in {seconds:.0f} s by "
        "the clock, then the reference queries run. Places are lines of the set's own files."
    )
    table = [line for one in found for line in lines(one)]
    kept(given.out, "What is wrong with real rows", COLUMNS, table, notes=notes, measured=found)


if __name__ == "__main__":
    main()
