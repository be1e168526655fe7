"""Loose forms of an answer: without its first or last line, and without markup (arXiv:2311.07911).

It imports nothing of ftkit, so that `evaluate.load` can copy it beside the metrics.
"""

import re

MARKUP = re.compile(r"[*_`#]+|^\s*>\s?", re.MULTILINE)


def forms(answer: str) -> list[str]:
    r"""List the answer and its loose forms, each different and none empty.

    >>> forms("Sure!\n**Yes**")
    ['Sure!\n**Yes**', 'Sure!\nYes', '**Yes**', 'Yes', 'Sure!']
    """
    lines = answer.strip().split("\n")
    cut = [lines, lines[1:], lines[:-1], lines[1:-1]]
    found = [answer.strip()]
    for part in cut:
        text = "\n".join(part).strip()
        found += [text, MARKUP.sub("", text).strip().strip("\"'“”")]
    return [form for form in dict.fromkeys(found) if form]
