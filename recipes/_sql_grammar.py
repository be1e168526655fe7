"""What a query may begin with: SQLite says which words can follow, its schema which names.

Incremental parsing of what a model writes (PICARD, arXiv:2109.05093). A name that no table has, a
column of a table that the query does not ask, a word that SQLite's parser does not take: what could
not run is not written. SQLite says of an unfinished query that its input is incomplete, and of one
that cannot go on that there is a syntax error, so no parser is needed beside its own. Queries that
begin with WITH, and windows, are not written either: their names are no schema's.
"""

import re
from functools import lru_cache
from itertools import zip_longest

from ._sql_compact import KEYWORDS, names
from ._sql_files import compiles, quoted
from ._sql_place import Place
from ._sql_spelling import FUNCTIONS, TOKENS, unquoted

# Words behind which what stands before them must be a query that runs.
ENDING = frozenset("where group having order limit union intersect except".split())  # noqa: SIM905
UNUSED = frozenset("with over partition collate full right values".split())  # noqa: SIM905
OFFERED = (KEYWORDS | FUNCTIONS) - UNUSED
SHORT = re.compile(r"[a-z]\d{0,2}")  # T1 and its like, which stand for a table
# Of the signs that SQLite knows, those that answers to questions need.
SIGNS = frozenset("( ) , . * + - / || = == < > <= >= <> !=".split())  # noqa: SIM905
NESTED = 5  # brackets at once
WIDE = re.compile(r"[^\S ]|  ")  # a query is taught on one line, with single spaces
HALF = "\ufffd"  # the bytes of a character that are there as yet
QUOTES = ("'", '"')
KEPT = 4096  # faults that are known
ENDLESS = re.compile(rf"[^\S ]|   |{HALF}{{4}}")  # what no text of a question holds
JOINING = frozenset("inner left cross natural outer".split())  # noqa: SIM905
UNKNOWN = ("no such column", "no such table", "ambiguous column name")


@lru_cache(maxsize=64)
def grammar(schema: str, question: str | None = None) -> "Grammar":
    """Give the grammar of a schema, the same as before where there was one."""
    return Grammar(schema, question)


