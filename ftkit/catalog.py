"""The folder is the registry: a plain file name is a plug-in, `_name.py` is machinery."""

import difflib
import importlib
import importlib.util
import pkgutil
from collections.abc import Iterable
from typing import Any

from ftkit.errors import FtkitError

EXPORTS = {"adapters": "METHOD", "recipes": "RECIPE", "eval": "METRIC", "cli": "command"}


def names(floor: str) -> list[str]:
    """List the plug-ins of a floor without importing any of them, so that help stays quick.

    Args:
        floor: one of `adapters`, `recipes`, `eval`, `cli`.

    Returns:
        The names in alphabetical order.

    >>> "lora" in names("adapters")
    True
    """
    spec = importlib.util.find_spec(f"ftkit.{floor}")
    assert spec is not None, floor
    assert spec.submodule_search_locations is not None, floor
    found = pkgutil.iter_modules(spec.submodule_search_locations)
    return sorted(module.name for module in found if not module.name.startswith("_"))


def load(floor: str, name: str) -> Any:
    """Import one plug-in and return the object its file exports under the floor's known name.

    Args:
        floor: one of `adapters`, `recipes`, `eval`, `cli`.
        name: the plug-in's file name without `.py`.

    Raises:
        FtkitError: when there is no such file; the message names the nearest one.
    """
    known = names(floor)
    if name not in known:
        raise FtkitError(f"no '{name}' in {floor}{nearest(name, known)}")
    return getattr(importlib.import_module(f"ftkit.{floor}.{name}"), EXPORTS[floor])


def nearest(word: str, known: Iterable[str]) -> str:
    """Say which known word was probably meant, as the tail of an error message.

    >>> nearest("sqlqa", ["chat", "sql_qa"])
    ": did you mean 'sql_qa'?"
    >>> nearest("zebra", ["chat", "sql_qa"])
    ': there are chat, sql_qa'
    >>> nearest("zebra", ["chat"])
    ": there is only 'chat'"
    """
    options = list(known)
    if close := difflib.get_close_matches(word, options, n=1):
        return f": did you mean '{close[0]}'?"
    return (
        f": there is only '{options[0]}'"
        if len(options) == 1
        else f": there are {', '.join(options)}"
    )
