"""Settings of methods: what each changes, what it leaves as it is, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.testing import assert_close
from transformers import DynamicCache

from ftkit.adapters._attention import EXPLICIT, attention
from ftkit.adapters._forward import Forward, causal, remember
from ftkit.adapters._method import trainable
from ftkit.adapters._variant import open_base, open_variant
from ftkit.adapters.prefix import Prefix
from ftkit.catalog import load
from ftkit.config import override
from ftkit.errors import FtkitError
from ftkit.recipes._pack import Packer
from ftkit.recipes._work import batch_loss
from tests import small
from tests.test_adapters_methods import attached, examples, losses


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.base(tmp_path_factory.mktemp("settings") / "base")


def made(base: Path, name: str, seed: int = 0, **values: Any) -> tuple[Any, Any]:
    method = override(load("adapters", name), values, "method")
    return method.attach(*open_base(base), seed), method


def test_a_prefix_starts_as_the_base_reading_its_text(base: Path) -> None:
    """The keys and values of real tokens are what the base has after them."""
    text = "SELECT name FROM singer"
    _, tokenizer = open_base(base)
    before = tokenizer.encode(text, add_special_tokens=False)
    model, method = made(base, "prefix", init=text, tokens=len(before))
    ids = list(range(7, 47))
    where = torch.arange(40)
    found = Forward.of(model, method).logits(torch.tensor([ids]), where[None], None, where)
    with torch.no_grad():
        whole = open_base(base)[0](input_ids=torch.tensor([before + ids])).logits[0]
    assert_close(found.detach(), whole[len(before) :], rtol=0, atol=1e-5)


def test_packed_examples_share_the_prefix_and_nothing_else(base: Path) -> None:
    """Another example's text does not matter, another prefix does, and a window is refused."""
    model, _, method = attached(base, "prefix", moved=True)
    packer = Packer(examples(), 256, 2)
    first = losses(Forward.of(model, method), packer, [[0, 1]])
    other = losses(Forward.of(model, method), packer, [[0, 3]])
    count = sum(packer.collate([[0]]).where_N >= 0)
    assert_close(first[:count], other[:count], rtol=0, atol=2e-5)
    next(iter(trainable(model).values())).data += 0.1
    assert (losses(Forward.of(model, method), packer, [[0, 1]]) - first).abs().max() > 1e-3


def test_a_prefix_is_refused_where_layers_see_a_window(base: Path, tmp_path: Path) -> None:
    windowed = small.base(
        tmp_path / "windowed", use_sliding_window=True, sliding_window=8, max_window_layers=0
    )
    with pytest.raises(FtkitError, match="see a window of the text alone"):
        made(windowed, "prefix")
    model, _, method = attached(base, "prefix")
    method.save(model, tmp_path / "prefix")
    config = tmp_path / "prefix" / "adapter_config.json"
    config.write_text(config.read_text().replace(str(base), str(windowed)))
    with pytest.raises(FtkitError, match="see a window of the text alone"):
        open_variant(tmp_path / "prefix")


def test_a_soft_prompt_starts_from_embeddings_of_its_text(base: Path) -> None:
    model, _ = made(base, "soft_prompt", init="SELECT", tokens=8)
    _, tokenizer = open_base(base)
    ids = tokenizer.encode("SELECT", add_special_tokens=False)
    table_VD = model.get_base_model().get_input_embeddings().weight
    start_VD = next(iter(trainable(model).values()))
    assert_close(start_VD, table_VD[torch.tensor((ids * 8)[:8])])


def test_a_soft_prompt_starts_from_the_vocabulary_or_from_noise(base: Path) -> None:
    known, noise = (made(base, "soft_prompt", draw=kind)[0] for kind in ("vocabulary", "random"))
    table_ND = known.get_base_model().get_input_embeddings().weight
    start_VD, noise_VD = (next(iter(trainable(model).values())) for model in (known, noise))
    away_V = torch.cdist(start_VD, table_ND).min(1).values
    assert away_V.max() < 1e-2, "each is a row of the table"
    assert torch.cdist(noise_VD, table_ND).min() > 0.5, "none is"
    assert noise_VD.std().item() == pytest.approx(table_ND.std().item(), rel=0.1)
    with pytest.raises(FtkitError, match=r"'method\.draw' cannot be 'vocabluary'"):
        made(base, "soft_prompt", draw="vocabluary")


