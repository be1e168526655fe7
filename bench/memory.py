"""Measure the memory and time of tokenising a large text, as `ftkit pretrain` does it.

python bench/memory.py --mb 512 2048 --data books/ --out results/bench/memory.json
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import count, pairwise
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from _figures import kept  # noqa: E402 (a bare clone has to find itself first)

from ftkit.basemodel.corpus import Documents  # noqa: E402

VOCABULARY, CONTEXT, SHARE = 8192, 512, 0.01
SEED_TEXT = 50_000_000  # characters that are repeated, with numbers put in
EVERY = 0.05  # seconds between two looks
COUNTED = (
    "summed over the process and its children, every 50 ms, from /proc/PID/smaps_rollup: peak_mib "
    "is the peak of Private_Dirty (what no other process shares and cannot be dropped), unique_mib "
    "that of Private_Dirty + Private_Clean, which has the libraries' code and mapped files too"
)


def write_text(file: Path, size: int, folder: Path | None) -> None:
    """Write prose of about `size` bytes in which no two paragraphs are the same."""
    seeds, room = list[str](), min(SEED_TEXT, size)
    for text in Documents([folder]) if folder else _worlds():
        seeds.append(text)
        room -= len(text)
        if room < 0:
            break
    left = size
    with file.open("w", encoding="utf-8") as opened:
        for number in count():
            text = "\n\n".join(
                f"{number}, {part}" for part in seeds[number % len(seeds)].split("\n\n")
            )
            left -= opened.write(f"{text}\n\n")
            if left <= 0:
                return


def _worlds() -> Iterator[str]:
    from ftkit import catalog
    from ftkit.recipes._mix import shared

    for recipe in shared(catalog.names("recipes"), {}):
        yield from recipe.corpus()


def work(file: Path, home: Path) -> None:
    """Do the work itself, and print what there is in the end."""
    from ftkit.basemodel.prepare import Learn, prepare

    stages = list[tuple[str, float, float]]()
    steps = prepare(
        lambda: Documents([file]),
        home,
        tokenizer=Learn("bpe", VOCABULARY),
        context=CONTEXT,
        validation=SHARE,
    )
    while True:
        try:
            event = next(steps)["event"].split()[0]
        except StopIteration as end:
            corpus = end.value.corpus
            break
        stages.append((event, time.perf_counter(), time.process_time()))
    stages.append(("", time.perf_counter(), time.process_time()))
    spent = {
        name: {"seconds": round(wall - before, 1), "cpu_seconds": round(cpu - cpu_before, 1)}
        for (name, before, cpu_before), (_, wall, cpu) in pairwise(stages)
    }
    corpus.batch(0, 4, CONTEXT, 0)  # packs a shard
    facts = {"tokens": corpus.tokens, "shards": len(corpus.shards), "stages": spent}
    sys.stdout.write(json.dumps(facts))


def watch(process: "subprocess.Popen[str]") -> tuple[int, int]:
    """Return the largest Private_Dirty, and Private_Dirty + Private_Clean, in KiB."""
    dirty, unique = 0, 0
    while process.poll() is None:
        found = [_rollup(each) for each in _tree(process.pid)]
        dirty = max(dirty, sum(each.get("Private_Dirty", 0) for each in found))
        parts = ("Private_Dirty", "Private_Clean")
        unique = max(unique, sum(each.get(part, 0) for each in found for part in parts))
        time.sleep(EVERY)
    return dirty, unique


def _tree(process: int) -> Iterator[int]:
    yield process
    for file in Path(f"/proc/{process}/task").glob("*/children"):
        try:
            children = file.read_text().split()
        except OSError:  # it has ended
            continue
        for child in children:
            yield from _tree(int(child))


def _rollup(process: int) -> dict[str, int]:
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()[1:]
    except OSError:
        return {}
    return {line.split(":")[0]: int(line.split()[1]) for line in lines}


def measure(size: int, folder: Path | None) -> dict[str, Any]:
    """Tokenise so many megabytes (10**6 bytes) in a fresh process."""
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "text.txt"
        write_text(file, size * 10**6, folder)
        words = [sys.executable, __file__, "--work", str(file), str(Path(place) / "home")]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        dirty, unique = watch(process)
        if process.returncode:
            raise SystemExit(process.returncode)
        facts = json.loads(process.communicate()[0])
        spent = facts["stages"].values()
        seconds, cpu = (sum(stage[key] for stage in spent) for key in ("seconds", "cpu_seconds"))
        written = file.stat().st_size / 1e6
        return {
            "mb": round(written),
            "peak_mib": round(dirty / 1024),
            "unique_mib": round(unique / 1024),
            "seconds": round(seconds, 1),
            "mb_per_second": round(written / seconds, 2),
            "mb_per_cpu_second": round(written / cpu, 2),
            **facts,
        }


def main() -> None:
    """Measure each size and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--mb", type=int, nargs="+", default=[512, 2048])
    parser.add_argument("--data", type=Path, help="prose to repeat [default: the embedded worlds]")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "bench" / "memory.json")
    parser.add_argument("--notes", default="", help="what a reader of the figures must know")
    parser.add_argument("--work", nargs=2, type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work:
        work(*given.work)
        return
    rows = []
    for size in sorted(given.mb):
        rows.append(measure(size, given.data))
        sys.stdout.write(json.dumps(rows[-1]) + "\n")
        sys.stdout.flush()
    peaks = [row["peak_mib"] for row in rows]
    ratio = peaks[-1] / peaks[0]
    kept(
        given.out,
        f"Memory of tokenising: {VOCABULARY:,} tokens learned, then all encoded",
        ["text", "peak", "with what could be dropped", "time", "tokens"],
        [
            [
                f"{row['mb']:,} MB",
                f"{row['peak_mib']:,} MiB",
                f"{row['unique_mib']:,} MiB",
                f"{row['seconds']:.0f} s",
                f"{row['tokens'] / 1e6:.0f}M",
            ]
            for row in rows
        ],
        notes=(
            f"Largest to smallest text: {ratio:.2f} times the memory. The peaks are {COUNTED}. The "
            f"text repeats {SEED_TEXT // 10**6} million characters, so words come back more often "
            f"than in other text, and more of them are found encoded. {given.notes}"
        ),
        measured=rows,
        last_to_first=round(ratio, 3),
    )


if __name__ == "__main__":
    main()
