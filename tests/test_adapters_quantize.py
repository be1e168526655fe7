"""Quantised bases: what is kept in fewer bits, which methods work on them, what folders say."""

import json
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from click.testing import CliRunner, Result
from torch.testing import assert_close

from ftkit import runs
from ftkit.adapters import _quantize
from ftkit.adapters._forward import Forward
from ftkit.adapters._method import trainable
from ftkit.adapters._quiet import quiet
from ftkit.adapters._variant import open_base, open_variant
from ftkit.basemodel.optim import Optimizer
from ftkit.catalog import load, names
from ftkit.cli import ftkit
from ftkit.cli._series import finished
from ftkit.errors import FtkitError
from ftkit.recipes._pack import Packer
from ftkit.recipes._render import Rendered
from ftkit.recipes._work import batch_loss
from ftkit.runs import Run
from tests import small
from tests.test_adapters_grid import THEIRS

KINDS = ("int8", "nf4")
QUANTISED = [name for name in names("adapters") if load("adapters", name).quantised]
needed = pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="needs bitsandbytes")
SQL = {
    "question": "How many singers are there?",
    "schema": "CREATE TABLE singer (id INTEGER PRIMARY KEY, name TEXT)",
    "sql": "SELECT count(*) FROM singer",
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.base(tmp_path_factory.mktemp("quantize") / "base", max_position_embeddings=512)


def ids() -> torch.Tensor:
    return torch.randint(7, 320, (2, 24), generator=torch.Generator().manual_seed(3))


def answers(model: Any) -> torch.Tensor:
    with torch.no_grad():
        z_BTV: torch.Tensor = model(input_ids=ids(), use_cache=False).logits
    return z_BTV


def distance(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).norm() / other.norm())


def command(base: Path, out: Path, *words: str, method: str = "lora") -> Result:
    rows = out.parent / "rows.jsonl"
    asked = [SQL | {"question": f"How many singers have the id {n}?"} for n in range(30)]
    rows.write_text("\n".join(map(json.dumps, asked)))
    parts = ["tune", "--recipe", "sql_qa", "--method", method, "--base", str(base)]
    parts += ["--data", str(rows), "--out", str(out), "--set", "plan.checks=2", *words]
    return CliRunner().invoke(ftkit, parts, catch_exceptions=False)


@needed
@pytest.mark.parametrize(("kind", "share", "far"), [("int8", 0.28, 0.05), ("nf4", 0.16, 0.5)])
def test_linear_layers_but_the_head_are_kept_in_fewer_bits(
    base: Path, kind: str, share: float, far: float, record_property: Any
) -> None:
    plain, _ = open_base(base)
    model, _ = open_base(base, kind)
    for layer in range(2):
        for name in ("self_attn.q_proj", "self_attn.o_proj", "mlp.down_proj"):
            path = f"model.layers.{layer}.{name}"
            wide, narrow = (one.get_submodule(path).weight for one in (plain, model))
            assert narrow.numel() * narrow.element_size() < share * wide.numel() * 4
    assert model.lm_head.weight.dtype == model.model.embed_tokens.weight.dtype == torch.float32
    assert torch.equal(model.model.embed_tokens.weight, plain.model.embed_tokens.weight)
    off = distance(answers(model), answers(plain))
    record_property("off", off)
    assert 0 < off < far


@needed
@pytest.mark.parametrize("kind", KINDS)
def test_the_file_it_was_read_from_does_not_stay_in_memory(base: Path, kind: str) -> None:
    """A view of one embedding would keep all of the unquantised weights mapped."""
    held = open_base(base, kind)
    assert held
    assert str(base) not in Path("/proc/self/maps").read_text()