@pytest.mark.parametrize(("rslora", "scale"), [("false", 16 / 4), ("true", 16 / 2)])
def test_rslora_scales_by_the_root_of_the_rank(base: Path, rslora: str, scale: float) -> None:
    model, _ = made(base, "lora", rank="4", rslora=rslora)
    layer = model.get_base_model().model.layers[0].mlp.up_proj
    torch.nn.init.normal_(layer.lora_B["default"].weight)
    x_BD = torch.randn(3, 64)
    update_DD = layer.lora_B["default"].weight @ layer.lora_A["default"].weight
    expected = layer.base_layer(x_BD) + scale * x_BD @ update_DD.T
    assert_close(layer(x_BD), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["lora", "dora"])
def test_b_learns_at_a_rate_of_its_own(base: Path, name: str) -> None:
    """At 1, the default, rate, order and result are those of one group."""
    model, method = made(base, name, lr=0.01, lr_ratio=16, weight_decay=0.1)
    rates = {id(p): (g.lr, g.weight_decay) for g in method.groups(model) for p in g.params}
    for key, parameter in trainable(model).items():
        rate = (0.16, 0.1) if "lora_B" in key else (0.01, 0.0 if "magnitude" in key else 0.1)
        assert rates[id(parameter)] == pytest.approx(rate), key
    model, method = made(base, name)
    first, *others = [group for group in method.groups(model) if group.params]
    inner = [p for key, p in trainable(model).items() if "magnitude" not in key]
    assert [id(p) for p in first.params] == [id(p) for p in inner]
    assert len(others) == (name == "dora")


@pytest.mark.parametrize("name", ["lora", "dora"])
def test_dropout_is_for_training_alone(base: Path, name: str) -> None:
    model, method = made(base, name, dropout="0.5")
    for key, parameter in trainable(model).items():
        if "lora_B" in key:
            torch.nn.init.normal_(parameter, std=0.05)
    forward, batch = Forward.of(model, method), Packer(examples(3), 128, 2)(0)
    read = [batch_loss(forward, batch).item() for _ in range(2)]
    model.train()
    learned = [batch_loss(forward, batch).item() for _ in range(2)]
    assert read[0] == read[1]
    assert learned[0] != learned[1]


def test_the_length_of_each_row_is_what_dora_learned(base: Path) -> None:
    """M (W + s B A) / |W + s B A|, by hand."""
    model, _, method = attached(base, "dora", moved=True)
    layer = model.get_base_model().model.layers[1].self_attn.q_proj
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    moved_OI = layer.base_layer.weight + method.alpha / method.rank * b @ a
    length_O = layer.lora_magnitude_vector["default"].weight
    x_BD = torch.randn(3, 64)
    expected = x_BD @ (length_O / moved_OI.norm(dim=1))[:, None].mul(moved_OI).T
    assert_close(layer(x_BD), expected, rtol=0, atol=1e-5)


def test_dora_starts_as_the_base_where_rows_are_zero_and_lets_them_move(
    base: Path, tmp_path: Path
) -> None:
    """Bases of ours that begin with a circuit have such rows, pruned ones too."""
    pruned, tokenizer = open_base(base)
    pruned.model.layers[0].self_attn.q_proj.weight.data[3:9] = 0
    pruned.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    model, method = made(tmp_path, "dora")
    ids_BT = torch.arange(40)[None]
    with torch.no_grad():
        assert_close(model(ids_BT).logits, pruned(ids_BT).logits, rtol=0, atol=1e-5)
    loss = batch_loss(Forward.of(model, method), Packer(examples(3), 128, 2)(0))
    loss.backward()
    grads = {name: p.grad for name, p in trainable(model).items()}
    assert all(grad.isfinite().all() for grad in grads.values())
    key = next(n for n in grads if "layers.0.self_attn.q_proj.lora_magnitude" in n)
    assert grads[key][3:9].abs().min() > 0


