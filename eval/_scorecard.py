"""The scorecard: every variant by every metric, with intervals, costs and paired comparisons.

Everything a report shows is in it, but the answers. `asdict` of a Scorecard is scorecard.json; its
schema is docs/scorecard.schema.json.
"""

from dataclasses import asdict, dataclass, field
from typing import Any

BASELINES = ("majority", "nearest")  # methods that no model stands behind
OWN = "the base's own text"  # held out from its pretraining


@dataclass(frozen=True)
class Measure:
    """A metric's mean with its 95 % interval; `spread` is the deviation between training seeds."""

    mean: float | None
    low: float | None
    high: float | None
    n: int
    spread: float | None = None

    @property
    def ends(self) -> tuple[float, float]:
        """Where to draw the interval: at the mean where there is none, at 0 without a mean."""
        mean = self.mean or 0.0
        return mean if self.low is None else self.low, mean if self.high is None else self.high


@dataclass(frozen=True)
class Cost:
    """What a variant took to make and takes to keep; None where nobody measured it.

    Attributes:
        trainable_params: parameters that training moved.
        bytes: size of what it adds to the base, or of the base itself.
        seconds: of training, start to end.
        peak_memory: bytes, while training.
        tokens_per_second: while training.
        answers_per_second: here, while evaluating.
        updates: of its training.
    """

    trainable_params: float = 0
    bytes: float = 0
    seconds: float | None = None
    peak_memory: float | None = None
    tokens_per_second: float | None = None
    answers_per_second: float | None = None
    updates: float | None = None


@dataclass(frozen=True)
class Forgetting:
    """Bits per byte of a text, before and after tuning.

    Attributes:
        before: the base's.
        after: the variant's, a mean over seeds.
        bytes: how much was read.
        text: what was read, in words.
    """

    before: float
    after: float
    bytes: int
    text: str = OWN


@dataclass(frozen=True)
class Bias:
    """How often a model finds the sentence with a prejudice likelier than its twin; see `_bias`.

    Attributes:
        share: over all pairs, half of them where nothing is preferred.
        groups: the same by what the pairs are about.
    """

    share: Measure
    groups: dict[str, Measure]


@dataclass(frozen=True)
class Line:
    """A variant in the card, its seeds folded.

    Attributes:
        form: `chat`, or `prose` for the base asked in plain text.
        reasons: how many answers got each verdict of the first metric, over all seeds.
        features: the first metric on the items of each feature.
        levels: the first metric on the items of each hardness.
        elsewhere: what was forgotten of another recipe, by its name.
    """

    name: str
    method: str
    shots: int
    seeds: tuple[int, ...]
    metrics: dict[str, Measure]
    cost: Cost
    forgetting: Forgetting | None
    form: str
    fingerprints: tuple[str, ...]
    folders: tuple[str, ...]
    reasons: dict[str, int]
    features: dict[str, Measure]
    elsewhere: dict[str, Forgetting] = field(default_factory=dict)
    levels: dict[str, Measure] = field(default_factory=dict)
    bias: Bias | None = None


@dataclass(frozen=True)
class Comparison:
    """The difference between two variants on the same items, a minus b.

    Attributes:
        p: exact McNemar for right/wrong metrics, else from Student's t; uncorrected.
        p_holm: corrected for all comparisons by the metric that ranks; by another metric, for all
            comparisons of this card.
        verdict: `a better`, `b better` or `tie`.
        detectable: the true difference that would be called in 80 % of the cases, at Holm's worst;
            None where not even the largest would be.
    """

    a: str
    b: str
    metric: str
    difference: float
    low: float
    high: float
    p: float
    verdict: str
    p_holm: float
    n: int
    detectable: float | None = None


@dataclass(frozen=True)
class Reading:
    """How a metric is to be read; `about` says in a sentence what it is a mean of."""

    title: str
    lower_is_better: bool
    share: bool
    about: str = ""

    @property
    def marks(self) -> bool:
        """Whether a score says how right an answer is, 1 being right."""
        return self.share and not self.lower_is_better


@dataclass(frozen=True)
class Scorecard:
    """What an evaluation found; the first metric ranks the variants.

    Attributes:
        recipe: what was asked.
        n: items.
        variants: in table order, from the baselines to the largest.
        comparisons: of every two variants by every metric.
        readings: title and direction of each metric.
        facts: base, items, seed, hardware, versions and command, for reproducing it.
        notice: what must stand beside every answer.
    """

    recipe: str
    n: int
    variants: tuple[Line, ...]
    comparisons: tuple[Comparison, ...]
    readings: dict[str, Reading]
    facts: dict[str, Any]
    notice: str = ""

    @property
    def primary(self) -> str:
        """The metric that ranks the variants."""
        return next(iter(self.readings))

    def json(self) -> dict[str, Any]:
        """Give the card as plain data."""
        return asdict(self)
