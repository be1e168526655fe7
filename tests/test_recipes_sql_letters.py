"""Small letters: what a model reads and writes has no others, what is run has those of the data."""

import json
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from ftkit.errors import FtkitError
from ftkit.recipes import _sql_letters
from ftkit.recipes._sql_letters import respelt, small
from ftkit.recipes.sql_qa import RECIPE, SqlQa

SCHEMA = 'CREATE TABLE "Teams" ("Home Land" TEXT, coach TEXT); CREATE TABLE games (place TEXT)'
DATA = Path(__file__).parent.parent.parent / "shared" / "data" / "sql_qa"
UNCASED = replace(RECIPE, uncased=True)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    file = tmp_path / "teams.sqlite"
    with closing(sqlite3.connect(file)) as opened:
        opened.executescript(SCHEMA)
        rows = [("PERU", "Ann O'Hara"), ("Peru", "Bob"), ("Österreich", "7")]
        opened.executemany("INSERT INTO Teams VALUES (?, ?)", rows)
        opened.execute("INSERT INTO games VALUES ('perU'), (NULL), (3), (x'ff')")
        opened.commit()
    return file


def where(condition: str, question: str, database: Path | None = None) -> str:
    """Give the letters of what stands behind WHERE."""
    head = 'SELECT coach FROM "Teams", games WHERE '
    sql = respelt(head + condition, question, SCHEMA, str(database) if database else "")
    assert sql.startswith(head)
    return sql.removeprefix(head)


@pytest.mark.parametrize(
    ("condition", "question", "found"),
    [
        ("coach = 'ann'", "Is it ANN or Ann?", "coach = 'ANN'"),
        ("coach = 'ann'", "Anna or Ann?", "coach = 'Ann'"),  # a word before a part of one
        ("coach = 'an'", "ANNA?", "coach = 'AN'"),
        ("coach = 'o''hara'", "Of O'Hara?", "coach = 'O''Hara'"),
        ("coach LIKE '%hey%'", "With 'Hey' in it?", "coach LIKE '%Hey%'"),
        ("coach LIKE '%'", "Any?", "coach LIKE '%'"),
        ("coach = 'bob'", "Of Ann?", "coach = 'bob'"),
        ("coach = /* or */ 'ann' -- 'ann'", "Ann?", "coach = /* or */ 'Ann' -- 'ann'"),
        ("coach = ''", "Of Ann?", "coach = ''"),
        ("coach = 'ann' AND n > 3", "İ Ann", "coach = 'Ann' AND n > 3"),  # small, İ is two
        ("coach NOT IN ('a', 3, 'b') OR x = 'c'", "A B C", "coach NOT IN ('A', 3, 'B') OR x = 'C'"),
        (
            "a BETWEEN 'b' AND 'c' AND a IS NOT 'd'",
            "B C D",
            "a BETWEEN 'B' AND 'C' AND a IS NOT 'D'",
        ),
    ],
)
def test_a_text_gets_the_questions_letters(condition: str, question: str, found: str) -> None:
    assert where(condition, question) == found


@pytest.mark.parametrize(
    ("condition", "question", "found"),
    [
        ("\"Home Land\" = 'peru'", "Of peru?", "\"Home Land\" = 'PERU'"),  # the first of two
        ("\"home land\" = 'peru'", "Of Peru?", "\"home land\" = 'Peru'"),  # the question's of two
        ("place = 'peru'", "Of Peru?", "place = 'perU'"),  # another column's
        ("coach IN ('x', 'ann o''hara')", "Ann, X?", "coach IN ('X', 'Ann O''Hara')"),
        ("\"Home Land\" <> 'österreich'", "ÖSTERREICH", "\"Home Land\" <> 'Österreich'"),
        ("coach = 'chile'", "Of Chile?", "coach = 'Chile'"),  # in no row
        ("coach = '7'", "Of 7?", "coach = '7'"),
    ],
)
def test_a_text_gets_the_letters_of_its_column_first(
    database: Path, condition: str, question: str, found: str
) -> None:
    before = database.read_bytes()
    assert where(condition, question, database) == found
    assert database.read_bytes() == before


KEPT = (
    "SELECT STRFTIME( '%Y', born) FROM t WHERE STRFTIME( '%m', born) = 'Dec'",
    "SELECT a FROM t WHERE a GLOB 'P*'",
    "SELECT a FROM t WHERE LOWER( a) = 'peru' OR UPPER( a) = 'PERU'",
    "SELECT CASE WHEN n > 3 THEN 'Yes' ELSE 'No' END, 'Peru' FROM t",
    "SELECT a FROM t WHERE a || '-' || b = 'PE-Peru' OR b + 'X' = 'Y'",
    "SELECT a FROM t WHERE a = 'PE-' || b OR a LIKE 'Pe%' || b",
    "SELECT REPLACE( a, 'P', 'p') FROM t WHERE 'Peru' = a",
    "SELECT a FROM t WHERE a = x'AB' ORDER BY 'Peru'",
)


