"""Sources become rows: JSON lines, plain or gzipped, with file and line in every message."""

import gzip
import json
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftkit.errors import FtkitError

# Which files of a folder hold which split; where there is one held-out file, it is the test.
TRAIN = ("train",)
HELD_OUT = ("test", "dev", "validation", "valid")
HALF = re.compile(r"\\u[dD][89a-fA-F]")  # an escape that may be half of a surrogate pair
ENDINGS = (".jsonl", ".jsonl.gz")


@dataclass(frozen=True)
class Source:
    """A file or folder of rows.

    Args:
        path: the file or folder.
        weight: how often its training rows are used in an epoch; 0.5 takes every second one.
    """

    path: Path
    weight: float = 1.0


@dataclass(frozen=True)
class Row:
    """One line: its fields, and where it stands, as `file:line`."""

    fields: dict[str, Any]
    where: str
    folder: Path


def source(word: str) -> Source:
    """Read `PATH` or `PATH@WEIGHT`.

    Raises:
        FtkitError: when there is nothing at that path, or the weight is no positive number.
    """
    path, at, weight = word.rpartition("@")
    if at and not Path(word).exists():
        try:
            number = float(weight)
        except ValueError:
            number = 0.0
        if not 0 < number < float("inf"):
            raise FtkitError(f"--data {word}: the weight behind @ must be a number above 0")
        found = Source(Path(path), number)
    else:
        found = Source(Path(word))
    if not found.path.exists():
        raise FtkitError(f"--data {found.path}: there is no such file or folder")
    return found


def split_files(place: Path) -> dict[str, Path]:
    """Find the files of a source.

    Args:
        place: a file, or a folder with `train.jsonl(.gz)` and perhaps a held-out file.

    Returns:
        `all` for a file; `train` and, where there is one, `test` for a folder.

    Raises:
        FtkitError: when the folder holds no such file.
    """
    if place.is_file():
        if not place.name.endswith(ENDINGS):
            raise FtkitError(f"{place}: rows are read from files that end in .jsonl or .jsonl.gz")
        return {"all": place}
    found = {
        split: path
        for split, stems in (("train", TRAIN), ("test", HELD_OUT))
        if (path := _first(place, stems)) is not None
    }
    if not found:
        raise FtkitError(
            f"{place} holds no rows: a folder needs train.jsonl or train.jsonl.gz, "
            "and dev.jsonl or test.jsonl to evaluate on"
        )
    return found


def _first(folder: Path, stems: Sequence[str]) -> Path | None:
    paths = (folder / f"{stem}{ending}" for stem in stems for ending in ENDINGS)
    return next((path for path in paths if path.is_file()), None)


def rows(path: Path) -> Iterator[Row]:
    """Read the rows of a file in order; empty lines are passed over.

    Raises:
        FtkitError: for a file that is missing, empty, broken or not UTF-8, or a line that is no
            JSON object, naming file and line.
    """
    number, any_row = 0, False
    for number, line in enumerate(_lines(path), 1):
        where = f"{path}:{number}"
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as problem:
            raise FtkitError(f"{where}: byte {problem.start + 1} is not UTF-8 text") from None
        if not text.strip():
            continue
        yield Row(_object(text, where), where, path.parent)
        any_row = True
    if not any_row:
        raise FtkitError(f"{path} is empty: it should hold a JSON object on each line")


def _lines(path: Path) -> Iterator[bytes]:
    """Read lines as bytes, unpacking gzip."""
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rb") as file:
            yield from file
    except FileNotFoundError:
        raise FtkitError(f"no such file: {path}") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as problem:
        raise FtkitError(f"{path} is no whole gzip file: {problem}") from None
    except OSError as problem:
        raise FtkitError(f"{path} cannot be read: {problem.strerror}") from None


def _object(text: str, where: str) -> dict[str, Any]:
    """Read one line as a JSON object."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError as problem:
        raise FtkitError(
            f"{where}: broken JSON at column {problem.colno} ({problem.msg})"
        ) from None
    except RecursionError:
        raise FtkitError(f"{where}: JSON that is nested too deeply") from None
    if HALF.search(text) and not _whole(value):
        raise FtkitError(f"{where}: a \\u escape is half of a pair, which is no text")
    if not isinstance(value, dict):
        raise FtkitError(f"{where}: a row is a JSON object {{...}}, not {_kind(value)}")
    return value


def _whole(value: Any) -> bool:
    """Tell whether all strings of a JSON value can be written as UTF-8."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def texts(row: Row, shape: Mapping[str, bool]) -> dict[str, str]:
    """Take the text fields of a row.

    Args:
        row: a line of a file.
        shape: field name to whether it must be there; one that need not may be null.

    Returns:
        The fields as text, "" for one that is missing or null and need not be there.

    Raises:
        FtkitError: naming the place, the field, what it is and the shape that fits.
    """
    taken = {}
    for name, needed in shape.items():
        value = row.fields.get(name)
        if isinstance(value, str) and (value.strip() or not needed):
            taken[name] = value
        elif value is None and not needed:
            taken[name] = ""
        else:
            is_what = "missing" if name not in row.fields else _kind(value)
            wanted = ", ".join(key if must else f"{key} (or null)" for key, must in shape.items())
            raise FtkitError(f"{row.where}: '{name}' is {is_what}; a row has the texts {wanted}")
    return taken


def _kind(value: Any) -> str:
    """Name a JSON value's kind for a message."""
    if value is None:
        return "null"
    if isinstance(value, str):
        return "text" if value.strip() else "empty"
    names = {bool: "true or false", int: "a number", float: "a number", list: "a list"}
    return names.get(type(value), "an object")
