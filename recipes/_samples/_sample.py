"""One row of a sample: a request and its answer."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Sample:
    """A request and its answer.

    Args:
        request: what is asked.
        answer: the right reply.
        unit: what leaks: the review, or the function that is asked for.
        features: what kind of row it is, for the report.
    """

    request: str
    answer: str
    unit: str
    features: tuple[str, ...]