@pytest.mark.parametrize("sql", KEPT)
def test_a_text_whose_letters_may_be_its_meaning_keeps_them(sql: str) -> None:
    assert small(sql) == sql
    assert respelt(sql.lower(), "PERU or YES?", "CREATE TABLE t (a TEXT)") == sql.lower()


LANDS = "CREATE TABLE old (name TEXT, code TEXT); CREATE TABLE land (name TEXT, code TEXT)"


@pytest.mark.parametrize(
    ("sql", "spelt"),
    [
        ("SELECT code FROM land WHERE name = 'peru'", "Peru"),
        ("SELECT code FROM land WHERE land.name = 'peru'", "Peru"),
        ("SELECT code FROM old WHERE name = 'peru'", "PERU"),
        (
            "SELECT 1 FROM land AS t1 JOIN old AS t2 ON t1.code = t2.code WHERE t1.name = 'peru'",
            "Peru",
        ),
        ("SELECT 1 FROM land t1, old t2 WHERE T2.name = 'peru'", "PERU"),
        ('SELECT 1 FROM old JOIN "land" WHERE "Land"."Name" LIKE \'peru\'', "Peru"),
        ("SELECT 1 FROM land WHERE code IN ( SELECT code FROM old) AND land.name = 'peru'", "Peru"),
        (
            "SELECT 1 FROM land WHERE code = ( SELECT o.code FROM old o WHERE o.name = 'peru')",
            "PERU",
        ),
    ],
)
def test_a_text_gets_the_letters_of_the_table_that_is_meant(
    tmp_path: Path, sql: str, spelt: str
) -> None:
    file = tmp_path / "lands.sqlite"
    with closing(sqlite3.connect(file)) as opened:
        opened.executescript(LANDS)
        opened.execute("INSERT INTO old VALUES ('PERU', 'OP')")
        opened.execute("INSERT INTO land VALUES ('Peru', 'PE')")
        opened.execute("INSERT INTO land VALUES (CAST(x'ff' AS TEXT), 'no UTF-8')")
        opened.commit()
    assert respelt(sql, "Of peru?", LANDS, str(file)) == sql.replace("'peru'", f"'{spelt}'")


def test_what_others_write_meanwhile_is_seen(tmp_path: Path) -> None:
    file = tmp_path / "lands.sqlite"
    with closing(sqlite3.connect(file)) as opened:
        opened.executescript(f"PRAGMA journal_mode = WAL; {LANDS}")
        for name in ("Peru", "ChiLe"):
            sql = f"SELECT code FROM land WHERE name = '{name.lower()}'"
            asked = respelt(sql, "?", LANDS, str(file))
            assert asked == sql
            opened.execute("INSERT INTO land VALUES (?, 'X')", (name,))
            opened.commit()
            asked = respelt(sql, "?", LANDS, str(file))
            assert asked == sql.replace(name.lower(), name)


def test_a_search_that_takes_long_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "long.sqlite"
    with closing(sqlite3.connect(file)) as opened:
        opened.execute("CREATE TABLE land (name TEXT)")
        rows = "WITH n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 200000)"
        opened.execute(f"{rows} INSERT INTO land SELECT 'name ' || i FROM n")
        opened.execute("INSERT INTO land VALUES ('Chile')")
        opened.commit()
    sql, schema = "SELECT 1 FROM land WHERE name = 'chile'", "CREATE TABLE land (name TEXT)"
    assert respelt(sql, "?", schema, str(file)) == sql.replace("chile", "Chile")
    monkeypatch.setattr(_sql_letters, "STEPS", 100_000)
    _sql_letters._spellings.cache_clear()
    _sql_letters._opened.cache_clear()
    assert respelt(sql, "?", schema, str(file)) == sql


def test_a_column_that_the_file_lacks_leaves_the_questions_letters(tmp_path: Path) -> None:
    file = tmp_path / "other.sqlite"
    with closing(sqlite3.connect(file)) as opened:
        opened.execute("CREATE TABLE games (n)")
    assert where("coach = 'ann'", "Ann?", file) == "coach = 'Ann'"
    file.write_bytes(b"no database " * 99)
    with pytest.raises(FtkitError, match=r"other\.sqlite cannot be read as a SQLite database"):
        where("coach = 'bob'", "Bob?", file)


