"""The tokens of a corpus on disk: shards of ids, and beside each where its documents start.

A document lies in the shard that its hash names, so each shard is a uniform sample of the corpus.
Ids are little-endian u2, or u4 above 65,536 of them; starts are little-endian u8.
"""

import json
import os
import platform
import shutil
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ftkit.runs import write_whole

FACTS = "facts.json"
CHARACTERS, MOST = 2**24, 256  # characters of a shard, about; shards at most
FLUSH = 2**16  # bytes that wait for one shard: 16 MiB for all of them


def how_many(characters: int) -> int:
    """Say into how many shards a corpus goes.

    >>> [how_many(10**6), how_many(10**9), how_many(10**12)]
    [1, 60, 256]
    """
    return min(MOST, max(1, round(characters / CHARACTERS)))


def ids_file(folder: Path, shard: int) -> Path:
    """Name the file of a shard's ids."""
    return folder / f"{shard:03}.ids"


def starts_file(folder: Path, shard: int) -> Path:
    """Name the file that says where a shard's documents start."""
    return folder / f"{shard:03}.starts"


class Writer:
    """Shards that are being written, each through a buffer of its own.

    Args:
        folder: for the files; exists.
        count: of shards.
        dtype: numpy's name of an id's type.
    """

    def __init__(self, folder: Path, count: int, dtype: str) -> None:
        self._folder, self._dtype = folder, dtype
        self._width = np.dtype(dtype).itemsize
        self._tokens = [0] * count
        self._ids = [bytearray() for _ in range(count)]
        self._starts = [array("Q") for _ in range(count)]

    def start(self, shard: int) -> None:
        """Note that a document starts here."""
        self._starts[shard].append(self._tokens[shard])

    def add(self, shard: int, ids: bytes) -> None:
        """Append ids, of the shards' type, to a shard."""
        self._ids[shard] += ids
        self._tokens[shard] += len(ids) // self._width
        if len(self._ids[shard]) >= FLUSH:
            self._flush(shard)

    def close(self) -> tuple[int, ...]:
        """Write what waits, and the facts last; return the tokens of each shard."""
        for shard in range(len(self._tokens)):
            self._flush(shard)
            for file in (ids_file(self._folder, shard), starts_file(self._folder, shard)):
                with file.open("rb") as opened:
                    os.fsync(opened.fileno())
        facts = {"dtype": self._dtype, "shards": self._tokens}
        write_whole(self._folder / FACTS, json.dumps(facts))
        return tuple(self._tokens)

    def _flush(self, shard: int) -> None:
        # Opened for each flush: all shards at once may be more files than a process may have open.
        with ids_file(self._folder, shard).open("ab") as file:
            file.write(self._ids[shard])
        with starts_file(self._folder, shard).open("ab") as file:
            file.write(np.array(self._starts[shard], "<u8").tobytes())
        self._ids[shard].clear()
        self._starts[shard] = array("Q")


def facts(folder: Path) -> dict[str, Any] | None:
    """Read what `Writer` noted of a folder; None where its shards are not all there."""
    try:
        found: dict[str, Any] = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        width = np.dtype(found["dtype"]).itemsize
        sizes = [ids_file(folder, shard).stat().st_size for shard in range(len(found["shards"]))]
    except (OSError, ValueError, KeyError):
        return None
    return found if sizes == [width * tokens for tokens in found["shards"]] else None


@contextmanager
def whole(folder: Path) -> Iterator[Path]:
    """Give a folder to fill, which becomes `folder` at the end of the block, or goes.

    When another process has filled it meanwhile, that one's stays.
    """
    mine = f".{folder.name}.{platform.node()}."
    made = not folder.parent.exists()
    folder.parent.mkdir(parents=True, exist_ok=True)
    for torn in folder.parent.glob(f"{mine}*"):
        if not _alive(int(torn.name.rpartition(".")[2])):
            shutil.rmtree(torn, ignore_errors=True)
    aside = folder.with_name(f"{mine}{os.getpid()}")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    try:
        yield aside
        _put(aside, folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
        if made and not any(folder.parent.iterdir()):
            folder.parent.rmdir()


def _put(aside: Path, folder: Path) -> None:
    if folder.exists() and facts(folder) is None:
        shutil.rmtree(folder)
    try:
        aside.rename(folder)
    except OSError:
        if facts(folder) is None:
            raise


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return process != os.getpid()
