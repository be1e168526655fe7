"""Rows that begin alike: found, put side by side, and worth no more and no less than alone."""

# B rows, T positions, N labelled places

import random
from collections.abc import Sequence
from itertools import pairwise

import pytest

from ftkit.recipes._alike import Alike
from ftkit.recipes._flat import IGNORE, Flat, Rendered
from ftkit.recipes._pack import Packer

ANSWER = 5


def rows(schemas: Sequence[int], questions: int, seed: int = 0) -> list[Rendered]:
    """Make schemas of so many tokens, and as many questions about each."""
    draw, found = random.Random(seed), []
    for size in schemas:
        schema = [draw.randrange(10, 9999) for _ in range(size)]
        for _ in range(questions):
            asked = [draw.randrange(10, 9999) for _ in range(draw.randint(4, 12))]
            answer = [draw.randrange(10, 9999) for _ in range(ANSWER)]
            found.append(Rendered(schema + asked + answer, [IGNORE] * (size + len(asked)) + answer))
    draw.shuffle(found)
    return found


def test_what_rows_have_in_common_is_found_to_the_token() -> None:
    flat = Flat.of(rows([16, 37, 150, 15], 3))
    alike = Alike.of(flat, 4, 1000)
    assert sorted(int(alike.shared[members[0]]) for members in alike.kinds) == [16, 37, 150]
    for members in alike.kinds:
        shared = int(alike.shared[members[0]])
        firsts = {tuple(flat[row].ids[:shared]) for row in members}
        assert (len(members), len(firsts)) == (3, 1)
    assert (alike.kind < 0).sum() == 3, "15 tokens are too few"
    assert not alike.shared[alike.kind < 0].any()


def test_what_is_learned_is_never_shared_nor_what_foretells_it() -> None:
    """The same prompt twice with two answers: the place before the answer has two targets."""
    twice = [Rendered([*range(100, 140), n], [IGNORE] * 40 + [n]) for n in (1, 2)]
    assert Alike.of(Flat.of(twice), 4, 1000).shared.tolist() == [39, 39]
    learned = [
        Rendered([*range(100, 140), n], [IGNORE] * 10 + [*range(110, 140), n]) for n in (1, 2)
    ]
    assert not Alike.of(Flat.of(learned), 4, 1000).kinds
    batch = Packer(twice, 128, 1, alike=Alike.of(Flat.of(twice), 4, 1000)).collate([[0, 1]])
    assert sorted(batch.targets_N.tolist()) == [1, 2]
    assert len(set(batch.where_N.tolist())) == 2


def test_a_schema_goes_before_a_few_words_of_its_questions() -> None:
    """Two pairs that share 42 tokens save less than four rows that share 40."""
    schema = list(range(100, 140))
    pairs = [[*schema, a, a, b, 7, 8, 9] for a in (1, 2) for b in (3, 4)]
    flat = Flat.of([Rendered(ids, [IGNORE] * 44 + ids[44:]) for ids in pairs])
    assert sorted(Alike.of(flat, 4, 1000).kinds[0]) == [0, 1, 2, 3]
    assert len(Alike.of(flat, 2, 1000).kinds) == 1, "pairs of four, drawn anew each time"


@pytest.mark.parametrize(("most", "room", "together"), [(4, 1000, 4), (3, 1000, 3), (8, 90, 5)])
def test_so_many_stand_together_in_sets_that_differ(most: int, room: int, together: int) -> None:
    flat = Flat.of(rows([40], 11))
    alike = Alike.of(flat, most, room)
    sets = [alike.together(random.Random(seed)) for seed in (0, 1)]
    for each in sets:
        assert sorted(row for some in each for row in some) == list(range(11))
        sizes = [sum(len(flat[row].ids) - 40 for row in some) + 40 for some in each]
        assert max(sizes) <= alike.widest <= room
        assert max(map(len, each)) <= together
    assert len(sets[0]) < 11
    assert {frozenset(some) for some in sets[0]} != {frozenset(some) for some in sets[1]}


def test_one_long_row_does_not_keep_the_others_apart() -> None:
    made = rows([40], 9)
    made[4] = Rendered([*made[4].ids[:40], *range(300), 7], [IGNORE] * 340 + [7])
    alike = Alike.of(Flat.of(made), 3, 200)
    sets = alike.together(random.Random(0))
    assert sorted(map(len, sets))[-2:] == [3, 3]
    assert [4] in sets
    assert alike.widest == 341


def test_an_update_keeps_its_beginnings_apart_unless_all_rows_have_one() -> None:
    many, one = Flat.of(rows([40] * 30, 4)), Flat.of(rows([40], 120))
    assert Alike.of(many, 4, 1000, update=40).most.tolist() == [4] * 120
    assert Alike.of(many, 4, 1000, update=16).most.tolist() == [2] * 120
    assert not Alike.of(many, 4, 1000, update=8).kinds
    assert Alike.of(one, 4, 1000, update=8).most.tolist() == [4] * 120


def test_as_many_share_as_may_however_they_come_to_stand() -> None:
    """All of one kind: sets meet in a row, and still each so many begin anew."""
    made = rows([30], 40)
    packer = Packer(made, 256, 1, alike=Alike.of(Flat.of(made), 2, 1000))
    for number in range(packer.updates):
        positions = packer(number).positions_BT[0].tolist()
        starts = [now for before, now in pairwise([0, *positions]) if now != before + 1]
        assert all(0 in pair for pair in pairwise(starts)), "one goes on from each at most"
    assert packer.efficiency > 0.85


def test_with_one_nothing_is_shared() -> None:
    alike = Alike.of(Flat.of(rows([40], 6)), 1, 1000)
    assert (alike.kinds, len(alike.together(random.Random(0)))) == ((), 6)


@pytest.mark.parametrize("slots", [0, 5])
def test_every_row_can_be_read_back_from_what_lies_before_it(slots: int) -> None:
    made = rows([20, 50, 33, 5], 7)
    flat = Flat.of(made)
    packer = Packer(made, 192, 2, slots=slots, pad=-7, alike=Alike.of(flat, 4, 150))
    whole = Packer(made, 192, 2, slots=slots, pad=-7)
    seen, places = [], 0
    for number in range(packer.updates):
        batch = packer(number)
        places += batch.ids_BT.numel()
        flat_ids = batch.ids_BT.flatten()
        targets = zip(batch.where_N.tolist(), batch.targets_N.tolist(), strict=True)
        assert all(int(flat_ids[place + 1]) == target for place, target in targets)
        for ids_T, positions_T in zip(
            batch.ids_BT.tolist(), batch.positions_BT.tolist(), strict=True
        ):
            text, root, first = list[int](), list[int](), True
            for token, position in [*zip(ids_T, positions_T, strict=True), (-7, 0)]:
                if position != len(text):  # one ends; the next goes on from the last whole one
                    seen.append(text)
                    root = text if first else root
                    text, first = root[:position], position == 0
                text.append(token)
    found = [text for text in seen if len(text) > 1]
    assert sorted(found) == sorted([-7] * slots + row.ids for row in made)
    assert places < 0.8 * sum(whole(n).ids_BT.numel() for n in range(whole.updates))
    labels = sum(packer(n).tokens for n in range(packer.updates))
    assert labels == ANSWER * len(made)
