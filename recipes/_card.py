"""The model card of a variant: what it is, what it was tuned on, how to open it, what to beware of.

Its front matter is the Hub's (huggingface.co/docs/hub/model-cards); `ftkit eval` adds the scores.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, ModelCardData

from ftkit import __version__
from ftkit.config import as_set, table

from ._recipe import Recipe

OPENS = {
    "": "from transformers import AutoModelForCausalLM\n\n"
    'model = AutoModelForCausalLM.from_pretrained("{folder}")',
    "adapter": "from peft import PeftModel\nfrom transformers import AutoModelForCausalLM\n\n"
    'model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained("{base}"), "{folder}")',
}
# Settings that a card does not list: sources stand under Data, and a folder is nobody's business.
UNLISTED = ("data", "cache", "databases", "on_bad_rows")
PLAIN = re.compile(r"[^/\\`\s]*")  # no path, and nothing that ends a line or a piece of code
UNKNOWN = "unknown"  # the Hub's word for a licence that nobody stated


def card(
    folder: str, recipe: Recipe, method: str, adapter: bool, base: str, facts: Mapping[str, Any]
) -> str:
    """Write README.md.

    Args:
        folder: of the variant, from where it was tuned, as the base's.
        recipe: what was taught.
        method: how.
        adapter: whether the folder holds an adapter that needs its base.
        base: folder or Hub id.
        facts: what training came to, as in `run/done`.
    """
    parts = getattr(recipe, "parts", (recipe,))
    data = list(dict.fromkeys(source for part in parts for source in _sources(part)))
    hub = [re.split("[:@]", word)[1] for word in data if word.startswith("hub:")]
    head = ModelCardData(
        base_model=base,
        datasets=hub or None,
        library_name="peft" if adapter else "transformers",
        license=UNKNOWN if any(part.data for part in parts) else license_of(base),
        pipeline_tag="text-generation",
        tags=["ftkit", *recipe.name.split(","), method],
    )
    opens = OPENS["adapter" if adapter else ""].format(folder=folder, base=base)
    notice = f"**{recipe.notice}**\n\n" if recipe.notice else ""
    body = f"""
# {Path(folder).name}

{notice}`{base}` tuned by {method} for the recipe `{recipe.name}` with ftkit {__version__}: \
{facts["trainable_params"]:,} trained parameters, {facts["steps"]:,} updates, \
{facts["seconds"]:.0f} seconds, validation loss {facts["validation_nats"]:.3f} nats a token on \
held-out rows.

```python
{opens}
```

Ask it with `ftkit chat {folder}`, compare it with `ftkit eval {folder}`, tune it again with \
`ftkit tune --config {folder}/run/run.toml --out NEW`.

## Data
{_listed(data)}
{_settings(parts)}
`run/run.toml` holds every setting, seeds included. Test rows chose nothing: the weights kept are \
those of the last check on rows held out from training whose loss was within 10 % of the lowest.

## Limits
- Its answers can be wrong however sure they sound{_how_wrong(recipe)}.
- It was taught this task alone; what it makes of anything else is measured only as far as it \
stands below.
- It has what its base has, prejudices included, and its licence follows from base and data: \
{_licence(base)}.
"""
    return str(ModelCard(f"---\n{head.to_yaml()}\n---\n{body}"))


def read_card(path: Path) -> tuple[ModelCardData, str] | None:
    """Read a model card as front matter and text; None where there is none that can be read."""
    if not path.is_file():
        return None
    try:
        found: Any = ModelCard.load(path)
        return found.data, found.text
    except Exception:  # YAML's errors are no ValueErrors, and a person may have written anything
        return None


def license_of(base: str) -> str:
    """Read the licence off a base's own card; the Hub's `unknown` where it states none."""
    found = read_card(Path(base) / "README.md")
    stated = None if found is None else found[0].license
    return stated if isinstance(stated, str) else UNKNOWN


def _licence(base: str) -> str:
    found = license_of(base)
    if found == UNKNOWN:
        return "the base states none, so say one before you pass this on"
    return f"the base's is {found}"


def _how_wrong(recipe: Recipe) -> str:
    return "" if not recipe.queries else "; a query that runs is not thereby the right one"


def _settings(recipes: Sequence[Recipe]) -> str:
    """Say what was set otherwise than a recipe has it, such as how its rows are laid out."""
    found = []
    for recipe in recipes:
        usual = table(type(recipe)())
        for name, value in table(recipe).items():
            if name not in UNLISTED and value != usual.get(name):
                said = as_set(value)
                plain = f"`{recipe.name}.{name}={said}`" if PLAIN.fullmatch(said) else ""
                found.append(plain or f"`{recipe.name}.{name}` (see `run/run.toml`)")
    return f"\nSet otherwise than usual: {', '.join(found)}.\n" if found else ""


def _listed(data: list[str]) -> str:
    return "\n".join(f"- {source}" for source in data)


def _sources(recipe: Recipe) -> tuple[str, ...]:
    return recipe.data or (
        f"the embedded world of ftkit for `{recipe.name}`, seed {recipe.world_seed}",
    )
