"""The rows of one stream: JSON lines, a JSON list, CSV, Parquet; each with its file and line.

A line that is no row is handed over as the error it is, in the row's place: whoever reads decides
whether to stop there or to count it and go on. Rows come in stretches of about a megabyte, which
another process may read.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

from ftkit.errors import FtkitError

from .record import BLOCK, HALF, MOST, BadRow, Record, decoded, not_utf8
from .tables import parquet, separated
from .unpack import Part, reading

ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")  # an escape that may be half of a pair
BLANKS = (" ", "\t", "\r", "\n")
DECODE = json.JSONDecoder().raw_decode
WHAT_JSON = "a .json file is a list of objects, or one object on each line"
AT_ONCE = 256  # rows of a stretch that was read
NEAR = 16  # characters before the end of what was read, where JSON may only seem wrong


@dataclass(frozen=True)
class Lines:
    """A stretch of whole JSON lines, which are read as they are iterated over.

    Args:
        file: or archive!member, for messages.
        kind: of the stream.
        first: number of the first line.
        raw: the lines; those that are empty are passed over.
    """

    file: str
    kind: str
    first: int
    raw: bytes

    def __iter__(self) -> Iterator[Record]:
        escaped = ESCAPE.search(self.raw) is not None
        # What is left behind the last line's end is no line.
        for number, raw in enumerate(self.raw.removesuffix(b"\n").split(b"\n"), self.first):
            where = f"{self.file}:{number}"
            try:
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as problem:
                place = problem.start + len(raw) - len(problem.object)  # a mark was left out
                broken = not_utf8(self.file, number, raw[place], place)
                broken.raw = raw.decode("utf-8", "replace")
                yield Record(broken, where)
                continue
            if line and not line.isspace():
                value = _parsed(line, where, self.kind)
                yield Record(_whole(value, where) if escaped else value, where)


@dataclass(frozen=True)
class Held:
    """A stretch of rows that were read.

    Args:
        file: or archive!member, for messages.
        rows: one or more.
    """

    file: str
    rows: list[Record]

    def __iter__(self) -> Iterator[Record]:
        return iter(self.rows)

    @staticmethod
    def of(file: str, rows: Iterable[Record]) -> Iterator["Held"]:
        """Gather rows of one file in stretches; what was read before an error comes before it."""
        held: list[Record] = []
        try:
            for row in rows:
                held.append(row)
                if len(held) == AT_ONCE:
                    yield Held(file, held)
                    held = []
        except Exception:
            if held:
                yield Held(file, held)
            raise
        if held:
            yield Held(file, held)


Stretch = Lines | Held


def records(part: Part, columns: tuple[str, ...] = ()) -> Iterator[Record]:
    """Read the rows of a stream, one at a time.

    Args:
        part: of a kind that holds rows.
        columns: of a table, those that are wanted; none for all.

    Raises:
        FtkitError: while iterating, when what follows cannot be read at all, naming file and line.
    """
    return chain.from_iterable(stretches(part, columns))


def stretches(part: Part, columns: tuple[str, ...] = ()) -> Iterator[Stretch]:
    """Read the rows of a stream, a stretch at a time; see `records`."""
    with reading(part.where):
        if part.kind == ".parquet":
            yield from Held.of(part.where, parquet(part, columns))
        elif part.kind in (".csv", ".tsv"):
            yield from Held.of(part.where, separated(part))
        elif part.kind == ".json" and not _begins_with_brace(part):
            yield from Held.of(part.where, _list(part))
        else:
            yield from _lines(part)


def _lines(part: Part) -> Iterator[Lines]:
    """Cut JSON lines into stretches, each up to the end of a line."""
    first = 1
    while raw := part.stream.read(BLOCK):
        rest = part.stream.readline(MOST + 1) if not raw.endswith(b"\n") else b""
        if len(rest) + len(raw) - raw.rfind(b"\n") - 1 > MOST:
            line = first + raw.count(b"\n")
            raise FtkitError(f"{part.where}:{line}: a line has {MOST // 2**20} MiB at most")
        yield Lines(part.where, part.kind, first, raw + rest)
        first += raw.count(b"\n") + rest.count(b"\n")


def _parsed(line: str, where: str, kind: str) -> Any:
    """Read one line as JSON; return the error where it is none."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as problem:
        hint = f"; {WHAT_JSON}" if kind == ".json" else ""
        return BadRow(where, "broken JSON", f"{_wrong(problem)}{hint}", line)


