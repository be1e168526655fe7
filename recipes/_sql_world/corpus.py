"""The pretraining corpus: notebooks with schema, remarks and queries, among other plain text."""

from collections.abc import Iterator
from random import Random

from .._sql_spelling import spread
from . import mix, schemas
from .databases import Samples
from .domains import domains
from .prose import passage
from .scene import Scene
from .wording import remark

NOTEBOOKS = 0.44  # share of documents; they are long, so they hold about 70 % of the characters
INVENTED = 0.65  # share of made-up names of tables and columns
LONGEST = 1200  # characters after which a notebook takes no further query
MARKS = ("", "", "", "-- ", "Remark: ")


def corpus(seed: int, characters: int) -> Iterator[str]:
    """Yield documents until they hold this many characters.

    Args:
        seed: the world's seed; documents of different seeds share the lexicon only.
        characters: the total length to reach.
    """
    rng = Random(f"corpus {seed}")
    made = 0
    while made < characters:
        text = notebook(rng) if rng.random() < NOTEBOOKS else passage(rng)
        made += len(text)
        yield text


def notebook(rng: Random) -> str:
    """Return one notebook: a title, a schema, and remarks each followed by its query."""
    domain = rng.choice(domains("train"))
    schema = schemas.draw(domain, "train", rng, INVENTED)
    scene = Scene(schema, Samples(None, rng), rng)
    mark = rng.choice(MARKS)
    parts = (
        [f"{_title(schema, rng)}\n\n{schema.compact}"] if rng.random() < 0.7 else [schema.compact]
    )
    length, seen = len(parts[0]), set()
    for _ in range(rng.randint(5, 9)):
        ask = mix.draw(scene, rng)
        if ask.sql in seen:
            continue
        seen.add(ask.sql)
        parts.append(f"{mark}{remark(ask, rng)}\n{spread(ask.sql)}")
        length += len(parts[-1])
        if length > LONGEST:
            break
    return "\n\n".join(parts)


def _title(schema: schemas.Schema, rng: Random) -> str:
    nouns = " and ".join(table.many for table in schema.tables[:2])
    return rng.choice(
        (
            f"Notebook on {nouns}",
            f"Queries about {nouns}",
            f"The {schema.domain} database, page {rng.randint(2, 90)}",
            f"Notes for the {schema.domain} tables",
        )
    )
