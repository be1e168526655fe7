"""Every plug-in file is tested unasked: it loads, exports its one name and explains itself."""

import dataclasses
import inspect

import click
import pytest

from ftkit import catalog
from ftkit.errors import FtkitError

PLUGINS = [(floor, name) for floor in catalog.EXPORTS for name in catalog.names(floor)]


@pytest.mark.parametrize(("floor", "name"), PLUGINS)
def test_a_plugin_loads_and_explains_itself(floor: str, name: str):
    exported = catalog.load(floor, name)
    if floor == "cli":
        assert isinstance(exported, click.Command)
        assert exported.name == name
        assert exported.help
        assert all(option.help for option in exported.params if isinstance(option, click.Option)), (
            "an option has no help text"
        )
    else:
        text = inspect.getdoc(type(exported))
        assert text
        assert not text.startswith(f"{type(exported).__name__}("), "only dataclass's own text"


@pytest.mark.parametrize("name", catalog.names("adapters"))
def test_a_method_keeps_the_contract(name: str):
    from ftkit.adapters._method import Method

    method = catalog.load("adapters", name)
    assert isinstance(method, Method)
    assert dataclasses.is_dataclass(method)
    for claim in ("mergeable", "identity_at_start", "packable"):
        assert isinstance(getattr(type(method), claim), bool), claim
    assert method.virtual_tokens >= 0
    with pytest.raises(dataclasses.FrozenInstanceError):
        method.lr = 1.0


@pytest.mark.parametrize("name", catalog.names("recipes"))
def test_a_recipe_keeps_the_contract(name: str):
    from ftkit.recipes._recipe import Recipe

    recipe = catalog.load("recipes", name)
    assert isinstance(recipe, Recipe)
    assert recipe.name == name
    assert recipe.metrics
    assert set(recipe.metrics) <= set(catalog.names("eval"))


@pytest.mark.parametrize("name", catalog.names("eval"))
def test_a_metric_is_a_real_evaluate_metric(name: str):
    import evaluate

    assert isinstance(catalog.load("eval", name), evaluate.Metric)


def test_the_pipeline_is_there():
    assert {"full", "lora", "soft_prompt"} <= set(catalog.names("adapters"))
    assert "sql_qa" in catalog.names("recipes")
    assert {"execution_accuracy", "valid_sql", "exact_match"} <= set(catalog.names("eval"))
    assert {"pretrain", "tune", "eval", "demo", "data", "info"} <= set(catalog.names("cli"))


@pytest.mark.parametrize(
    ("floor", "word", "message"),
    [
        ("recipes", "sqlqa", "no 'sqlqa' in recipes: did you mean 'sql_qa'?"),
        ("adapters", "lorra", "no 'lorra' in adapters: did you mean 'lora'?"),
        ("cli", "tuen", "no 'tuen' in cli: did you mean 'tune'?"),
    ],
)
def test_an_unknown_name_gets_the_nearest(floor: str, word: str, message: str):
    with pytest.raises(FtkitError) as caught:
        catalog.load(floor, word)
    assert str(caught.value) == message
