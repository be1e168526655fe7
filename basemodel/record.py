"""A row of a file, what one that cannot be read is, and text as it is decoded."""

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ftkit.errors import FtkitError

from .unpack import Part

HALF = re.compile("[\ud800-\udfff]")  # JSON may spell half of a surrogate pair; UTF-8 cannot
BLOCK = 2**20  # bytes that are read at once
MOST = 2**28  # bytes of a line, characters of an element of a JSON list or of a field


class BadRow(FtkitError):
    """One row that cannot be used.

    Args:
        where: `file:line`.
        kind: what is wrong, in words by which such rows are grouped and counted.
        words: what is wrong with this one, and what would be right.
        raw: what was read: the line as it stands where it is no JSON, else its value or fields.
    """

    def __init__(self, where: str, kind: str, words: str, raw: Any = "") -> None:
        super().__init__(f"{where}: {words}")
        self.where, self.kind, self.words, self.raw = where, kind, words, raw

    def __reduce__(self) -> tuple[Any, ...]:
        return BadRow, (self.where, self.kind, self.words, self.raw)


@dataclass(frozen=True)
class Record:
    """What stands in one row of a file.

    Args:
        value: what JSON gives, or a table's row by column; the error, where it cannot be read.
        where: `file:line`; for Parquet `file:row`.
    """

    value: Any
    where: str


def kind_of(value: Any) -> str:
    """Name a JSON value's kind for a message."""
    if value is None:
        return "null"
    if isinstance(value, str):
        return "text" if value.strip() else "empty"
    names = {bool: "true or false", int: "a number", float: "a number", list: "a list"}
    return names.get(type(value), "an object")


def decoded(part: Part) -> Iterator[str]:
    """Read UTF-8 in blocks, counting lines so that an error can name one.

    Raises:
        FtkitError: for bytes that are not UTF-8.
    """
    rest, line, column = b"", 1, 0  # column: bytes of this line before the rest
    begun = False
    while True:
        block = part.stream.read(BLOCK)
        data = rest + block
        try:
            found, used = codecs.utf_8_decode(data, "strict", not block)
        except UnicodeDecodeError as problem:
            begin = data.rfind(b"\n", 0, problem.start) + 1
            place = problem.start - begin + (0 if begin else column)
            line += data.count(b"\n", 0, problem.start)
            raise not_utf8(part.where, line, data[problem.start], place) from None
        yield found if begun else found.removeprefix("\ufeff")
        if not block:
            return
        begun, rest = begun or used > 0, data[used:]
        begin = data.rfind(b"\n", 0, used) + 1
        line, column = line + data.count(b"\n", 0, used), used - begin + (0 if begin else column)


def not_utf8(where: str, line: int, byte: int, place: int) -> BadRow:
    """Say where a byte lies that is not UTF-8."""
    return BadRow(
        f"{where}:{line}",
        "not UTF-8",
        f"not UTF-8 (byte 0x{byte:02x} at place {place + 1} of the line); save the file as UTF-8",
    )
