"""The command line: a group that finds its commands in this folder and shows errors as sentences.

Commands are imported when they are named, and their heavy imports stand in their bodies, so
`ftkit --help` answers without loading torch.
"""

import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import click

from ftkit import __version__, catalog
from ftkit.errors import FtkitError

DEBUG = "ftkit.debug"  # the key under which --debug is kept while a command runs
NO_READER = 141  # what a shell reports of a program that SIGPIPE ended: 128 + 13


class Commands(click.Group):
    """A group whose commands are the plain files of `cli/`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List the commands without importing them."""
        return catalog.names("cli")

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        """Import one command; an unknown word gets the nearest one."""
        command = catalog.load("cli", cmd_name)
        assert isinstance(command, click.Command), cmd_name
        return command

    def make_context(self, *words: Any, **more: Any) -> click.Context:
        """Read the command line; --help prints here, perhaps to a disk that is full."""
        try:
            with _while_read():
                return super().make_context(*words, **more)
        except OSError as problem:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(f"Error: {_sentence(problem)}")

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; what goes wrong becomes one sentence and an exit code."""
        try:
            with _while_read():
                return super().invoke(ctx)
        except (click.exceptions.Exit, click.Abort, SystemExit):
            raise
        except BaseException as problem:
            if ctx.meta.get(DEBUG):
                raise
            click.echo(f"Error: {_sentence(problem)}", err=True)
            ctx.exit(_code(problem))


@contextmanager
def _while_read() -> Iterator[None]:
    """End without a word when nobody reads on, as in `ftkit data ... | head`."""
    try:
        yield
    except (BrokenPipeError, SystemExit) as end:
        # rich leaves by SystemExit from within the error. SIGPIPE itself stays off, or a child
        # that ends early would take this process with it.
        if isinstance(end, SystemExit):
            if not isinstance(end.__context__, BrokenPipeError):
                raise
        elif _is_read():
            raise  # another pipe broke, such as a worker's: that is a fault
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(NO_READER) from None


def _is_read() -> bool:
    """Say whether the other end of the output is open."""
    ends = select.poll()
    try:
        ends.register(sys.stdout, 0)
    except (OSError, ValueError):  # it is no file: a test's, say
        return True
    return not ends.poll(0)


def _sentence(problem: BaseException) -> str:
    """Say what went wrong in a sentence or two."""
    if isinstance(problem, FtkitError):
        return str(problem)
    if isinstance(problem, click.ClickException):
        return problem.format_message()
    if isinstance(problem, KeyboardInterrupt):
        return "stopped"
    if isinstance(problem, OSError) and problem.strerror:
        where = f" ({problem.filename})" if problem.filename else ""
        return f"{problem.strerror}{where}"
    words = " ".join(str(problem).split()) or "no message"
    return f"unexpected {type(problem).__name__}: {words}; --debug shows where"


def _code(problem: BaseException) -> int:
    """Give the exit code: 2 wrong use, 130 stopped by Ctrl-C, 1 anything else."""
    if isinstance(problem, FtkitError | click.ClickException):
        return problem.exit_code
    return 130 if isinstance(problem, KeyboardInterrupt) else 1


@click.group(
    cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="ftkit")
def ftkit() -> None:
    """Pretrain a small language model, tune it, and see which variant to ship.

    The whole job on embedded data:  ftkit demo
    """


def main() -> NoReturn:
    """Run the command line and end the process with its exit code."""
    sys.exit(ftkit.main(prog_name="ftkit", standalone_mode=True))
