"""Recipes (data, prompt, metrics, generation settings) and tuning; a plain name is a `--recipe`."""
