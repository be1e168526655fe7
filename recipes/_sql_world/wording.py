"""Puts asks in words: questions for the chat, and remarks whose wording overlaps but is not the same."""

import re
import tomllib
from functools import cache
from itertools import product
from pathlib import Path
from random import Random

from .databases import Value
from .questions import Ask, Col, Condition
from .schemas import adjectives, article

FORMS = ("question", "remark")
# How often each form uses the wording that both forms know; the rest is its own.
SHARED = {"question": 0.35, "remark": 0.35}
QUOTED = 0.25  # share of asks that put text values in quotes
AGGREGATE_WORDS = {
    "AVG": ("average", "mean", "average"),
    "SUM": ("total", "total", "summed"),
    "MIN": ("lowest", "minimum", "smallest"),
    "MAX": ("highest", "maximum", "largest"),
}  # both, question, remark
_ENDS = re.compile(r"\{f\}(, \{o\})?[.?]")
NUMBERS = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six", 10: "ten"}


@cache
def phrasings() -> dict[str, dict[str, tuple[str, ...]]]:
    """Return all sections of clauses.toml and heads.toml, brackets spelt out.

    Returns:
        section -> share ("both", "question", "remark") -> templates.
    """
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    for name in ("clauses", "heads"):
        text = (Path(__file__).parent / f"{name}.toml").read_text(encoding="utf-8")
        for section, shares in tomllib.loads(text).items():
            found[section] = {
                share: tuple(x for t in lines for x in spell(t)) for share, lines in shares.items()
            }
    return found


def spell(template: str) -> list[str]:
    """Spell out the alternatives of a template.

    >>> spell("[Show|Give] me [it|all].")
    ['Show me it.', 'Show me all.', 'Give me it.', 'Give me all.']
    """
    parts = re.split(r"\[([^\]]*)\]", template)
    return [
        "".join(pieces)
        for pieces in product(*(p.split("|") if i % 2 else [p] for i, p in enumerate(parts)))
    ]


def _columns(cols: tuple[Col, ...], pair: bool) -> dict[str, str]:
    if pair:
        far = cols[1].owner
        assert far is not None
        return {"c": cols[0].words, "cs": cols[0].many, "d": cols[1].field.words, "ds": cols[1].field.many,
                "p1": far.one, "pn": far.many}  # fmt: skip
    return {
        "c": " and ".join(col.words for col in cols),
        "cs": " and ".join(col.many for col in cols),
    }