def test_ia3_scales_keys_values_and_what_the_feed_forward_part_holds_inside(base: Path) -> None:
    model, _, _ = attached(base, "ia3", moved=True)
    block = model.get_base_model().model.layers[0]
    scaled = {name for name, _ in block.named_modules() if name.endswith("ia3_l")}
    assert scaled == {
        f"{part}.ia3_l" for part in ("self_attn.k_proj", "self_attn.v_proj", "mlp.down_proj")
    }
    x_BD, inner_BF = torch.randn(3, 64), torch.randn(3, 128)
    key, down = block.self_attn.k_proj, block.mlp.down_proj
    assert_close(key(x_BD), key.base_layer(x_BD) * key.ia3_l["default"].flatten())
    assert_close(down(inner_BF), down.base_layer(inner_BF * down.ia3_l["default"].flatten()))


def test_the_inner_width_of_p_tuning_can_be_chosen(base: Path) -> None:
    model, _ = made(base, "p_tuning", tokens=4, width=16)
    count = sum(parameter.numel() for parameter in trainable(model).values())
    assert count == 4 * 64 + (64 * 16 + 16) + (16 * 16 + 16) + (16 * 64 + 64)


@pytest.mark.parametrize(
    ("method", "values", "words"),
    [
        ("lora", {"rank": "0"}, "'method.rank' takes 1 or more, not 0"),
        ("dora", {"rank": "0"}, "'method.rank' takes 1 or more, not 0"),
        ("lora", {"dropout": "1"}, "'method.dropout' takes 0 or more and less than 1, not 1"),
        ("dora", {"lr_ratio": "0"}, "'method.lr_ratio' takes a number above 0, not 0"),
        ("soft_prompt", {"tokens": "0"}, "'method.tokens' takes 1 or more, not 0"),
        ("prefix", {"tokens": "0"}, "'method.tokens' takes 1 or more, not 0"),
        ("p_tuning", {"tokens": "0"}, "'method.tokens' takes 1 or more, not 0"),
        ("full", {"lr": "0"}, "'method.lr' takes a number above 0, not 0"),
        ("ia3", {"lr": "-1"}, "'method.lr' takes a number above 0, not -1"),
        ("lora", {"lr": "-1"}, "'method.lr' takes a number above 0, not -1"),
        ("dora", {"weight_decay": "-1"}, "'method.weight_decay' takes 0 or more, not -1"),
        ("ia3", {"weight_decay": "0.1"}, "'method.weight_decay' takes only 0 for ia3"),
        ("lora", {"alpha": "0"}, "'method.alpha' takes a number above 0, not 0"),
        ("soft_prompt", {"lr": "0"}, "'method.lr' takes a number above 0, not 0"),
        ("soft_prompt", {"init": "a", "draw": "random"}, "leave out 'method.draw=random'"),
        ("prefix", {"lr": "0"}, "'method.lr' takes a number above 0, not 0"),
        ("p_tuning", {"lr": "0"}, "'method.lr' takes a number above 0, not 0"),
        ("p_tuning", {"width": "-1"}, "'method.width' takes 0 or more, not -1"),
        ("lora", {"weight_decay": "-1"}, "'method.weight_decay' takes 0 or more, not -1"),
        ("lora", {"rnak": "4"}, "did you mean 'rank'?"),
    ],
)
def test_settings_that_make_no_method_are_refused(
    method: str, values: dict[str, str], words: str
) -> None:
    with pytest.raises(FtkitError, match=words.replace("?", r"\?")):
        override(load("adapters", method), values, "method")


