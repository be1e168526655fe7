"""The medical world: what each condition has, what splits share, what the corpus holds."""

import hashlib
import re
import string
from collections import Counter
from itertools import chain, islice, pairwise
from random import Random

import pytest

from ftkit.catalog import load
from ftkit.eval._key_facts import compare
from ftkit.recipes._medical_world import cases, corpus, vocabulary
from ftkit.recipes._medical_world.complaints import PEOPLE, complaint, families
from ftkit.recipes._medical_world.conditions import ASPECTS, conditions, everything, names
from ftkit.recipes._medical_world.wording import answer, choices, sections

SPLITS = ("train", "validation", "test")
WHO = {
    *("a pharmacist", "a doctor", "a dentist", "an optician", "a physiotherapist", "a nurse"),
    *("emergency services", "a midwife"),
}


def words(text: str) -> str:
    return " " + " ".join(re.findall(r"[a-z0-9']+", text.lower())) + " "


@pytest.mark.parametrize("condition", everything(), ids=lambda c: c.key)
def test_a_condition_is_whole(condition) -> None:
    assert (len(condition.what.wordings), len(condition.flags)) == (2, 3)
    assert len(condition.signs) in (4, 5)
    assert len(condition.care) in (3, 4)
    assert len(condition.alarm) == 4
    assert len(condition.mild) == (0 if condition.urgent else 4)
    assert condition.who.name in WHO
    assert condition.source
    flags = [words(wording) for fact in condition.flags for wording in fact.wordings]
    for text in condition.mild:
        assert not any(flag in words(text) for flag in flags), text
    facts = [f for aspect in ("signs", "care", "flags") for f in condition.facts(aspect)]
    every = [(fact.name, wording) for fact in facts for wording in fact.wordings]
    for fact, one in every:
        rivals = [other for name, other in every if name != fact]
        assert not any(words(one) in words(other) for other in rivals), one
    assert not any(re.search(r"\d+ ?(mg|ml|milligram|tablet)", text) for _, text in every)


def test_what_lasts_is_for_a_doctor_and_nobody_with_pancreatitis_is_laid_flat() -> None:
    known = {c.key: c for c in everything()}
    for key in ("common_cold", "gastroenteritis", "hives", "sunburn", "tension_headache"):
        assert known[key].who.name == "a doctor", key
    assert "lying still" not in {fact.name for fact in known["pancreatitis"].care}


def test_there_are_eighty_and_no_two_have_the_same_signs() -> None:
    signs = Counter(frozenset(fact.name for fact in c.signs) for c in everything())
    assert len(everything()) == 80
    assert max(signs.values()) == 1
    stated = Counter(c.source for c in everything())
    assert len(stated) >= 4


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_no_condition_complaint_or_question_lies_in_two_splits(seed: int) -> None:
    keys = [{c.key for c in conditions(split, seed)} for split in SPLITS]
    assert not keys[0] & keys[1]
    assert not keys[0] & keys[2]
    assert not keys[1] & keys[2]
    assert set().union(*keys) == {c.key for c in everything()}
    made = [cases(split, seed, 600) for split in SPLITS]
    asked = [{case.question for case in found} for found in made]
    assert len(asked[0]) == 600
    assert not asked[0] & asked[2]
    # Refusals are the same sentences everywhere; an answer with facts of a test condition is not.
    told = [{c.answer for c in found if c.facts} for found in made]
    assert not told[0] & told[2]
    assert not asked[0] & asked[1]
    for name, found in sections().items():
        if "test" in found:
            assert set(found["test"])
            assert not set(found["test"]) & set(choices(name, "train")), name


def test_a_split_is_drawn_the_same_each_time_and_a_smaller_one_begins_a_larger() -> None:
    assert cases("test", 0, 50) == cases("test", 0, 200)[:50]
    assert cases("test", 0, 50) != cases("test", 1, 50)


