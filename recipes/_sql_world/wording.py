"""Puts asks in words: questions for the chat, and remarks that are worded partly otherwise."""

import re
import tomllib
from functools import cache
from itertools import product
from pathlib import Path
from random import Random

from .databases import Value
from .parts import Ask, Col, Condition
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
_MANY = {"have": "have", "are": "are", "do": "do", "belong": "belong"}
_ONE = {"have": "has", "are": "is", "do": "does", "belong": "belongs"}
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
    """Return the columns in words; a pair is a column of the things and one of their owner."""
    if not pair:
        verb = "are" if len(cols) > 1 else cols[0].field.grammar["is"]
        words, many = (
            " and ".join(said) for said in zip(*((c.words, c.many) for c in cols), strict=True)
        )
        return {"c": words, "cs": many, "cis": verb}
    own, far = cols
    assert far.owner is not None
    said = _columns((own,), False)
    said |= {"d": far.field.words, "ds": far.field.many, "dis": far.field.grammar["is"]}
    return said | {"fd": far.words, "fds": far.many, "p1": far.owner.one, "pn": far.owner.many}


class Voice:
    """One form of wording ("question" or "remark") with its choices for one ask."""

    def __init__(self, form: str, rng: Random) -> None:
        """Take the form and the source of choices."""
        self.form, self.rng = form, rng
        self.quoted = rng.random() < QUOTED
        self.ends = False  # whether the condition closes a sentence
        self.number = _MANY  # whether it is said of one thing or of many

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
        self.number = _ONE if "{t1}{f}" in template else _MANY
        if head in ("union", "intersect", "except"):
            slots["f"], slots["g"] = (" " + self._clause(ask, (test,), "and") for test in ask.tests)
        elif ask.tests:
            slots["f"] = " " + self._clause(ask, ask.tests, ask.glue)
        if ask.cols:
            slots |= _columns(ask.cols, head == "list_pair")
        if ask.x:
            slots["x"] = ask.x.words
        if ask.g:
            slots |= {"g": ask.g.words, "gs": ask.g.many, "gis": ask.g.field.grammar["is"]}
            slots["ghas"] = "has" if slots["gis"] == "is" else "have"
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
        their = "the" if any(test.col and test.col.owner for test in tests) else "their"
        if len(tests) == 2:
            p, q = (self._predicate(test) for test in tests)
            section = "connect_two_end" if self._at_end() else "connect_two"
            return self.choose(section).format_map({"p": p, "q": q, "and": glue, "their": their})
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
        section = "connect_end" if self._at_end() else "connect"
        return self.choose(section).format_map({"p": self._predicate(test), "their": their})

    def _at_end(self) -> bool:
        return self.ends and self.rng.random() < 0.4

    def _predicate(self, test: Condition) -> str:
        return self.choose(test.kind).format_map(self._slots(test))

    def _slots(self, test: Condition) -> dict[str, str]:
        assert test.col is not None
        always = test.kind in ("prefix", "contains")
        slots = {"c": test.col.words, "v": self.show(test.v, always), **self.number}
        slots["w"] = self.show(test.w, always)
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
        number, self.ends, self.number = self.number, False, _ONE
        inner = " " + self._clause(ask, (test.inner,), "and") if test.inner else ""
        some = article(test.table.one)
        slots = {"kn": test.table.many, "k1": test.table.one, "f": inner, "some": some, **number}
        return self.choose(test.kind).format_map(slots)

    def _parent(self, ask: Ask, test: Condition) -> str:
        assert test.table is not None
        number, self.ends, self.number = self.number, False, _MANY
        inner = " " + self._clause(ask, (test.inner,), "and") if test.inner else ""
        slots = {"p1": test.table.one, "pn": test.table.many, "f": inner, "v": self.show(test.v)}
        slots |= number
        return self.choose(test.kind).format_map(slots)


def question(ask: Ask, rng: Random) -> str:
    """Return the ask as a chat question."""
    return Voice("question", rng).say(ask)


def remark(ask: Ask, rng: Random) -> str:
    """Return the ask as a corpus remark."""
    return Voice("remark", rng).say(ask)
