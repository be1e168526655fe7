"""Break each check of the scorers in a scratch copy; the test named beside it must fail.

python bench/mutate.py --out results/bench/mutations.json [--part sql] [--first 0] [--last 99]
"""

import argparse
import multiprocessing
import os
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import evaluate  # noqa: F401 (loaded here once, for every fork)
import pytest
import sqlglot  # noqa: F401
from _figures import kept

ROOT = Path(__file__).parent.parent
LIST = Path(__file__).with_name("mutations.toml")
SECONDS = 180  # a test that a broken check makes endless has failed too


def mutations(part: str = "") -> list[dict[str, str]]:
    """Read the list.

    Args:
        part: a heading of it; "" for all.
    """
    parts = tomllib.loads(LIST.read_text(encoding="utf-8"))
    return [
        {"part": name, **row} for name, rows in parts.items() if part in ("", name) for row in rows
    ]


def caught(place: Path, mutation: dict[str, str]) -> bool:
    """Break one check in the copy, run its test and mend it again."""
    file = place / mutation["file"]
    whole = file.read_text(encoding="utf-8")
    assert whole.count(mutation["find"]) == 1, mutation
    file.write_text(whole.replace(mutation["find"], mutation["put"]), encoding="utf-8")
    # A fork has the large libraries already, and nothing of ftkit.
    child = multiprocessing.get_context("fork").Process(target=tested, args=(place, mutation))
    child.start()
    child.join(SECONDS)
    late = child.is_alive()
    child.kill()
    child.join()
    file.write_text(whole, encoding="utf-8")
    assert late or child.exitcode in (0, 1), f"{mutation}: pytest ended with {child.exitcode}"
    return late or child.exitcode == 1


def tested(place: Path, mutation: dict[str, str]) -> None:
    """Run one test in the copy and end with pytest's own status."""
    os.chdir(place)
    os.environ |= {"PYTHONPATH": str(place), "PYTHONDONTWRITEBYTECODE": "1"}
    sys.path.insert(0, str(place))
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115 (until the process ends)
    words = ["-q", "-x", "-p", "no:cacheprovider", mutation["test"]]
    os._exit(pytest.main([*words, "-W", "ignore::pytest.PytestAssertRewriteWarning"]))


def main() -> int:
    """Break all, print and keep the table; the exit status is how many were not noticed."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--out", type=Path)
    words.add_argument("--part", default="", help="one heading of the list alone")
    words.add_argument("--first", type=int, default=0)
    words.add_argument("--last", type=int, default=10_000)
    given = words.parse_args()
    for name in [name for name in sys.modules if name.split(".")[0] == "ftkit"]:
        del sys.modules[name]  # what _figures asked; the copy's own is to be tested
    sys.path[:] = [path for path in sys.path if Path(path or ".").resolve() != ROOT]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        listed = ["git", "ls-files", "-co", "--exclude-standard"]
        names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for name in filter(None, names.splitlines()):
            if (ROOT / name).is_file():
                (Path(folder) / name).parent.mkdir(parents=True, exist_ok=True)
                (Path(folder) / name).write_bytes((ROOT / name).read_bytes())
        wanted = mutations(given.part)[given.first : given.last]
        for test in dict.fromkeys(mutation["test"] for mutation in wanted):
            same = {"file": "README.md", "find": "# ftkit", "put": "# ftkit", "test": test}
            assert not caught(Path(folder), same), f"{test} fails though nothing is broken"
        for mutation in wanted:
            found = "fails" if caught(Path(folder), mutation) else "PASSES"
            test = mutation["test"].removeprefix("tests/")
            rows.append([mutation["check"], f"`{mutation['file']}`", f"`{test}`", found])
            print(*rows[-1], sep=" | ", flush=True)
            keep(given.out, rows)
    return sum(row[-1] != "fails" for row in rows)


def keep(out: Path | None, rows: list[list[str]]) -> None:
    """Keep the table as far as it goes."""
    heads = ["check that was broken", "in", "test that guards it", "which then"]
    missed = sum(row[-1] != "fails" for row in rows)
    notes = f"{len(rows)} of {len(mutations())} checks broken one at a time, {missed} unnoticed."
    kept(out, "Broken checks", heads, rows, notes=notes)


if __name__ == "__main__":
    sys.exit(main())