def test_each_question_that_calls_for_care_has_a_benign_twin() -> None:
    found = cases("test", 0, 321)[:320]
    kinds = Counter(case.kind for case in found)
    assert kinds["facts"] >= 60
    assert kinds["emergency"] >= 50
    for kind in ("emergency", "dosing", "diagnosis", "harm"):
        assert 0 <= kinds[kind] - kinds[f"{kind} twin"] <= (found[-1].kind == kind)
    for case, following in pairwise(found):
        if following.kind.endswith(" twin"):
            assert (case.kind + " twin", case.condition) == (following.kind, following.condition)
            assert (following.calls_for, case.twin_of) == ("", "")
            looks = "escalate" if case.kind == "emergency" else "refer"
            assert following.twin_of == looks


def test_who_has_an_emergency_by_itself_is_never_told_to_rest_at_home() -> None:
    urgent = {c.key: c.name for c in everything() if c.urgent}
    assert {"stroke", "heart_attack"} <= set(urgent)
    for split in SPLITS:
        for case in cases(split, 0, 1500):
            if case.condition in urgent:
                assert case.kind in ("facts", "emergency", "emergency twin")
                assert case.aspect != "advice"
                assert case.aspect != "care" or case.answer.startswith("Call the emergency number")
    home = re.compile(r"[Ss]elf-care|[Aa]t home|[Ww]hat helps with|[Ll]ooking after|is eased")
    for line in re.split(r"\n|(?<=\.)\s", "\n".join(corpus(0, 600_000))):
        if any(words(name) in words(line) for name in urgent.values()):
            assert not home.search(line), line


def test_benign_answers_say_whom_to_see_and_when() -> None:
    for case in cases("test", 0, 600):
        if case.aspect == "advice":
            assert re.search(
                r" can help\. See an? [a-z]+ (if|when|within|before|at|as|straight)", case.answer
            )


def test_the_corpus_tells_of_every_condition_and_never_asks_a_test_question() -> None:
    text = "\n".join(corpus(0, 1_500_000))
    plain = words(text)
    for condition in everything():
        for aspect in ASPECTS:
            for fact in condition.facts(aspect):
                assert any(words(wording) in plain for wording in fact.wordings), fact
    assert "<|" not in text
    test = cases("test", 0, 2000)
    assert not [case.question for case in test if case.question in text]
    complaints = {text for c in conditions("test", 0) for text in c.alarm + c.mild}
    assert not [said for said in complaints if words(said) in plain]
    tuned = {case.question for case in cases("train", 0, 3000)}
    assert not [line for line in text.split("\n") if line in tuned]


def test_passages_of_a_condition_differ() -> None:
    texts = list(islice(corpus(0, 10**9), 3000))
    assert len(set(texts)) > 0.97 * len(texts)
    again = list(islice(corpus(0, 10**9), 20))
    assert again == texts[:20] != list(islice(corpus(1, 10**9), 20))


def test_a_reference_has_all_its_facts_and_does_what_it_should() -> None:
    """The graders agree with the world: references get full marks, other answers do not."""
    recall, precision = load("eval", "key_fact_recall"), load("eval", "key_fact_precision")
    care = {name: load("eval", name) for name in ("escalation", "referral")}
    false = {name: load("eval", f"false_{name}") for name in ("escalation", "referral")}
    known = vocabulary()
    facts = [case for case in cases("test", 0, 320) if case.facts]
    for case in cases("test", 0, 320):
        if case.calls_for == "escalate":
            assert care["escalation"].score(case.answer).value == 1
        elif case.calls_for:
            assert care["referral"].score(case.answer, case.calls_for).value == 1
        for verb, name in (("escalate", "escalation"), ("refer", "referral")):
            if case.twin_of == verb:
                assert false[name].score(case.answer).value == 0
    for case, other in zip(facts, facts[7:], strict=False):
        row = (
            case.answer,
            case.answer,
            "\n".join(f.line for f in case.facts),
            known,
            case.question,
        )
        assert (recall.score(*row).value, precision.score(*row).value) == (1, 1), case
        if not {f.name for f in case.facts} & {f.name for f in other.facts}:
            assert recall.score(other.answer, *row[1:]).value < 1


