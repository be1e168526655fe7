"""Going on from a base: ours, and random ones that transformers wrote, their tokenizers kept."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from ftkit.basemodel.base import open_base
from ftkit.basemodel.budget import Pretrain
from ftkit.basemodel.corpus import survey
from ftkit.basemodel.encode import build
from ftkit.errors import FtkitError, Interrupted
from ftkit.runs import Run
from tests.test_base_pretrain import DOCUMENTS, begin, finish, held_out, stop_at

AGAIN = Pretrain(tokens=8_192, batch=512, seed=5, context=48)


def theirs(folder: Path, kind: str) -> Path:
    """Write a folder as others do: GPT-2 with one token for both ends, Llama with two."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    names = ["<|endoftext|>"] if kind == "gpt2" else ["<s>", "</s>"]
    trainer = trainers.BpeTrainer(
        vocab_size=330,
        special_tokens=names,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(DOCUMENTS[:50], trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe, bos_token=names[0], eos_token=names[-1]
    )
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    if kind == "gpt2":
        shape = {"n_embd": 48, "n_layer": 2, "n_head": 4, "n_positions": 64}
        model: Any = GPT2LMHeadModel(
            GPT2Config(vocab_size=336, bos_token_id=0, eos_token_id=0, **shape)
        )
    else:
        config = LlamaConfig(
            vocab_size=330,
            hidden_size=48,
            intermediate_size=96,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=64,
            bos_token_id=0,
            eos_token_id=1,
        )
        model = LlamaForCausalLM(config)
    model.save_pretrained(folder)
    return folder


def first_and_last(run: Run) -> tuple[float, float]:
    losses = [row["loss"] for row in run.records() if "loss" in row]
    return losses[0], losses[-1]


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "base"
    finish(begin(out))
    return out


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_a_foreign_base_learns_on_and_keeps_tokenizer_and_family(kind: str, tmp_path: Path) -> None:
    folder = theirs(tmp_path / "theirs", kind)
    settings = replace(AGAIN, base=str(folder), matrix_lr=0.01, table_lr=0.01)
    run = begin(tmp_path / "base", settings)
    finish(run, settings)
    first, last = first_and_last(run)
    assert last < first - 1.5
    before, after = AutoTokenizer.from_pretrained(folder), AutoTokenizer.from_pretrained(run.path)
    for text in (*DOCUMENTS[:20], "naïve 東京 <|endoftext|></s>"):
        assert after(text)["input_ids"] == before(text)["input_ids"]
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (run.path / name).read_bytes() == (folder / name).read_bytes()
    model = AutoModelForCausalLM.from_pretrained(run.path).eval()
    assert model.config.model_type == kind
    # The held-out loss, found anew by transformers: read the opening token, count the closing one.
    texts = held_out(run.path)
    nats, tokens = 0.0, 0
    for text in texts:
        ids = [0, *before(text, add_special_tokens=False)["input_ids"], 0 if kind == "gpt2" else 1]
        row = torch.tensor([ids])
        with torch.no_grad():
            nats += model(row, labels=row).loss.item() * (len(ids) - 1)
        tokens += len(ids) - 1
    assert run.done["validation"]["nats"] == pytest.approx(nats / tokens, rel=1e-5)


def test_a_step_without_a_rate_leaves_the_base_as_it_was(own: Path, tmp_path: Path) -> None:
    settings = Pretrain(
        base=str(own), tokens=512, batch=512, matrix_lr=1e-30, table_lr=1e-30, seed=1
    )
    run = begin(tmp_path / "base", settings)
    finish(run, settings)
    hashes, before = run.done["files"], Run.open(own).done["files"]
    assert hashes["model.safetensors"] == before["model.safetensors"]
    assert hashes == before
    assert run.done["validation"] == pytest.approx(Run.open(own).done["validation"])
    assert run.settings["decided"]["practice"] == 0
    assert run.settings["decided"]["context"] == 64


def test_going_on_is_gone_on_with_exactly(tmp_path: Path) -> None:
    """A GPT-2 folder has dropout, which is drawn again where the run was stopped."""
    folder = theirs(tmp_path / "theirs", "gpt2")
    settings = replace(AGAIN, base=str(folder))
    finish(begin(tmp_path / "whole", settings), settings)
    broken = begin(tmp_path / "broken", settings)
    with pytest.raises(Interrupted):
        stop_at(7, broken, settings)
    finish(Run.resume(tmp_path / "broken"), settings)
    assert Run.open(tmp_path / "broken").done["files"] == Run.open(tmp_path / "whole").done["files"]


def test_a_base_that_changed_in_between_is_refused(tmp_path: Path) -> None:
    folder = theirs(tmp_path / "theirs", "llama")
    settings = replace(AGAIN, base=str(folder))
    broken = begin(tmp_path / "broken", settings)
    with pytest.raises(Interrupted):
        stop_at(3, broken, settings)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 1e-3}))
    with pytest.raises(FtkitError, match="is not the base that the run began with"):
        finish(Run.resume(tmp_path / "broken"), settings)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"preset": "pico"}, "preset is pico, but the base has its shape and tokenizer"),
        ({"family": "llama"}, "family is llama, but the base"),
        ({"tokenizer": "char"}, "tokenizer is char, but the base"),
        ({"vocab_size": 400}, "vocab_size is 400, but the base"),
        ({"dropout": 0.1}, "dropout is 0.1, but the base"),
    ],
)
def test_what_the_base_has_settled_cannot_be_set(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(FtkitError, match=words):
        Pretrain(base="somewhere", **changes)


def spoil(folder: Path, what: str) -> None:
    config = json.loads((folder / "config.json").read_text())
    if what == "adapter":
        (folder / "adapter_config.json").write_text("{}")
    elif what == "no tokenizer":
        (folder / "tokenizer.json").unlink()
    elif what == "no end":
        (folder / "tokenizer_config.json").write_text("{}")
        (folder / "config.json").write_text(json.dumps(config | {"eos_token_id": None}))
    elif what == "more ids":
        (folder / "config.json").write_text(json.dumps(config | {"vocab_size": 100}))
    elif what == "holes":
        inner = json.loads((folder / "tokenizer.json").read_text())
        inner["model"]["vocab"]["."] = 70_000
        (folder / "tokenizer.json").write_text(json.dumps(inner))
    elif what == "no weights":
        (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    elif what == "broken":
        (folder / "tokenizer_config.json").write_text('{"eos_token": ')
    elif what == "a list":
        (folder / "special_tokens_map.json").write_text("[]")
    elif what == "unfinished":
        (folder / "run").mkdir()
        (folder / "run" / "run.toml").write_text("")
    elif what == "other family":
        (folder / "config.json").write_text(json.dumps(config | {"model_type": "mamba"}))


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("adapter", "is an adapter: give the base"),
        ("no tokenizer", "holds no tokenizer: there is no tokenizer.json"),
        ("no end", "names no eos_token: a document has to end with one"),
        ("more ids", "its tokenizer has ids up to 329, its model 100 rows"),
        ("holes", "its tokenizer has ids up to 70000, its model 330 rows"),
        ("no weights", r"holds no \.safetensors file: save it with save_pretrained"),
        ("broken", r"tokenizer_config\.json is not valid JSON"),
        ("a list", r"special_tokens_map\.json holds no JSON object"),
        ("unfinished", "is not finished: go on with --resume"),
        ("other family", "model_type is 'mamba'; the GPT can represent"),
    ],
)
def test_what_is_no_base_is_refused(what: str, words: str, tmp_path: Path) -> None:
    folder = theirs(tmp_path / "theirs", "llama")
    spoil(folder, what)
    with pytest.raises(FtkitError, match=words):
        open_base(str(folder))


