"""A talk in the plain form of the corpus, for a base that knows no chat."""

from random import Random

from .items import Talk
from .scene import cast, opening, spoken


def prose(talk: Talk) -> tuple[str, str, str]:
    """Return the talk as a scene that breaks off where the last reply begins.

    Returns:
        The prompt, the reference answer, and the string that ends an answer.
    """
    rng = Random(talk.unit)
    who, parts = cast(rng), []
    for message in talk.messages[:-1]:
        text = message["content"]
        if message["role"] == "user":
            parts.append(spoken(text, who, rng))
        else:
            parts.append(f'{opening(who, rng)}{text}"')
    parts.append(opening(who, rng))
    return "\n".join(parts), talk.messages[-1]["content"], '"'
