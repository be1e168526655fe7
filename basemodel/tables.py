"""Tables: CSV with the columns' names in its first line (RFC 4180), and Parquet."""

import csv
from collections.abc import Iterator
from itertools import chain
from typing import Any

from ftkit.errors import FtkitError

from .record import BLOCK, MOST, BadRow, Record, decoded
from .unpack import Part, first_line, seekable

ROWS = 64  # of a Parquet file that are read at once
SEPARATORS = (",", ";", "\t")


def separated(part: Part) -> Iterator[Record]:
    """Read a table whose fields are separated by commas, semicolons or tabs.

    Raises:
        FtkitError: while iterating, for quotes that do not close and columns without names.
    """
    csv.field_size_limit(MOST)
    lines = _text_lines(part)
    head = next(lines, "")
    separator = "\t" if part.kind == ".tsv" else max(SEPARATORS, key=head.count)
    reader = csv.reader(chain([head], lines), delimiter=separator, strict=True)
    names: list[str] = []
    while True:
        where = f"{part.where}:{reader.line_num + 1}"
        try:
            row = next(reader, None)
        except csv.Error as problem:
            raise FtkitError(f"{where}: broken CSV ({problem})") from None
        if row is None:
            return
        if not names:
            names = _named(row, where)
        elif row:
            yield Record(_in_columns(row, names, where), where)


def _text_lines(part: Part) -> Iterator[str]:
    """Cut a stream into lines, each with its end."""
    rest, number = "", 1
    for block in decoded(part):
        *whole, rest = (rest + block).split("\n")
        yield from (f"{line}\n" for line in whole)
        number += len(whole)
        if len(rest) > MOST:
            raise FtkitError(f"{part.where}:{number}: a line has {MOST // 2**20} MiB at most")
    if rest:
        yield rest


def _named(row: list[str], where: str) -> list[str]:
    """Check the line of the columns' names."""
    names = [name.strip() for name in row]
    if "" in names or len(set(names)) < len(names):
        raise FtkitError(f"{where}: the first line of a table names each column, once")
    return names


def _in_columns(row: list[str], names: list[str], where: str) -> Any:
    if len(row) != len(names):
        words = f"{len(row)} fields, but the first line names {len(names)} columns"
        return BadRow(where, "wrong number of fields", words, row)
    return dict(zip(names, row, strict=True))


def parquet(part: Part, columns: tuple[str, ...]) -> Iterator[Record]:
    """Read a Parquet file, some rows at a time.

    Args:
        part: the file, or one inside another, which is held in memory.
        columns: those that are wanted, of which it must have one; none for all.

    Raises:
        FtkitError: while iterating, when it is none or has no such column.
    """
    import pyarrow
    from pyarrow.parquet import ParquetFile

    try:
        # Without these a whole row group is read at once: whatever its writer thought right.
        file = ParquetFile(seekable(part), buffer_size=BLOCK, pre_buffer=False)
        known = file.schema_arrow.names
        wanted = [name for name in columns if name in known] if columns else known
        if not wanted:
            names = ", ".join(known)
            raise FtkitError(f'{part.where} has no column "{columns[0]}": it has {names}')
        row = 0
        for batch in file.iter_batches(batch_size=ROWS, columns=wanted, use_threads=False):
            for number in range(batch.num_rows):
                row += 1
                yield Record(_of_batch(batch, number, f"{part.where}:{row}"), f"{part.where}:{row}")
    except (pyarrow.ArrowException, OSError) as problem:
        words = first_line(problem)
        raise FtkitError(f"{part.where} cannot be read as Parquet: {words}") from None


def _of_batch(batch: Any, number: int, where: str) -> Any:
    """Take a row out of a batch; return the error where it cannot be read."""
    row: dict[str, Any] = {}
    for name in batch.schema.names:
        try:
            row[name] = batch.column(name)[number].as_py()
        except UnicodeDecodeError:
            return BadRow(where, "not UTF-8", f'"{name}" is not UTF-8', row)
    return row
