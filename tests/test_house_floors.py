"""The floors hold: an import only goes down, and a library is imported from its floor upwards."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOORS = ["ftkit", "basemodel", "adapters", "recipes", "eval", "cli"]
# The lowest floor that may import each library: the list of ARCHITECTURE.md, "Folders".
LIBRARIES = {
    "ftkit": {"tomli_w"},
    "basemodel": {
        *("torch", "safetensors", "tokenizers", "matplotlib", "numpy"),
        *("datasets", "pyarrow", "huggingface_hub", "zstandard"),  # two come with datasets
    },
    "adapters": {"transformers", "peft", "bitsandbytes"},
    "recipes": {"sqlglot", "jinja2"},
    "eval": {"evaluate"},
    "cli": {"click", "rich"},
}
# What only basemodel itself may use; the command line may ask config for the names of presets.
SHUT = {"ftkit.basemodel.model", "ftkit.basemodel.families", "ftkit.basemodel.export"}
SHUT_BELOW_CLI = {"ftkit.basemodel.config"}
SOURCES = sorted(path for floor in FLOORS for path in (ROOT / floor).rglob("*.py"))


def imported(path: Path) -> set[str]:
    """List what a file imports, at its head and inside functions, as absolute module names."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    package = ["ftkit", *(parts[1:-1] if parts[0] == "ftkit" else parts[:-1])]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            # `from ..basemodel import fit` names a module too; `from .x import y` may not: both
            # spellings are kept, the wrong one matches nothing below.
            found |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return found


def floor_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0]


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def faults(floor: str, modules: set[str]) -> list[str]:
    """List the imports that a file of this floor may not have."""
    height = FLOORS.index(floor)
    allowed = set().union(*(LIBRARIES[lower] for lower in FLOORS[: height + 1]))
    wrong = []
    for module in sorted(modules):
        root, _, rest = module.partition(".")
        if root == "ftkit":
            target = rest.split(".")[0]
            if target in FLOORS and FLOORS.index(target) > height:
                wrong.append(f"{module} lies higher")
            if floor not in ("ftkit", "basemodel") and any(
                module == shut or module.startswith(f"{shut}.")
                for shut in SHUT | (SHUT_BELOW_CLI if floor != "cli" else set())
            ):
                wrong.append(f"{module} is basemodel's own")
        elif root not in sys.stdlib_module_names and root not in allowed:
            wrong.append(f"{root} may not be imported from {floor}")
    return wrong


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_imports_only_go_down(path: Path):
    modules = imported(path)
    if path == ROOT / "ftkit" / "__main__.py":  # the door to the whole house
        modules = {module for module in modules if not module.startswith("ftkit.cli")}
    assert faults(floor_of(path), modules) == []


@pytest.mark.parametrize(
    ("floor", "module", "fault"),
    [
        ("basemodel", "ftkit.recipes.sql_qa", "ftkit.recipes.sql_qa lies higher"),
        ("recipes", "ftkit.basemodel.model.GPT", "ftkit.basemodel.model.GPT is basemodel's own"),
        ("basemodel", "transformers", "transformers may not be imported from basemodel"),
        ("eval", "rich.table", "rich may not be imported from eval"),
        ("cli", "requests", "requests may not be imported from cli"),
    ],
)
def test_a_wrong_import_is_seen(floor: str, module: str, fault: str):
    assert faults(floor, {module}) == [fault]


def test_right_imports_pass():
    assert faults("recipes", {"ftkit.basemodel.fit", "ftkit.errors", "torch", "json"}) == []


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_ground_floor_is_named_absolutely_and_the_others_relatively(path: Path):
    if floor_of(path) in ("ftkit",):
        return
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and not node.level and node.module:
            target = node.module.removeprefix("ftkit.").split(".")[0]
            assert not (node.module.startswith("ftkit.") and target in FLOORS[1:]), (
                f"{path.name}:{node.lineno} writes {node.module}: use a relative import"
            )


def test_every_folder_of_sources_is_packaged():
    import tomllib

    tools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    folders = {path.parent.relative_to(ROOT).as_posix() for path in SOURCES}
    assert set(tools["setuptools"]["package-dir"].values()) == folders
    assert set(tools["setuptools"]["packages"]) == set(tools["setuptools"]["package-dir"])
