"""What can go wrong, in words for the person at the terminal, each with its exit code."""


class FtkitError(Exception):
    """Report wrong use or bad input: one or two sentences saying what, where and what to do.

    The command line prints the message without a traceback and ends with `exit_code`.
    """

    exit_code = 2


class WorkError(FtkitError):
    """Report a failure of work that was asked for correctly (a loss that is not finite, say)."""

    exit_code = 1


class Interrupted(FtkitError):
    """Report that the user stopped the work after it was saved; the message says how to go on."""

    exit_code = 130
