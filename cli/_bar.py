"""Progress of long work: a live bar on a terminal, plain lines elsewhere."""

import time
from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

Record = dict[str, Any]
LINE_EVERY = 10.0  # seconds between two plain lines


def console() -> Console:
    """Make a console on the present standard output (tests and pipes replace it)."""
    return Console(highlight=False, soft_wrap=True, markup=False)


def watch(records: Iterable[Record], title: str, total: int | None = None) -> Record:
    """Run the work behind an iterator of log records and show how it goes.

    Args:
        records: the work; a training record has step, loss, tokens and seconds, a check has
            `validation`, anything else worth a line has `event`. A record may carry `of` or
            `steps`, the number of steps there will be.
        title: what the bar is called.
        total: the number of steps, when it is known beforehand.

    Returns:
        The last training record, or an empty one.
    """
    screen, last = console(), {}
    show = _Bar(screen, title) if screen.is_terminal else _Lines(screen, title)
    with show as shown:
        for record in records:
            total = record.get("of", record.get("steps", total))
            if "loss" in record:
                last = record
            shown.show(record, total)
    return last


class _Rate:
    """Work out tokens per second and the time left from the last few training records."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, float, float]] = []

    def update(self, record: Record, total: int | None) -> tuple[float, float | None]:
        """Return tokens per second and the seconds left, None while that is not known."""
        self.seen.append((record["seconds"], record["tokens"], record["step"]))
        self.seen = self.seen[-50:]
        (start, tokens_then, step_then), (now, tokens, step) = self.seen[0], self.seen[-1]
        passed = now - start
        if passed <= 0:
            return (tokens / now if now else 0.0), None
        rate = (tokens - tokens_then) / passed
        steps = (step - step_then) / passed
        return rate, (total - step) / steps if total and steps else None


def describe(record: Record, rate: float, left: float | None) -> str:
    """Put one training record into words.

    >>> describe({"loss": 2.125}, 14250.0, 75.0)
    'loss 2.125 · 14.2k tokens/s · 1:15 left'
    """
    speed = f"{rate / 1000:.1f}k" if rate >= 1000 else f"{rate:.0f}"
    words = [f"loss {record['loss']:.3f}", f"{speed} tokens/s"]
    if left is not None:
        words.append(f"{int(left) // 60}:{int(left) % 60:02d} left")
    return " · ".join(words)


def remark(record: Record) -> str | None:
    r"""Put a check or an event into words; None for what needs none.

    >>> remark({"step": 50, "validation": {"nats": 1.9, "bits_per_byte": 0.7}})
    'step 50: validation nats 1.900, bits per byte 0.700'
    >>> remark({"step": 50, "sample": "Once\nupon"})
    "step 50: it writes 'Once upon'"
    >>> remark({"event": "plan", "steps": 1200, "device": "cpu", "start": 0})
    'plan: steps 1,200, device cpu'
    """
    if isinstance(checked := record.get("validation"), dict):
        words = [f"{name} {value:.3f}" for name, value in checked.items()]
        return f"step {record.get('step', 0)}: validation {', '.join(words)}".replace("_", " ")
    if "sample" in record:
        return f"step {record['step']}: it writes {' '.join(record['sample'].split())!r}"
    event = record.get("event")
    if event is None or event == "done":
        return None
    if "text" in record:
        return str(record["text"])
    facts = [
        f"{name.replace('_', ' ')} {f'{value:,}' if isinstance(value, int) else value}"
        for name, value in record.items()
        if name != "event" and isinstance(value, int | str) and value not in ("", 0)
    ]
    return ": ".join(filter(None, [str(event), ", ".join(facts)]))


class _Bar:
    """The live bar of a terminal."""

    def __init__(self, screen: Console, title: str) -> None:
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TextColumn("{task.fields[words]}"),
            console=screen,
        )
        self.task = self.progress.add_task(title, total=0, words="")
        self.rate = _Rate()

    def __enter__(self) -> "_Bar":
        self.progress.start()
        return self

    def __exit__(self, *problem: object) -> None:
        self.progress.stop()

    def show(self, record: Record, total: int | None) -> None:
        """Move the bar; checks and events scroll by above it."""
        if text := remark(record):
            self.progress.console.print(text)
        if "loss" in record:
            words = describe(record, *self.rate.update(record, total))
            self.progress.update(
                self.task, completed=record["step"], total=total or record["step"], words=words
            )
        elif "done" in record and "of" in record:
            self.progress.update(self.task, completed=record["done"], total=record["of"])


class _Lines:
    """A line now and then, for logs and pipes."""

    def __init__(self, screen: Console, title: str) -> None:
        self.screen, self.title, self.rate = screen, title, _Rate()
        self.shown_at = float("-inf")

    def __enter__(self) -> "_Lines":
        return self

    def __exit__(self, *problem: object) -> None:
        pass

    def show(self, record: Record, total: int | None) -> None:
        """Print what is worth a line, training steps at most every LINE_EVERY seconds."""
        if text := remark(record):
            self.screen.print(f"{self.title}: {text}")
        count = "loss" in record
        if not count and not ("done" in record and "of" in record):
            return
        words = describe(record, *self.rate.update(record, total)) if count else ""
        now, done = time.monotonic(), record["step"] if count else record["done"]
        of = total if count else record["of"]
        if now - self.shown_at >= LINE_EVERY or done == of:
            self.shown_at = now
            place = f"{done}/{of}" if of else f"{done}"
            self.screen.print(f"{self.title}: {place} {words}".rstrip())
