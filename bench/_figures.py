"""What every benchmark keeps of a measurement: a table for docs/results.md, and all that is behind.

`kept` writes results/bench/NAME.json; docs/write.py shows `columns` and `rows` as they are.
"""

import argparse
import json
import platform
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent.parent))  # a bare clone has to find itself

from ftkit.basemodel.device import bfloat16_unit


def asked(about: str | None, one: Callable[[Path, str], dict[str, Any]]) -> Path | None:
    """Read the words of a benchmark that measures each setting in a process of its own.

    In such a process (see `alone`) it measures the one setting, prints what it found, and ends.

    Args:
        about: what the benchmark is, for --help.
        one: measures a setting, given a folder and its name.

    Returns:
        Where the figures go, as --out says.
    """
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    said = parser.parse_args()
    warnings.simplefilter("ignore")
    if said.one:
        print(json.dumps(one(Path(said.one[0]), said.one[1])))
        raise SystemExit
    out: Path | None = said.out
    return out


def alone(script: str, folder: Path, names: Iterable[str]) -> list[dict[str, Any]]:
    """Measure settings in a process each, and print what each came to.

    Args:
        script: the benchmark's own file, whose words `asked` reads.
        folder: what all of them open.
        names: of the settings.
    """
    found = []
    for name in names:
        words = [sys.executable, script, "--one", str(folder), name]
        done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
        found.append(json.loads(done.stdout.splitlines()[-1]))
        print(found[-1], flush=True)
    return found


def kept(
    out: Path | None,
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    notes: str = "",
    **behind: Any,
) -> None:
    """Write the figures of one measurement, if a place is given.

    Args:
        out: the JSON file.
        title: stands above the table.
        columns: heads of the table.
        rows: its cells, as they are to be read.
        notes: what a reader must know of how it was measured.
        behind: the figures themselves, of any JSON form.
    """
    if out is None:
        return
    whole = {
        "title": title,
        "hardware": hardware(),
        "notes": notes,
        "columns": list(columns),
        "rows": [list(row) for row in rows],
        **behind,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def hardware() -> dict[str, Any]:
    """Say what the figures were measured on."""
    return {
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "bfloat16": bfloat16_unit(),
        "torch": torch.__version__,
    }


def _processor() -> str:
    """Name the processor as the system does."""
    told = Path("/proc/cpuinfo")
    lines = told.read_text().splitlines() if told.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
