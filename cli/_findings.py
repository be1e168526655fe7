"""What reading a recipe's sources met, in words: rows that cannot be used, are odd or left out."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ftkit.errors import FtkitError

from ._session import printable


def findings(found: Any) -> list[tuple[str, list[str]]]:
    """Lay out a report: headings, each with a line for a kind of finding and its first places.

    Args:
        found: a `recipes._found.Found`, or None where nothing was read.
    """
    if found is None:
        return []
    parts = [
        (f"{_count(found.bad):,} of {found.rows:,} rows cannot be used", found.bad),
        ("Used, but worth a look", found.odd),
        ("Left out, rows that", found.left_out),
    ]
    report = [
        (title, [line for group in groups for line in _lines(group)])
        for title, groups in parts
        if groups
    ]
    if found.unread:
        report.append(
            ("Not read, since others are named by split", list(map(printable, found.unread)))
        )
    return report


def _lines(group: Any) -> list[str]:
    """Give a line for a kind of finding, and one that says what is wrong with the first row."""
    said = [printable(str(group))]
    return [*said, printable(f"    {group.where[0]}: {group.words}")] if group.words else said


def _count(groups: Sequence[Any]) -> int:
    return sum(group.count for group in groups)


def reject(found: Sequence[Any], skip: bool, place: Path) -> str:
    """Write the rows that cannot be used to a file, where they are to be skipped.

    Args:
        found: what each recipe's reading met.
        skip: go on without them.
        place: of the file: JSON lines with `where`, `kind`, `reason` and `row`.

    Returns:
        What was written, in words; "" for nothing.

    Raises:
        FtkitError: where there are such rows and they are not to be skipped.
    """
    count = sum(_count(each.bad) for each in found)
    if not count:
        return ""
    if not skip:
        raise FtkitError(next(each.refusal for each in found if each.refusal))
    from ..recipes._found import copy_rejected, rows

    copy_rejected(found, place)
    return f"{place}: {rows(count)} that cannot be used, with place and reason"
