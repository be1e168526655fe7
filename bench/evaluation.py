"""How long a whole `ftkit eval` takes on a demo's sql_qa runs, from the process's start to its end.

    python bench/evaluation.py DEMO [--threads N] [--notes WORDS] [--out F]

DEMO is what `ftkit demo` made. Its runs of sql_qa and their base, in chat and in prose, are asked
all test questions of the world in a process of their own; nothing is cached: no answers, no
databases. A stage is what lies between two lines that the command prints. Beside the clock's
seconds of the whole stand the processor's, which other work on the machine hardly changes. The
last line is the clock's.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from _figures import kept

ROOT = Path(__file__).parent.parent
METHODS = ("soft_prompt", "lora", "full")
LAST = "statistics, report, model cards"


def stages(words: list[str], environment: dict[str, str]) -> Iterator[tuple[str, float]]:
    """Run the command; yield each stage with its seconds.

    Args:
        words: of the command line.
        environment: of the process.

    Raises:
        SystemExit: when the command fails, with what it said.
    """
    before, said = time.perf_counter(), []
    process = subprocess.Popen(
        words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            said.append(line)
            name = line.removeprefix("eval: ").partition(":")[0]
            if line.startswith("eval: ") and "%" in line:  # how a variant did
                now = time.perf_counter()
                yield name, now - before
                before = now
        if process.wait():
            raise SystemExit("".join(said))
    finally:
        process.kill()
    yield LAST, time.perf_counter() - before


def main() -> None:
    """Evaluate, and print the seconds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("demo", type=Path)
    parser.add_argument("--threads", type=int, help="of the models; PyTorch's own choice otherwise")
    parser.add_argument("--notes", default="", help="what a reader of the figures must know")
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    said = parser.parse_args()
    runs = [str(said.demo / f"sql_qa-{method}") for method in METHODS]
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as place:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": place}
        if said.threads:
            environment["OMP_NUM_THREADS"] = str(said.threads)
        words = [sys.executable, "-u", "-m", "ftkit", "eval", *runs, "--shots", "0"]
        found = dict(stages([*words, "--out", f"{place}/eval"], environment))
    first = next(iter(found))
    shown = {f"start, world, {first}" if name == first else name: s for name, s in found.items()}
    total, used = sum(found.values()), resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = used.ru_utime + used.ru_stime
    whole = [("whole", total), ("whole, of the processor", processor)]
    rows = [[name, f"{seconds:.1f}"] for name, seconds in [*shown.items(), *whole]]
    for row in rows:
        print(*row, sep="  ")
    title = "A whole `ftkit eval` of sql_qa's test questions by five variants"
    notes = f"By the clock on {os.cpu_count()} cores, nothing cached, load {load:.1f} before. "
    figures = {name: round(seconds, 2) for name, seconds in [*found.items(), *whole]}
    notes += said.notes
    kept(said.out, title, ["stage", "seconds"], rows, notes=notes.strip(), seconds=figures)
    print(f"seconds {total:.1f}")


if __name__ == "__main__":
    main()
