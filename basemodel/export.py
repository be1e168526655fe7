"""A GPT as a Hugging Face folder, there and back: config, generation config, safetensors."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ftkit.errors import FtkitError, WorkError
from ftkit.runs import write_whole

from .config import GPTConfig
from .conv1d import from_gpt2, to_gpt2
from .families import from_hub, to_hub
from .model import GPT

CONFIG, GENERATION, WEIGHTS = "config.json", "generation_config.json", "model.safetensors"
SPEEDS = ".rotary_emb.inv_freq"  # old folders of llama hold them; they follow from rope_theta


def write_model(gpt: GPT, folder: Path) -> None:
    """Write config.json, generation_config.json and, last, model.safetensors in fp32.

    Args:
        gpt: the model.
        folder: made as needed; files of these names in it are replaced.
    """
    words = to_hub(gpt.config)
    ends = {name: words[name] for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    write_whole(folder / CONFIG, json.dumps(words, indent=2) + "\n")
    write_whole(folder / GENERATION, json.dumps({"do_sample": False, **ends}, indent=2) + "\n")
    tensors = {name: value.detach().cpu().contiguous() for name, value in gpt.state_dict().items()}
    if gpt.config.family == "gpt2":
        tensors = to_gpt2(tensors)
    aside = folder / f".{WEIGHTS}.tmp"
    try:
        save_file(tensors, aside, metadata={"format": "pt"})
    except SafetensorError as problem:  # a full disk, say
        raise WorkError(f"{folder} cannot be written to: {problem}") from None
    aside.replace(folder / WEIGHTS)


def read_model(folder: Path) -> GPT:
    """Read a Hugging Face folder of a family that the GPT can represent, in fp32.

    Args:
        folder: ours or another's, with one or several .safetensors files.

    Raises:
        FtkitError: when it is no model folder, or names what the GPT cannot represent.
    """
    config = read_config(folder)
    tensors: dict[str, Tensor] = {}
    for file in _files(folder):
        try:
            tensors |= load_file(file)
        except SafetensorError as problem:
            raise FtkitError(f"{file} cannot be read: {problem}") from None
    tensors = {name: value for name, value in tensors.items() if not name.endswith(SPEEDS)}
    gpt = GPT(config)
    _load(gpt, from_gpt2(tensors) if config.family == "gpt2" else tensors, folder)
    return gpt.eval()


def _files(folder: Path) -> list[Path]:
    """Find the files of the weights as transformers does: the whole one, or those of an index."""
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    files, index = sorted(folder.glob("*.safetensors")), folder / f"{WEIGHTS}.index.json"
    if index.is_file():
        places = read_json(index).get("weight_map")
        if not isinstance(places, dict):
            raise FtkitError(f"{index} has no weight_map: it says nothing of where the weights are")
        files = [folder / name for name in sorted(set(map(str, places.values())))]
    lost = [file for file in files if not file.is_file()]
    if lost or not files:
        what = lost[0].name if lost else ".safetensors"
        raise FtkitError(f"{folder} is no model folder: there is no {what} file in it")
    return files


def read_config(folder: Path) -> GPTConfig:
    """Read the shape of a Hugging Face folder's model.

    Raises:
        FtkitError: when it is no model folder, or names what the GPT cannot represent.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise FtkitError(f"{folder} is no model folder: there is no {CONFIG} in it")
    return from_hub(read_json(path), str(path))


def read_json(path: Path) -> dict[str, Any]:
    """Read a file that holds a JSON object.

    Raises:
        FtkitError: naming the file, when it does not.
    """
    try:
        words = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, OSError) as problem:
        raise FtkitError(f"{path} is not valid JSON: {problem}") from None
    if not isinstance(words, dict):
        raise FtkitError(f"{path} holds no JSON object")
    return words


def _load(gpt: GPT, tensors: dict[str, Tensor], folder: Path) -> None:
    """Copy the weights in; names and shapes have to be exactly the model's."""
    head, table = "lm_head.weight", "model.embed_tokens.weight"
    tied = gpt.config.tie_word_embeddings and head in tensors and table in tensors
    if tied and torch.equal(tensors[head], tensors[table]):
        del tensors[head]  # some writers store the shared table twice
    params = gpt.state_dict()
    odd = sorted(params.keys() ^ tensors.keys())
    if odd:
        what = "is missing" if odd[0] in params else "is unknown to the GPT"
        raise FtkitError(f"{folder}: the tensor {odd[0]} {what}")
    for name, value in params.items():
        if value.shape != tensors[name].shape:
            shapes = f"{list(tensors[name].shape)}, not {list(value.shape)}"
            raise FtkitError(f"{folder}: the tensor {name} has the shape {shapes}")
    gpt.load_state_dict(tensors)
