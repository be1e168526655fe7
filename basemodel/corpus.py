"""The corpus: documents from files and folders, and which of them are held out."""

import gzip
import hashlib
import json
import lzma
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from ftkit.errors import FtkitError

HALF = re.compile("[\ud800-\udfff]")  # JSON may spell half of a surrogate pair; UTF-8 cannot
KINDS = (".txt", ".jsonl")
PACKED = (".gz", ".xz")
LONG = 4000  # characters of a text file that make a document
HELD_BYTES = 200_000  # the most text that is held out: enough for a validation loss
SAMPLE = 40_000_000  # characters from which a tokenizer is learned


class Documents:
    """The documents of files and folders, read anew in each iteration.

    A .jsonl line {"text": ...} is a document; a .txt file is cut into documents of about 4,000
    characters at paragraphs, so that some can be held out. Both may end in .gz or .xz.

    Raises:
        FtkitError: while iterating, for what is missing, empty, not UTF-8 or not JSON lines with a
            text, naming file and line.
    """

    def __init__(self, sources: Sequence[Path]) -> None:
        self.files = [file for source in sources for file in _files(source)]

    def __iter__(self) -> Iterator[str]:
        for file in self.files:
            found = False
            for text in _lines(file) if _kind(file) == ".jsonl" else _chunks(_text(file)):
                if text.strip():
                    found = True
                    yield text
            if not found:
                raise FtkitError(f"{file} is empty: there is no text in it")


def _files(source: Path) -> list[Path]:
    if not source.exists():
        raise FtkitError(f"no such file or folder: {source}")
    if source.is_dir():
        files = sorted(file for file in source.rglob("*") if file.is_file() and _kind(file))
        if not files:
            raise FtkitError(f"{source} holds no .txt or .jsonl file (they may end in .gz or .xz)")
        return files
    if not _kind(source):
        raise FtkitError(f"{source} is no corpus: a .txt or .jsonl file is (also with .gz or .xz)")
    return [source]


def _kind(file: Path) -> str:
    name = file.stem if file.suffix in PACKED else file.name
    return next((kind for kind in KINDS if name.endswith(kind)), "")


def _open(file: Path) -> IO[bytes]:
    if file.suffix == ".gz":
        return cast(IO[bytes], gzip.open(file))
    return lzma.open(file) if file.suffix == ".xz" else file.open("rb")


def _raw_lines(file: Path) -> Iterator[bytes]:
    try:
        with _open(file) as opened:
            yield from opened
    except (gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError) as problem:
        raise FtkitError(f"{file} cannot be unpacked: {problem}") from None
    except OSError as problem:
        raise FtkitError(f"{file} cannot be read: {problem.strerror}") from None


def _decoded(file: Path) -> Iterator[str]:
    """Read lines as UTF-8, so that an error can name the line."""
    for number, line in enumerate(_raw_lines(file), 1):
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as problem:
            byte = line[problem.start]
            raise FtkitError(
                f"{file}:{number}: not UTF-8 (byte 0x{byte:02x} at place {problem.start + 1} of "
                "the line); save the file as UTF-8"
            ) from None


def _text(file: Path) -> str:
    return "".join(_decoded(file))


def _chunks(text: str) -> Iterator[str]:
    """Cut a long text where a paragraph ends, or a line, or a word."""
    start = 0
    while len(text) - start > LONG:
        middle, end = start + LONG // 2, start + LONG
        places = (text.rfind(border, middle, end) + len(border) for border in ("\n\n", "\n", " "))
        cut = next((place for place in places if place > middle), end)
        yield text[start:cut].strip("\n")
        start = cut
    yield text[start:].strip("\n")


def _lines(file: Path) -> Iterator[str]:
    """Read the texts of JSON lines."""
    for number, line in enumerate(_decoded(file), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as problem:
            raise FtkitError(
                f"{file}:{number}: not valid JSON ({problem.msg} at place {problem.colno})"
            ) from None
        if not isinstance(row, dict) or "text" not in row:
            raise FtkitError(f'{file}:{number}: a line of a corpus is {{"text": "..."}}')
        if not isinstance(row["text"], str):
            kind = "null" if row["text"] is None else type(row["text"]).__name__
            raise FtkitError(f'{file}:{number}: "text" is {kind}; it must be a string')
        if HALF.search(row["text"]):
            raise FtkitError(f'{file}:{number}: "text" holds half of a \\u pair, which is no text')
        yield row["text"]


@dataclass(frozen=True)
class Survey:
    """What a first reading of the documents found: how much text, and which to hold out."""

    characters: int
    held: frozenset[bytes]

    def trains(self, text: str) -> bool:
        """Say whether a document is for training; copies of one share their fate."""
        return _digest(text) not in self.held

    def samples(self, text: str) -> bool:
        """Say whether a document is among those from which the tokenizer is learned."""
        return self.trains(text) and _share(_digest(text)[8:]) * self.characters <= SAMPLE


def survey(documents: Iterable[str], share: float) -> Survey:
    """Choose the validation documents by their hash, so that order and additions move none.

    Args:
        documents: the corpus.
        share: of the documents, 0 to 1; at least one and at most 200 kB are held out.

    Raises:
        FtkitError: when there are fewer than two different documents.
    """
    characters, sizes = 0, dict[bytes, int]()
    for text in documents:
        characters += len(text)
        sizes[_digest(text)] = len(text.encode())
    if len(sizes) < 2:
        raise FtkitError(
            f"the corpus has {len(sizes)} document: there must be two or more, since one is held "
            "out for validation"
        )
    order = sorted(sizes)
    room, held = HELD_BYTES, set[bytes]()
    for digest in order:
        room -= sizes[digest]
        if held and (_share(digest) >= share or room < 0):
            break
        held.add(digest)
    return Survey(characters, frozenset(held))


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _share(digest: bytes) -> float:
    """Read a hash as an even number from 0 to 1."""
    return int.from_bytes(digest[:8]) / 2**64