def _whole(value: Any, where: str) -> Any:
    """Return a value, or the error where a string of it cannot be written as UTF-8."""
    if isinstance(value, BadRow):
        return value
    try:
        text = json.dumps(value, ensure_ascii=False)
    except RecursionError as problem:  # just deep enough to be read
        return BadRow(where, "broken JSON", _wrong(problem))
    if HALF.search(text):
        words = "it holds half of a \\u pair, which is no text"
        return BadRow(where, "broken Unicode", words, HALF.sub("\ufffd", text))
    return value


def _wrong(problem: Exception) -> str:
    """Say what the JSON parser met."""
    if isinstance(problem, json.JSONDecodeError):
        return f"not valid JSON ({problem.msg} at place {problem.pos + 1})"
    what = "too many brackets" if isinstance(problem, RecursionError) else "a huge number"
    return f"JSON that cannot be read ({what})"


def _begins_with_brace(part: Part) -> bool:
    """Say whether a .json file is JSON lines under another name."""
    return part.stream.peek(64).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{")


def _list(part: Part) -> Iterator[Record]:
    """Read a JSON list."""
    before = 0
    for number, (row, line) in enumerate(_elements(_Window(decoded(part)), part.where), 1):
        where = f"{part.where}:{line}" + (f"#{number}" if line == before else "")
        before = line
        yield Record(_whole(row, where), where)


class _Window:
    """The stretch of a long JSON text that is being read, and where in it one stands."""

    def __init__(self, blocks: Iterator[str]) -> None:
        self.blocks, self.text, self.place = blocks, "", 0
        self._line, self._counted = 1, 0

    def more(self) -> bool:
        """Leave behind what was read, and read on, as much again as is left; False at the end."""
        self.line()
        self.text, self.place, self._counted = self.text[self.place :], 0, 0
        found, size = list[str](), 0
        for block in self.blocks:
            found.append(block)
            size += len(block)
            if size >= len(self.text):
                break
        self.text += "".join(found)
        return size > 0

    def line(self) -> int:
        """Say in which line one stands."""
        self._line += self.text.count("\n", self._counted, self.place)
        self._counted = self.place
        return self._line

    def mark(self) -> str:
        """Go to the next character that is no space, and return it; "" at the end."""
        while True:
            while self.text[self.place : self.place + 1] in BLANKS:
                self.place += 1
            if self.place < len(self.text) or not self.more():
                return self.text[self.place : self.place + 1]


def _elements(window: _Window, where: str) -> Iterator[tuple[Any, int]]:
    """Read a list's elements and their lines, without holding the list."""
    mark = window.mark()
    if mark not in ("[", ""):
        raise FtkitError(f"{where}:{window.line()}: {WHAT_JSON}")
    while mark and mark != "]":
        window.place += 1  # behind the bracket, or the comma
        if window.mark() == "]" and mark == "[":
            break
        line = window.line()
        yield _element(window, where), line
        mark = window.mark()
        if mark not in (",", "]"):
            raise FtkitError(f"{where}:{window.line()}: not valid JSON (Expecting ',' or ']')")
    window.place += 1
    if mark and window.mark():
        raise FtkitError(f"{where}:{window.line()}: not valid JSON (more behind the list)")


def _element(window: _Window, where: str) -> Any:
    """Read one element, and more of the file while it may only be cut off."""
    while True:
        try:
            row, window.place = DECODE(window.text, window.place)
            return row
        except json.JSONDecodeError as problem:
            early = problem.msg.startswith("Unterminated")
            early = early or problem.pos >= len(window.text) - NEAR
            if early and len(window.text) - window.place > MOST:
                words = f"an element has {MOST // 2**20} MiB at most"
                raise FtkitError(f"{where}:{window.line()}: {words}") from None
            if not (early and window.more()):
                window.place = problem.pos
                line = window.line()
                raise FtkitError(f"{where}:{line}: not valid JSON ({problem.msg})") from None
        except (ValueError, RecursionError) as problem:
            raise FtkitError(f"{where}:{window.line()}: {_wrong(problem)}") from None
