"""Loss curves of a run as an SVG: training, validation and the gap between them."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ftkit.runs import write_whole


def draw(records: Iterable[Mapping[str, Any]], path: Path, title: str) -> None:
    """Draw training and validation loss over the steps, and a bigram's as a line to beat.

    Args:
        records: the run's log; see `ftkit.runs.Run.records`.
        path: the SVG to write.
        title: stands above the picture.
    """
    import io

    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    rows = list(records)
    training = [(row["step"], row["loss"]) for row in rows if "loss" in row]
    checks = [(row["step"], row["validation"]["nats"]) for row in rows if "validation" in row]
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    if training:
        smooth = _smooth([loss for _, loss in training])
        axes.plot(*zip(*training, strict=True), color="0.8", linewidth=0.8)
        axes.plot([step for step, _ in training], smooth, label="training")
    if checks:
        axes.plot(*zip(*checks, strict=True), marker=".", label="validation")
    for row in rows:
        if "bigram" in row:
            axes.axhline(row["bigram"]["nats"], color="0.5", linestyle=":", label="bigram model")
    if training and checks:
        gap = checks[-1][1] - smooth[-1]
        axes.set_xlabel(f"step   (last validation minus training loss: {gap:+.3f} nats)")
    axes.set_ylabel("nats per token")
    axes.set_title(title)
    if training or checks:
        axes.legend()
    picture = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "ftkit"}):  # the same run draws the same file
        figure.savefig(picture, format="svg", metadata={"Date": None})
    write_whole(path, picture.getvalue())


def _smooth(values: list[float]) -> list[float]:
    """Average over about a twentieth of the run, from the past alone."""
    keep = 1 - 1 / max(1.0, len(values) / 20)
    smooth: list[float] = []
    weight = mean = 0.0
    for value in values:
        mean, weight = keep * mean + (1 - keep) * value, keep * weight + (1 - keep)
        smooth.append(mean / weight)
    return smooth
