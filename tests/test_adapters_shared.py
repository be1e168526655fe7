"""What prompts begin with: found, read once, and without a change to any text."""

from pathlib import Path
from typing import Any

import pytest
import torch

from ftkit.adapters import _common, _decode, _held, _shared
from ftkit.adapters._light import Light
from ftkit.adapters._shared import shared
from ftkit.adapters._variant import Variant, open_variant
from ftkit.basemodel.generate import generate
from ftkit.catalog import names
from tests import small

SHOTS, SCHEMAS = list(range(20, 60)), [list(range(start, start + 30)) for start in (70, 120, 170)]
# Three schemas behind the same examples, each asked about six times; one prompt of its own.
PROMPTS = [
    SHOTS + schema + [200 + n, *range(210, 212 + n % 4)] for schema in SCHEMAS for n in range(6)
]
PROMPTS += [[*range(230, 300)], [5], SHOTS[:20]]


def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count the tokens that are read from now on."""
    sizes: list[int] = []
    forward = Light.read

    def counted(light: Light, *args: Any) -> Any:
        sizes.append(int(args[2].sum()))
        return forward(light, *args)

    monkeypatch.setattr(Light, "read", counted)
    return sizes


def test_the_cut_that_saves_most_is_found() -> None:
    sizes = shared(PROMPTS)
    assert sizes[:18] == [70] * 18
    # Of the others as much is read beforehand as leaves a rest like the longest of those.
    assert sizes[18:] == [70 - 6, 0, 20 - 6]
    heads = sorted({tuple(row[:size]) for row, size in zip(PROMPTS, sizes, strict=True)})
    assert shared(heads) == [0] * 6, "80 tokens more are not worth a call"
    assert shared([[1, 2, 3]]) == [0]
    assert shared([[*range(400)]] * 2) == [399, 399], "the last token is left to read"


@pytest.mark.parametrize("worth", [1, 10**9])
def test_each_beginning_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, worth: int
) -> None:
    monkeypatch.setattr(_shared, "WORTH", worth)
    variant = open_variant(small.base(tmp_path))
    assert variant.decoder.light is not None
    sizes = read(monkeypatch)
    generate(variant.decoder, PROMPTS[:18], max_new_tokens=1, stop=(), pad=2)
    whole = sum(map(len, PROMPTS[:18]))
    # The examples, then a schema each, then the questions: or all.
    assert sizes == ([40, 3 * 30, whole - 18 * 70] if worth == 1 else [whole])


def taught(folder: Path, method: str) -> Variant:
    """Open a small base, tuned by a method unless it is `base`."""
    base = small.base(folder / "base")
    if method == "base":
        return open_variant(base)
    small.tuned(folder / "run", base, method, small.Counting(epochs=1.0))
    return open_variant(folder / "run")


@pytest.mark.parametrize("method", ["base", *names("adapters")])
def test_sharing_changes_no_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    variant = taught(tmp_path, method)
    plan = {"max_new_tokens": 24, "stop": range(0, 320, 12), "pad": variant.pad, "batch_size": 99}
    monkeypatch.setattr(_shared, "WORTH", 10**9)
    apart = generate(variant.decoder, PROMPTS, **plan)
    monkeypatch.setattr(_shared, "WORTH", 1)
    monkeypatch.setattr(_decode, "READ", 7)
    monkeypatch.setattr(_held, "FEW", 9)
    assert generate(variant.decoder, PROMPTS, **plan) == apart
    assert len({len(reply.ids) for reply in apart}) > 3, "rows end unevenly"


def test_a_beginning_of_one_token_beside_none_is_no_nan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_shared, "WORTH", 1)
    decoder = open_variant(small.base(tmp_path)).decoder
    rows = [[30, 31], [30, 32], [40]]
    assert shared(rows) == [1, 1, 0]
    with torch.inference_mode():
        z_BV, held = decoder._held(rows, 1)
        assert [part.mask_BK.shape for part in held.parts] == [(3, 1)]
        assert held.common is not None
        assert held.common.mask_CS.tolist() == [[True], [False]], "one stands before two rows"
        for logits_V, row in zip(z_BV, rows, strict=True):
            own_TV = decoder.inner(torch.tensor([row])).logits[0]
            torch.testing.assert_close(logits_V, own_TV[-1], rtol=0, atol=2e-4)


def test_a_row_that_begins_like_no_other_is_not_read_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its beginning is empty, and may come to stand behind a full batch of others' beginnings."""
    monkeypatch.setattr(_decode, "READ", 2)
    variant = open_variant(small.base(tmp_path))
    rows = [[first, *range(20, 170), last, 11] for first in (5, 6) for last in (7, 8)] + [[9, 10]]
    assert [size > 0 for size in shared(rows)] == [True] * 4 + [False]
    asked = {"max_new_tokens": 3, "stop": (), "pad": variant.pad}
    alone = [generate(variant.decoder, [row], **asked)[0].ids for row in rows]
    assert [reply.ids for reply in generate(variant.decoder, rows, **asked)] == alone
    labelled = [(row, [-100] * (len(row) - 1) + row[-1:]) for row in rows]
    together = variant.nll(labelled)
    assert together == pytest.approx([variant.nll([row])[0] for row in labelled], rel=1e-4)


