"""The compact form of real-world SQL: short, and back again to what means the same."""

import random
import sqlite3
from collections import Counter
from pathlib import Path

import pytest

from ftkit.recipes._sql_compact import compact, names, restore

WILD = (
    'CREATE TABLE "table_1_16575609_3" ("Pick #" REAL, "CFL Team" TEXT, "Order" TEXT, "1995" TEXT, '
    '"Area (km 2 )" REAL, "Returning" TEXT, "pick" TEXT, "Größe" TEXT, "#" TEXT);'
)
MIXED = (
    'CREATE TABLE "Student" ("StuID" INTEGER, "LName" TEXT, "Age" INTEGER, PRIMARY KEY ("StuID"));'
    'CREATE TABLE "Has_Pet" ("StuID" INTEGER, "PetID" INTEGER, '
    'FOREIGN KEY ("StuID") REFERENCES "Student" ("StuID"));'
)
# Query, and its compact form.
QUERIES = {
    WILD: {
        'SELECT COUNT("Pick #") FROM "table_1_16575609_3" WHERE "CFL Team" = \'It\'\'s; "x"\'':
            "SELECT COUNT( pick) FROM t WHERE cfl_team = ' It''s; \"x\"'",
        'SELECT "Order", "1995" FROM "table_1_16575609_3" ORDER BY "Order" DESC LIMIT 3':
            'SELECT "order", "1995" FROM t ORDER BY "order" DESC LIMIT 3',
        'SELECT "pick", "Größe", "#" FROM "table_1_16575609_3" WHERE "Area (km 2 )" >= 1.5':
            'SELECT pick_2, "größe", col FROM t WHERE area_km_2 >= 1.5',
        'SELECT MAX("Returning") FROM "table_1_16575609_3"': 'SELECT MAX( "returning") FROM t',
    },
    MIXED: {
        'select T1.lname from student as T1 join has_pet as T2 on T1.stuid = T2.stuid '
        'where T1.age > 20 and T1.LName != "x";':
            "SELECT t1. lname FROM student AS t1 JOIN has_pet AS t2 ON t1. stuid = t2. stuid "
            "WHERE t1. age > 20 AND t1. lname != ' x'",
        "SELECT count(*), Avg(Age) FROM Student WHERE StuID NOT IN (SELECT StuID FROM Has_Pet)":
            "SELECT COUNT(*), AVG( age) FROM student WHERE stuid NOT IN "
            "( SELECT stuid FROM has_pet)",
    },
}  # fmt: skip


def filled(schema: str, seed: int = 0) -> sqlite3.Connection:
    """Fill tables with small values, so that queries find something."""
    draw, database = random.Random(seed), sqlite3.connect(":memory:")
    database.executescript(schema)
    tables = [row[0] for row in database.execute("SELECT name FROM sqlite_master")]
    for table in tables:
        wide = len(list(database.execute(f'PRAGMA table_info("{table}")')))
        for number in range(30):
            row = [number, *(draw.choice(["x", 'It\'s; "x"', 3, 25]) for _ in range(wide - 1))]
            database.execute(f'INSERT INTO "{table}" VALUES ({",".join("?" * wide)})', row)
    return database


@pytest.mark.parametrize("schema", [WILD, MIXED])
def test_the_compact_form_is_short_and_comes_back_to_the_same_result(schema: str) -> None:
    known, database = names(schema), filled(schema)
    for query, short in QUERIES[schema].items():
        assert compact(query, known) == short
        back = restore(short, known)
        assert Counter(database.execute(back)) == Counter(database.execute(query))
        assert compact(back, known) == short, "once more changes nothing"


def test_compact_queries_run_on_the_compact_schema() -> None:
    """The short names are a schema of their own: what the model is shown and writes is SQL."""
    for schema, queries in QUERIES.items():
        database = sqlite3.connect(":memory:")
        database.executescript(names(schema).schema)
        for short in queries.values():
            assert database.execute(short).description, short


def test_names_are_one_to_one() -> None:
    for schema in QUERIES:
        known = names(schema)
        assert len(known.short) == len(known.full) == len(set(known.short.values()))
        assert all(known.full[known.short[name]].lower() == name for name in known.short)


def test_a_models_own_words_survive_restoring() -> None:
    known = names(MIXED)
    assert (
        restore("SELECT nonsense FROM student WHERE", known) == "SELECT nonsense FROM Student WHERE"
    )
    assert restore("SELECT 'stuid' FROM student", known) == "SELECT 'stuid' FROM Student"
    assert restore("", known) == ""


def test_schemas_cannot_reach_outside(tmp_path: Path) -> None:
    for text in (f"ATTACH DATABASE '{tmp_path / 'x'}' AS x", "DROP TABLE t", "nonsense", ""):
        with pytest.raises(ValueError, match=r"."):
            names(text)
    assert not list(tmp_path.iterdir())