@pytest.mark.parametrize("name", ["lora", "dora"])
@pytest.mark.parametrize(
    ("targets", "lacking"), [("c_attn", "c_attn"), ("q_proj, v_prj", "v_prj"), ("q_proj,", "")]
)
def test_targets_that_are_not_there_are_refused(
    base: Path, name: str, targets: str, lacking: str
) -> None:
    """One of several too, without which PEFT would go on in silence."""
    with pytest.raises(FtkitError) as said:
        made(base, name, targets=targets)
    assert str(said.value) == (
        f"'method.targets={targets}': the base has no layer called '{lacking}'; its linear layers "
        "are q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj, lm_head"
    )


def test_targets_are_names_with_commas_between(base: Path) -> None:
    model, _ = made(base, "lora", targets="q_proj, v_proj")
    assert {name.split(".")[6] for name in trainable(model)} == {"q_proj", "v_proj"}


@pytest.mark.parametrize("targets", ["lm_head", "embed_tokens"])
def test_an_adapted_head_of_a_tied_base_is_merged_as_it_answers(
    base: Path, tmp_path: Path, targets: str
) -> None:
    """And an adapted table of embeddings: the one leaves the other as it is."""
    model, method = made(base, "lora", targets=targets)
    with torch.no_grad():
        for parameter in trainable(model).values():
            parameter.add_(0.05 * torch.randn_like(parameter))
        ids_BT = torch.arange(7, 60)[None]
        before = model.eval()(input_ids=ids_BT).logits
        merged: Any = method.merge(model)
        merged.save_pretrained(tmp_path)
        small.tokenizer().save_pretrained(tmp_path)
        after = open_base(tmp_path)[0](input_ids=ids_BT).logits
    assert_close(after, before, rtol=0, atol=1e-5 * float(before.abs().max()))


@pytest.mark.parametrize("problem", [torch.OutOfMemoryError, RuntimeError])
def test_a_lack_of_memory_is_no_word_on_the_base(
    base: Path, monkeypatch: pytest.MonkeyPatch, problem: type[Exception]
) -> None:
    def lacking(*_: Any) -> None:
        raise problem("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    monkeypatch.setattr(Prefix, "_begun", lacking)
    with pytest.raises(problem, match="can't allocate"):
        made(base, "prefix")


def test_biases_of_the_network_of_p_tuning_are_not_decayed(base: Path) -> None:
    model, method = made(base, "p_tuning", weight_decay=0.1)
    decays = {id(p): group.weight_decay for group in method.groups(model) for p in group.params}
    for parameter in trainable(model).values():
        assert decays[id(parameter)] == (0.1 if parameter.dim() > 1 else 0)
    assert len([group for group in made(base, "p_tuning")[1].groups(model) if group.params]) == 1


def test_a_base_without_known_layers_is_refused_by_ia3() -> None:
    from transformers import BloomConfig, BloomForCausalLM

    model = BloomForCausalLM(BloomConfig(vocab_size=320, hidden_size=32, n_layer=0, n_head=2))
    with pytest.raises(FtkitError, match=r"no layers that ia3 knows .*: choose lora"):
        load("adapters", "ia3").attach(model, None, 0)


def test_a_prefix_is_read_alike_by_explicit_attention_and_in_bfloat16(base: Path) -> None:
    """The mask of blocks and the wider keys go through every way of computing that tuning has."""
    model, _, method = attached(base, "prefix", moved=True)
    forward, packer = Forward.of(model, method), Packer(examples(), 256, 2)
    rows = [[0, 1, 2], [3, 4, 5]]
    fused = losses(forward, packer, rows)
    with attention(causal(model), EXPLICIT, lambda: losses(forward, packer, rows)) as used:
        assert used
        explicit = losses(forward, packer, rows)
        with torch.autocast("cpu", torch.bfloat16):
            mixed = losses(forward, packer, rows)
    assert_close(explicit, fused, rtol=0, atol=2e-5)
    assert not torch.equal(mixed, explicit)
    assert (mixed - fused).abs().mean() < 0.02 * fused.mean()
    for pair in method.past(model):
        with torch.autocast("cpu", torch.bfloat16):
            cache = remember(DynamicCache(), [pair], torch.zeros(2, 3))
        assert cache.layers[0].keys.dtype == torch.bfloat16
