"""Measure how fast rows are read, checked and divided, and in how much memory.

python bench/rows.py --rows 1000000 --out results/bench/rows.json
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import Random

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

WORDS = (12, 28)  # of a question and of an answer, in the mean
READ = "--read"


def write(path: Path, count: int) -> None:
    """Write rows of a question and an answer, of which one in a thousand cannot be used."""
    draw = Random(0)
    words = ["".join(draw.choices("abcdefghijklmnop", k=draw.randint(2, 9))) for _ in range(20_000)]
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            asked, told = (" ".join(draw.choices(words, k=draw.randint(1, 2 * n))) for n in WORDS)
            row = {"question": f"{asked} {number}?", "answer": "" if number % 1000 == 7 else told}
            file.write(json.dumps(row) + "\n")


def read(path: Path, cache: Path) -> None:
    """Read, check and divide, and print what that took as JSON."""
    from ftkit.config import override
    from ftkit.recipes.medical import RECIPE

    recipe = override(RECIPE, {"data": [str(path)], "cache": str(cache)}, "recipe")
    began = time.perf_counter()
    found = recipe.found()
    assert found is not None
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    own, one = (resource.getrusage(kind).ru_maxrss / 1024 for kind in kinds)
    processes = len(os.sched_getaffinity(0))
    facts = {
        "rows": found.rows,
        "bad": sum(group.count for group in found.bad),
        "seconds": time.perf_counter() - began,
        "processes": processes,
        # More than what is in use at once: what processes share is counted for each.
        "peak_mib": own + one * processes * (processes > 1),
    }
    print(json.dumps(facts))


def main() -> int:
    """Measure in a process of its own, on the processors that this one may use."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    parser.add_argument("--notes", default="", help="what a reader of the figures must know")
    asked = parser.parse_args()
    from _figures import kept  # here, since what it imports is no part of reading rows

    found = []
    with tempfile.TemporaryDirectory() as folder:
        for count in asked.rows:
            path = Path(folder) / f"{count}.jsonl"
            write(path, count)
            command = [sys.executable, __file__, READ, str(path), f"{folder}/cache"]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            facts = json.loads(done.stdout) | {"megabytes": path.stat().st_size / 1e6}
            facts["rows_per_second"] = facts["rows"] / facts["seconds"]
            found.append({name: round(value, 1) for name, value in facts.items()})
            print(found[-1], flush=True)
    rows = [
        [
            f"{each['rows']:,.0f} ({each['megabytes']:,.0f} MB)",
            f"{each['rows_per_second']:,.0f}",
            f"{each['peak_mib']:,.0f} MiB",
            f"{each['bad']:,.0f}",
        ]
        for each in found
    ]
    kept(
        asked.out,
        "Rows read, checked, divided and kept on disk",
        ["rows", "rows/s", "peak", "named as bad"],
        rows,
        notes=f"By the clock, with {found[0]['processes']:.0f} processors. {asked.notes}",
        figures=found,
    )
    return 0


if __name__ == "__main__":
    if READ in sys.argv[1:2]:
        read(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        sys.exit(main())
