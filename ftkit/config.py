"""Settings: frozen dataclasses overridden by typed `a.b=value` pairs and TOML tables."""

import dataclasses
import difflib
import math
import os
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import tomli_w

from ftkit.catalog import nearest
from ftkit.errors import FtkitError

T = TypeVar("T")
WORDS = {"true": True, "yes": True, "on": True, "1": True}
WORDS |= {"false": False, "no": False, "off": False, "0": False}


def override(instance: T, values: Mapping[str, Any], label: str) -> T:
    """Replace fields of a dataclass instance by values of the right type.

    Args:
        instance: a dataclass instance; its class says which fields there are and their types.
        values: field name to new value; strings are read as the field's type.
        label: the settings' name on the command line, such as `method`, for messages.

    Returns:
        A new instance; the class's own checks in `__post_init__` run again.

    Raises:
        FtkitError: for a field that does not exist or a value that does not fit.
    """
    assert dataclasses.is_dataclass(instance)
    assert not isinstance(instance, type)
    hints = typing.get_type_hints(type(instance))
    fields = [field.name for field in dataclasses.fields(instance) if field.init]
    for key in values:
        if key not in fields:
            owner, close = type(instance).__name__, difflib.get_close_matches(key, fields, n=1)
            meant = f"; did you mean '{close[0]}'?" if close else ""
            known = ", ".join(fields)
            raise FtkitError(f"unknown setting '{label}.{key}': {owner} has {known}{meant}")
    typed = {key: convert(value, hints[key], f"{label}.{key}") for key, value in values.items()}
    return dataclasses.replace(instance, **typed)


def convert(value: Any, kind: Any, label: str) -> Any:
    """Read a value as a type; strings come from the command line, others from TOML or Python.

    Raises:
        FtkitError: naming the setting, what it takes and what was given.
    """
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        options = typing.get_args(kind)
        if value is None or (isinstance(value, str) and value.lower() == "none"):
            if type(None) in options:
                return None
            raise FtkitError(f"'{label}' cannot be none")
        options = tuple(option for option in options if option is not type(None))
        if len(options) == 1:
            return convert(value, options[0], label)
        return value
    if origin is typing.Literal:
        if isinstance(value, bool):  # a word here, whatever TOML takes it for
            value = str(value).lower()
        if value in typing.get_args(kind):
            return value
        raise FtkitError(
            f"'{label}' cannot be '{value}'{nearest(str(value), typing.get_args(kind))}"
        )
    if origin is tuple:
        parts = value.split(",") if isinstance(value, str) else list(value)
        return tuple(convert(part, typing.get_args(kind)[0], label) for part in parts)
    return _scalar(value, kind, label)


def _scalar(value: Any, kind: Any, label: str) -> Any:
    """Read one plain value; a whole float is taken for an int, nan and inf for nothing."""
    wanted = {int: "a whole number", float: "a number", bool: "true or false"}
    try:
        if kind is bool:
            return value if isinstance(value, bool) else WORDS[str(value).lower()]
        if kind in (int, float):
            number = float(value)
            if isinstance(value, bool) or not math.isfinite(number):
                raise ValueError
            if kind is int and number != int(number):
                raise ValueError
            return int(str(value), 10) if kind is int and isinstance(value, str) else kind(value)
    except (KeyError, TypeError, ValueError):
        raise FtkitError(f"'{label}' takes {wanted[kind]}, not '{value}'") from None
    return Path(value) if kind is Path else str(value) if kind is str else value


def parse_sets(pairs: Iterable[str]) -> dict[str, dict[str, str]]:
    """Turn `--set` words into tables.

    >>> parse_sets(["method.rank=4", "plan.clip=0.5"])
    {'method': {'rank': '4'}, 'plan': {'clip': '0.5'}}

    Raises:
        FtkitError: for a word that is not of the form `table.name=value`.
    """
    tables: dict[str, dict[str, str]] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        owner, dot, key = name.partition(".")
        if not (equals and dot and owner and key):
            raise FtkitError(f"--set takes TABLE.NAME=VALUE, such as method.rank=4, not '{pair}'")
        tables.setdefault(owner, {})[key] = value
    return tables


def table(instance: Any) -> dict[str, Any]:
    """Turn a dataclass instance into a TOML table; fields that are None are left out."""
    return {
        field.name: plain(value)
        for field in dataclasses.fields(instance)
        if (value := getattr(instance, field.name)) is not None
    }


def plain(value: Any) -> Any:
    """Turn a value into what TOML can hold."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return table(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def as_set(value: Any) -> str:
    """Write a value as `--set` takes it.

    >>> as_set(True), as_set(("a", 2)), as_set(0.5)
    ('true', 'a,2', '0.5')
    """
    if isinstance(value, list | tuple):
        return ",".join(map(as_set, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        FtkitError: when it is missing, not text or not TOML, naming file and line.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FtkitError(f"no such file: {path}") from None
    except OSError as problem:
        raise FtkitError(f"{path} cannot be read: {problem.strerror}") from None
    except UnicodeDecodeError as problem:
        raise FtkitError(f"{path} is not UTF-8 text: byte {problem.start + 1}") from None
    except tomllib.TOMLDecodeError as problem:
        raise FtkitError(f"{path} is not valid TOML: {problem}") from None


def dump_toml(data: Mapping[str, Any]) -> str:
    """Write settings as TOML text; values that are None are left out."""
    return tomli_w.dumps(plain(data))
