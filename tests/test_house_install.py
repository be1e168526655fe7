"""ftkit works as a bare clone, installed, installed editable and from a wheel."""

import shutil
import site
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# Everything that users reach: each plug-in, the public names, a metric through evaluate.
TRIAL = """
import contextlib, evaluate, pathlib, sqlite3, tempfile, ftkit
from ftkit import catalog
from ftkit.basemodel import GPT, GPTConfig
for floor in catalog.EXPORTS:
    for name in catalog.names(floor):
        catalog.load(floor, name)
home = pathlib.Path(ftkit.catalog.__file__).parent
place = home if (home / "eval").is_dir() else home.parent
accuracy = evaluate.load(str(place / "eval" / "execution_accuracy.py"))
file = pathlib.Path(tempfile.mkdtemp()) / "t.sqlite"
with contextlib.closing(sqlite3.connect(file)) as connection:
    connection.execute("CREATE TABLE t AS SELECT 1 AS a")
    connection.commit()
found = accuracy.compute(
    predictions=["select A from t", "SELECT 1", "DROP TABLE t"],
    references=3 * ["SELECT a FROM t"], databases=3 * [str(file)])
assert found["scores"] == [1.0, 0.0, 0.0], found
assert found["reasons"][0] == "right" and found["reasons"][2] == "refused: DROP", found
import ftkit.recipes._sql_world as world
tables = list(pathlib.Path(world.__file__).parent.glob("*.toml"))
print("tried", home.resolve(), len(tables) > 0, catalog.names("recipes"))
"""


def run(*words: str | Path, cwd: Path) -> str:
    done = subprocess.run([str(word) for word in words], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy what a clone would hold, so that building leaves nothing in the checkout."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    place = tmp_path_factory.mktemp("clone") / "ftkit"
    listed = run("git", "ls-files", "-co", "--exclude-standard", "-z", cwd=ROOT)
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, place / name)
    return place


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """Make an empty environment that borrows the dependencies, but not ftkit, of this one."""
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "env", cwd=tmp_path)
    here = sysconfig.get_path(
        "purelib", vars={"base": str(tmp_path / "env"), "platbase": str(tmp_path / "env")}
    )
    # A folder named in a .pth file has its own .pth files (an editable ftkit, say) left alone.
    lent = "\n".join(path for path in site.getsitepackages() if Path(path).is_dir())
    (Path(here) / "dependencies.pth").write_text(f"{lent}\n")
    return tmp_path / "env" / "bin" / "python"


def install(python: Path, *words: str | Path, cwd: Path) -> None:
    quick = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    run(sys.executable, "-m", "pip", "--python", python, "install", *quick, *words, cwd=cwd)


def tried(python: Path, place: Path) -> str:
    """Use an installation from an empty folder; return where ftkit was found."""
    empty = place / "empty"
    empty.mkdir()
    assert "Commands:" in run(python.parent / "ftkit", "--help", cwd=empty)
    assert "device" in run(python.parent / "ftkit", "info", cwd=empty)
    said = run(python, "-c", TRIAL, cwd=empty).splitlines()[-1].split(maxsplit=3)
    assert said[0] == "tried"
    assert said[2] == "True", "the world's tables are not there"
    assert "sql_qa" in said[3]
    assert list(empty.iterdir()) == []
    return said[1]


def test_a_bare_clone_works(clone: Path):
    assert "Commands:" in run(sys.executable, "-m", "ftkit", "--help", cwd=clone)
    said = run(sys.executable, "-c", TRIAL, cwd=clone).splitlines()[-1]
    assert said.startswith(f"tried {(clone / 'ftkit').resolve()} True")


@pytest.mark.slow
def test_pip_install(clone: Path, python: Path, tmp_path: Path):
    install(python, ".", cwd=clone)
    assert str(tmp_path / "env") in tried(python, tmp_path)


@pytest.mark.slow
def test_pip_install_editable(clone: Path, python: Path, tmp_path: Path):
    install(python, "-e", ".", cwd=clone)
    assert tried(python, tmp_path) == str((clone / "ftkit").resolve())


@pytest.mark.slow
def test_a_wheel(clone: Path, python: Path, tmp_path: Path):
    words = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", tmp_path, "."]
    run(sys.executable, "-m", "pip", *words, cwd=clone)
    (wheel,) = tmp_path.glob("ftkit-*.whl")
    inside = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].split("-")[0] for name in inside} == {"ftkit"}
    for floor in ("basemodel", "adapters", "recipes", "eval", "cli"):
        wanted = {
            f"ftkit/{path.relative_to(clone)}"
            for path in (clone / floor).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        assert wanted <= set(inside)
    install(python, wheel, cwd=tmp_path)
    assert str(tmp_path / "env") in tried(python, tmp_path)
