"""The texts of one stream: plain text cut at paragraphs, and the rows' field "text"."""

from collections.abc import Iterable, Iterator

from ftkit.errors import FtkitError

from .record import HALF, Record, decoded, kind_of
from .records import records
from .unpack import Part, reading

LONG = 4000  # characters of a text file that make a document
BORDERS = ("\n\n", "\r\n\r\n", "\n", " ")  # where it is cut, the best first
PLAIN = (".txt", ".md")


def texts(part: Part) -> Iterator[str]:
    """Read the texts of a stream, one at a time.

    Raises:
        FtkitError: while iterating, naming file and line.
    """
    if part.kind in PLAIN:
        with reading(part.where):
            yield from chunks(decoded(part))
        return
    for record in records(part, columns=("text",)):
        yield text_of(record)


def text_of(record: Record) -> str:
    """Return a row's field "text".

    Raises:
        FtkitError: when the row has none, or none that is text.
    """
    value, where = record.value, record.where
    if isinstance(value, FtkitError):
        raise value
    if not isinstance(value, dict) or "text" not in value:
        names = f", not {', '.join(map(str, value))}" if isinstance(value, dict) and value else ""
        raise FtkitError(f'{where}: a row of a corpus is {{"text": "..."}}{names}')
    text = value["text"]
    if not isinstance(text, str):
        raise FtkitError(f'{where}: "text" is {kind_of(text)}; it must be a string')
    if HALF.search(text):
        raise FtkitError(f'{where}: "text" holds half of a \\u pair, which is no text')
    return text


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