@needed
def test_weights_are_not_packed_for_products_without_gradient(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a CPU with bfloat16 products bitsandbytes packs what is asked without gradients."""
    from bitsandbytes.nn import modules

    monkeypatch.setattr(modules, "has_avx512bf16", lambda: True)
    model, _ = open_base(base, "nf4")
    layers = [layer for layer in model.modules() if isinstance(layer, modules.Linear4bit)]
    assert len(layers) == 14
    assert not any(layer.support_avx512bf16_for_cpu for layer in layers)


@needed
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", QUANTISED)
def test_a_method_learns_on_it_and_leaves_it_as_it_is(base: Path, name: str, kind: str) -> None:
    method, (model, tokenizer) = load("adapters", name), open_base(base, kind)
    layers = {p: m for p, m in model.named_modules() if "bitsandbytes" in type(m).__module__}
    assert len(layers) == 14
    before = [layer.weight.data.clone() for layer in layers.values()]
    tuned = method.attach(model, tokenizer, 0)
    assert all(p.dtype == torch.float32 for p in trainable(tuned).values())
    forward, optimizer = Forward.of(tuned, method), Optimizer(method.groups(tuned))
    rows = [ids()[row, : 12 + 9 * row].tolist() for row in range(2)]
    items = [Rendered(row, [-100] * 6 + row[6:]) for row in rows]
    batch = Packer(items, 128, 2, slots=method.virtual_tokens)(0)
    nats = []
    for _ in range(12):
        tuned.eval()
        with torch.no_grad():  # as a validation does between steps
            nats.append(batch_loss(forward, batch).item())
        batch_loss(forward, batch).backward()
        assert all(p.grad is not None for p in trainable(tuned.train()).values())
        torch.nn.utils.clip_grad_norm_(optimizer.parameters, 1.0)
        optimizer.step(1.0)
        optimizer.zero_grad()
    assert nats[-1] < 0.9 * nats[0]
    for layer, weight in zip(layers.values(), before, strict=True):
        assert torch.equal(layer.weight.data, weight)


@pytest.mark.parametrize("name", sorted(set(names("adapters")) - set(QUANTISED)))
def test_other_methods_refuse_it_by_name_before_anything_is_made(
    base: Path, name: str, tmp_path: Path
) -> None:
    result = command(base, tmp_path / "out", "--set", "base.quantize=nf4", method=name)
    said = f"Error: {name} needs the base's weights in full precision, and this base is quantised: "
    assert (result.exit_code, result.stderr) == (
        2,
        f"{said}choose lora, or an unquantised base\n",
    )
    assert not (tmp_path / "out").exists()


def test_a_missing_library_and_a_wrong_word_are_told_in_a_sentence(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = command(base, tmp_path / "out", "--set", "base.quantize=nf5")
    assert result.stderr == "Error: 'base.quantize' cannot be 'nf5': did you mean 'nf4'?\n"
    monkeypatch.setattr(_quantize, "find_spec", lambda _: None)
    result = command(base, tmp_path / "out", "--set", "base.quantize=int8")
    said = "a quantised base needs bitsandbytes, which is not installed: "
    assert result.stderr == f"Error: {said}pip install ftkit[quantize]\n"
    with pytest.raises(FtkitError, match="which is not installed"):
        open_base(base, "nf4")
    assert not (tmp_path / "out").exists()


@needed
@pytest.mark.parametrize("kind", KINDS)
def test_a_variant_names_its_base_unquantised_and_opens_as_it_was_tuned(
    base: Path, kind: str, tmp_path: Path
) -> None:
    before, out = runs.fingerprint(base), tmp_path / "out"
    result = command(base, out, "--set", f"base.quantize={kind}")
    assert result.exit_code == 0, result.output
    noted = Run.open(out).settings["base"]
    assert noted["quantize"] == kind
    assert (noted["path"], noted["fingerprint"]) == (str(base.resolve()), before)
    named = json.loads((out / "adapter_config.json").read_text())["base_model_name_or_path"]
    assert (named, runs.fingerprint(base)) == (str(base.resolve()), before)
    facts = Run.open(out).done
    assert facts["validation_nats"] < 0.95 * facts["validation_nats_before"]
    variant, plain = open_variant(out), open_variant(out, plain=True)
    assert causal_is_quantised(variant)
    assert not causal_is_quantised(plain)
    assert 0 < distance(answers(variant.model), answers(plain.model)) < 0.5
    assert variant.trainable_params == facts["trainable_params"] == plain.trainable_params


@needed
def test_its_run_toml_runs_again_and_a_stopped_run_goes_on(base: Path, tmp_path: Path) -> None:
    first, again, stopped = tmp_path / "first", tmp_path / "again", tmp_path / "stopped"
    command(base, first, "--set", "base.quantize=nf4", "--set", "recipe.epochs=0.5")
    toml = first / "run" / "run.toml"
    CliRunner().invoke(ftkit, ["tune", "--config", str(toml), "--out", str(again)])
    (stopped / "run").mkdir(parents=True)
    shutil.copy(toml, stopped / "run" / "run.toml")
    CliRunner().invoke(ftkit, ["tune", "--resume", "--out", str(stopped)])
    for out in (again, stopped):
        assert Run.open(out).settings["base"] == Run.open(first).settings["base"]
        assert Run.open(out).done["validation_nats"] == Run.open(first).done["validation_nats"]


def causal_is_quantised(variant: Any) -> bool:
    return bool(getattr(variant.model.get_base_model(), "is_quantized", False))


def test_a_series_goes_on_only_with_the_base_as_it_was_opened(tmp_path: Path) -> None:
    options = {"options": {"base": "owner/name"}}
    opened = {"quantize": "nf4", "path": "owner/name", "rows": "1"}
    run = Run.create(tmp_path / "out", {**options, "base": opened})
    (run.inner / "done").touch()
    assert finished(run.path, {**options, "base": {"quantize": "nf4"}})
    for other in ({}, {"quantize": "int8"}):
        with pytest.raises(FtkitError, match=r"was begun with other settings \(base\)"):
            finished(run.path, {**options, "base": other})


@needed
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["gpt2", "llama", "gemma"])
def test_other_families_are_quantised_too(name: str, kind: str, tmp_path: Path) -> None:
    family, shape = THEIRS[name]
    head = "GPT2LMHeadModel" if family == "GPT2" else f"{family}ForCausalLM"
    with quiet():
        plain = getattr(transformers, head)(getattr(transformers, f"{family}Config")(**shape))
        plain.save_pretrained(tmp_path)
    small.tokenizer().save_pretrained(tmp_path)
    model, tokenizer = open_base(tmp_path, kind)
    tuned = load("adapters", "lora").attach(model, tokenizer, 0).eval()
    off = distance(answers(tuned), answers(plain.eval()))
    assert 0 < off < (0.05 if kind == "int8" else 0.5)


@needed
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [n for n in QUANTISED if load("adapters", n).mergeable])
def test_merging_widens_the_rounded_weights(
    base: Path, name: str, kind: str, tmp_path: Path, record_property: Any
) -> None:
    method, (model, tokenizer) = load("adapters", name), open_base(base, kind)
    tuned: Any = method.attach(model, tokenizer, 0)
    with torch.no_grad():
        for parameter in trainable(tuned).values():
            parameter.add_(0.05 * torch.randn_like(parameter))
    attached = answers(tuned.eval())
    merged: Any = method.merge(tuned)
    assert all(type(m) is torch.nn.Linear for p, m in merged.named_modules() if "_proj" in p)
    off = distance(answers(merged), attached)
    record_property("off", off)
    # int8 products round their inputs as well, which a merged model does not.
    assert off < (0.05 if kind == "int8" else 1e-5)
    merged.save_pretrained(tmp_path / "merged")
    tokenizer.save_pretrained(tmp_path / "merged")
    opened, _ = open_base(tmp_path / "merged")
    assert_close(answers(opened), answers(merged), rtol=0, atol=1e-5)
