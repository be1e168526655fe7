"""Sources become rows: files, folders and data sets of the Hub, each row with its place and part.

The names of files say which part of a set they hold, as on the Hub: train-00000-of-00002.parquet.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from ftkit.errors import FtkitError

from ..basemodel.record import BadRow, kind_of
from ..basemodel.records import Stretch
from ..basemodel.sources import File, Hub, Source
from ..basemodel.texts import PLAIN

Part = Literal["all", "train", "validation", "test"]
# A lone held-out part is the test, whatever it is called; see `_split.assign`.
NAMED: dict[str, Part] = {
    "train": "train",
    **dict.fromkeys(("dev", "validation", "valid", "val"), "validation"),
    **dict.fromkeys(("test", "eval"), "test"),
}
PART = re.compile(rf"({'|'.join(NAMED)})(?![a-z])")
TUNING = "_sft"  # splits made for tuning, in a set that has others for other ends


@dataclass(slots=True)
class Row:
    """One row: its fields, and where it stands.

    Args:
        fields: by name.
        where: `file:line`.
        folder: in which the file lies; databases lie beside it.
        odd: what is worth a look, though the row is used; whoever takes the row may add to it.
    """

    fields: dict[str, Any]
    where: str
    folder: Path = Path()
    odd: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Piece:
    """A stretch of a stream's rows, which may be read in another process.

    Args:
        part: of its source that the rows belong to.
        folder: in which the file lies.
        stretch: about a megabyte.
    """

    part: Part
    folder: Path
    stretch: Stretch

    def __iter__(self) -> Iterator[Row | BadRow]:
        for record in self.stretch:
            yield _row(record.value, record.where, self.folder)


@dataclass(frozen=True)
class Stream:
    """A file, or a split of a Hub data set.

    Args:
        place: where it is read.
        part: which part of its source it holds; an archive's members have their own names.
    """

    place: File | Hub
    part: Part

    def pieces(self) -> Iterator[Piece]:
        """Read it, a stretch at a time.

        Raises:
            FtkitError: while iterating, when what follows cannot be read at all.
        """
        folder = self.place.path.parent if isinstance(self.place, File) else Path()
        for stretch in self.place.rows():
            member = stretch.file.partition("!")[2].rpartition("/")[2]
            part = part_of(member) if self.part == "all" else self.part
            yield Piece(part, folder, stretch)

    def __iter__(self) -> Iterator[Row | BadRow]:
        """Read its rows; see `pieces`."""
        return chain.from_iterable(self.pieces())

    def refuse_empty(self, rows: int) -> None:
        """Refuse a stream of no rows."""
        if not rows:
            raise FtkitError(f"{self.place} is empty: it holds no rows")

    def digest(self) -> str:
        """Hash what it holds: the bytes of a file, the commit of a data set of the Hub."""
        if isinstance(self.place, File):
            facts = self.place.path.stat()
            return _hash(self.place.path, facts.st_size, facts.st_mtime_ns)
        return f"{self.place} {self.place.config} {self.place.split} {self.place.commit()}"


# What a SOURCE holds: files or splits, its weight, and the names of those that are not read.
Found = tuple[list[Stream], float, list[str]]


def streams(word: str) -> Found:
    """Find what a SOURCE holds.

    Args:
        word: `PATH[@WEIGHT]` or `hub:OWNER/NAME[:CONFIG][:SPLIT][@WEIGHT]`.

    Returns:
        Its files or splits, its weight, and the names of those that are not read.

    Raises:
        FtkitError: when nothing is there, or nothing that holds rows.
    """
    source = Source.read(word)
    if isinstance(source.places[0], Hub):
        found = source.places[0].splits()
        wanted = [hub for hub in found if TUNING in str(hub.split)] or list(found)
        parts = [
            Stream(hub, part_of(str(hub.split)) if len(found) > 1 else "all") for hub in wanted
        ]
        return parts, source.weight, [str(hub.split) for hub in found if hub not in wanted]
    files = [place for place in source.places if isinstance(place, File)]
    if len(files) > 1:  # of a folder: texts there are about the rows, if there are rows
        files = [file for file in files if not file.path.name.endswith(PLAIN)] or files
    if len(files) == 1 and source.name == str(files[0]):
        return [Stream(files[0], "all")], source.weight, []
    found_parts = [Stream(file, part_of(file.path.name)) for file in files]
    named = [stream for stream in found_parts if stream.part != "all"]
    left = [str(stream.place) for stream in found_parts if named and stream.part == "all"]
    return named or found_parts, source.weight, left


def sources(words: Sequence[str]) -> tuple[list[Found], list[int]]:
    """Find what several SOURCES hold.

    Args:
        words: as for `streams`.

    Returns:
        What `streams` finds for each; and the numbers of files that were given one by one, yet are
        the parts of one set, since their names say so: one is for training, another is held out.
    """
    found = [streams(word) for word in words]
    named = {
        number: part
        for number, ((first, *_), _, _) in enumerate(found)
        if first.part == "all"
        and isinstance(first.place, File)
        and (part := part_of(first.place.path.name)) != "all"
    }
    if "train" not in named.values() or len(set(named.values())) == 1:
        return found, []
    for number, part in named.items():
        ((stream,), weight, left) = found[number]
        found[number] = [replace(stream, part=part)], weight, left
    return found, list(named)


def part_of(name: str) -> Part:
    """Say which part a file's or a split's name names.

    >>> [part_of(n) for n in ("train-00000-of-00002.parquet", "dev.jsonl", "trains.csv")]
    ['train', 'validation', 'all']
    """
    found = PART.match(name.lower())
    return NAMED[found[1]] if found else "all"


def _row(value: Any, where: str, folder: Path) -> Row | BadRow:
    if isinstance(value, dict):
        return Row(value, where, folder)
    if isinstance(value, BadRow):
        return value
    words = f"a row is a JSON object {{...}}, not {kind_of(value)}"
    return BadRow(where, "no object", words, value)


@lru_cache(maxsize=256)
def _hash(path: Path, size: int, time: int) -> str:
    """Hash a file that has this size and was written at this time."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
