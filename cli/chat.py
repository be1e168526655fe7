"""`ftkit chat`: ask a variant, once or in turn; a base completes raw text."""

import sys
from pathlib import Path

import click

from ftkit.errors import FtkitError

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
    help="A SQLite file: its schema stands before the question, the query is run on it, reading; "
    "the sentence below its rows is made of them by program, not by the model.",
)
@click.option(
    "--candidates",
    type=int,
    default=0,
    metavar="N",
    callback=_options.not_negative,
    help="With --db: where a query fails or finds nothing, draw up to N further ones until one "
    "finds something, or take one that runs; a right 0 or nobody may be lost [default: none].",
)
@click.option(
    "--only",
    "limits",
    type=click.Choice(("names", "texts")),
    help="With --db: while a query is written, hold it to the names of the schema, or to these and "
    "to texts that stand in the question [default: neither].",
)
@click.option(
    "--raw",
    is_flag=True,
    help="Complete plain text of any length, without template or recipe.",
)
@click.option(
    "--temperature",
    type=float,
    default=0.0,
    metavar="T",
    callback=_options.finite,
    help="Sample; 1 as the model thinks it likely, less is safer [default: the likeliest words].",
)
@click.option(
    "--top-k",
    type=int,
    default=0,
    metavar="K",
    callback=_options.not_negative,
    help="Sample among the K likeliest words, at a temperature of 1 if none is said "
    "[default: among all].",
)
@click.option(
    "--top-p",
    type=float,
    default=1.0,
    metavar="P",
    callback=_options.share,
    help="Sample among the likeliest words that make up this share [default: among all].",
)
@click.option(
    "--repetition-penalty",
    type=float,
    default=1.0,
    metavar="X",
    callback=_options.above_zero,
    help="Above 1 makes words that stand there already less likely [default: none].",
)
@click.option(
    "--max-tokens",
    type=int,
    metavar="N",
    callback=_options.above_zero,
    help="Longest answer [default: the recipe's; 256 of plain text].",
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
    candidates: int,
    limits: str | None,
    raw: bool,
    temperature: float,
    top_k: int,
    top_p: float,
    repetition_penalty: float,
    max_tokens: int | None,
    seed: int,
) -> None:
    """Talk to a variant.

    RUN is a finished run, a Hugging Face folder or a PEFT folder. A variant is asked as its recipe
    taught it; a base goes on with the text. At the prompt /help lists the commands, Ctrl-C stops an
    answer, Ctrl-D ends. Piped lines are asked one after another, as they stand.
    """
    from ._session import Session
    from ._talk import ask_each, converse, piped

    if candidates and db is None:
        raise FtkitError("--candidates needs --db: a database chooses among them")
    if limits and db is None:
        raise FtkitError("--only needs --db: queries are held to its schema")
    if not temperature and (top_k or top_p < 1):
        temperature = 1.0  # among which likely words, asks who wants samples
    session = Session.open(
        run,
        db,
        raw=raw,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        repetition_penalty=repetition_penalty,
        seed=seed,
        max_tokens=max_tokens,
        candidates=candidates,
        limits=limits or "",
    )
    if prompts:
        ask_each(session, prompts)
    elif sys.stdin.isatty():
        converse(session)
    else:
        ask_each(session, piped())


command = chat
