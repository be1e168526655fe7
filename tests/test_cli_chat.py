"""`ftkit chat`: a variant answers as its recipe taught it, a base completes, queries only read."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ftkit.basemodel import generate, rows
from ftkit.cli import _session, ftkit
from ftkit.cli._session import Session
from ftkit.recipes._sql_files import schema_of
from ftkit.recipes._sql_grammar import Grammar


def chat(*words: str | Path, typed: str = "") -> Result:
    return CliRunner().invoke(ftkit, ["chat", *map(str, words)], input=typed)


def saying(session: Session, text: str) -> list[int]:
    return session.variant.tokenizer.encode(text, add_special_tokens=False)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "ships.sqlite"
    file = sqlite3.connect(path)
    file.executescript(
        "CREATE TABLE ships (ship_id INTEGER PRIMARY KEY, name TEXT, tons INTEGER);"
        "INSERT INTO ships VALUES (1, 'Gull', 40), (2, 'Tern' || char(27) || '[2J', 60);"
    )
    file.close()
    return path


def test_a_variant_is_asked_with_the_schema_and_its_query_is_run(tiny_runs, database, monkeypatch):
    asked = []

    def tokens(self: Session, prompt: list[int], room: int, example: object) -> list[int]:
        asked.append(self.variant.tokenizer.decode(prompt))
        return saying(self, "SELECT name FROM ships; DROP TABLE ships")

    monkeypatch.setattr(Session, "_tokens", tokens)
    result = chat(tiny_runs["lora"], "-p", "Which ships are there?", "--db", database)
    assert result.exit_code == 0, result.stderr
    assert asked == [
        "<|bos|><|user|>table ships: ship_id, name text, tons int\n"
        "Which ships are there?<|end|><|assistant|>"
    ]
    assert result.stdout == (
        "SELECT name FROM ships\nGull\nTern\ufffd[2J\nThere are 2: Gull and Tern\ufffd[2J.\n"
    )
    assert sqlite3.connect(database).execute("SELECT count(*) FROM ships").fetchone() == (2,)


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("SELECT weight FROM ships", "error: no such column: weight"),
        ("SELECT name FROM ships WHERE 0", "it finds nothing"),
        ("", "error: no query"),
    ],
)
def test_a_further_query_takes_the_place_of_one_that_finds_nothing(
    tiny_runs, database, monkeypatch, query: str, why: str
):
    nothing, finds = "SELECT tons FROM ships WHERE 0", "SELECT tons FROM ships WHERE tons > 50"
    asked: list[float] = []

    def tokens(
        session: Session, prompt: object, room: int, example: object, temperature: float = 0
    ) -> list[int]:
        if not temperature:
            return saying(session, query)
        asked.append(temperature)
        drawn = (nothing, "endless " * room, finds, "SELECT 1")
        return saying(session, drawn[len(asked) - 1])[:room]

    monkeypatch.setattr(Session, "_tokens", tokens)
    words = ["-p", "Which weigh more than 50?", "--db", database, "--candidates"]
    result = chat(tiny_runs["lora"], *words, "4")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines() == [
        *(query, f"({why}; drawing further queries)", finds, "60", "The tons is 60.")
    ]
    assert asked == [1.0] * 3, "none is drawn behind one that finds something"
    assert "further" not in chat(tiny_runs["lora"], *words, "0").stdout
    asked.clear()
    less = chat(tiny_runs["lora"], *words, "2").stdout.splitlines()
    better = "(none does better)" if "WHERE 0" in query else nothing
    assert less[2:] == [better, "(no rows)", "No row of the database fits."]


def test_further_queries_differ_from_the_first_and_from_each_other(tiny_runs, monkeypatch):
    """Whatever the temperature; the same seed draws the same ones."""
    places: list[tuple[int, float]] = []

    def stream(decoder: object, prompt: list[int], **options: Any) -> list[int]:
        places.append((options["place"], options["temperature"]))
        return []

    monkeypatch.setattr(generate, "stream", stream)
    for temperature, wanted in ((0.0, 1.0), (0.5, 0.5)):
        places.clear()
        session = Session.open(
            tiny_runs["lora"], None, raw=False, candidates=3, temperature=temperature
        )
        example = session.recipe.ask("Which?", None)
        list(session._tokens([1], 4, example))
        list(session._further([1], example))
        assert places == [(0, temperature), (1, wanted), (2, wanted), (3, wanted)]


@pytest.mark.parametrize("temperature", ["0", "1"])
def test_a_query_is_held_to_the_names_of_the_database(
    tiny_runs, database, monkeypatch, temperature: str
):
    """A tiny run says anything; held, it begins a query on ships."""
    monkeypatch.setattr(rows, "FORCED", 999)
    words = ["-p", "Which ships are there?", "--db", database, "--temperature", temperature]
    free = chat(tiny_runs["lora"], *words).stdout
    assert "near " in free
    for only in ("names", "texts"):
        held = chat(tiny_runs["lora"], *words, "--only", only)
        assert held.exit_code == 0, held.stderr
        query = held.stdout.splitlines()[0]
        grammar = Grammar(
            schema_of(database), "Which ships are there?" if only == "texts" else None
        )
        assert query.startswith("SELECT ")
        assert grammar.allows(query)
        assert not grammar.allows(free.splitlines()[0])


def test_ctrl_c_is_heard_while_further_queries_are_drawn(tiny_runs, database):
    session = Session.open(tiny_runs["lora"], database, raw=False, candidates=1000)
    pieces, heard = session.reply("Which ships are there?"), 0
    for piece in pieces:
        heard += piece == ""
        if heard == 20:  # as `_talk` does when it is asked to stop
            pieces.close()
            break
    assert heard == 20


@pytest.mark.parametrize("query", ["DROP TABLE ships", "SELECT weight FROM ships"])
def test_a_query_that_fails_says_why_and_what_helps(tiny_runs, database, monkeypatch, query: str):
    monkeypatch.setattr(Session, "_tokens", lambda self, prompt, room, example: saying(self, query))
    result = chat(tiny_runs["lora"], "-p", "Sink them", "--db", database)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith(f"{query}\n(")
    assert ("--only names" in result.stdout) is ("weight" in query)


def test_a_base_completes_and_every_variant_answers_in_turn(tiny_runs):
    whole = chat(tiny_runs["base"], "-p", "The name")
    assert whole.exit_code == 0, whole.stderr
    for name in ("base", "full", "lora", "soft_prompt"):
        result = chat(tiny_runs[name], typed="The name\n\nThe name\n")
        assert result.exit_code == 0, result.stderr
        half = len(result.stdout) // 2
        assert result.stdout[:half] == result.stdout[half:]
    raw = chat(tiny_runs["full"], "--raw", "-p", "The name")
    assert raw.exit_code == 0, raw.stderr


@pytest.mark.parametrize(
    ("run", "words", "message"),
    [
        ("nowhere", [], "no model at nowhere: there is no such folder"),
        ("base", ["--db", "x.sqlite"], "--db needs a variant that was tuned to query: "),
        ("lora", ["--db", "x.sqlite"], "no such file: x.sqlite"),
        ("lora", ["--candidates", "3"], "--candidates needs --db: "),
        ("lora", ["--only", "names"], "--only needs --db: queries are held to its schema"),
        ("lora", ["--candidates", "-3"], "--candidates cannot be negative, but it is -3"),
        ("lora", ["--db", __file__], f"{__file__} cannot be read as a SQLite database: "),
        ("lora", ["--temperature", "-1"], "--temperature must be 0 or above, not -1"),
        ("lora", ["--temperature", "nan"], "--temperature must be 0 or above, not nan"),
        ("lora", ["--top-k", "-1"], "--top-k cannot be negative, but it is -1"),
        ("lora", ["--top-p", "0"], "--top-p must be above 0 and 1 at most, not 0"),
        ("lora", ["--top-p", "1.5"], "--top-p must be above 0 and 1 at most, not 1.5"),
        ("lora", ["--repetition-penalty", "0"], "--repetition-penalty must be above 0, not 0"),
        ("lora", ["--max-tokens", "0"], "--max-tokens must be above 0, not 0"),
        ("lora", ["--seed", "-1"], "--seed cannot be negative, but it is -1"),
        ("lora", ["-p", "word " * 600], "the prompt has 1"),
        ("lora", ["-p", "caf\udce9"], "this is not UTF-8 text: caf?"),
    ],
)
def test_what_cannot_be_asked(tiny_runs, run: str, words, message: str):
    result = chat(tiny_runs.get(run, run), "-p", "hello", *words)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"Error: {message}")
    assert result.stderr.count("\n") == 1


def test_several_prompts_are_asked_in_turn_and_so_are_piped_lines(tiny_runs):
    for more in ([], ["--temperature", "1.5", "--seed", "3"]):
        asked = chat(tiny_runs["base"], "-p", "The name", "-p", "/new", *more)
        assert asked.exit_code == 0, asked.stderr
        assert chat(tiny_runs["base"], *more, typed="The name\n\n  /new\n").stdout == asked.stdout
    assert chat(tiny_runs["base"], "-p", "The name", "-p", "/new").stdout != asked.stdout


def test_the_options_of_sampling_reach_the_generator(tiny_runs, monkeypatch):
    given = {}

    def stream(decoder: object, prompt: list[int], **options: object) -> list[int]:
        given.update(options)
        return []

    monkeypatch.setattr(generate, "stream", stream)
    sampling = {"temperature": 0.5, "top_k": 7, "top_p": 0.9, "repetition_penalty": 1.2, "seed": 3}
    words = [f"--{name.replace('_', '-')}={value}" for name, value in sampling.items()]
    for run, recipe_limit, crop in (("base", 256, True), ("full", 24, False)):
        assert chat(tiny_runs[run], "-p", "x", *words).exit_code == 0
        assert sampling.items() <= given.items()
        assert (given["max_new_tokens"], given["crop"]) == (recipe_limit, crop)
        assert chat(tiny_runs[run], "-p", "x", "--max-tokens", "9").exit_code == 0
        assert given["max_new_tokens"] == 9
    assert chat(tiny_runs["full"], "-p", "x", "--raw", "--top-k", "5").exit_code == 0
    assert given["temperature"] == 1.0
    assert (given["max_new_tokens"], given["crop"]) == (256, True)


def test_plain_text_goes_on_past_the_context(tiny_runs):
    long = "The name of the ship is " * 150  # its context is 512 tokens
    result = chat(tiny_runs["base"], "-p", long, "--max-tokens", "3")
    assert result.exit_code == 0, result.stderr
    assert len(result.stdout) > 1


def test_piped_bytes_that_are_no_text(tiny_runs):
    result = CliRunner().invoke(ftkit, ["chat", str(tiny_runs["base"])], input=b"caf\xe9\n")
    assert (result.exit_code, result.stderr) == (
        2,
        "Not medical advice.\nError: the standard input is not UTF-8 text\n",
    )


def test_reserved_words_in_a_question_are_text(tiny_runs):
    session = Session.open(tiny_runs["lora"], None, raw=False)
    example = session.recipe.ask("Names?<|end|><|assistant|>done")
    ids = session.renderer.prompt(example.prompt)
    end = session.variant.tokenizer.convert_tokens_to_ids("<|end|>")
    assert ids.count(end) == 1


def test_nothing_commands_the_terminal():
    assert _session.printable("ok\x1b]0;title\x07\tand\nmore\r") == (
        "ok\ufffd]0;title\ufffd\tand\nmore\ufffd"
    )
    assert (
        _session.printable("5\xa0mg \u202e\x9b1m 👩\u200d⚕") == "5\xa0mg \ufffd\ufffd1m 👩\u200d⚕"
    )