class Voice:
    """One form of wording ("question" or "remark") with its choices for one ask."""

    def __init__(self, form: str, rng: Random) -> None:
        """Take the form and the source of choices."""
        self.form, self.rng = form, rng
        self.quoted = rng.random() < QUOTED
        self.ends = False  # whether the condition closes a sentence

    def choose(self, section: str) -> str:
        """Return a template of a section."""
        shares = phrasings()[section]
        share = "both" if self.rng.random() < SHARED[self.form] else self.form
        return self.rng.choice(shares[share])

    def show(self, v: Value, always: bool = False) -> str:
        """Return a value as people write it."""
        return f"'{v}'" if isinstance(v, str) and (self.quoted or always) else str(v)

    def say(self, ask: Ask) -> str:
        """Return one sentence that determines the ask."""
        slots = {"t1": ask.table.one, "tn": ask.table.many, "f": "", "o": "", **ask.more}
        head = self._head(ask, slots)
        template = self.choose(head)
        self.ends = _ENDS.search(template) is not None
        if head in ("union", "intersect", "except"):
            slots["f"], slots["g"] = (" " + self._clause(ask, (test,), "and") for test in ask.tests)
        elif ask.tests:
            slots["f"] = " " + self._clause(ask, ask.tests, ask.glue)
        if ask.cols:
            slots |= _columns(ask.cols, head == "list_pair")
        if ask.x:
            slots["x"] = ask.x.words
        if ask.g:
            slots["g"], slots["gs"] = ask.g.words, ask.g.many
        if ask.order:
            slots["o"] = self.choose(ask.order[0]).format(x=ask.order[1].words)
        for slot in ("agg", "agh"):
            if slot in ask.more:
                slots[slot] = self._aggregate(ask.more[slot])
        text = template.format_map(slots)
        return text[0].upper() + text[1:]

    def _aggregate(self, call: str) -> str:
        both, question, remark = AGGREGATE_WORDS[call]
        if self.rng.random() < SHARED[self.form]:
            return both
        return question if self.form == "question" else remark

    def _head(self, ask: Ask, slots: dict[str, str]) -> str:
        if ask.head == "list" and len(ask.cols) == 2 and ask.cols[1].owner:
            return "list_pair"
        if not ask.head.startswith("top"):
            return ask.head
        assert ask.x is not None
        high = slots["hi"] == "high"
        slots["n"] = NUMBERS[ask.limit] if ask.limit > 1 and self.rng.random() < 0.5 else slots["n"]
        if ask.x.field.column.kind in ("date", "year"):
            slots["hi"] = "latest" if high else "earliest"
            return ask.head
        slots["hi"] = "highest" if high else "lowest"
        compare = adjectives(ask.table, ask.x.field)
        if compare and ask.head == "top_one" and self.rng.random() < 0.5:
            slots["sup"] = compare[2 if high else 3]
            return "top_one_adjective"
        return ask.head

    def _clause(self, ask: Ask, tests: tuple[Condition, ...], glue: str) -> str:
        if len(tests) == 2:
            p, q = (self._predicate(test) for test in tests)
            return self.choose("connect_two_end" if self._at_end() else "connect_two").format_map(
                {"p": p, "q": q, "and": glue}
            )
        test = tests[0]
        if test.kind in ("childless", "has_child"):
            return self._family(ask, test)
        if test.kind in ("parent", "parent_label"):
            return self._parent(ask, test)
        assert test.col is not None
        short = self.rng.random()
        if test.kind in ("eq", "gt", "lt") and short < 0.35:
            return self.choose(f"{test.kind}_with").format_map(self._slots(test))
        compare = (
            adjectives(ask.table, test.col.field)
            if test.kind in ("gt", "lt") and not test.col.owner
            else None
        )
        if compare and short < 0.65:
            adjective = compare[0 if test.kind == "gt" else 1]
            return self.choose("adjective").format_map({**self._slots(test), "adj": adjective})
        return self.choose("connect_end" if self._at_end() else "connect").format_map(
            {"p": self._predicate(test)}
        )

    def _at_end(self) -> bool:
        return self.ends and self.rng.random() < 0.4

    def _predicate(self, test: Condition) -> str:
        return self.choose(test.kind).format_map(self._slots(test))

    def _slots(self, test: Condition) -> dict[str, str]:
        assert test.col is not None
        always = test.kind in ("prefix", "contains")
        slots = {
            "c": test.col.words,
            "v": self.show(test.v, always),
            "w": self.show(test.w, always),
        }
        slots |= test.col.field.grammar
        if test.col.owner:
            slots["a"] = slots["a"] and f"{article(test.col.words)} "
        if test.table:
            slots |= {"t1": test.table.one, "tn": test.table.many}
        if test.kind == "is_most":
            slots |= {"most": test.more, "high": test.more.removesuffix("est")}
        if test.kind == "more_than_row":
            slots |= {"higher": test.more, "k": str(test.w)}
        return slots

    def _family(self, ask: Ask, test: Condition) -> str:
        assert test.table is not None
        self.ends = False
        inner = " " + self._clause(ask, (test.inner,), "and") if test.inner else ""
        some = article(test.table.one)
        slots = {"kn": test.table.many, "k1": test.table.one, "f": inner, "some": some}
        return self.choose(test.kind).format_map(slots)

    def _parent(self, ask: Ask, test: Condition) -> str:
        assert test.table is not None
        self.ends = False
        inner = " " + self._clause(ask, (test.inner,), "and") if test.inner else ""
        slots = {"p1": test.table.one, "pn": test.table.many, "f": inner, "v": self.show(test.v)}
        return self.choose(test.kind).format_map(slots)


def question(ask: Ask, rng: Random) -> str:
    """Return the ask as a chat question."""
    return Voice("question", rng).say(ask)


def remark(ask: Ask, rng: Random) -> str:
    """Return the ask as a corpus remark."""
    return Voice("remark", rng).say(ask)
