"""The model card of a variant: what it is, what it was tuned on, how to open it, what to beware of.

Its front matter is the Hub's (huggingface.co/docs/hub/model-cards).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ftkit import __version__

from ._recipe import Recipe

OPENS = {
    "": "from transformers import AutoModelForCausalLM\n\n"
    'model = AutoModelForCausalLM.from_pretrained("{folder}")',
    "adapter": "from peft import PeftModel\nfrom transformers import AutoModelForCausalLM\n\n"
    'model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained("{base}"), "{folder}")',
}


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
    library = "peft" if adapter else "transformers"
    parts = getattr(recipe, "parts", (recipe,))
    data = ", ".join(dict.fromkeys(source for part in parts for source in _sources(part)))
    opens = OPENS["adapter" if adapter else ""].format(folder=folder, base=base)
    lines = [
        f"---\nlibrary_name: {library}\nbase_model: {base}\npipeline_tag: text-generation",
        f"tags: [ftkit, {recipe.name}, {method}]\n---\n\n# {Path(folder).name}\n",
    ]
    if recipe.notice:
        lines.append(f"**{recipe.notice}**\n")
    lines.append(
        f"`{base}` tuned by {method} for the recipe `{recipe.name}` with ftkit {__version__}, on "
        f"{data}: {facts['trainable_params']:,} trained parameters, {facts['steps']:,} updates, "
        f"{facts['seconds']:.0f} seconds, validation loss {facts['validation_nats']:.3f} nats a "
        "token on held-out rows.\n"
    )
    lines.append(f"```python\n{opens}\n```\n")
    lines.append(
        f"Ask it with `ftkit chat {folder}`, compare it with `ftkit eval {folder}`. `run/run.toml` "
        "holds every setting. Its answers can be wrong however sure they sound.\n"
    )
    return "\n".join(lines)


def _sources(recipe: Recipe) -> tuple[str, ...]:
    return recipe.data or (f"the embedded world of ftkit, seed {recipe.world_seed}",)
