"""PEFT and ftkit open each other's folders, and write the same greedy text with them."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import peft
import pytest
import torch

from ftkit.adapters._quiet import quiet
from ftkit.adapters._variant import open_base, open_variant
from ftkit.catalog import load, names
from tests import small
from tests.test_adapters_methods import OWN, attached
from tests.test_adapters_variants import PROMPTS, library, prompts, texts

METHODS = [name for name in names("adapters") if load("adapters", name).peft_type]
COMMON = {"task_type": "CAUSAL_LM"}
# As PEFT makes them: the method that opens each, its config, and the virtual tokens.
THEIRS: dict[str, tuple[str, Any, int]] = {
    "lora": ("lora", peft.LoraConfig(**COMMON), 0),
    "rslora": ("lora", peft.LoraConfig(use_rslora=True, r=4, bias="all", **COMMON), 0),
    "layers": (
        "lora",
        peft.LoraConfig(target_modules="all-linear", rank_pattern={"up_proj": 2}, **COMMON),
        0,
    ),
    # The base is tied: what is learned of the head must not enter the embeddings, nor the reverse.
    "head": ("lora", peft.LoraConfig(target_modules=["lm_head"], **COMMON), 0),
    "table": ("lora", peft.LoraConfig(target_modules=["embed_tokens"], **COMMON), 0),
    "whole head": (
        "lora",
        peft.LoraConfig(target_modules=["q_proj"], modules_to_save=["lm_head"], **COMMON),
        0,
    ),
    "dora": ("dora", peft.LoraConfig(use_dora=True, target_modules="all-linear", **COMMON), 0),
    "ia3": ("ia3", peft.IA3Config(**COMMON), 0),
    "prompt": ("soft_prompt", peft.PromptTuningConfig(num_virtual_tokens=7, **COMMON), 7),
    "prefix": ("prefix", peft.PrefixTuningConfig(num_virtual_tokens=5, **COMMON), 5),
    "projected": (
        "prefix",
        peft.PrefixTuningConfig(
            num_virtual_tokens=5, prefix_projection=True, encoder_hidden_size=24, **COMMON
        ),
        5,
    ),
    "mlp": ("p_tuning", peft.PromptEncoderConfig(num_virtual_tokens=6, **COMMON), 6),
    "lstm": (
        "p_tuning",
        peft.PromptEncoderConfig(
            num_virtual_tokens=6, encoder_reparameterization_type="LSTM", **COMMON
        ),
        6,
    ),
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.base(tmp_path_factory.mktemp("peft") / "base")


def made(base: Path, folder: Path, config: Any) -> Any:
    """Let PEFT make an adapter with weights that tell, and write its folder."""
    torch.manual_seed(3)
    with quiet():
        model = peft.get_peft_model(open_base(base)[0], config).eval()
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data += 0.1 * torch.randn_like(parameter)
        model.save_pretrained(folder, save_embedding_layers=False)
    return model


@pytest.mark.parametrize("kind", THEIRS)
def test_what_peft_made_opens_and_writes_the_same_text(
    base: Path, tmp_path: Path, kind: str
) -> None:
    method, config, virtual = THEIRS[kind]
    model = made(base, tmp_path, config)
    takes = [name for name in names("adapters") if load("adapters", name).opened(config)]
    assert takes == [method], "it is one method's alone"
    variant = open_variant(tmp_path)
    assert variant.method == method
    assert variant.how.virtual_tokens + variant.how.prefix_tokens == virtual
    found = texts(variant, prompts(variant))
    assert found == [library(model, p, list(variant.stops)) for p in prompts(variant)]
    plain = open_variant(base)
    assert found != texts(plain, prompts(plain)), "it is not the base that answered"


CLEAN = """
import json, sys, warnings
from pathlib import Path
warnings.filterwarnings("ignore")
import torch
from peft import AutoPeftModelForCausalLM
from transformers import AutoModelForCausalLM, AutoTokenizer
folders, texts, stops = json.loads(sys.argv[1])
for folder in folders:
    adapter = (Path(folder) / "adapter_config.json").exists()
    opener = AutoPeftModelForCausalLM if adapter else AutoModelForCausalLM
    model, tokenizer = opener.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    for text in texts:
        ids = torch.tensor([tokenizer.encode(text)])
        found = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False,
                               max_new_tokens=24, eos_token_id=stops, pad_token_id=2)[0].tolist()
        new = found[ids.shape[1]:] if found[:ids.shape[1]] == ids[0].tolist() else found
        print(json.dumps(new[:-1] if new and new[-1] in stops else new))
assert not any(name.startswith("ftkit") for name in sys.modules)
"""


@pytest.mark.slow
def test_a_clean_process_opens_every_folder_and_generates_the_same(
    base: Path, tmp_path: Path
) -> None:
    """Row by row and unpadded: PEFT's own left-padded generate with a soft prompt is wrong."""
    folders = [base]
    for name in names("adapters"):
        model, tokenizer, method = attached(base, name, moved=True)
        folders.append(tmp_path / name)
        method.save(model, folders[-1])
        tokenizer.save_pretrained(folders[-1])
    variants = [open_variant(folder) for folder in folders]
    job = json.dumps([list(map(str, folders)), PROMPTS, list(variants[0].stops)])
    done = subprocess.run(
        [sys.executable, "-c", CLEAN, job], capture_output=True, text=True, check=True, cwd="/"
    )
    found = [json.loads(line) for line in done.stdout.splitlines()]
    ours = [texts(variant, prompts(variant)) for variant in variants]
    assert found == [text for variant in ours for text in variant]
    assert all(text != ours[0] for text in ours[1:]), "every method moved its base"


@pytest.mark.parametrize("name", METHODS)
def test_a_folder_of_ours_says_all_that_peft_needs(base: Path, tmp_path: Path, name: str) -> None:
    """Opened by PEFT beside us, it gives the same logits to the last bit but for rounding."""
    model, _, method = attached(base, name, moved=True)
    method.save(model, tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "adapter_config.json", "adapter_model.safetensors",
    ]  # fmt: skip
    with quiet():
        theirs = peft.PeftModel.from_pretrained(open_base(base)[0], str(tmp_path)).eval()
    variant = open_variant(tmp_path)
    # P-tuning's network stays behind.
    assert variant.trainable_params == (20 * 64 if name == "p_tuning" else OWN[name][1])
    ids = prompts(variant)[1]
    with torch.no_grad():
        logits_TV = theirs(input_ids=torch.tensor([ids])).logits[0, -len(ids) :]
    shares_TV = logits_TV.log_softmax(-1)
    nats = -sum(float(shares_TV[place - 1, ids[place]]) for place in range(1, len(ids)))
    first = [-100, *ids[1:]]
    assert variant.nll([(ids, first)]) == pytest.approx([nats], rel=1e-5)
