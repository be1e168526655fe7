"""`ftkit chat`: ask a variant, once or in turn; a base completes raw text."""

import sys
from pathlib import Path

import click

from . import _options


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "-p",
    "--prompt",
    "prompts",
    multiple=True,
    help="Ask this and end; again for more, in one conversation [default: ask in turn].",
)
@click.option(
    "--db",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A SQLite file: its schema stands before the question, the query is run on it, reading.",
)
@click.option("--raw", is_flag=True, help="Complete plain text, without template or recipe.")
@click.option(
    "--temperature",
    type=float,
    default=0.0,
    metavar="T",
    callback=_options.finite,
    help="Sample; 1 as the model thinks it likely, less is safer [default: the likeliest words].",
)
@click.option(
    "--seed",
    type=int,
    default=0,
    show_default=True,
    callback=_options.not_negative,
    help="What samples are drawn from.",
)
@_options.debug
def chat(
    run: Path,
    prompts: tuple[str, ...],
    db: Path | None,
    raw: bool,
    temperature: float,
    seed: int,
) -> None:
    """Talk to a variant.

    RUN is a finished run, a Hugging Face folder or a PEFT folder. A variant is asked as its recipe
    taught it; a base goes on with the text. At the prompt /help lists the commands, Ctrl-C stops an
    answer, Ctrl-D ends. Piped lines are asked one after another, as they stand.
    """
    from ._session import Session
    from ._talk import ask_each, converse, piped

    session = Session.open(run, db, raw=raw, temperature=temperature, seed=seed)
    if prompts:
        ask_each(session, prompts)
    elif sys.stdin.isatty():
        converse(session)
    else:
        ask_each(session, piped())


command = chat