class Grammar:
    """The queries over one schema.

    Args:
        schema: CREATE TABLE statements with the names that a query uses.
        question: where it is given, texts in a query must be words of it, capitals aside.
    """

    def __init__(self, schema: str, question: str | None = None) -> None:
        self.schema = schema
        found = names(schema).tables
        self.names = set[str](found).union(*found.values())  # as they are spelt, and as taught
        self.tables = {t.lower(): {c.lower() for c in found[t]} for t in found}
        self.columns = set[str]().union(*self.tables.values())
        self.question = None if question is None else question.lower()
        self.fault = lru_cache(maxsize=KEPT)(self._fault)

    def allows(self, text: str, whole: bool = False) -> bool:
        """Say whether a query can begin so, or be so as a `whole`.

        >>> grammar = Grammar("CREATE TABLE ships (id, name); CREATE TABLE crew (age, ship_id)")
        >>> [grammar.allows(f"SELECT {name}") for name in ("na", "nam", "nome", "ships.", "COU")]
        [True, True, False, True, True]
        >>> [grammar.allows(f"SELECT name FROM {rest}") for rest in ("cr", "ships WH", "crew WH")]
        [True, True, False]
        """
        place, found, end = Place(), list(TOKENS.finditer(text)), 0
        for match, following in zip_longest(found, found[1:]):
            kind, word, head = str(match.lastgroup), match.group(), text[: match.start()]
            if WIDE.search(text, end, match.start()):
                return False
            end = match.end()
            after = following.group() if following else ""
            twice = word[0] in QUOTES and after == word[0] and following.start() == end
            if twice or (kind == "sign" and word in QUOTES):
                return not whole and self._unclosed(place, head, text[match.start() :])
            ends = end == len(text) and not whole
            if not self._fits(place, head, word, kind, after, ends):
                return False
            place.add(word, kind)
        wide = WIDE.search(text, end) is not None
        return self.fault(text) is None if whole else not wide

    def _fault(self, text: str) -> str | None:
        return compiles(text, self.schema)

    def _viable(self, text: str) -> bool:
        """Say whether SQLite's parser could go on behind a text."""
        fault = self.fault(text)
        return fault is None or not ("syntax error" in fault or "unrecognized token" in fault)

    def _resolved(self, text: str, place: Place) -> bool:
        """Say whether all names are known, once what is open is closed."""
        if any(level.part in ("select", "from") for level in place.levels[:-1]):
            return True  # names of a query around it may still come
        fault = self.fault(text + ")" * place.brackets)
        return fault is None or not fault.startswith(UNKNOWN)

    def _fits(self, place: Place, head: str, word: str, kind: str, after: str, ends: bool) -> bool:
        """Say whether a word, which may go on where it `ends` the text, can stand behind a head."""
        if kind in ("word", "quoted"):
            if ends and kind == "word":
                return self._begins(place, head, word)
            # What closes a name may yet be a table's before its dot.
            likely = (after, ".") if ends else (after,)
            if any(self._word(place, head, word, one, kind) for one in likely):
                return True
            return ends and self._begins(place, head, f'{unquoted(word)}"', bare=False)
        if kind == "text":
            inner = word.strip("'")
            return place.free and self._said(inner, True) and self._viable(head + word)
        if kind == "sign":
            return self._sign(place, head, word, ends)
        return kind == "number" and self._viable(head + word)

    def _sign(self, place: Place, head: str, sign: str, ends: bool) -> bool:
        """Say whether a sign can stand here."""
        if sign in ("!", "|") and ends:
            sign = "!=" if sign == "!" else "||"
        refused = {
            ".": place.part == "from",
            "(": not place.calls and (place.valued or place.brackets >= NESTED),
            ")": place.part not in ("", "select") and not self._resolved(head, place),
        }
        if place.twice or sign not in SIGNS:
            return False
        return not refused.get(sign, False) and self._viable(head + sign)

    def _unclosed(self, place: Place, head: str, rest: str) -> bool:
        """Say whether a text or a quoted name that nothing closes yet can stand here."""
        start = rest.rstrip(HALF)
        if ENDLESS.search(rest) or (start != rest and not self._foreign(start)):
            return False
        if start[0] == '"':
            return self._begins(place, head, start[1:].replace('""', '"'), bare=False)
        return place.free and self._said(start[1:], False) and self._viable(f"{head}''")

    def _foreign(self, start: str) -> bool:
        """Say whether a character of several bytes can follow the beginning of a quoted thing."""
        if start[0] == "'" and self.question is None:
            return True
        texts = [self.question or ""] if start[0] == "'" else self.names
        begun = re.escape(start[1:].strip(" %").lower()) + r"[^\x00-\x7f]"
        return any(re.search(begun, text.lower()) for text in texts)

    def _said(self, text: str, whole: bool) -> bool:
        """Say whether a text, or one that begins so, is words of the question."""
        words = text.lower().strip(" %").replace("''", "'")
        if self.question is None or not words:
            return True
        begin = r"(?<!\w)" if words[0].isalnum() else ""
        end = r"(?:e?s)?(?!\w)" if whole and words[-1].isalnum() else ""
        return bool(re.search(begin + re.escape(words) + end, self.question))

    # Words.

    def _begins(self, place: Place, head: str, start: str, bare: bool = True) -> bool:
        """Say whether a word that begins so can stand here; keywords in capitals, as taught."""
        if place.last == "as":
            return True
        if bare and place.last != ".":
            likely = (word for word in OFFERED if word.upper().startswith(start))
            if any(self._keyword(place, head, word) for word in likely):
                return True
        low = start.lower()
        if bare and SHORT.fullmatch(low) and self._short(place):
            return True
        names = {name.lower() for name in self.names if name.startswith(start)}
        names |= {name for name in place.made if name.startswith(low)}
        return any(self._name(place, head, name, after) for name in names for after in ("", "."))

    def _word(self, place: Place, head: str, word: str, after: str, kind: str) -> bool:
        """Say whether a whole word can stand here."""
        low = unquoted(word).lower()
        if place.last == "as":
            return place.may_name(low)
        capitals = kind == "word" and word.isupper() and place.last != "." and low in OFFERED
        if capitals and (after == "(" or low in KEYWORDS):
            return self._keyword(place, head, low)
        short = kind == "word" and SHORT.fullmatch(low) is not None
        known = unquoted(word) in self.names or low in place.made or short
        return known and self._name(place, head, low, after)

    def _keyword(self, place: Place, head: str, word: str) -> bool:
        """Say whether a keyword or a function can stand here."""
        if word in FUNCTIONS:
            return place.free and self._viable(f"{head}{word}(")
        if place.twice and word != "as":
            return False
        if place.wants_table or _misread(place, word) or not self._viable(head + word):
            return False
        return word not in ENDING or self._resolved(head, place)

    def _short(self, place: Place) -> bool:
        """Whether a short name for a table can stand here."""
        if place.part == "from":
            return place.valued and place.table != "" and place.named == place.table
        return place.waits and not place.valued and place.last != "."

    def _name(self, place: Place, head: str, name: str, after: str) -> bool:
        """Say whether a name can stand here, a dot behind it or not."""
        if place.last == ".":
            table = place.stands(place.qualifier)
            table = place.qualifier if table is None else table
            return name in self.tables.get(table, self.columns | place.given)
        if place.wants_table:
            return name in self.tables
        short = SHORT.fullmatch(name) is not None and self._short(place)
        if place.part == "from":
            return short and place.may_name(name)
        marked = quoted(name) if "]" in name else f"[{name}]"  # "x" could be a text to SQLite
        if place.valued or not self._viable(head + marked):
            return False
        if after == ".":
            if place.waits and name in self.tables:
                return True
            return short or place.stands(name) is not None
        if place.part == "select":
            return name in self.columns
        return name in place.given or (
            name in self.columns and self._resolved(head + marked, place)
        )


def _misread(place: Place, word: str) -> bool:
    """Say whether SQLite would take a keyword for a name here, as it does where it can."""
    if place.last in JOINING:
        return word not in ("join", "outer", "left", "inner", "cross")
    if place.part == "from" and place.last == "(":
        return word != "select"
    if word in ("asc", "desc", "offset"):
        return not (place.valued and place.part == "after")
    if word in JOINING:
        return word == "outer" or not (place.valued and place.part in ("from", "on"))
    if word in ("like", "glob", "end", "not") and place.part == "from":  # NOT INDEXED
        return True
    if word in ("like", "glob", "end"):
        return not (place.valued or place.last == "not")
    if word == "on":
        return not place.joins
    return word == "by" and place.last not in ("group", "order")
