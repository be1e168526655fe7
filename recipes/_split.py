"""How rows are divided into splits: by the unit that leaks, the same way whatever else is there.

A row is known here by hashes alone, some 40 bytes, so that millions of rows can be divided.
"""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]
Hashes = npt.NDArray[np.uint64]
Words = npt.NDArray[np.unsignedinteger[Any]]
Sources = npt.NDArray[np.uint16]
Codes = npt.NDArray[np.uint8]
FEW = 10  # units; a source with fewer is divided by row, or one split would take all
# Which split a row is in; from TWICE on, why it is in none.
TRAIN, VALIDATION, TEST, TWICE, LEAKED, APART, NEAR, UNASKED, OTHER = range(9)


def digest(*texts: str) -> int:
    """Hash texts to 64 bits."""
    return int.from_bytes(blake2b("\0".join(texts).encode(), digest_size=8).digest(), "little")


@dataclass
class Ledger:
    """What is known of each row, in order.

    Args:
        same: hash of what makes two rows the same.
        unit: hash of the document, schema or dialogue that it belongs to.
        told: hash of an answer that is a text of its own, which documents may share; else 0.
        source: number of the source.
        part: 0 for a row of a plain file; else TRAIN, VALIDATION or TEST + 1, as its file's name
            says.
        asked: 0 for a row that can be learned from, but not be tested with.
        side: TRAIN + 1 or TEST + 1 for a row that is meant for that use alone, else 0.
    """

    same: "array[int]" = field(default_factory=lambda: array("Q"))
    unit: "array[int]" = field(default_factory=lambda: array("Q"))
    told: "array[int]" = field(default_factory=lambda: array("Q"))
    source: "array[int]" = field(default_factory=lambda: array("H"))
    part: "array[int]" = field(default_factory=lambda: array("B"))
    asked: "array[int]" = field(default_factory=lambda: array("B"))
    side: "array[int]" = field(default_factory=lambda: array("B"))

    def add(
        self, same: int, unit: int, told: int, source: int, part: int, asked: int, side: int
    ) -> None:
        """Enter a row."""
        self.same.append(same)
        self.unit.append(unit)
        self.told.append(told)
        self.source.append(source)
        self.part.append(part)
        self.asked.append(asked)
        self.side.append(side)

    def extend(self, more: "Ledger") -> None:
        """Enter the rows of another ledger behind one's own."""
        for name, held in vars(more).items():
            getattr(self, name).extend(held)


def assign(
    ledger: Ledger, share: float, whole: bool, strict: bool = True, parts: Sequence[int] = ()
) -> Codes:
    """Divide rows: no unit lies in two splits, and no row is used twice.

    Args:
        ledger: of all rows of all sources.
        share: of the rows of each source to hold out for validation, unit by unit, and of one that
            names no parts for the test too; at least one unit is, when there are two.
        whole: take all rows that belong to no named part for the test.
        strict: no unit of a file that is named as held out, for the test or for validation, may be
            in training; else its user may have meant to ask of what was trained on, in other words.
        parts: sources that are one, in several files.

    Returns:
        For each row TRAIN, VALIDATION or TEST, or why it is in none: TWICE for one that repeats
        another, LEAKED for one that repeats a row of the test, APART for one whose unit or long
        answer is held out, UNASKED for one of the test that cannot be asked, OTHER for one that is
        meant for another use.
    """
    same, told = np.array(ledger.same, np.uint64), np.array(ledger.told, np.uint64)
    source = np.array(ledger.source)
    source[np.isin(source, parts)] = min(parts, default=0)
    part = _parts(ledger, source)
    side, unit, askable = np.array(ledger.side), _units(ledger, source), np.array(ledger.asked)
    codes = np.full(len(same), TRAIN, np.uint8)
    test = part == TEST + 1
    for number in np.unique(source):
        plain = (source == number) & (part == 0) & ((askable > 0) | whole)
        test |= plain if whole else _held(unit, plain, share, "test")
    codes[test] = TEST
    codes[(codes == TEST) & (side == TRAIN + 1)] = OTHER
    codes[(codes == TEST) & (askable == 0)] = UNASKED
    asked = test if strict else test & (part == 0)
    apart = among(unit, np.sort(unit[asked])) | (among(told, np.sort(told[asked])) & (told > 0))
    codes[~test & apart] = APART
    for number in np.unique(source):
        rest = (codes == TRAIN) & (source == number)
        named = rest & (part == VALIDATION + 1)
        codes[named if named.any() else _held(unit, rest, share, "validation")] = VALIDATION
    kept = codes == VALIDATION if strict else (codes == VALIDATION) & (part != VALIDATION + 1)
    codes[(codes == TRAIN) & among(unit, np.sort(unit[kept]))] = APART
    codes[(codes != TEST) & (side == TEST + 1)] = OTHER
    _once(same, codes)
    return codes


