"""Help is light and complete, and errors are sentences with the right exit code."""

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from ftkit import __version__, catalog
from ftkit.cli import ftkit

ROOT = Path(__file__).parent.parent


def test_help_imports_no_torch():
    code = (
        "import sys\nfrom ftkit.cli import ftkit\n"
        "ftkit(['--help'], standalone_mode=False)\n"
        "heavy = {'torch', 'transformers', 'numpy', 'evaluate', 'matplotlib'}\n"
        "print('heavy:', sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.endswith("heavy: []\n"), done.stdout + done.stderr
    for name in catalog.names("cli"):
        assert f"  {name} " in done.stdout


@pytest.mark.parametrize("name", catalog.names("cli"))
def test_every_command_has_help(name: str):
    result = CliRunner().invoke(ftkit, [name, "--help"])
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: ftkit {name}")
    assert "--debug" in result.stdout


def test_version():
    assert CliRunner().invoke(ftkit, ["--version"]).stdout == f"ftkit, version {__version__}\n"


def test_info_says_what_and_why():
    result = CliRunner().invoke(ftkit, ["info"])
    assert result.exit_code == 0, result.stderr
    words = result.stdout
    for needed in ("device", "dtype", "compile", "threads", "torch 2.", "lora", "sql_qa"):
        assert needed in words


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tuen"], "Error: no 'tuen' in cli: did you mean 'tune'?\n"),
        (["info", "--config"], "Error: No such option '--config'."),
        (["tune", "--recipe", "sqlqa"], "Error: no 'sqlqa' in recipes: did you mean 'sql_qa'?\n"),
    ],
)
def test_a_wrong_word_is_one_sentence_and_2(words: list[str], message: str):
    result = CliRunner().invoke(ftkit, words)
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_python_m_ftkit_works_from_the_checkout():
    done = subprocess.run(
        [sys.executable, "-m", "ftkit", "--version"], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, f"ftkit, version {__version__}\n")
