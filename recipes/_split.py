"""How rows are divided into splits: by the unit that leaks, the same way whatever else is there."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import TypeVar

Row = TypeVar("Row")


def divide(
    rows: Sequence[Row], units: Sequence[str], share: float, name: str
) -> tuple[list[Row], list[Row]]:
    """Hold out a share of the units.

    Args:
        rows: what is divided.
        units: of each row, such as its schema, document or dialogue.
        share: of the rows to hold out, 0 to 1; at least one unit is, when there are two.
        name: of what is held out; other names hold out other units.

    Returns:
        The rest and the held-out rows, each in their order.
    """
    sizes = Counter(units)
    wanted = max(1, round(share * len(rows))) if len(sizes) > 1 else 0
    out: set[str] = set()
    for unit in sorted(sizes, key=lambda unit: hashlib.sha256(f"{name} {unit}".encode()).digest()):
        if wanted <= 0:
            break
        out.add(unit)
        wanted -= sizes[unit]
    rest = [row for row, unit in zip(rows, units, strict=True) if unit not in out]
    held = [row for row, unit in zip(rows, units, strict=True) if unit in out]
    return rest, held


def weighted(rows: Sequence[Row], weight: float) -> list[Row]:
    """Repeat rows, or thin them out evenly."""
    count = round(len(rows) * weight)
    if rows and count <= len(rows):
        return [rows[place * len(rows) // count] for place in range(count)]
    return [rows[place % len(rows)] for place in range(count)]
