"""Two hundred hand-made pairs of gold query and prediction, each with its verdict and reason."""

import re
import sqlite3
from pathlib import Path

import pytest

from ftkit.eval._instances import Instances
from ftkit.eval._normal import normal
from ftkit.eval._sql import Sql
from ftkit.eval._verdict import Judge

SCHEMA = """
CREATE TABLE artist (id INTEGER PRIMARY KEY, name TEXT, country TEXT, born INTEGER, died INTEGER,
    height REAL);
CREATE TABLE album (id INTEGER PRIMARY KEY, title TEXT, artist_id INTEGER REFERENCES artist (id),
    year INTEGER, price REAL, sold INTEGER);
CREATE TABLE track (album_id INTEGER REFERENCES album (id), number INTEGER, title TEXT,
    seconds INTEGER, PRIMARY KEY (album_id, number));
CREATE TABLE fan (name TEXT, town TEXT, artist_id INTEGER);
CREATE TABLE empty (a INTEGER, b TEXT);
INSERT INTO artist VALUES
    (1, 'Anna Berg', 'Norway', 1941, 2010, 1.7), (2, 'Hiro Sato', 'Japan', 1950, NULL, 1.7),
    (3, 'Luis Soto', 'Chile', 1960, NULL, 1.68), (4, 'Ken Mori', 'Japan', 1935, 1999, 1.74),
    (5, 'Hans', 'Norway', 1970, NULL, 1.91), (6, 'Yuki Ito', 'Japan', 1950, NULL, 1.62);
INSERT INTO album VALUES
    (1, 'Fjord', 1, 1975, 9.5, 100), (2, 'Harbour', 5, 1995, 12.0, 250),
    (3, 'Temple', 2, 1984, 11.0, 100), (4, 'Andes', 3, 1990, 8.0, 70),
    (5, 'River', 4, 1966, 7.5, 30), (6, 'Snow', 5, 2001, 15.5, 410),
    (7, 'Garden', 2, 1979, 9.5, 55);
INSERT INTO track VALUES (1, 1, 'Sail', 200), (1, 2, 'Waves', 240), (2, 1, 'Lights', 185),
    (3, 1, 'Bell', 320), (6, 1, 'Frost', 240);
INSERT INTO fan VALUES ('Mia', 'Oslo', 1), ('Tom', 'Bergen', 5), ('Eva', 'Lima', 3);
"""
PAIRS = Path(__file__).parent / "sql_pairs.txt"


def pairs() -> list[tuple[str, str, str]]:
    """Read gold, prediction and verdict."""
    gold, found = "", []
    for line in PAIRS.read_text(encoding="utf-8").splitlines():
        if line.startswith("= "):
            gold = line[2:]
        elif line and not line.startswith("#"):
            verdict, _, prediction = line.partition(" | ")
            found.append((gold, prediction, verdict))
    return found


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pairs") / "music.sqlite"
    with sqlite3.connect(path) as connection:
        connection.executescript(SCHEMA)
    connection.close()
    return path


@pytest.fixture(scope="module")
def judge():
    sql = Sql(seconds=0.5)
    yield Judge(sql, normal, Instances(4, seed=0))
    sql.close()


def test_there_are_two_hundred():
    found = pairs()
    assert len(set(found)) == len(found) >= 200


@pytest.mark.parametrize(("gold", "prediction", "verdict"), pairs())
def test_a_pair_gets_its_verdict(judge, music, gold, prediction, verdict):
    before = music.read_bytes()
    found = judge.verdict(prediction, gold, music)
    said = found.reason if not verdict.endswith(":") else re.match(r"[^:]*:", found.reason)[0]
    assert said == verdict
    assert found.right is (None if verdict.startswith("gold fails") else verdict == "right")
    assert music.read_bytes() == before


def shown() -> list[tuple[str, str, str]]:
    """Read gold, prediction and verdict from the table of docs/sql_scorer.md."""
    page = (PAIRS.parent.parent / "docs" / "sql_scorer.md").read_text(encoding="utf-8")
    return re.findall(r"^\| `([^`]+)` \| `([^`]+)` \| ([^|]+) \|", page, flags=re.MULTILINE)


def test_the_page_on_the_scorer_says_its_verdicts(judge, music):
    assert len(shown()) == 15
    for gold, prediction, said in shown():
        verdict = judge.verdict(prediction, gold, music)
        assert verdict.reason.startswith(said), f"{prediction}: {verdict.reason}"
        assert verdict.right is (said == "right")
