"""`ftkit chat`: ask a variant, once or in turn; a base completes raw text."""

import sys
from pathlib import Path

import click

from ._options import debug


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("-p", "--prompt", help="Ask this and end [default: ask in turn].")
@click.option(
    "--db",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A SQLite file: its schema stands before the question, the query is run on it, reading.",
)
@click.option("--raw", is_flag=True, help="Complete plain text, without template or recipe.")
@debug
def chat(run: Path, prompt: str | None, db: Path | None, raw: bool) -> None:
    """Talk to a variant.

    RUN is a finished run, a Hugging Face folder or a PEFT folder. A variant is asked as its recipe
    taught it; a base goes on with the text.
    """
    from ._session import Session

    session = Session.open(run, db, raw=raw)
    if prompt is not None:
        click.echo(session.reply(prompt))
        return
    shown = "> " if sys.stdin.isatty() else ""
    while True:
        try:
            text = input(shown).strip()
        except EOFError:
            return
        if text:
            click.echo(session.reply(text))


command = chat
