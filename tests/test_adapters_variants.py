"""Variants: opened from any folder, refused when the base is wrong, and decoding as others do."""

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from ftkit.adapters._quiet import quiet
from ftkit.adapters._variant import open_base, open_variant
from ftkit.basemodel.generate import generate
from ftkit.catalog import load, names
from ftkit.errors import FtkitError
from ftkit.runs import Run, fingerprint
from tests import small
from tests.test_adapters_methods import OWN

QUICK = ("full", "lora", "soft_prompt", "prefix")  # the others' texts are slow tests' affair
KINDS = [
    "base",
    *(
        pytest.param(name, marks=() if name in QUICK else pytest.mark.slow)
        for name in names("adapters")
    ),
]
PROMPTS = [text[:size] for text, size in zip(small.TEXTS, (9, 40, 66, 21), strict=True)]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs: a base and a short tuning of it; other methods' are made when asked for."""
    folder = tmp_path_factory.mktemp("runs")
    run = Run.create(folder / "base", {"command": "pretrain"})
    run.publish(lambda place: small.base(place) and None, {"seconds": 1.0})
    opened(folder, "lora")
    return folder


def opened(runs: Path, kind: str) -> Any:
    if not (runs / kind).exists():
        small.tuned(runs / kind, runs / "base", kind, small.Counting(epochs=1.0))
    return open_variant(runs / kind)


def texts(variant: Any, prompts: list[list[int]], **options: Any) -> list[list[int]]:
    options = {"max_new_tokens": 24, "stop": variant.stops, "pad": variant.pad} | options
    found = generate(variant.decoder, prompts, **options)
    return [reply.ids for reply in found]


def prompts(variant: Any) -> list[list[int]]:
    return [variant.tokenizer.encode(text) for text in PROMPTS]


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_opens_and_says_what_it_is(runs: Path, kind: str) -> None:
    variant = opened(runs, kind)
    assert (variant.name, variant.method) == (kind, kind)
    assert variant.base_fingerprint == fingerprint(runs / "base")
    assert variant.base_path.resolve() == (runs / "base").resolve()
    assert variant.fingerprint == fingerprint(runs / kind)
    assert (variant.fingerprint == variant.base_fingerprint) == (kind == "base")
    assert variant.trainable_params == (OWN[kind][1] if kind != "base" else 0)
    weights = "model" if kind in ("base", "full") else "adapter_model"
    assert variant.bytes == (runs / kind / f"{weights}.safetensors").stat().st_size


@pytest.mark.parametrize("kind", KINDS)
def test_batches_and_pads_do_not_change_a_text(runs: Path, kind: str) -> None:
    variant = opened(runs, kind)
    asked = prompts(variant)
    alone = [texts(variant, [prompt])[0] for prompt in asked]
    assert texts(variant, asked) == alone
    assert texts(variant, asked, batch_size=3) == alone
    # With many tokens that end a row, rows leave the batch one after the other.
    stop = [token for token in range(320) if token % 12 == 0]
    alone = [texts(variant, [prompt], stop=stop)[0] for prompt in asked]
    assert texts(variant, asked, stop=stop) == alone
    assert len({len(text) for text in alone}) > 1, "rows end unevenly"


@pytest.mark.parametrize("kind", KINDS)
def test_the_cache_does_not_change_a_text(runs: Path, kind: str) -> None:
    """Each token again from the whole text before it, through the scoring forward."""
    variant = opened(runs, kind)
    slots = variant.how.virtual_tokens
    for prompt, text in zip(prompts(variant), texts(variant, prompts(variant)), strict=True):
        ids = [variant.pad] * slots + prompt
        again: list[int] = []
        while len(again) < len(text):
            ids_BT = torch.tensor([ids + again])
            positions_BT = torch.arange(ids_BT.shape[1])[None]
            slots_BT = torch.where(positions_BT < slots, positions_BT, -1) if slots else None
            last_N = torch.tensor([ids_BT.shape[1] - 1])
            with torch.no_grad():
                z_NV = variant.forward.logits(ids_BT, positions_BT, slots_BT, last_N)
            again.append(int(z_NV.argmax()))
        assert again == text


@pytest.mark.parametrize("kind", KINDS)
def test_greedy_text_is_what_transformers_and_peft_generate(runs: Path, kind: str) -> None:
    """Row by row and unpadded: PEFT's own left-padded generate with a soft prompt is wrong."""
    variant = opened(runs, kind)
    for prompt, text in zip(prompts(variant), texts(variant, prompts(variant)), strict=True):
        assert library(variant.model, prompt, list(variant.stops)) == text


