"""A session at work: questions in turn, or a prompt with commands; answers appear as they are made.

What is no answer (notices, hints, the prompt of a piped answer) goes to the error stream.
"""

import re
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress

import click

from ftkit import catalog
from ftkit.errors import FtkitError

from ..basemodel.interrupt import Interrupt
from ._session import Session

COMMANDS = {
    "/help": "show this",
    "/new": "forget the conversation",
    "/quit": "end, as Ctrl-D does",
}
COMMAND = re.compile(r"/[a-z]+")  # a path such as /usr/bin is a text


def ask_each(session: Session, texts: Iterable[str]) -> None:
    """Ask texts in turn, as one conversation; Ctrl-C ends all of it.

    Args:
        session: who is asked.
        texts: the questions; all that they hold is text, there are no commands.
    """
    _hint(session.notice)
    for text in texts:
        _ask(session, text, Interrupt([signal.SIGINT]))  # one that nothing asks


def piped() -> Iterator[str]:
    """Yield the lines of standard input that hold something.

    Raises:
        FtkitError: for bytes that are no text.
    """
    try:
        for line in sys.stdin:
            if text := line.strip():
                yield text
    except UnicodeDecodeError:
        raise FtkitError("the standard input is not UTF-8 text") from None


def converse(session: Session) -> None:
    """Hold a conversation at a terminal until Ctrl-D or /quit.

    Ctrl-C stops an answer, or the line that is being typed; the conversation goes on.
    """
    with suppress(ImportError):
        import readline  # noqa: F401  (from here on `input` edits lines and remembers them)
    _hint(f"{session.variant.name}: {_manner(session)}; /help lists the commands")
    _hint(session.notice)
    while True:
        try:
            text = _line()
        except KeyboardInterrupt:
            click.echo("\n(Ctrl-D or /quit ends)", err=True)
            continue
        except EOFError:
            click.echo(err=True)
            return
        if text == "/quit":
            return
        if COMMAND.fullmatch(text):
            _obey(session, text)
        elif text:
            _answer(session, text)


def _manner(session: Session) -> str:
    """Say how a session takes what is typed."""
    if session.recipe is None:
        return "completes each text by itself"
    return "remembers the conversation" if session.remembers else "takes each question by itself"


def _line() -> str:
    """Read a line at the prompt, which is no part of an answer that goes to a file."""
    if sys.stdout.isatty():
        return input("> ").strip()
    click.echo("> ", err=True, nl=False)
    return input().strip()


def _obey(session: Session, command: str) -> None:
    """Carry out a command, or name the nearest one."""
    if command == "/help":
        for name, meaning in COMMANDS.items():
            click.echo(f"{name:6} {meaning}", err=True)
        click.echo("Ctrl-C stops an answer", err=True)
    elif command == "/new":
        session.forget()
        click.echo("(a new conversation)", err=True)
    else:
        click.echo(f"no command '{command}'{catalog.nearest(command, COMMANDS)}", err=True)


def _answer(session: Session, text: str) -> None:
    """Ask at the terminal: a question that cannot be asked, or Ctrl-C, ends the answer alone."""
    stopped = False
    try:
        with Interrupt([signal.SIGINT]) as stop:
            _ask(session, text, stop)
            stopped = stop.asked
    except KeyboardInterrupt:  # the second one, while a token was being made
        stopped = True
    except FtkitError as problem:
        click.echo(f"Error: {problem}", err=True)
    if stopped:
        click.echo("(stopped)", err=True)


def _ask(session: Session, text: str, stop: Interrupt) -> None:
    """Show an answer as it is made, until it ends or is stopped."""
    before, said = session.forgotten, False
    pieces = session.reply(text)
    if session.forgotten and not before:
        size = f"{session.variant.context:,} tokens"
        _hint(f"(the conversation outgrew the model's {size}: its beginning is forgotten)")
    try:
        with closing(pieces):
            for piece in pieces:
                click.echo(piece, nl=False)
                said = said or bool(piece.strip())
                if stop.asked:
                    break
    except BaseException:
        click.echo()  # what is said of it begins a line
        raise
    silent = not said and not stop.asked and sys.stderr.isatty()
    if silent:
        click.echo("(the model said nothing)", err=True)
    if not (silent and sys.stdout.isatty()):
        click.echo()
    if sys.stderr.isatty():
        _hint(session.notice)


def _hint(words: str) -> None:
    """Say what is no answer, dim on a terminal."""
    if words:
        click.echo(click.style(words, dim=True), err=True)