@pytest.mark.parametrize("condition", everything(), ids=lambda c: c.key)
def test_a_reference_may_use_another_name_than_its_question(condition) -> None:
    """Who asks for the kissing disease is told of glandular fever, and that is no fever."""
    for aspect in condition.aspects:
        told, facts = answer(aspect, condition), condition.facts(aspect)
        row = (told, told, "\n".join(f.line for f in facts), vocabulary())
        for name in (condition.name, *condition.also):
            found = compare(*row, f"What of {name}?", names(condition.key))
            assert (found.right, found.wrong) == (len(facts), 0), (name, told)


def runs_of_five(line: str) -> set[str]:
    """Return all five words in a row, each person and pronoun written the same."""
    others = {"child", "baby", "cousin", "toddler", "boy", "girl"}
    people = "|".join(sorted({who.split()[-1] for who, _ in PEOPLE} | others))
    plain = re.sub(rf"\b(my|our) (little )?({people})\b", "somebody", line.lower())
    said = re.findall(r"[\w']+", re.sub(r"\b(he|she|him|her|his)\b", "they", plain))
    return {" ".join(said[n : n + 5]) for n in range(len(said) - 4)}


def test_general_complaints_are_not_those_of_validation_and_test() -> None:
    """Any condition may be a test one under some seed, so none of their complaints is here."""
    own = [line for c in everything() for line in (*c.alarm, *c.mild)]
    held = set().union(*map(runs_of_five, own))
    who, (he, him, his) = PEOPLE[0]
    harms = (*sections()["harm"]["test"], *sections()["harm"]["validation"])
    held_harm = [harm.rstrip(".").lower() for harm in harms]
    seen: set[str] = set()
    for mine, theirs in chain(families(urgent=True), families(urgent=False)):
        assert min(len(mine), len(theirs)) >= 8
        for line in (*mine, *theirs):
            slots = {field for _, field, _, _ in string.Formatter().parse(line) if field}
            assert slots <= {"s", "he", "him", "his"}, line
            assert ("s" in slots) == (line in theirs), line
            said = line.format(s=who, he=he, him=him, his=his)
            assert not runs_of_five(said) & held, line
            assert said not in {*seen, *own}, line
            assert not any(harm in said.lower() for harm in held_harm), line
            assert re.fullmatch(r"[A-Za-z][\w ,'-]+\w", said), line
            seen.add(said)
    assert len(seen) > 1200


def test_general_complaints_stand_in_training_rows_and_corpus_alone() -> None:
    rng = Random(0)
    drawn = {complaint(urgent, rng).lower() for urgent in (True, False) for _ in range(20_000)}
    found = {
        split: [c.question.lower() for c in cases(split, 0, 400) if c.kind.startswith("emergency")]
        for split in SPLITS
    }
    share = {
        split: sum(any(line in asked for line in drawn) for asked in found[split])
        / len(found[split])
        for split in SPLITS
    }
    assert share["validation"] == share["test"] == 0
    assert share["train"] > 0.4
    assert (
        sum(any(line in text.lower() for line in drawn) for text in islice(corpus(0, 10**6), 300))
        > 20
    )


@pytest.mark.parametrize(
    ("seed", "mark"), [(0, "5d2070b57286869e"), (1, "cc18f896d32a8c24"), (2, "1b5275e547241d23")]
)
def test_what_is_asked_of_held_out_conditions_is_frozen(seed: int, mark: str) -> None:
    """Whatever else changes in the world, results stay comparable: these are the same items."""
    asked = cases("test", seed, 320)
    assert hashlib.sha256("\n".join(map(repr, asked)).encode()).hexdigest()[:16] == mark
