"""Rows of the embedded worlds in any number, written as a file that `--data` reads.

All rows are different, and memory does not grow with them: what came before is known by its hash,
on disk. The file appears whole or not at all, and so do the databases beside it.
"""

import hashlib
import json
import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ftkit.errors import FtkitError

from ._recipe import Recipe

DATABASES = "databases"  # the folder beside the rows
IDLE = 10_000  # rows in turn that came before, after which a world has no more


@dataclass(frozen=True)
class Made:
    """How many rows and databases were written."""

    rows: int
    databases: int


def generate(recipe: Recipe, count: int, seed: int, out: Path) -> Made:
    """Write rows of a recipe's world, with the databases they are about in `databases/` beside.

    Args:
        recipe: whose world.
        count: how many rows.
        seed: what they are drawn from; a smaller count gives a prefix of a larger one.
        out: a file that is not there yet and ends in .jsonl.

    Raises:
        FtkitError: when the file cannot be written there, or the world has not so many rows; then
            nothing is left behind.
    """
    if out.suffix != ".jsonl":
        raise FtkitError(f"--out {out}: rows are written to a file that ends in .jsonl")
    if out.exists():
        raise FtkitError(f"{out} exists: choose another name for --out")
    if not out.parent.is_dir():
        raise FtkitError(f"--out {out}: there is no folder {out.parent}")
    with TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as name:
        aside = Path(name)
        (aside / DATABASES).mkdir()
        made = _write(recipe, count, seed, aside)
        if made < count:
            raise FtkitError(
                f"the world of {recipe.name} gives {made:,} different rows from seed {seed}, not "
                f"{count:,}: ask for fewer, or for others with another --seed"
            )
        return Made(made, _publish(aside, out))


def _write(recipe: Recipe, count: int, seed: int, aside: Path) -> int:
    """Write rows until there are enough or nothing new comes, and say how many they are."""
    made = idle = 0
    with (
        closing(sqlite3.connect(aside / "seen", isolation_level=None)) as seen,
        (aside / "rows").open("w", encoding="utf-8") as file,
    ):
        seen.execute("PRAGMA journal_mode = OFF")
        seen.execute("PRAGMA synchronous = OFF")
        seen.execute("CREATE TABLE seen (mark BLOB PRIMARY KEY) WITHOUT ROWID")
        seen.execute("BEGIN")
        for row in recipe.generate(seed, aside / DATABASES):
            added = seen.execute("INSERT OR IGNORE INTO seen VALUES (?)", [_mark(row)]).rowcount
            idle = 0 if added else idle + 1
            if added:
                made += 1
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
            if made == count or idle == IDLE:
                break
        file.flush()
        os.fsync(file.fileno())
    return made


def _mark(row: dict[str, Any]) -> bytes:
    """Hash what a row says; where its database lies is no part of that."""
    said = {name: value for name, value in row.items() if name != "db_id"}
    return hashlib.blake2b(json.dumps(said).encode(), digest_size=16).digest()


def _publish(aside: Path, out: Path) -> int:
    """Move databases and then rows to their places, and count the databases."""
    files, place = sorted((aside / DATABASES).iterdir()), out.parent / DATABASES
    if files and place.exists():
        for file in files:
            if (place / file.name).exists():
                raise FtkitError(
                    f"{place / file.name} exists: choose another --seed, or a folder without it"
                )
        for file in files:
            os.replace(file, place / file.name)
    elif files:
        os.replace(aside / DATABASES, place)
    os.replace(aside / "rows", out)
    return len(files)