def test_a_context_beyond_the_bases_is_refused(own: Path, tmp_path: Path) -> None:
    settings = Pretrain(base=str(own), context=128, tokens=512, batch=512)
    with pytest.raises(FtkitError, match="context is 128: the base reads 64 tokens at most"):
        finish(begin(tmp_path / "base", settings), settings)


@pytest.mark.parametrize("place", ["nowhere", "./no/where", "/no/where"])
def test_no_folder_is_one_sentence(place: str) -> None:
    words = r"no base model at .*: there is no such folder, and .* the Hub is called OWNER/NAME$"
    with pytest.raises(FtkitError, match=words):
        open_base(place)


def test_a_hub_id_without_the_hub_is_one_sentence() -> None:
    assert os.environ["HF_HUB_OFFLINE"] == "1"
    with pytest.raises(FtkitError, match=r"no base model at hub:some/one: .*the Hub gave none"):
        open_base("hub:some/one")


@pytest.mark.parametrize("problem", [RuntimeError(), OSError(" \n"), ValueError("Bad. \nWorse")])
def test_whatever_the_hub_says_is_one_sentence(
    problem: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise problem

    monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
    said = "Bad" if str(problem).strip() else type(problem).__name__
    with pytest.raises(FtkitError, match=rf"and the Hub gave none \({said}\)$"):
        open_base("some/one")


def test_a_folder_of_another_that_is_called_run_does_not_matter(tmp_path: Path) -> None:
    folder = theirs(tmp_path / "theirs", "llama")
    (folder / "run").mkdir()
    (folder / "run" / "notes.txt").write_text("mine")
    assert open_base(str(folder)).folder == folder


def test_what_a_tokenizer_was_told_to_cut_and_fill_is_forgotten(tmp_path: Path) -> None:
    folder = theirs(tmp_path / "theirs", "llama")
    told = Tokenizer.from_file(str(folder / "tokenizer.json"))
    told.enable_truncation(8)
    told.enable_padding()
    told.save(str(folder / "tokenizer.json"))
    tokenizer, texts = open_base(str(folder)).tokenizer, DOCUMENTS[:30]
    rows = tokenizer.encode_many(texts)
    assert [tokenizer.decode(row) for row in rows] == texts
    assert rows == [tokenizer.encode(text) for text in texts]
    assert max(map(len, rows)) > 8


def test_ids_behind_holes_fit_into_a_shard(tmp_path: Path) -> None:
    folder = theirs(tmp_path / "theirs", "llama")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"vocab_size": 70_001}))
    inner = json.loads((folder / "tokenizer.json").read_text())
    inner["model"]["vocab"]["."] = 70_000
    (folder / "tokenizer.json").write_text(json.dumps(inner))
    tokenizer = open_base(str(folder)).tokenizer
    assert tokenizer.inner.get_vocab_size() < 400
    corpus = build(DOCUMENTS, survey(DOCUMENTS, 0.1), tokenizer, tmp_path / "tokens", 32)
    assert 70_000 in corpus.ids(0)
