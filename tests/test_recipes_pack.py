"""Packing: every example once an epoch, positions from 0, batches by number alone."""

# B rows, T positions

import random

import pytest
import torch

from ftkit.errors import FtkitError
from ftkit.recipes._check import check, encode
from ftkit.recipes._pack import Packer, fit_rows
from ftkit.recipes._recipe import Example
from ftkit.recipes._render import IGNORE, Rendered, Renderer
from tests import small


def items(count: int = 50) -> list[Rendered]:
    draw = random.Random(0)
    rows = []
    for number in range(count):
        size = draw.randint(4, 40)
        ids = [number * 100 + place for place in range(size)]
        rows.append(Rendered(ids, [IGNORE] * (size // 2) + ids[size // 2 :]))
    return rows


def test_best_fit_fills_rows_and_loses_nothing() -> None:
    draw = random.Random(1)
    sizes = [draw.randint(10, 200) for _ in range(2000)]
    rows = fit_rows(sizes, 256)
    assert sorted(item for row in rows for item in row) == list(range(2000))
    filled = [sum(sizes[item] for item in row) for row in rows]
    assert max(filled) <= 256
    assert sum(filled) / (256 * len(rows)) > 0.97


@pytest.mark.parametrize("slots", [0, 5])
@pytest.mark.parametrize("packable", [True, False])
def test_a_batch_lays_out_whole_examples(slots: int, packable: bool) -> None:
    rows = items()
    packer = Packer(rows, 64, 4, slots=slots, pad=-7, packable=packable)
    seen: list[int] = []
    for number in range(packer.updates):
        batch = packer(number)
        flat = batch.ids_BT.flatten()
        places = zip(batch.where_N.tolist(), batch.targets_N.tolist(), strict=True)
        assert all(int(flat[place + 1]) == target for place, target in places)
        for row, (ids_T, positions_T) in enumerate(
            zip(batch.ids_BT, batch.positions_BT, strict=True)
        ):
            starts = (positions_T == 0).nonzero()[:, 0].tolist()
            for first, last in zip(starts, [*starts[1:], len(ids_T)], strict=True):
                part = ids_T[first:last].tolist()
                assert positions_T[first:last].tolist() == list(range(last - first))
                if part[-1] == -7:
                    continue  # the rest of a row
                example = part[-1] // 100
                assert part == [-7] * slots + rows[example].ids
                seen.append(example)
                if batch.slots_BT is not None:
                    marks = batch.slots_BT[row, first:last].tolist()
                    assert marks == [*range(slots), *[-1] * len(rows[example].ids)]
    assert sorted(seen) == list(range(50))


def test_batches_depend_on_their_number_and_seed_alone() -> None:
    first, second = (Packer(items(), 64, 4, seed=3) for _ in range(2))
    count = first.updates
    forward = [first(number) for number in range(3 * count)]
    for number in (2 * count + 1, 0, count, 5):
        assert torch.equal(second(number).ids_BT, forward[number].ids_BT)
    assert not torch.equal(forward[0].ids_BT, Packer(items(), 64, 4, seed=4)(0).ids_BT)
    epochs = [sum(batch.tokens for batch in forward[:count])]
    epochs.append(sum(item.supervised for item in items()))
    assert epochs[0] == epochs[1]


def test_parts_make_up_the_update() -> None:
    whole, cut = Packer(items(), 64, 8), Packer(items(), 64, 8, parts=3)
    for update in range(2 * whole.updates):
        parts = [cut(3 * update + part) for part in range(3)]
        ours = sorted(i for batch in parts for i in batch.targets_N.tolist())
        assert ours == sorted(whole(update).targets_N.tolist())
    assert Packer(items(1), 64, 8, parts=2)(1).tokens == 0, "one row cannot be cut"


def test_efficiency_counts_gaps() -> None:
    even = [Rendered([1] * 32, [1] * 32)] * 8
    assert Packer(even, 64, 2).efficiency == 1.0
    uneven = [Rendered([1] * 64, [1] * 64), Rendered([1] * 32, [1] * 32)]
    assert Packer(uneven, 64, 2).efficiency == 0.75
    narrow = Packer([Rendered([1] * 40, [1] * 40)] * 8, 64, 2, packable=False)
    assert narrow.efficiency == 1.0
    assert narrow(0).ids_BT.shape == (2, 40)


def test_a_first_token_is_learned_only_behind_slots() -> None:
    whole = [Rendered([7, 8, 9], [7, 8, 9])] * 2
    assert Packer(whole, 8, 1)(0).targets_N.tolist() == [8, 9, 8, 9]
    assert Packer(whole, 10, 1, slots=2)(0).targets_N.tolist() == [7, 8, 9, 7, 8, 9]


def chat(question: str, answer: str, where: str = "here") -> Example:
    return Example(
        ({"role": "user", "content": question}, {"role": "assistant", "content": answer}), {}, where
    )


def test_overlong_examples_are_counted_named_and_limited() -> None:
    renderer = Renderer(small.tokenizer())
    rows = [chat("a", "b", f"f:{n}") for n in range(9)] + [chat("long " * 60, "x", "f:10")]
    found = encode(rows, renderer, 40, 0.2)
    assert (found.part.rows, found.part.overlong, found.part.named) == (9, 1, ("f:10",))
    assert found.part.duplicates == 8
    with pytest.raises(FtkitError, match=r"1 of 10 rows are longer than 40 tokens \(f:10\)"):
        encode(rows, renderer, 40, 0.05)


def test_a_recipe_is_checked_whole() -> None:
    parts = check(small.Unleaked(), Renderer(small.tokenizer()))
    assert {split: part.rows for split, part in parts.items()} == {
        "train": 30, "validation": 10, "test": 10,
    }  # fmt: skip
    assert parts["train"].supervised > 0
    with pytest.raises(FtkitError, match="test rows lie in the training rows too: test:1, test:2"):
        check(small.Counting())