def test_what_a_model_reads_and_writes_has_small_letters(tmp_path: Path) -> None:
    schema = 'CREATE TABLE "Teams" ("Home Land" TEXT, "Order" REAL)'
    row = {
        "question": "Which Order has Peru?",
        "schema": schema,
        "sql": 'SELECT "Order" FROM Teams WHERE "Home Land" = \'Peru\'',
    }
    (tmp_path / "train.jsonl").write_text(json.dumps(row))
    (tmp_path / "dev.jsonl").write_text(json.dumps(row | {"question": "What Order has Peru?"}))
    recipe = replace(UNCASED, data=(str(tmp_path),), cache=str(tmp_path / "cache"))
    (example,) = recipe.examples("train")
    shown = 'table teams: home_land text, "order" real'
    assert example.prompt[0]["content"] == f"{shown}\nwhich order has peru?"
    assert example.reference == "SELECT \"order\" FROM teams WHERE home_land = ' peru'"
    assert recipe.answer(example.reference, example) == row["sql"]
    prose = recipe.prose(example)
    assert prose is not None
    assert prose.prompt == f"{shown}\n\nwhich order has peru?\n"
    assert next(iter(recipe.documents())) == prose.prompt + prose.answer + prose.stop


def test_a_users_database_is_asked_in_small_letters_and_answered_in_its_own(database: Path) -> None:
    example = UNCASED.ask("Who trains  PERU?", database)
    *tables, asked = example.prompt[0]["content"].splitlines()
    assert tables == ['table teams: "home land" text, coach text', "table games: place text"]
    assert asked == "who trains peru?"
    reply = "SELECT coach FROM teams WHERE \"home land\" = 'peru'"
    assert UNCASED.answer(reply, example) == reply.replace("peru", "PERU")
    held = UNCASED.grammar(example, "texts")
    assert held is not None
    assert all(held.allows(reply[:size]) for size in range(len(reply)))
    bare = UNCASED.ask("Who trains PERU?")
    assert bare.prompt[0]["content"] == "who trains peru?"
    reply = "SELECT n FROM t WHERE land = 'peru'"
    assert UNCASED.answer(reply, bare) == reply.replace("peru", "PERU")


def test_names_beyond_ascii_stay_as_sqlite_knows_them(tmp_path: Path) -> None:
    """SQLite takes "NAME" for "name", but not "ä" for "Ä"."""
    file = tmp_path / "land.sqlite"
    with closing(sqlite3.connect(file)) as opened:
        opened.executescript('CREATE TABLE "Österreich" (Ort TEXT, "Ä" INT, "ä" INT)')
    example = UNCASED.ask("Wo?", file)
    assert example.prompt[0]["content"] == 'table "Österreich": ort text, "Ä" int, "ä" int\nwo?'
    held = UNCASED.grammar(example, "names")
    assert held is not None
    assert held.allows('SELECT ort FROM "Österreich" WHERE "Ä" = 3', True)
    assert not held.allows('SELECT ort FROM "österreich"', True)


def test_shown_values_are_what_is_taught(database: Path) -> None:
    told = replace(UNCASED, values=3).ask("Of ÖSTERREICH?", database).prompt[0]["content"]
    assert told.startswith("table teams: \"home land\" text ('peru', 'österreich')")
    assert told.endswith("of österreich?")


def test_a_second_thread_can_ask(database: Path) -> None:
    where("coach = 'bob'", "?", database)
    with ThreadPoolExecutor() as pool:
        assert pool.submit(where, "coach = '7'", "?", database).result() == "coach = '7'"


def test_lenient_scoring_puts_letters_back_too(database: Path) -> None:
    example = UNCASED.ask("Who trains Peru?", database)
    reply = "SELECT coach FROM teams WHERE \"home land\" = 'österreich'"
    assert RECIPE.answer(reply, example) == UNCASED.answer(reply, example)
    assert "Österreich" in RECIPE.answer(reply, example)


@pytest.mark.parametrize(("source", "most"), [("", 0), ("wikisql", 0), ("spider", 2)])
def test_references_come_back_as_they_were(source: str, most: int) -> None:
    """Of Spider's, two spell a text otherwise than the column does."""
    if source and not DATA.is_dir():
        pytest.skip("needs the shared data")
    plain = SqlQa(data=(str(DATA / source),) if source else (), on_bad_rows="skip")
    uncased = replace(plain, uncased=True)
    pairs = list(zip(plain.examples("test"), uncased.examples("test"), strict=True))
    other = [
        ours.where
        for theirs, ours in pairs
        if plain.answer(theirs.reference, theirs) != uncased.answer(ours.reference, ours)
    ]
    assert len(pairs) > 300
    assert len(other) <= most, other
    assert not any(word.isupper() for _, one in pairs for word in one.prompt[0]["content"])
