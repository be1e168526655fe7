"""What reading a recipe's sources met: rows that cannot be used, are odd, or are left out."""

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ftkit.errors import FtkitError
from ftkit.runs import Run, whole

NAMED = 5  # places that are kept of each kind of problem


@dataclass
class Group:
    """Rows with one kind of problem.

    Args:
        kind: in words.
        count: how many there are.
        where: the first places.
        words: of the first one.
    """

    kind: str
    count: int = 0
    where: list[str] = field(default_factory=list)
    words: str = ""

    def add(self, where: str, words: str = "") -> None:
        """Count one more."""
        self.count += 1
        self.words = self.words or words
        if len(self.where) < NAMED and where not in self.where:
            self.where.append(where)

    def join(self, more: "Group") -> None:
        """Count what another group of this kind has too."""
        for where in more.where:
            self.add(where, more.words)
        self.count += more.count - len(more.where)

    def __str__(self) -> str:
        more = " ..." if self.count > len(self.where) else ""
        return f"{self.count:,} × {self.kind}: {', '.join(self.where)}{more}"


@dataclass(frozen=True)
class Found:
    """What reading the sources met.

    Args:
        rows: how many were read.
        bad: that cannot be used.
        odd: that are used, but worth a look.
        left_out: that are not used, and why.
        unread: files and splits of the sources that are not read.
        rejected: JSON-lines files of the bad ones, with place, reason and what was read.
    """

    rows: int
    bad: tuple[Group, ...]
    odd: tuple[Group, ...]
    left_out: tuple[Group, ...]
    unread: tuple[str, ...]
    rejected: tuple[Path, ...]

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out and what is odd, in words."""
        gone = sum(group.count for group in self.bad)
        found = [f"{rows(gone)} cannot be used and are left out"] if gone else []
        found += [f"{rows(g.count)} that {g.kind} are left out" for g in self.left_out]
        found += [f"{rows(g.count)}: {g.kind} ({', '.join(g.where[:2])})" for g in self.odd]
        if self.unread:
            found.append(f"not read, since others are named by split: {', '.join(self.unread)}")
        return tuple(found)

    def keep(self, run: Run) -> None:
        """Write down in a run which rows it did without, and why."""
        if self.bad:
            copy_rejected([self], run.inner / "rejected.jsonl")
        if self.notes:
            run.log({"event": "rows", "notes": list(self.notes)})

    @property
    def refusal(self) -> str:
        """The first row that cannot be used, and how many there are; "" where there is none."""
        count = sum(group.count for group in self.bad)
        if not count:
            return ""
        words = f"{self.bad[0].where[0]}: {self.bad[0].words}; "
        if count == self.rows:
            return f"{words}none of {rows(count)} can be used"
        if count > 1:
            words += f"{count:,} of {self.rows:,} rows cannot be used; "
        return f"{words}--on-bad-rows skip leaves such rows out"

    def refuse(self) -> None:
        """Stop at rows that cannot be used.

        Raises:
            FtkitError: naming the place of one, or the kinds, their numbers and first places.
        """
        kinds = "".join(f"\n  {group}" for group in self.bad)
        if self.refusal:
            many = sum(group.count for group in self.bad) > 1
            raise FtkitError(f"{self.refusal}{':' + kinds if many else ''}")


def rows(count: int) -> str:
    """Count rows in words.

    >>> rows(1), rows(2000)
    ('1 row', '2,000 rows')
    """
    return f"{count:,} row{'s' * (count != 1)}"


def copy_rejected(found: Iterable[Found], place: Path) -> None:
    """Write the rows that cannot be used to a file, with place, reason and what was read."""
    with whole(place) as file:
        for path in (path for each in found for path in each.rejected):
            with path.open("rb") as lines:
                shutil.copyfileobj(lines, file)


def joined(parts: Sequence[tuple[str, Found]]) -> Found:
    """Put together what several recipes met, each kind behind its recipe's name."""

    def named(which: str) -> tuple[Group, ...]:
        return tuple(
            replace(group, kind=f"{group.kind} ({name})")
            for name, found in parts
            for group in getattr(found, which)
        )

    return Found(
        sum(found.rows for _, found in parts),
        named("bad"),
        named("odd"),
        named("left_out"),
        unread=tuple(file for _, found in parts for file in found.unread),
        rejected=tuple(path for _, found in parts for path in found.rejected),
    )
