"""What a SOURCE of text is: a file, a folder or a data set of the Hugging Face Hub, with a weight.

SOURCE = PATH[@WEIGHT] or hub:OWNER/NAME[:CONFIG][:SPLIT][@WEIGHT]
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from ftkit.errors import FtkitError

from .record import Record
from .records import Held, Stretch, stretches
from .texts import PLAIN, text_of, texts
from .unpack import WHAT_FITS, first_line, holds_text, parts

HUB = "hub:"
ABOUT = re.compile(r"!(.*/)?(readme|licen[cs]e)[^/]*$", re.IGNORECASE)
MOST = 1000  # the largest weight


@dataclass(frozen=True)
class File:
    """A file, packed or not, maybe an archive.

    >>> str(File(Path("notes.txt")))
    'notes.txt'
    """

    path: Path

    def __iter__(self) -> Iterator[str]:
        for part in parts(self.path):
            yield from texts(part)

    def rows(self) -> Iterator[Stretch]:
        """Read what stands in its rows; a piece of plain text is a row with the field "text".

        Such a row's place is the piece's number. What lies between texts, blank lines, is none; nor
        is what an archive's author says of it.
        """
        for part in parts(self.path):
            if part.kind in PLAIN and ABOUT.search(part.where):
                continue
            if part.kind in PLAIN:
                found = enumerate(filter(str.strip, texts(part)), 1)
                rows = (Record({"text": text}, f"{part.where}:{n}") for n, text in found)
                yield from Held.of(part.where, rows)
            else:
                yield from stretches(part)

    def __str__(self) -> str:
        return str(self.path)


@dataclass(frozen=True)
class Hub:
    """A data set of the Hub, which is streamed.

    >>> str(Hub("owner/name", None, "train"))
    'hub:owner/name'
    """

    name: str
    config: str | None
    split: str | None

    def __iter__(self) -> Iterator[str]:
        return map(text_of, self._rows())

    def rows(self) -> Iterator[Stretch]:
        """Read what stands in its rows."""
        yield from Held.of(str(self), self._rows())

    def _rows(self) -> Iterator[Record]:
        import datasets

        split = self.split or "train"
        with self._reading():
            found = datasets.load_dataset(self.name, self.config, split=split, streaming=True)
            for number, fields in enumerate(found, 1):
                yield Record(fields, f"{self}:{number}")

    def splits(self) -> tuple["Hub", ...]:
        """List its splits, or the one that was named."""
        import datasets

        if self.split:
            return (self,)
        with self._reading():
            names = datasets.get_dataset_split_names(self.name, self.config)
        return tuple(replace(self, split=name) for name in names)

    def commit(self) -> str:
        """Name the state in which it is: the Hub's commit, or what a local folder holds."""
        if (folder := Path(self.name)).is_dir():
            files = sorted(file for file in folder.rglob("*") if file.is_file())
            return str(
                [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
            )
        import huggingface_hub

        with self._reading():
            return str(huggingface_hub.HfApi().dataset_info(self.name).sha)

    def __str__(self) -> str:
        return f"{HUB}{self.name}"

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except FtkitError:
            raise
        except Exception as problem:  # the network's, the Hub's and the library's own, of any kind
            raise FtkitError(f"{self} cannot be read: {first_line(problem)}") from None


@dataclass(frozen=True)
class Source:
    """Where documents come from.

    Args:
        name: as it was given, without its weight.
        places: each iterates over its documents.
        weight: how often each document is read; 0.5 takes one half of them.
    """

    name: str
    places: tuple[File | Hub, ...]
    weight: float

    @staticmethod
    def read(word: str) -> "Source":
        """Read what --data says.

        Raises:
            FtkitError: for no name, nothing at a path, a folder without text, an impossible weight.
        """
        name, weight = _weighted(word)
        if not name:
            raise FtkitError(
                f'--data "{word}" names nothing: it is a file, a folder or hub:OWNER/NAME'
            )
        if name.startswith(HUB):
            hub = _hub(name)
            return Source(str(hub), (hub,), weight)
        return Source(name, tuple(File(file) for file in _files(Path(name))), weight)


def _weighted(word: str) -> tuple[str, float]:
    name, at, weight = word.rpartition("@")
    if not at or Path(word).exists():
        return word, 1.0
    try:
        number = float(weight)
    except ValueError:
        number = 0.0
    if not 0 < number <= MOST:
        raise FtkitError(
            f"--data {word}: the weight behind @ must be a number above 0, {MOST} at most, and "
            "there is no such file or folder with the @ in its name"
        )
    return name, number


def _hub(word: str) -> Hub:
    name, config, split = [*word.removeprefix(HUB).split(":"), "", ""][:3]
    if len(list(filter(None, name.split("/")))) != 2 or word.count(":") > 3:
        raise FtkitError(
            f"{word} names no data set: the form is hub:OWNER/NAME[:CONFIG][:SPLIT], with "
            "hub:OWNER/NAME::SPLIT for a split alone"
        )
    return Hub(name, config or None, split or None)


def _files(path: Path) -> list[Path]:
    if not path.exists():
        raise FtkitError(f"no such file or folder: {path}")
    if path.is_dir():
        files = sorted(file for file in _below(path) if file.is_file() and holds_text(file))
        if not files:
            raise FtkitError(f"{path} holds no file of text: {WHAT_FITS}")
        return files
    if not path.is_file():
        raise FtkitError(f"{path} is a pipe or a device: a source is a file or a folder")
    if not holds_text(path):
        raise FtkitError(f"{path} cannot be read: a source is a file {WHAT_FITS}")
    return [path]


def _below(folder: Path) -> Iterator[Path]:
    """Yield what lies in a folder, but nothing hidden and nothing of a run: its log is no text."""
    for name, folders, files in os.walk(folder):
        place = Path(name)
        folders[:] = [
            each
            for each in folders
            if not (each.startswith(".") or (place / each / "run" / "run.toml").is_file())
        ]
        yield from (place / each for each in files if not each.startswith("."))
