"""Where a query that is being written has come to: which part of it, what its names stand for."""

from dataclasses import dataclass, field

from ._sql_compact import KEYWORDS
from ._sql_spelling import FUNCTIONS, unquoted

PARTS = {
    "select": "select",
    "from": "from",
    "join": "from",
    "on": "on",
    "using": "on",
} | dict.fromkeys(("where", "group", "having", "order", "limit"), "after")


@dataclass
class Level:
    """A SELECT, or a bracket in it: its part, whether it joins, what names in FROM stand for."""

    part: str = ""
    joins: bool = False
    stands: dict[str, str] = field(default_factory=dict)


@dataclass
class Place:
    """Where a query has come to.

    Attributes:
        levels: the SELECTs and brackets that are open, the innermost last.
        last: the keyword or sign before, "" behind a name.
        named: the name before, "" behind any other word.
        valued: whether it ends a value or a table.
        calls: whether it names a function.
        qualifier: the name before the dot.
        table: the table that FROM named last; "" for a query in its place.
        known: whether that one was there already.
        given: names that AS gave to values.
    """

    levels: list[Level] = field(default_factory=lambda: [Level()])
    last: str = ""
    named: str = ""
    valued: bool = False
    calls: bool = False
    qualifier: str = ""
    table: str = ""
    known: bool = False
    given: set[str] = field(default_factory=set)

    @property
    def part(self) -> str:
        """The part of the innermost SELECT: select, from, on, after."""
        return self.levels[-1].part

    @property
    def joins(self) -> bool:
        """Whether a JOIN waits for its condition."""
        return self.levels[-1].joins

    @property
    def brackets(self) -> int:
        """How many are open."""
        return len(self.levels) - 1

    @property
    def wants_table(self) -> bool:
        """Whether a table's name comes next."""
        return self.part == "from" and self.last in ("from", "join", ",")

    @property
    def twice(self) -> bool:
        """Whether a table was named that is there already, so that another name has to follow."""
        return self.known and self.part == "from" and self.named == self.table

    @property
    def waits(self) -> bool:
        """Whether a SELECT is open whose FROM is still to come."""
        return any(level.part == "select" for level in self.levels)

    @property
    def free(self) -> bool:
        """Whether a value may begin: behind none, and not where a table stands."""
        return not self.valued and self.part != "from"

    def may_name(self, name: str) -> bool:
        """Say whether a new name can be given here: in FROM one that nothing else there has."""
        return self.part != "from" or name not in self.levels[-1].stands or name == self.table

    @property
    def made(self) -> set[str]:
        """Names that are no schema's: those that AS gave, and what stands in FROM."""
        return self.given.union(*(level.stands for level in self.levels))

    def stands(self, name: str) -> str | None:
        """Say which table a name stands for."""
        found = (level.stands[name] for level in reversed(self.levels) if name in level.stands)
        return next(found, None)

    def add(self, word: str, kind: str) -> None:
        """Go on behind a word."""
        keyword = kind == "word" and word.isupper() and self.last not in (".", "as")
        low = unquoted(word).lower()
        self.calls = keyword and low in FUNCTIONS
        keyword = keyword and low in KEYWORDS
        if kind == "sign":
            self._sign(low)
        elif keyword and low == "select":
            self.levels[-1] = Level("select")
        elif keyword and low in PARTS:
            self.levels[-1].part = PARTS[low]
            self.levels[-1].joins = low == "join"
        name = kind in ("word", "quoted") and not keyword
        if name:
            self._name(low)
        ends = not keyword or low in ("null", "true", "false", "end")
        self.valued = ends and (kind != "sign" or low == ")")
        self.last, self.named = ("", low) if name else (low, "")

    def _sign(self, sign: str) -> None:
        if sign == "(":
            self.levels.append(Level(self.part, stands=self.levels[-1].stands))
        elif sign == ")" and self.brackets:
            self.levels.pop()
            self.table = ""
        elif sign == ".":
            self.qualifier = self.named

    def _name(self, name: str) -> None:
        stands = self.levels[-1].stands
        if self.wants_table:
            self.known = name in stands
            self.table = stands[name] = name
        elif self.part == "from":  # another name for that table
            if not self.known:
                stands.pop(self.table, None)
            stands[name], self.table = self.table, ""
        elif self.last == "as":
            self.given.add(name)
