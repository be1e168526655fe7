"""The texts of one stream: plain text cut at paragraphs, JSON lines, a JSON list, Parquet."""

import codecs
import json
import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from ftkit.errors import FtkitError

from .unpack import Part, first_line, reading, seekable

HALF = re.compile("[\ud800-\udfff]")  # JSON may spell half of a surrogate pair; UTF-8 cannot
LONG = 4000  # characters of a text file that make a document
BORDERS = ("\n\n", "\r\n\r\n", "\n", " ")  # where it is cut, the best first
BLOCK = 2**20  # bytes that are read at once
MOST = 2**28  # bytes of a line of JSON lines, characters of an element of a JSON list
ROWS = 64  # of a Parquet file that are read at once
BLANKS = (" ", "\t", "\r", "\n")
DECODE = json.JSONDecoder().raw_decode
WHAT_JSON = 'a .json file is a list of {"text": "..."} or one such object on each line'
NEAR = 16  # characters before the end of what was read, where JSON may only seem wrong


def texts(part: Part) -> Iterator[str]:
    """Read the texts of a stream, one at a time.

    Raises:
        FtkitError: while iterating, naming file and line.
    """
    with reading(part.where):
        yield from _READERS[part.kind](part)


def checked(value: Any, where: str) -> str:
    """Return a value of "text" when it is one.

    Raises:
        FtkitError: for another type, or half of a surrogate pair.
    """
    if not isinstance(value, str):
        kind = "null" if value is None else type(value).__name__
        raise FtkitError(f'{where}: "text" is {kind}; it must be a string')
    if HALF.search(value):
        raise FtkitError(f'{where}: "text" holds half of a \\u pair, which is no text')
    return value


def _plain(part: Part) -> Iterator[str]:
    return chunks(_decoded(part))


def chunks(blocks: Iterable[str]) -> Iterator[str]:
    r"""Cut a long text where a paragraph ends, or a line, or a word.

    Args:
        blocks: the text in pieces of any size; where they end moves no cut.

    >>> list(chunks(["one " * 500, "\n\n", "two " * 600])) == ["one " * 500, "two " * 600]
    True
    """
    rest = ""
    for block in blocks:
        rest, start = rest + block, 0
        while len(rest) - start > LONG:
            cut = _cut(rest, start)
            yield rest[start:cut].strip("\r\n")
            start = cut
        rest = rest[start:]
    yield rest.strip("\r\n")


def _cut(text: str, start: int) -> int:
    middle, end = start + LONG // 2, start + LONG
    places = (text.rfind(border, middle, end) + len(border) for border in BORDERS)
    return next((place for place in places if place > middle), end)


def _decoded(part: Part) -> Iterator[str]:
    """Read UTF-8 in blocks, counting lines so that an error can name one."""
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
            raise _not_utf8(part.where, line, data[problem.start], place) from None
        yield found if begun else found.removeprefix("\ufeff")
        if not block:
            return
        begun, rest = begun or used > 0, data[used:]
        begin = data.rfind(b"\n", 0, used) + 1
        line, column = line + data.count(b"\n", 0, used), used - begin + (0 if begin else column)


def _not_utf8(where: str, line: int, byte: int, place: int) -> FtkitError:
    return FtkitError(
        f"{where}:{line}: not UTF-8 (byte 0x{byte:02x} at place {place + 1} of the line); "
        "save the file as UTF-8"
    )


def _lines(part: Part) -> Iterator[str]:
    """Read the texts of JSON lines."""
    for number, raw in enumerate(iter(partial(part.stream.readline, MOST + 1), b""), 1):
        where = f"{part.where}:{number}"
        if len(raw) > MOST:
            raise FtkitError(f"{where}: a line of a corpus has {MOST // 2**20} MiB at most")
        try:
            line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as problem:
            place = problem.start + len(raw) - len(problem.object)  # a byte order mark was left out
            raise _not_utf8(part.where, number, raw[place], place) from None
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as problem:
            hint = f"; {WHAT_JSON}" if part.kind == ".json" else ""
            raise FtkitError(f"{where}: {_wrong(problem)}{hint}") from None
        yield _field(row, where, "a line of a corpus")


def _wrong(problem: Exception) -> str:
    """Say what the JSON parser met."""
    if isinstance(problem, json.JSONDecodeError):
        return f"not valid JSON ({problem.msg} at place {problem.pos + 1})"
    what = "too many brackets" if isinstance(problem, RecursionError) else "a huge number"
    return f"JSON that cannot be read ({what})"


def _field(row: Any, where: str, what: str) -> str:
    if not isinstance(row, dict) or "text" not in row:
        raise FtkitError(f'{where}: {what} is {{"text": "..."}}')
    return checked(row["text"], where)


def _json(part: Part) -> Iterator[str]:
    """Read the texts of a JSON list; what begins with a brace is JSON lines under another name."""
    if part.stream.peek(64).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        yield from _lines(part)
        return
    for row, line in _elements(_Window(_decoded(part)), part.where):
        yield _field(row, f"{part.where}:{line}", "an element of a corpus")


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
                words = f"an element of a corpus has {MOST // 2**20} MiB at most"
                raise FtkitError(f"{where}:{window.line()}: {words}") from None
            if not (early and window.more()):
                window.place = problem.pos
                line = window.line()
                raise FtkitError(f"{where}:{line}: not valid JSON ({problem.msg})") from None
        except (ValueError, RecursionError) as problem:
            raise FtkitError(f"{where}:{window.line()}: {_wrong(problem)}") from None


def _parquet(part: Part) -> Iterator[str]:
    """Read the column "text", some rows at a time."""
    import pyarrow
    from pyarrow import parquet

    try:
        # Without these a whole row group is read at once: whatever its writer thought right.
        file = parquet.ParquetFile(seekable(part), buffer_size=BLOCK, pre_buffer=False)
        known = file.schema_arrow
        if "text" not in known.names:
            names = ", ".join(known.names)
            raise FtkitError(f'{part.where} has no column "text": it has {names}')
        row = 0
        for batch in file.iter_batches(batch_size=ROWS, columns=["text"], use_threads=False):
            for value in batch.column(0):
                row += 1
                yield _value(value, f"{part.where}:{row}")
    except (pyarrow.ArrowException, OSError) as problem:
        words = first_line(problem)
        raise FtkitError(f"{part.where} cannot be read as Parquet: {words}") from None


def _value(value: Any, where: str) -> str:
    try:
        return checked(value.as_py(), where)
    except UnicodeDecodeError:
        raise FtkitError(f'{where}: "text" is not UTF-8') from None


_READERS: dict[str, Callable[[Part], Iterator[str]]] = {
    ".txt": _plain,
    ".md": _plain,
    ".jsonl": _lines,
    ".ndjson": _lines,
    ".json": _json,
    ".parquet": _parquet,
}
