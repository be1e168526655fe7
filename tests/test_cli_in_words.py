"""A query's rows in words: what is said is what the rows say, whatever the question."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import pytest

from ftkit.cli._in_words import is_tie, sentence, table, tie, told

SHIPS = [("Elm", 1990, 5.5), ("Oak", 1990, 7.25), ("Ash", 2001, None), ("Fir", 2003, 7.25)]


@pytest.fixture
def ask() -> Any:
    with closing(sqlite3.connect(":memory:")) as opened:
        opened.execute("CREATE TABLE ships (name TEXT, year INT, home_port_fee REAL)")
        opened.executemany("INSERT INTO ships VALUES (?, ?, ?)", SHIPS)
        yield lambda sql: opened.execute(sql).fetchall()


@pytest.mark.parametrize(
    ("question", "sql", "said"),
    [
        ("How many ships?", "SELECT COUNT(*) FROM ships", "The number is 4."),
        ("Mean fee?", "SELECT AVG(home_port_fee) FROM ships WHERE year < 2000",
         "The average home port fee is 6.375."),
        ("Name of the newest?", "SELECT name FROM ships ORDER BY year DESC LIMIT 1",
         "The name is Fir."),
        ("Mean fee?", "SELECT AVG(home_port_fee) FROM ships WHERE year = 7",
         "The database holds no value for this."),
        ("Names?", "SELECT name FROM ships WHERE year = 7", "No row of the database fits."),
        ("Are there any?", "SELECT name FROM ships WHERE year = 7", "No row of the database fits."),
        ("Names?", "SELECT name FROM ships", "There are 4: Elm, Oak, Ash and Fir."),
        ("The oldest?", "SELECT name, year FROM ships ORDER BY year DESC LIMIT 1",
         "The name is Fir and the year is 2003."),
        ("All?", "SELECT name, year FROM ships", "There are 4 rows."),
        ("All?", "SELECT * FROM ships WHERE name = 'Ash'",
         "The value 1 is Ash, the value 2 is 2001 and the value 3 is NULL."),
        ("Lots?", "SELECT a.name FROM ships a, ships b, ships c",
         "There are 64 rows; the first 20 are shown."),
        ("Is Elm older than 1995?", "SELECT year < 1995 FROM ships WHERE name = 'Elm'", "Yes."),
        ("Is Ash older?", "SELECT EXISTS(SELECT 1 FROM ships WHERE year < 1900)", "No."),
        ("Are there any ships of 1990?", "SELECT COUNT(*) FROM ships WHERE year = 1990",
         "Yes: the number is 2."),
        ("Does any ship bear 7?", "SELECT COUNT(*) FROM ships WHERE year = 7",
         "No: the number is 0."),
        ("Is the mean fee above 9?", "SELECT AVG(home_port_fee) FROM ships WHERE year < 2000",
         "The average home port fee is 6.375."),
        ("Are there more than 9?", "SELECT COUNT(*) AS ships_afloat FROM ships",
         "The ships afloat is 4."),
        ("Do we have any of 1990?", "SELECT COUNT(*) FROM ships WHERE year = 1990 GROUP BY year",
         "The number is 2."),
        ("Which is the oldest?", "SELECT name FROM ships ORDER BY year LIMIT 1",
         "The name is Elm. Others tie with it."),
        ("The three oldest?", "SELECT name FROM ships ORDER BY year LIMIT 3",
         "There are 3: Elm, Oak and Ash."),
        ("Two dearest?", "SELECT name FROM ships ORDER BY home_port_fee DESC LIMIT 1",
         "The name is Oak. Others tie with it."),
        ("Which year has most?", "SELECT year FROM ships GROUP BY year ORDER BY COUNT(*) LIMIT 1",
         "The year is 2001. Others tie with it."),
        ("The dearest?", "SELECT name FROM ships WHERE home_port_fee = "
         "(SELECT MAX(home_port_fee) FROM ships)", "It is a tie of 2: Oak and Fir."),
        ("?", "SELECT name, 1 FROM ships WHERE year = 2001 UNION SELECT 1, 2 WHERE 0",
         "The value 1 is Ash and the value 2 is 1."),
    ],
)  # fmt: skip
def test_rows_are_told_as_they_are(ask: Any, question: str, sql: str, said: str) -> None:
    assert told(question, sql, ask(sql), ask).splitlines()[-1] == said


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT DISTINCT name FROM ships ORDER BY year LIMIT 1",
        "SELECT name FROM ships ORDER BY year LIMIT 1 OFFSET 1",
        "SELECT name FROM ships ORDER BY 1 LIMIT 1",
        "SELECT name FROM ships LIMIT 1",
        "SELECT name FROM ships ORDER BY year",
        "SELECT name FROM ships UNION SELECT 1 ORDER BY 1 LIMIT 1",
        "no query ((( at all",
    ],
)
def test_of_what_no_tie_can_be_told_nothing_is_said(sql: str) -> None:
    assert tie(sql) is None
    assert sentence("?", sql, [("Elm",)]).count(".") == 1


def test_a_tie_is_of_all_keys_and_of_an_alias_too(ask: Any) -> None:
    for sql, tied in (
        ("SELECT name, year AS y FROM ships ORDER BY y LIMIT 1", True),
        ("SELECT year AS name, name AS year FROM ships ORDER BY ships.year LIMIT 1", True),
        ("SELECT name FROM ships ORDER BY year, name LIMIT 1", False),
        ("SELECT name FROM ships ORDER BY year LIMIT 4", False),
        ("SELECT name FROM ships ORDER BY year LIMIT 0", False),
    ):
        wider = tie(sql)
        assert wider is not None
        assert is_tie(sql, ask(wider)) is tied


def test_a_query_about_ties_that_fails_says_nothing(ask: Any) -> None:
    def refuses(_: str) -> Sequence[Any]:
        return ()

    sql = "SELECT name FROM ships ORDER BY year LIMIT 1"
    assert told("?", sql, ask(sql), refuses) == "Elm\nThe name is Elm."


def test_a_large_number_keeps_its_digits_and_a_sum_has_no_noise() -> None:
    assert table([(12345678901.5, 0.1 + 0.2)]) == "12345678901.5 | 0.3"


def test_a_broken_value_cannot_make_a_line() -> None:
    assert table([("a\nb", 1)]).count("\n") == 0
