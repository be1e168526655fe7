"""`ftkit info`: what would be used here and why, and what there is to choose from."""

import importlib.metadata
import platform

import click

from ftkit import __version__, catalog

from ._options import debug

LIBRARIES = ("torch", "transformers", "peft", "tokenizers", "evaluate", "safetensors")


@click.command()
@debug
def info() -> None:
    """Show what would be used here, and why."""
    from ..basemodel.device import decide

    device = decide(parameters=5_000_000)
    versions = [f"{name} {importlib.metadata.version(name)}" for name in LIBRARIES]
    click.echo(f"ftkit {__version__} · Python {platform.python_version()} · {platform.system()}")
    click.echo(" · ".join(versions))
    click.echo("For a model of 5 million parameters:")
    for choice in ("device", "dtype", "compile", "threads"):
        value = str(getattr(device, choice)).lower()
        click.echo(f"  {choice:8} {value:10} {device.reasons.get(choice, '')}".rstrip())
    rate = f"{device.peak_flops() / 1e9:,.0f}"
    click.echo(f"  {'gflops':8} {rate:10} measured now on a large matrix product in {device.dtype}")
    for floor, title in (("recipes", "recipes"), ("adapters", "methods"), ("eval", "metrics")):
        click.echo(f"{title}: {', '.join(catalog.names(floor))}")


command = info