def test_logits_behind_a_shared_beginning_are_the_models_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Learned positions would show a row that stands one place off; rotary ones would not."""
    monkeypatch.setattr(_shared, "WORTH", 1)
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    shape = {"vocab_size": 320, "n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 128}
    model = GPT2LMHeadModel(GPT2Config(**shape, initializer_range=0.3)).eval()
    model.save_pretrained(tmp_path)
    small.tokenizer(None).save_pretrained(tmp_path)
    decoder = open_variant(tmp_path).decoder
    with torch.inference_mode():
        z_BLV, memory = decoder._prompt(PROMPTS, 2, 1)
        step_BV, _ = decoder.step(torch.full((len(PROMPTS), 1), 9), memory)
        for row, prompt in enumerate(PROMPTS):
            own_TV = model(torch.tensor([[*prompt, 9]])).logits[0]
            torch.testing.assert_close(z_BLV[row, -1], own_TV[-2], rtol=0, atol=2e-4)
            torch.testing.assert_close(step_BV[row], own_TV[-1], rtol=0, atol=2e-4)


def test_a_beginning_lies_once_for_a_table_of_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_shared, "WORTH", 1)
    monkeypatch.setattr(_common, "SEATS", 4)
    monkeypatch.setattr(_decode, "READ", 9)
    decoder = open_variant(small.base(tmp_path)).decoder
    longest = max(map(len, PROMPTS))
    ids_BT = torch.tensor([[2] * (longest - len(row)) + row for row in PROMPTS])
    mask_BT = torch.arange(longest) >= torch.tensor([[longest - len(row)] for row in PROMPTS])
    with torch.inference_mode():
        _, memory = decoder.prompt(ids_BT, mask_BT, 3)
        assert memory.common is not None
        # Six rows of a schema take two tables, and three rows one each.
        assert memory.common.mask_CS.shape == (3 * 2 + 3, 70)
        assert memory.common.mask_CS.sum(1).tolist() == [70] * 6 + [64, 0, 14]
        rests = sorted((len(row) - 70 for row in PROMPTS[:18]), reverse=True)
        assert [part.mask_BK.shape[1] for part in memory.parts][:2] == rests[0::9]
        assert [len(part.mask_BK) for part in memory.parts] == [9, 9, 3]
        left = torch.tensor([19, 0, 2, 3, 8])
        _, memory = decoder.step(torch.full((len(PROMPTS), 1), 9), memory)
        memory = decoder.keep(memory, left)
        assert [len(part.mask_BK) for part in memory.parts] == [5], "few are read as one"
        assert memory.common is not None
        assert memory.common.mask_CS.sum(1).tolist() == [70, 70, 70, 0], "empty ones are cleared"
        memory, left = decoder.keep(memory, torch.tensor([4, 0, 3])), left[[4, 0, 3]]
        z_BV, _ = decoder.step(torch.full((3, 1), 8), memory)
        for z_V, row in zip(z_BV, left.tolist(), strict=True):
            own_V = decoder.inner(torch.tensor([[*PROMPTS[row], 9, 8]])).logits[0, -1]
            torch.testing.assert_close(z_V, own_V, rtol=0, atol=float(1e-5 * own_V.abs().max()))


@pytest.mark.parametrize("method", ["base", "soft_prompt", "prefix", "lora"])
def test_what_follows_an_answered_prompt_is_scored_behind_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """Several texts behind one prompt, texts of one token, and a prompt that nobody answered."""
    variant = taught(tmp_path, method)
    monkeypatch.setattr(_shared, "WORTH", 1)
    monkeypatch.setattr(_decode, "READ", 7)
    texts = [[n + 9 for n in range(1 + row % 5)] for row in range(2 * len(PROMPTS))]
    rows = [
        (prompt + text, [-100] * len(prompt) + text)
        for prompt, text in zip(2 * PROMPTS, texts, strict=True)
    ]
    other = [*range(100, 120)], [-100] * 15 + [*range(115, 120)]
    apart = variant.nll([*rows, other])
    with variant.decoder.remembering():
        plan = {"max_new_tokens": 3, "stop": (), "pad": variant.pad, "batch_size": 99}
        generate(variant.decoder, PROMPTS, **plan)
        sizes = read(monkeypatch)
        found = variant.nll([*rows, other])
    assert found == pytest.approx(apart, rel=2e-5)
    slots = variant.how.virtual_tokens
    assert sum(sizes) == sum(len(text) - 1 for text in texts) + 19 + slots
    sizes.clear()
    assert variant.nll(rows[:1]) == pytest.approx(apart[:1], rel=2e-5)
    assert sum(sizes) == len(rows[0][0]) - 1 + slots, "the prompt is forgotten behind the block"
