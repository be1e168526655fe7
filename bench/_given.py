"""What benchmarks of tuning give all sides: an untrained model, a base, rows as each reads them."""

import json
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

SEARCHED, SEED = 192, 0


def untrained(texts: Iterable[str], folder: Path, **shape: int) -> Path:
    """Write a model of a shape that no preset has, with a tokenizer of 4,096 from some texts."""
    from ftkit.basemodel import GPT, GPTConfig
    from ftkit.basemodel.export import write_model
    from ftkit.basemodel.tokenizer import train_tokenizer

    tokenizer = train_tokenizer(texts, 4096)
    bos, pad, end, eos = map(tokenizer.id, ("<|bos|>", "<|pad|>", "<|end|>", "<|eos|>"))
    torch.manual_seed(SEED)
    ends = {"bos_token_id": bos, "pad_token_id": pad, "eos_token_id": (end, eos)}
    config = GPTConfig(vocab_size=tokenizer.size, **ends, **shape)
    folder.mkdir(parents=True)
    write_model(GPT(config), folder)
    tokenizer.save(folder, config.max_position_embeddings)
    return folder


def base(folder: Path) -> Path:
    """Write the model, pretrained for a moment on the text of the SQL world."""
    from ftkit.basemodel.budget import Pretrain
    from ftkit.basemodel.pretrain import pretrain
    from ftkit.catalog import load
    from ftkit.config import override, table
    from ftkit.runs import Run

    world = override(load("recipes", "sql_qa"), {"characters": 1_500_000}, "recipe")
    texts = list(world.corpus())
    raw = untrained(texts, folder / "raw", num_hidden_layers=6, intermediate_size=736)
    plan = Pretrain(base=str(raw), tokens=60_000, batch=4096)
    settings = {"command": "pretrain", "options": {"seed": SEED}, "plan": table(plan)}
    for _ in pretrain(Run.create(folder / "base", settings), plan, documents=texts):
        pass
    return folder / "base"


def taught(name: str, data: Path) -> Any:
    """Load the recipe."""
    from ftkit.catalog import load
    from ftkit.config import override

    values = {"data": [str(data)], "on_bad_rows": "skip", "epochs": 1.0}
    return override(load("recipes", name), values, "recipe")


def cut(name: str, lines: Sequence[str], most: int, data: Path) -> None:
    """Write the first lines, as many as hold some number of training rows, or all there are.

    A line may hold none, as it is a test's, or several, as a conversation does: then as many lines
    as hold no more.
    """

    def held(count: int) -> int:
        data.write_text("".join(lines[:count]))
        return len(taught(name, data).examples("train"))

    count = min(most, len(lines))
    while (lacking := most - held(count)) > 0 and count < len(lines):
        count = min(len(lines), count + lacking)
    if lacking < 0:
        held(max(1, bisect_right(range(1, count + 1), most, key=held)))


def rows(recipe: Any, place: Path, most: int, searched: int, folder: Path) -> int:
    """Write what the peers train on and what all are judged by: texts, and tokens of ours.

    Returns:
        How many rows are trained on.
    """
    from transformers import AutoTokenizer

    from ftkit.recipes._render import Renderer

    renderer = Renderer(AutoTokenizer.from_pretrained(place), str(place))
    for split, name in (("train", "rows.jsonl"), ("validation", "held_out.json")):
        found = []
        for example in recipe.examples(split)[:most]:
            row = renderer.render(example.messages)
            if len(row.ids) > recipe.length:
                continue
            turns = {"prompt": list(example.prompt), "completion": [example.messages[-1]]}
            found.append(turns | {"ids": row.ids, "labels": row.labels})
        if split == "train":
            count = len(found)
            lines = "".join(json.dumps(row) + "\n" for row in found)
            (folder / name).write_text(lines)
            (folder / "few.jsonl").write_text(
                "".join(json.dumps(row) + "\n" for row in found[:searched])
            )
        else:
            (folder / name).write_text(json.dumps([(row["ids"], row["labels"]) for row in found]))
    return count
