"""Values for one column of a refilled table: like the original's, other ones, and the constants."""

import math
import re
import string
from collections.abc import Iterable, Iterator, Sequence
from random import Random

from ._mentions import Constant
from ._schema import DATE, Column, Value

CONSTANTS = 0.3  # share of constants, and of values just beside them, in a mentioned column
NULLS = 0.15  # share of NULL where the original has any
BEYOND = 0.3  # share of other numbers that lie outside of all that the original has
MOST = 2**62  # far from where SQLite's integers end
KEPT = 0.5  # share of values that stay the original's where new ones are possible
BEGUN = re.compile(r"(\d{4}(?:-\d\d){0,2})%?")  # a year, a month or a day


def drawn(
    column: Column, wanted: Sequence[Constant], marked: Sequence[bool], few: bool, random: Random
) -> list[Value]:
    """Draw a column.

    Args:
        column: as the original has it.
        wanted: the constants that a query compares it with.
        marked: for each row, whether it must hold one of them.
        few: whether values come again and again, and numbers lie evenly about one of their own, so
            that groups are large and an average is a value too.
        random: decides every value.

    Returns:
        A value for each row; different ones in a column that is a key.
    """
    exact = [value for c in wanted for value in _exact(c, column, random)]
    beside = list(exact)
    if not column.closed:
        beside += [near for value in exact for near in _beside(value, column, random)]
    if column.key:
        return _different(column, exact, marked, few, random)
    if few and column.whole and not (column.nulls or column.closed or wanted):
        return _even(column, len(marked), random)
    pool = [_value(column, random) for _ in range(max(2, len(marked) // (5 if few else 2)))]
    found = [random.choice(exact) if exact and mark else random.choice(pool) for mark in marked]
    free = [place for place, mark in enumerate(marked) if not (exact and mark)]
    random.shuffle(free)
    nulls = [None] * max(1, int(NULLS * len(marked))) if column.nulls else []
    asked = random.choices(beside, k=int(CONSTANTS * len(free))) if beside else []
    for place, value in zip(free, [*nulls, *beside, *asked], strict=False):
        found[place] = value
    return found


def _even(column: Column, count: int, random: Random) -> list[Value]:
    """Draw whole numbers whose average is one of them."""
    low, high = (int(end) for end in column.span)
    middle, widest = (low + high) // 2, max(2, (high - low) // 2)
    steps = [random.randint(1, widest) for _ in range(max(1, count // 6))]
    found: list[Value] = [middle] * (2 + count % 2)
    while len(found) < count:
        step = random.choice(steps)
        found += [middle - step, middle + step]
    random.shuffle(found)
    return found[:count]


def _different(
    column: Column, exact: Sequence[Value], marked: Sequence[bool], few: bool, random: Random
) -> list[Value]:
    """Draw the values of a key; one constant is not there at times, or LIMIT would pass for it."""
    found = list(dict.fromkeys(exact))[: len(marked)]
    if few and found:
        found.remove(random.choice(found))
    missing = len(marked) - len(found)
    low, high = column.span
    if column.whole and max(-low, high) < 2**53:
        low, high = int(low), max(int(high), int(low) + 3 * len(marked))
        fresh: Iterable[Value] = (
            *random.sample(range(low, high), len(marked) - 2),
            *random.sample(range(high, 5 * high - 4 * low), 2),
        )
    else:
        fresh = (_value(column, random) for _ in range(2 * len(marked)))
    found += [value for value in dict.fromkeys(fresh) if value not in exact][:missing]
    short = len(marked) - len(found)
    return found + [_numbered([*found, *exact][0], place) for place in range(short)]


def _numbered(value: Value, place: int) -> Value:
    """Make a value that cannot have come before."""
    if isinstance(value, bytes):
        return value + bytes([place])
    return f"{value} {place}" if isinstance(value, str) else 100_000 + place


def _value(column: Column, random: Random) -> Value:
    """Draw one value: the original's or another like it."""
    if not column.values:
        if any(word in column.kind for word in ("INT", "NUM", "REAL", "FLOA", "DOUB", "DEC")):
            return random.randint(-5, 40)
        return "".join(random.choices(string.ascii_lowercase, k=random.randint(4, 8)))
    value = random.choice(column.values)
    return value if column.closed or random.random() < KEPT else _other(value, column, random)


def _other(value: Value, column: Column, random: Random) -> Value:
    """Make another value of the same type and look."""
    low, high = column.span
    if isinstance(value, int | float) and random.random() < BEYOND:
        wide, least = max(high - low, 30), 0 if low >= 0 else -math.inf
        low, high = random.choice([(high, high + wide), (max(least, low - wide), low)])
    if isinstance(value, int):
        high = max(high, low + 9)
        return random.randint(*(int(max(-MOST, min(end, MOST))) for end in (low, high)))
    if isinstance(value, float):
        digits = min(len(str(value).partition(".")[2]), 6)
        return round(random.uniform(low, min(max(high, low + 1), 1e300)), digits)
    if isinstance(value, str):
        return _text(value, random)
    return value


def _text(text: str, random: Random) -> str:
    """Change some letters and digits, letters into letters; a date stays one."""
    if match := DATE.fullmatch(text):
        month, day = random.randint(1, 12), random.randint(1, 28)
        return f"{match.group(1)}-{month:02}-{day:02}{match.group(2)}"
    places = [place for place, letter in enumerate(text) if letter.isalnum()]
    if not places:
        return random.choice(string.ascii_lowercase) + text
    letters = list(text)
    for place in random.sample(places, min(len(places), random.randint(1, 3))):
        old = letters[place]
        if old.isdigit():
            letters[place] = random.choice(string.digits[place == places[0] :])
        else:
            new = random.choice(string.ascii_lowercase)
            letters[place] = new.upper() if old.isupper() else new
    return "".join(letters)


def _exact(constant: Constant, column: Column, random: Random) -> Iterator[Value]:
    """Give a constant as the column can hold it; a pattern becomes texts that fit it.

    In a column of dates a year, a month or the beginning of one becomes a date.
    """
    value = constant.value
    if column.dated and (constant.pattern or not DATE.fullmatch(str(value))):
        if begun := BEGUN.fullmatch(str(value)):  # what a function of the date is compared with
            date = next(v for v in column.values if isinstance(v, str) and DATE.fullmatch(v))
            yield begun[1] + _text(date, random)[len(begun[1]) :]
        return
    if constant.pattern and isinstance(value, str):
        for size in (0, 1, 3):
            letters = random.choices(string.ascii_lowercase, k=size + 1)
            some = "".join(letters[1:])
            yield value.replace("%", some, 1).replace("%", some[:2]).replace("_", letters[0])
        return
    numbers = bool(column.values) and not any(isinstance(v, str) for v in column.values)
    if isinstance(value, str) and numbers and _as_number(value) is None:
        return  # text in a column of numbers
    whole = column.whole and isinstance(value, float) and abs(value) < MOST
    yield int(value) if whole else value


def _beside(value: Value, column: Column, random: Random) -> Iterator[Value]:
    """Give the values next to a constant, which tell < and <= apart; of a date other years too."""
    number = _as_number(value)
    if number is None:
        if isinstance(value, str):
            yield _text(value, random)
            if DATE.fullmatch(value):
                yield from (f"{max(0, int(value[:4]) + step):04}{value[4:]}" for step in (1, -1))
            else:
                yield value + random.choice(string.ascii_lowercase)
        return
    step = 1 if column.whole or isinstance(number, int) else 0.5
    near = [number + step, number - step if number >= step else number + 2 * step]
    yield from (str(n) if isinstance(value, str) else n for n in near)


def _as_number(value: Value) -> int | float | None:
    """Read a number, or text that is one."""
    if isinstance(value, int | float):
        return value
    try:
        found = float(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return int(found) if found is not None and found.is_integer() else found