def _once(same: Hashes, codes: Codes) -> None:
    """Leave each row in one split once; of two equal rows the one that is asked stays."""
    held_out = among(same, np.sort(same[codes == TEST]))
    codes[(codes < TEST) & held_out] = LEAKED
    used = np.flatnonzero(codes <= TEST)
    known = np.sort(same[used])
    used = used[among(same[used], known[1:][known[1:] == known[:-1]])]  # few: those that come again
    order = used[np.lexsort((used, codes[used] != VALIDATION, same[used]))]
    codes[order[1:][same[order[1:]] == same[order[:-1]]]] = TWICE


def _parts(ledger: Ledger, source: Sources) -> Codes:
    """Read the named parts; a held-out part that is alone in its source is the test."""
    part = np.array(ledger.part)
    with_test = np.isin(source, source[part == TEST + 1])
    part[(part == VALIDATION + 1) & ~with_test] = TEST + 1
    return part


def _units(ledger: Ledger, source: Sources) -> Hashes:
    """Read the units; where a source has few, each of its rows is one.

    But for rows of a unit that lies in a source with many too: there it may be asked about.
    """
    unit, same = np.array(ledger.unit, np.uint64), np.array(ledger.same, np.uint64)
    whole = np.array(ledger.side) == 0
    few = np.zeros(len(unit), np.bool_)
    for number in np.unique(source):
        rows = (source == number) & whole  # what is cut to different uses stays together
        few |= rows & (len(np.unique(unit[rows])) < FEW)
    if few.any():
        few &= ~among(unit, np.sort(unit[~few]))
    unit[few] = same[few]
    return unit


def _held(unit: Hashes, rows: Mask, share: float, name: str) -> Mask:
    """Hold out a share of some rows' units; another name holds out others."""
    units, place, sizes = np.unique(unit[rows], return_inverse=True, return_counts=True)
    held = np.zeros(len(rows), np.bool_)
    if len(units) < 2:
        return held
    order = np.argsort(_mixed(units ^ np.uint64(digest(name))), kind="stable")
    wanted = max(1, round(share * int(sizes.sum())))
    taken = np.cumsum(sizes[order]) - sizes[order] < wanted
    held[rows] = np.isin(place, order[taken])
    return held


def among(values: Words, known: Words) -> Mask:
    """Say which values lie among known ones, which are sorted; `np.isin` sorts them all."""
    if not len(known):
        return np.zeros(len(values), np.bool_)
    found: Mask = known[np.minimum(np.searchsorted(known, values), len(known) - 1)] == values
    return found


def _mixed(hashes: Hashes) -> Hashes:
    """Shuffle bits (splitmix64), so that names that differ put units in different orders."""
    mixed = (hashes ^ (hashes >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def repeated(count: int, weight: float) -> npt.NDArray[np.int64]:
    """Number rows so that each comes `weight` times, or a share of them, evenly thinned out.

    >>> repeated(4, 0.5).tolist(), repeated(2, 1.5).tolist()
    ([0, 2], [0, 1, 0])
    """
    wanted = np.arange(round(count * weight))
    if len(wanted) <= count:
        return wanted * count // max(1, len(wanted))
    return wanted % count
