"""`ftkit chat` in a real terminal: typing, commands, Ctrl-C and Ctrl-D."""

import time
from pathlib import Path

import pytest
import small
from terminal import Terminal

pytestmark = pytest.mark.slow  # each starts a process that imports torch
# A conversation of the test's own recipe; the model never ends by itself.
CHILD = """
import sys
from ftkit.adapters._variant import open_variant
from ftkit.cli._session import Session
from ftkit.cli._talk import converse
from test_cli_session import Talking

session = Session(open_variant(sys.argv[1]), Talking(max_new_tokens=60_000), notice=Talking.notice)
try:
    converse(session)
finally:
    print("kept:", [len(exchange) for exchange in session.history])
"""
DIM, PLAIN = "\x1b[2m", "\x1b[0m"
NOTICE = f"{DIM}Not medical advice.{PLAIN}\n"


def test_a_terminal_talks_to_a_tuned_variant(tiny_runs):
    with Terminal("-m", "ftkit", "chat", tiny_runs["lora"]) as terminal:
        head = terminal.until("> ")
        assert head == (
            f"{DIM}sql_qa-lora: takes each question by itself; /help lists the commands{PLAIN}\n> "
        )
        terminal.type("/help\n")
        assert terminal.until("> ").endswith(
            "/help  show this\n/new   forget the conversation\n/quit  end, as Ctrl-D does\n"
            "Ctrl-C stops an answer\n> "
        )
        terminal.type("/qit\n")
        assert "no command '/qit': did you mean '/quit'?\n" in terminal.until("> ")
        terminal.type("\n")
        assert terminal.until("> ") == "\n> "
        terminal.type("half a li")
        terminal.until("half a li")
        time.sleep(1.0)  # Python sees a signal that comes just before it waits for keys at the next
        terminal.type("\x03")
        assert terminal.until("> ").endswith("\n(Ctrl-D or /quit ends)\n> ")
        terminal.type("word " * 700 + "\n")
        assert "Error: the prompt has " in terminal.until("\n> ")
        terminal.type("Count the ships.\n")
        said = terminal.until("\n> ")
        assert "Error" not in said
        terminal.type("/new\n")
        assert "(a new conversation)\n" in terminal.until("> ")
        terminal.type("\x04")
        assert terminal.end() == (0, "\n")


def test_ctrl_c_stops_an_answer_and_keeps_the_conversation(tmp_path: Path):
    base = small.base(tmp_path / "endless", max_position_embeddings=1 << 16)
    with Terminal("-c", CHILD, base) as terminal:
        head = terminal.until("> ")
        assert "endless: remembers the conversation; /help lists the commands" in head
        assert head.endswith(f"{PLAIN}\n{NOTICE}> ")
        for _ in range(2):
            terminal.type("Count singer.\n")
            terminal.until("Count singer.\n")
            terminal.until("e")  # the answer has begun, and would go on for minutes
            terminal.type("\x03")
            assert terminal.until("> ").endswith(f"\n{NOTICE}(stopped)\n> ")
        terminal.type("/quit\n")
        code, said = terminal.end()
        assert (code, said.split("\n")[-2]) == (0, "kept: [2, 2]")
