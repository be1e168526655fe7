"""Every doctest runs, each module imported once, by the name users import it by."""

import doctest
import importlib
import pkgutil

import pytest

import ftkit


def modules() -> list[str]:
    """List the modules of all floors by their ftkit.… names, importing none of them."""
    found = []
    for floor in ["ftkit", *(f"ftkit.{name}" for name in ("basemodel", "adapters", "recipes"))]:
        found += walk(floor)
    return found + walk("ftkit.eval") + walk("ftkit.cli")


def walk(package: str) -> list[str]:
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations is not None
    places = list(spec.submodule_search_locations)
    if package == "ftkit":
        places = places[:1]  # the second place is the checkout itself, whose folders come by name
    names = [package]
    for module in pkgutil.iter_modules(places):
        if module.name == "__main__":
            continue
        whole = f"{package}.{module.name}"
        nested = module.ispkg and package != "ftkit"
        names += walk(whole) if nested else [] if module.ispkg else [whole]
    return names


@pytest.mark.parametrize("module", modules())
def test_doctests(module: str):
    result = doctest.testmod(importlib.import_module(module), optionflags=doctest.ELLIPSIS)
    assert result.failed == 0


def test_modules_are_found_on_every_floor():
    floors = {name.split(".")[1] for name in modules() if name.count(".") >= 2}
    assert {"basemodel", "adapters", "recipes", "eval", "cli"} <= floors
    assert ftkit.__name__ in modules()
