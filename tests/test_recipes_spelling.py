"""How SQL is spelt for a model, and that it comes back as it was."""

import sqlite3

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ftkit.recipes._sql_compact import names, restore
from ftkit.recipes._sql_spelling import close, first_statement, join, settled, split, spread


@pytest.mark.parametrize(
    "sql",
    ["x > 1e-3", "1.5E10 << 2", "a ->> '$.b'", "x'ab12'", "t.a -- (it. is; not\nFROM b", ".5 + 1."],
)
def test_numbers_operators_and_blobs_stay_whole(sql: str) -> None:
    code = sql.partition(" --")[0]
    assert [word for _, word in split(code)] == code.replace(".a", " . a").split()
    assert first_statement(sql) == sql
    assert close(spread(code)) == code


PLAIN = st.recursive(
    st.sampled_from(
        (
            "SELECT name",
            "hives.code",
            "COUNT(*)",
            "'  x'",
            "'% a'",
            "'Elm''s (B.C.)'",
            "-3",
            '"a.b".c',
        )
    ),
    lambda inner: st.lists(inner, min_size=1, max_size=4).map(
        lambda found: f"({', '.join(found)})"
    ),
)


@given(PLAIN)
def test_what_is_spread_out_is_closed_again(sql: str) -> None:
    for texts in (False, True):
        assert close(spread(sql, texts), texts) == join([word for _, word in split(sql)])


def test_spread_queries_have_a_space_before_every_word_and_mean_the_same() -> None:
    database = sqlite3.connect(":memory:")
    database.executescript(
        "CREATE TABLE Student (Age, LName); INSERT INTO Student VALUES (3, 'xy')"
    )
    query = "SELECT MAX(Student.Age), 'a.b (c' FROM Student WHERE Student.LName LIKE '%x%'"
    loose = spread(query)
    assert (
        loose == "SELECT MAX( Student. Age), 'a.b (c' FROM Student WHERE Student. LName LIKE '%x%'"
    )
    assert database.execute(loose).fetchall() == database.execute(query).fetchall()
    assert spread(query, texts=True).endswith(
        "' a.b (c' FROM Student WHERE Student. LName LIKE '% x%'"
    )


@pytest.mark.parametrize(
    "reply", ["I don't know. ( Really", "SELECT a -- (it. is)\nFROM b", "( SELECT", "a .  b", "'"]
)
def test_closing_what_is_no_query_moves_no_more_than_a_space(reply: str) -> None:
    assert close(reply).replace(" ", "") == reply.replace(" ", "")
    assert "\n" not in reply or "\n" in close(reply)


KNOWN = names('CREATE TABLE "table_1_2" ("Count" REAL, "Pick #" TEXT, x TEXT)')
ODD = [*"'\"`[]();./*-\n xe+1", " count", "pick", "--", "/*", "*/", "; ", "t.", " 'a b'", "1.5"]


@given(st.lists(st.sampled_from(ODD), max_size=14).map("".join))
@example("x'a; b' count /* ( */ (pick)")
def test_what_is_settled_stays_whatever_follows(reply: str) -> None:
    """A query may be shown while it is being made: nothing that was shown is taken back."""

    def plain(text: str) -> str:
        return close(first_statement(text))

    def compacted(text: str) -> str:
        return restore(first_statement(text), KNOWN)

    for answer in (plain, compacted):
        for size in range(len(reply) + 1):
            assert answer(reply).startswith(answer(settled(reply[:size])))


def test_a_query_is_shown_while_it_is_made() -> None:
    assert settled("SELECT MAX( hives. code) FROM hives") == "SELECT MAX( hives. code)"
    assert settled("SELECT name FROM t WHERE name = 'a; b") == "SELECT name FROM t WHERE"
    assert settled("SELECT count ( pick") == "SELECT"
