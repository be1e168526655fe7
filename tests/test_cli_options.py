"""The options that commands share: what wins, what is refused, in which words."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from ftkit.cli import Commands, _options


@click.command()
@click.option("--method", "methods", type=_options.Word("adapters"), multiple=True)
@click.option("--minutes", type=float, callback=_options.above_zero)
@click.option("--out", type=click.Path(path_type=Path))
@_options.common
@_options.dry_run
@_options.resume
def toy(pairs: tuple[str, ...], seed: int, minutes: float | None, **rest: object) -> None:
    """Show what was understood."""
    click.echo(f"{seed} {minutes} {rest['methods']}")
    click.echo(_options.settings(pairs, ["method", "plan"]))
    click.echo(_options.options())
    click.echo(_options.given("out"))


class Toys(Commands):
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        return toy


def run(*words: str) -> Result:
    return CliRunner().invoke(Toys(), ["toy", *words])


def test_defaults_then_config_then_flags(tmp_path: Path):
    file = tmp_path / "run.toml"
    file.write_text(
        'ftkit = "0.1.0"\ncommand = "toy"\n[options]\nseed = 3\nminutes = 2.0\n'
        'methods = ["lora"]\n[method]\nrank = 4\nlr = 0.1\n[decided]\nthreads = 2\n'
    )
    plain = run().stdout.splitlines()
    assert plain[:2] == ["0 None ()", "{'method': {}, 'plan': {}}"]
    read = run("--config", str(file)).stdout.splitlines()
    assert read[0] == "3 2.0 ('lora',)"
    assert read[1] == "{'method': {'rank': 4, 'lr': 0.1}, 'plan': {}}"
    over = run("--set", "method.rank=2", "--seed", "5", "--config", str(file)).stdout.splitlines()
    assert over[0] == "5 2.0 ('lora',)"
    assert over[1] == "{'method': {'rank': '2', 'lr': 0.1}, 'plan': {}}"
    assert over[2] == "{'methods': ('lora',), 'minutes': 2.0, 'seed': 5}"
    assert over[3] == "['--seed', '--config', '--set']"


def test_what_only_says_where_or_how_is_not_kept():
    shown = run("--out", "x", "--dry-run", "--resume").stdout.splitlines()
    assert shown[2] == "{'seed': 0}"
    assert shown[3] == "['--dry-run', '--resume']"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--minutes", "-1"], "--minutes must be above 0, not -1"),
        (["--minutes", "0"], "--minutes must be above 0, not 0"),
        (["--minutes", "nan"], "--minutes must be above 0, not nan"),
        (["--minutes", "soon"], "Invalid value for '--minutes': 'soon' is not a valid float."),
        (["--seed", "-2"], "--seed cannot be negative, but it is -2"),
        (["--method", "lorra"], "no 'lorra' in adapters: did you mean 'lora'?"),
        (["--set", "rank=4"], "--set takes TABLE.NAME=VALUE, such as method.rank=4, not 'rank=4'"),
        (
            ["--set", "mehtod.rank=4"],
            "unknown settings 'mehtod' in `ftkit toy`: did you mean 'method'?",
        ),
        (["--config", "none.toml"], "no such file: none.toml"),
    ],
)
def test_a_wrong_option_is_one_sentence_and_2(words: list[str], message: str):
    result = run(*words)
    assert (result.exit_code, result.stderr) == (2, f"Error: {message}\n")


def test_an_unknown_option_gets_the_nearest():
    result = run("--sede", "1")
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: No such option '--sede'.")
    assert "--seed" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('command = "tune"', "{} holds settings for `ftkit tune`, not toy"),
        ("[options]\nsede = 1", "{}: unknown option 'options.sede': did you mean 'seed'?"),
        ("[options", "{} is not valid TOML: "),
    ],
)
def test_a_wrong_settings_file(tmp_path: Path, text: str, message: str):
    file = tmp_path / "run.toml"
    file.write_text(text)
    result = run("--config", str(file))
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: " + message.format(file))


def test_an_unexpected_fault_is_a_sentence_and_1_and_a_traceback_on_request(monkeypatch):
    def broken(*words: object) -> None:
        raise ValueError("a fault\nof ours")

    monkeypatch.setattr(_options, "parse_sets", broken)
    result = run()
    assert result.exit_code == 1
    message = "Error: unexpected ValueError: a fault of ours; --debug shows where\n"
    assert result.stderr == message
    assert isinstance(run("--debug").exception, ValueError)
