"""Lay the rows of wikisql_train_nodb out as those of wikisql are, which the test is like.

    python bench/wikisql.py DATA/sql_qa OUT    (OUT/train.jsonl: rows for `ftkit tune --data OUT`)

The first set's tables hold only columns that some question uses, 4.8 of them, all TEXT; the second
has whole tables of 6.7 with types, so a model that was taught the first has never had to pass a
column over, nor learned that REAL ones are compared with numbers. Here a column gets the type that
its name mostly has in wikisql's training tables, else what its values in queries look like, and a
table gets further columns from up to six of those tables: of the same page where there is one, else
of those that share names with it, the more the likelier. No column is borrowed whose words all
stand in a question to the table. Rows in which a column seems to bear another's name are left out.
Nothing of dev is looked at.
"""

import argparse
import gzip
import json
import random
import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from ftkit.recipes._sql_compact import _tables, names
from ftkit.recipes._sql_misnamed import PIECE, misnamed

CONDITION = re.compile(r"\"((?:[^\"]|\"\")*)\" (=|<|>) ('(?:[^']|'')*')")
SUMMED = re.compile(r'SELECT (?:AVG|SUM)\("((?:[^"]|"")*)"\)')
NUMBER = re.compile(r"'-?\d+(\.\d+)?'")
TRIES = 6  # tables that columns are borrowed from, at most

Columns = list[tuple[str, str]]  # name and type


class Whole:
    """wikisql's training tables, and what they say of types and of which columns go together."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.tables: dict[str, Columns] = {}
        for row in rows:
            self.tables.setdefault(row["table"], _tables(row["schema"])[0].columns)
        self.kinds: dict[str, Counter[str]] = defaultdict(Counter)
        self.pages: dict[str, list[str]] = defaultdict(list)
        self.having: dict[str, list[str]] = defaultdict(list)
        for table, columns in self.tables.items():
            self.pages[_page(table)].append(table)
            for name, kind in columns:
                self.kinds[_plain(name)][kind] += 1
                self.having[_plain(name)].append(table)
        self.sizes = [len(columns) for columns in self.tables.values()]

    def near(self, table: str, columns: Columns, draw: random.Random) -> Columns:
        """Draw columns of tables that are like one, those of one table after those of another."""
        shared = Counter(other for name, _ in columns for other in self.having[_plain(name)])
        likely = dict.fromkeys(self.pages[_page(table)], 1) or {t: n**2 for t, n in shared.items()}
        if not likely:
            return []
        drawn = draw.choices(list(likely), list(likely.values()), k=TRIES)
        return [column for other in dict.fromkeys(drawn) for column in self.tables[other]]


def kind(name: str, seen: list[tuple[str, str]], whole: Whole) -> str:
    """Say what type a column has.

    Args:
        name: its name.
        seen: the signs and values that queries compare it with.
        whole: tables with types.
    """
    if any(not NUMBER.fullmatch(value) for _, value in seen):
        return "TEXT"
    if any(sign != "=" for sign, _ in seen):
        return "REAL"
    known = whole.kinds[_plain(name)]
    return known.most_common(1)[0][0] if known else "REAL" if seen else "TEXT"


def widened(
    columns: Columns, asked: list[str], more: Columns, size: int, draw: random.Random
) -> Columns:
    """Put columns in at random places until there are so many, or no more that fit.

    Args:
        columns: the table's own.
        asked: questions to it; none is put in whose words all stand in one of them.
        more: to choose from; none whose words are a part of another's, or hold it.
        size: how many are wanted in all.
        draw: what places come from.
    """
    found, questions = list(columns), [_words(question) for question in asked]
    held = [_words(name) for name, _ in columns]
    for name, type_ in more:
        if len(found) >= size:
            break
        words = _words(name)
        told = any(words <= question for question in questions)
        if words and not told and not any(words <= one or one <= words for one in held):
            held.append(words)
            found.insert(draw.randint(0, len(found)), (_plain(name), type_))
    return found


def laid_out(rows: list[dict[str, Any]], whole: Whole, seed: int) -> list[dict[str, Any]]:
    """Give rows types and further columns; the same rows and seed give the same ones."""
    draw, tables = random.Random(seed), defaultdict[str, list[dict[str, Any]]](list)
    for row in rows:
        if not misnamed(row["question"], row["sql"], names(row["schema"])):
            tables[row["table"]].append(row)
    found = []
    for table, asked in tables.items():
        typed = _typed(asked, whole)
        questions = [row["question"] for row in asked]
        more, size = whole.near(table, typed, draw), draw.choice(whole.sizes)
        wide = widened(typed, questions, more, size, draw)
        inner = ", ".join(f"{_quoted(name)} {type_}" for name, type_ in wide)
        schema = f"CREATE TABLE {_quoted(table)} ({inner});"
        kinds = dict(typed)
        found += [row | {"schema": schema, "sql": _unquoted(row["sql"], kinds)} for row in asked]
    return found


def _typed(asked: list[dict[str, Any]], whole: Whole) -> Columns:
    """Give the columns of a table types, by its name and by the queries to it."""
    seen = defaultdict[str, list[tuple[str, str]]](list)
    for row in asked:
        for name, sign, value in CONDITION.findall(row["sql"]):
            seen[name].append((sign, value))
        for name in SUMMED.findall(row["sql"]):
            seen[name].append((">", "'0'"))  # as good as compared by size
    columns = _tables(asked[0]["schema"])[0].columns
    return [(name, kind(name, seen[name], whole)) for name, _ in columns]


def _unquoted(sql: str, kinds: dict[str, str]) -> str:
    """Write numbers bare that are compared with a REAL column, as wikisql does."""

    def bare(found: re.Match[str]) -> str:
        name, sign, value = found.groups()
        number = kinds.get(name) == "REAL" and NUMBER.fullmatch(value)
        return f'"{name}" {sign} {value[1:-1]}' if number else found.group()

    return CONDITION.sub(bare, sql)


def _page(table: str) -> str:
    """Take the Wikipedia page's number out of table_2_16575609_3."""
    return table.split("_")[2]


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "_", name.lower()).strip("_")


def _words(name: str) -> set[str]:
    return set(PIECE.findall(name.lower()))


def _quoted(name: str) -> str:
    doubled = name.replace('"', '""')
    return f'"{doubled}"'


def _read(file: Path) -> list[dict[str, Any]]:
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def main() -> None:
    """Write the rows."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, help="holds wikisql and wikisql_train_nodb")
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    whole = Whole(_read(given.data / "wikisql" / "train.jsonl.gz"))
    rows = _read(given.data / "wikisql_train_nodb" / "train.jsonl.gz")
    made = laid_out(rows, whole, given.seed)
    with (given.out / "train.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in made)
    print(f"{given.out}: {len(made):,} of {len(rows):,} rows")


if __name__ == "__main__":
    main()
