"""How a model is taught to spell SQL: a space before every word, so a name is one token everywhere.

In a schema's line and in a question a name has a space before it; behind a dot, a bracket or an
apostrophe it would not, and byte-level BPE makes other tokens of it. A small model copies tokens:
with joins written `hives.code` it got 1 % of them right.
"""

import re

TOKENS = re.compile(
    r"""(?P<comment>--[^\n]*|/\*[\s\S]*?\*/)|(?P<text>[xX]?'(?:[^']|'')*')|(?P<quoted>"(?:[^"]|"")*"|`[^`]*`|\[[^\]]*\])"""
    r"""|(?P<number>(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?(?![\w.]))|(?P<word>\w+)"""
    r"""|(?P<sign><>|<<|>>|->>|->|<=|>=|!=|==|\|\||\S)"""
)
# Words that SQLite takes for a function where a bracket follows.
FUNCTIONS = frozenset(
    """abs avg cast coalesce count date datetime ifnull iif instr julianday length lower ltrim max
    min nullif printf replace round rtrim strftime substr substring sum time total trim typeof
    upper""".split()  # noqa: SIM905
)
_WORD = re.compile(r'[^\W\d]|"')
_LOOSE = re.compile(r"^'(%?)(?=[^\W\d_]| )")  # a text that begins with a letter or with a space
_TIGHT = re.compile(r"^'(%?) ")


def split(sql: str) -> list[tuple[str, str]]:
    """Divide a query into kinds and tokens; comments and a semicolon at the end are dropped."""
    found = [(str(match.lastgroup), match.group()) for match in TOKENS.finditer(sql)]
    found = [(kind, word) for kind, word in found if kind != "comment"]
    while found and found[-1][1] == ";":
        found.pop()
    return found


def join(words: list[str], apart: bool = False) -> str:
    """Write tokens as a person would space them.

    Args:
        words: the tokens.
        apart: keep a space before every word, also behind a bracket or a dot.
    """
    text = ""
    for place, word in enumerate(words):
        last = words[place - 1] if place else "("
        tight = (
            word in (")", ",", ".", ";")
            or (last in ("(", ".") and not (apart and _WORD.match(word)))
            or (word == "(" and (last.lower() in FUNCTIONS))
        )
        text += word if tight else f" {word}"
    return text.strip()


def spread(sql: str, texts: bool = False) -> str:
    """Spell a query as it is taught, with a space before every word; SQLite does not mind.

    Args:
        sql: a query.
        texts: also put a space before the first word of a text. That changes what the query means
            until `close` undoes it.

    >>> spread("SELECT MAX(hives.code) FROM hives WHERE name = 'Elm Row'")
    "SELECT MAX( hives. code) FROM hives WHERE name = 'Elm Row'"
    """
    words = [
        _LOOSE.sub(r"'\1 ", word) if texts and kind == "text" else word for kind, word in split(sql)
    ]
    return join(words, apart=True)


def close(sql: str, texts: bool = False) -> str:
    """Undo `spread` in what a model wrote; all else stays as it is.

    Args:
        sql: a query, or whatever else the model said.
        texts: as they were spread.

    >>> close("SELECT MAX( hives. code) FROM hives WHERE name = ' Elm Row'", texts=True)
    "SELECT MAX(hives.code) FROM hives WHERE name = 'Elm Row'"
    """
    parts, end, last = [], 0, ""
    for found in TOKENS.finditer(sql):
        gap, word = sql[end : found.start()], found.group()
        if not (gap == " " and last in ("(", ".") and _WORD.match(word)):
            parts.append(gap)
        parts.append(_TIGHT.sub(r"'\1", word) if texts and found.lastgroup == "text" else word)
        end, last = found.end(), word
    return "".join([*parts, sql[end:]])


def unquoted(word: str) -> str:
    """Take the quotes off a name that has some; a text keeps its own."""
    if len(word) == 1 or word[0] not in '"`[':
        return word
    return word[1:-1].replace('""', '"') if word[0] == '"' else word[1:-1]


def first_statement(text: str) -> str:
    """Take a reply's text up to the semicolon that ends its first statement.

    >>> first_statement("SELECT ';' FROM t; DROP TABLE t")
    "SELECT ';' FROM t"
    """
    for found in TOKENS.finditer(text):
        if found.group() == ";":
            return text[: found.start()].strip()
    return text.strip()


def settled(text: str) -> str:
    """Take the part of an unfinished reply whose tokens stay what they are, whatever follows.

    The last two tokens may become one with what follows, so may what a dot or a letter touches, a
    function's name waits for its bracket, and behind an open quote or comment all may be one text.

    >>> settled("SELECT name FROM ships WHERE name = 'Gu")
    'SELECT name FROM ships WHERE'
    """
    found = list(TOKENS.finditer(text))
    signs = [match.lastgroup == "sign" and match.group() for match in found]
    opened = [
        place
        for place, sign in enumerate(signs)
        if sign in ("'", '"', "`", "[") or (sign == "/" and signs[place + 1 : place + 2] == ["*"])
    ]
    sure = found[: max(0, min([len(found), *opened]) - 2)]
    while sure and _open(sure[-1]):
        sure.pop()
    return text[: sure[-1].end()] if sure else ""


def _open(last: re.Match[str]) -> bool:
    """Say whether what follows a token may still say what the token is."""
    touched = re.match(r"[\w.]", last.string[last.end() :])
    waits = last.lastgroup == "comment" or last.group().lower() in FUNCTIONS
    return waits or bool(touched and re.search(r"[\w.]$", last.group()))
