"""A user's own Qwen with a LoRA by PEFT: evaluated like any variant, and left as it was."""

import json
from pathlib import Path

import peft
import pytest
import torch
import transformers
from click.testing import CliRunner
from huggingface_hub import ModelCard

from ftkit.adapters._quiet import quiet
from ftkit.cli import ftkit
from ftkit.eval._forgetting import PLAIN
from ftkit.eval._groups import collect
from ftkit.runs import sha256
from tests import foreign, schema
from tests.test_eval_report import SCHEMA


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> tuple[Path, Path]:
    """A Qwen2 of random weights with its tokenizer, and a LoRA on it that moves something."""
    place = tmp_path_factory.mktemp("foreign")
    base, lora = place / "my-qwen", place / "my-lora"
    tokenizer = foreign.tokenizer("qwen2")
    torch.manual_seed(0)
    config = transformers.Qwen2Config(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=1024,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    model = transformers.Qwen2ForCausalLM(config)
    model.save_pretrained(base)
    tokenizer.save_pretrained(base)
    with quiet():
        again = transformers.Qwen2ForCausalLM.from_pretrained(base)
        config = peft.LoraConfig(
            r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False, task_type="CAUSAL_LM"
        )
        peft.get_peft_model(again, config).save_pretrained(lora)
    (lora / "README.md").write_text(
        "---\nlicense: mit\nbase_model: my-qwen\nmine: kept\n---\n\n# Mine\n\nMy own words.\n"
    )
    return base, lora


@pytest.fixture(scope="module")
def out(folders, tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("eval") / "eval"
    before = {path: sha256(path) for folder in folders for path in folder.iterdir()}
    words = ["eval", *map(str, folders), "--recipe", "sql_qa", "--limit", "4", "--shots", "0"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
        result = CliRunner().invoke(ftkit, [*words, "--out", str(place)])
    assert result.exit_code == 0, result.stderr
    assert {path: sha256(path) for folder in folders for path in folder.iterdir()} == before
    return place


def test_it_is_compared_with_its_base_and_what_it_forgot_is_shown(out):
    card = json.loads((out / "scorecard.json").read_text())
    assert schema.faults(card, SCHEMA, SCHEMA) == []
    lines = {line["name"]: line for line in card["variants"]}
    assert list(lines) == ["majority", "nearest", "base", "base prose", "my-lora"]
    lora = lines["my-lora"]
    assert (lora["method"], lora["cost"]["trainable_params"]) == ("lora", 2 * 4 * (64 + 32 + 16))
    assert lora["cost"]["updates"] is None
    assert lora["forgetting"]["text"] == PLAIN
    assert 20_000 < lora["forgetting"]["bytes"] <= 32_000
    assert lora["forgetting"]["before"] != lora["forgetting"]["after"]
    assert set(lora["elsewhere"]) == {"chat", "medical", "instruct"}
    assert all(found["bytes"] > 0 for found in lora["elsewhere"].values())
    assert lines["base"]["bias"]["share"]["n"] == lora["bias"]["share"]["n"] == 40
    page = (out / "report.html").read_text()
    assert f"of {PLAIN}" in page
    assert "Change on medical" in page
    assert "Bias probe" in page


def test_its_card_lies_beside_the_report_with_the_users_own_words(out):
    card = ModelCard.load(out / "cards" / "my-lora" / "README.md")
    found = card.data.license, card.data.base_model, card.data["mine"]
    assert found == ("mit", "my-qwen", "kept")
    assert "My own words." in card.text
    scores = {result.metric_type: result for result in card.data.eval_results}
    assert scores["bits_per_byte"].metric_args["n"] == 4
    assert scores["execution_accuracy"].dataset_type == "ftkit/sql_qa"
    assert "## Scores: sql_qa" in card.text
    assert "### Bias" in card.text


def test_a_run_that_is_named_twice_is_asked_once(tiny_runs):
    """Not taken for two seeds that agree."""
    run = tiny_runs["lora"]
    (group,) = collect([run, run.parent / "." / ".." / run.parent.name / run.name, run], limit=2)
    assert len(group.tuned) == 1