def library(model: Any, prompt: list[int], stops: list[int]) -> list[int]:
    """Generate with the library's own code."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.filterwarnings("ignore", "Position ids are not supported")
        ids_BT = torch.tensor([prompt])
        found = model.generate(
            input_ids=ids_BT,
            attention_mask=torch.ones_like(ids_BT),
            max_new_tokens=24,
            do_sample=False,
            eos_token_id=stops,
            pad_token_id=2,
        )[0].tolist()
    new = found[len(prompt) :]
    return new[:-1] if new and new[-1] in stops else new


@pytest.mark.parametrize("kind", KINDS)
def test_likelihoods_do_not_depend_on_the_batch(runs: Path, kind: str) -> None:
    variant = opened(runs, kind)
    rows = [(ids, [-100] * 3 + ids[3:]) for ids in prompts(variant)]
    together = variant.nll(rows)
    assert together == pytest.approx([variant.nll([row])[0] for row in rows], abs=1e-3)


def test_likelihood_is_the_sum_of_log_probabilities(runs: Path) -> None:
    variant = open_variant(runs / "base")
    ids = prompts(variant)[1]
    with torch.no_grad():
        shares_TV = variant.model(torch.tensor([ids])).logits[0].log_softmax(-1)
    picked = [-float(shares_TV[place - 1, ids[place]]) for place in range(4, len(ids))]
    found = variant.nll([(ids, [-100] * 4 + ids[4:])])
    assert found == pytest.approx([sum(picked)], rel=1e-5)
    whole = variant.nll([(ids[1:], ids[1:]), (ids, ids)])
    rest = [-float(shares_TV[place - 1, ids[place]]) for place in range(1, len(ids))]
    assert whole[1] == pytest.approx(sum(rest), rel=1e-5), "the first token has nothing before it"


def test_a_head_that_scales_its_logits_is_called_whole(tmp_path: Path) -> None:
    """Granite divides its logits behind the head, so hidden states times the head are not them."""
    from transformers import GraniteConfig, GraniteForCausalLM

    config = GraniteConfig(
        vocab_size=320,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        logits_scaling=4.0,
        max_position_embeddings=64,
    )
    with quiet():
        GraniteForCausalLM(config).save_pretrained(tmp_path)
    small.tokenizer().save_pretrained(tmp_path)
    variant = open_variant(tmp_path)
    ids = list(range(7, 27))
    with torch.no_grad():
        loss = variant.model(input_ids=torch.tensor([ids]), labels=torch.tensor([ids])).loss
    assert not variant.forward.plain_head
    assert variant.nll([(ids, ids)]) == pytest.approx([float(loss) * 19], rel=1e-4)


def test_a_foreign_family_decodes_as_transformers_does(tmp_path: Path) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(vocab_size=320, n_embd=32, n_layer=2, n_head=2, n_positions=128)
    torch.manual_seed(0)
    with quiet():
        GPT2LMHeadModel(config).save_pretrained(tmp_path)
    small.tokenizer(None).save_pretrained(tmp_path)
    variant = open_variant(tmp_path)
    found = texts(variant, prompts(variant))
    assert found == [library(variant.model, p, list(variant.stops)) for p in prompts(variant)]


def test_a_sliding_window_decodes_as_transformers_does(tmp_path: Path) -> None:
    small.base(
        tmp_path,
        use_sliding_window=True,
        sliding_window=8,
        max_window_layers=0,
        num_hidden_layers=2,
    )
    variant = open_variant(tmp_path)
    assert not variant.decoder.plain
    found = texts(variant, prompts(variant))
    assert found == [library(variant.model, p, list(variant.stops)) for p in prompts(variant)]


def test_a_base_that_moved_is_found_among_its_siblings(runs: Path, tmp_path: Path) -> None:
    moved = tmp_path / "runs"
    shutil.copytree(runs, moved)
    (moved / "base").rename(moved / "elsewhere")
    config = json.loads((moved / "lora" / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = str(tmp_path / "gone")
    (moved / "lora" / "adapter_config.json").write_text(json.dumps(config))
    variant = open_variant(moved / "lora")
    assert variant.base_path.name == "elsewhere"


def test_a_base_that_changed_is_refused(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "lora", tmp_path / "lora")
    other = small.base(tmp_path / "other", seed=9)
    config = json.loads((tmp_path / "lora" / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = str(other)
    (tmp_path / "lora" / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(FtkitError, match=r"is no longer the base that .* was tuned from"):
        open_variant(tmp_path / "lora")
    config["base_model_name_or_path"] = str(tmp_path / "gone")
    (tmp_path / "lora" / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(FtkitError, match=r"the base of .* is gone"):
        open_variant(tmp_path / "lora")


def test_a_plain_peft_folder_opens_without_a_run(runs: Path, tmp_path: Path) -> None:
    model, tokenizer = open_base(runs / "base")
    method = load("adapters", "soft_prompt")
    method.save(method.attach(model, tokenizer, 3), tmp_path)
    variant = open_variant(tmp_path)
    assert (variant.method, variant.trainable_params, variant.facts) == ("soft_prompt", 1280, {})


def test_what_is_no_model_is_refused(runs: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    unfinished = Run.create(tmp_path / "unfinished", {"command": "tune"})
    broken = tmp_path / "broken"
    shutil.copytree(runs / "base", broken, ignore=shutil.ignore_patterns("run"))
    (broken / "model.safetensors").write_bytes(b"not weights")
    odd = tmp_path / "odd"
    odd.mkdir()
    (odd / "adapter_config.json").write_text(
        '{"peft_type": "LOHA", "base_model_name_or_path": "x"}'
    )
    for place, words in (
        (tmp_path / "nowhere", "there is no such folder"),
        (tmp_path / "empty", "has no config.json"),
        (unfinished.path, "is not finished"),
        (broken, "is no causal language model to open"),
        (
            odd,
            "is an adapter of kind LOHA: ftkit opens IA3, LORA, PREFIX_TUNING, PROMPT",
        ),
    ):
        with pytest.raises(FtkitError, match=words):
            open_variant(place)
    with pytest.raises(FtkitError, match="is an adapter: give the base"):
        open_base(runs / "lora")
    with pytest.raises(FtkitError, match="there is no such folder"):
        open_base(tmp_path / "nowhere")


def test_weights_that_do_not_fit_their_config_are_refused(tmp_path: Path) -> None:
    base = small.base(tmp_path / "base")
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(
        json.dumps(config | {"num_hidden_layers": 3, "layer_types": None})
    )
    with pytest.raises(FtkitError, match=r"lacks weights that its config.json asks for: model"):
        open_base(base)
