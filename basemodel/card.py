"""The model card of a base: what it read, what it came to, how to open it, what to beware of.

Its front matter is the Hub's (huggingface.co/docs/hub/model-cards).
"""

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftkit import __version__

UNKNOWN = "unknown"  # the Hub's word for a licence that nobody stated
CARD = """---
{head}
---

# {name}

{notice}A {family} model of {parameters:,} parameters, pretrained {begun} with ftkit {version} on \
{tokens:,} tokens. Text held out from training: {nats:.3f} nats a token, {bits:.3f} bits per \
byte{counted}.

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained({string})
tokenizer = AutoTokenizer.from_pretrained({string})
```

It completes text: `ftkit chat {word} --raw`. It is made to be adapted: `ftkit tune --base {word}`.

## Text
{listed}

`run/run.toml` holds every setting, seed included; `run/curves.svg` shows the losses.

## Limits
- It says what is likely in such text, true or not, and has its prejudices. It was taught to answer
  nobody.
- Its licence follows from the text{stated}.
"""


@dataclass(frozen=True)
class Text:
    """What a card says of the text that was read.

    Args:
        sources: of it, a line each.
        license: by the Hub's name.
        notice: what has to be said first of all.
    """

    sources: Sequence[str] = ("documents that a program made",)
    license: str = UNKNOWN
    notice: str = ""


def card(
    folder: str, family: str, facts: Mapping[str, Any], text: Text, base: str | None = None
) -> str:
    """Write README.md.

    Args:
        folder: of the base, as its user names it.
        family: whose parts it has.
        facts: what training came to, as in `run/done`.
        text: what was read.
        base: what it went on from, if anything: then the licence is its too, and not known here.
    """
    from huggingface_hub import ModelCardData

    bigram, known = facts["bigram"], text.license if base is None else UNKNOWN
    head = ModelCardData(
        base_model=base,
        datasets=[re.split("[:@]", each)[1] for each in text.sources if each.startswith("hub:")]
        or None,
        library_name="transformers",
        license=known,
        pipeline_tag="text-generation",
        tags=["ftkit", family],
    )
    return CARD.format(
        head=head.to_yaml(),
        name=Path(folder).absolute().name,
        string=json.dumps(folder),
        word=shlex.quote(folder),
        family=family,
        version=__version__,
        notice=f"**{text.notice}**\n\n" if text.notice else "",
        begun="from scratch" if base is None else f"on from `{base}`",
        parameters=facts["parameters"],
        tokens=facts["tokens"],
        nats=facts["validation"]["nats"],
        bits=facts["validation"]["bits_per_byte"],
        counted=f"; counting pairs of tokens gives {bigram['nats']:.3f} nats" if bigram else "",
        listed="\n".join(f"- {each}" for each in text.sources),
        stated=": say one before you pass this on" if known == UNKNOWN else f": {known}",
    )
