"""Model cards: front matter that the Hub reads, and scores that go where they belong."""

import os
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import pytest
import yaml
from huggingface_hub import ModelCard, ModelCardData

from ftkit import catalog
from ftkit.config import override
from ftkit.eval._card import scored, write_cards
from ftkit.eval._scorecard import Bias, Forgetting, Measure
from ftkit.eval._tally import build
from ftkit.recipes._card import card as written
from ftkit.recipes._recipe import Recipe
from tests import cards

FACTS = {"trainable_params": 5120, "steps": 40, "seconds": 31.4, "validation_nats": 0.731}


def head(text: str) -> dict:
    """Read front matter as any YAML reader does."""
    return yaml.safe_load(text.split("---\n")[1])


def parts(text: str) -> tuple[ModelCardData, str]:
    found = ModelCard(text)
    return found.data, found.text


@pytest.fixture(scope="module")
def card(tmp_path_factory):
    asked = cards.items(tmp_path_factory.mktemp("cards"), 100)
    facts = {"command": "ftkit eval runs/sql_qa-lora", "seed": 5}
    return build("sql_qa", asked, cards.entries(asked), cards.metrics(), 0, facts)


def test_front_matter_is_what_the_hub_reads(tmp_path):
    (tmp_path / "README.md").write_text("---\nlicense: apache-2.0\n---\nA base.\n")
    words = ("hub:spider/text2sql:main:train@0.5", "rows/mine.jsonl")
    recipe = override(catalog.load("recipes", "sql_qa"), {"data": list(words)}, "recipe")
    text = written("runs/sql", recipe, "lora", True, str(tmp_path), FACTS)
    assert head(text) == {
        "base_model": str(tmp_path),
        "datasets": ["spider/text2sql"],
        "library_name": "peft",
        "license": "unknown",  # of the rows nobody said
        "pipeline_tag": "text-generation",
        "tags": ["ftkit", "sql_qa", "lora"],
    }
    for said in ("## Data", "- rows/mine.jsonl", "## Limits", "5,120 trained", "apache-2.0"):
        assert said in text
    assert "ftkit tune --config runs/sql/run/run.toml --out NEW" in text
    world = written("runs/sql", replace(recipe, data=()), "lora", True, str(tmp_path), FACTS)
    assert head(world)["license"] == "apache-2.0"
    assert "Set otherwise" not in world


def test_what_was_set_otherwise_is_said_and_no_folder_is(tmp_path):
    values = {"uncased": "true", "length": "300", "databases": "mine", "cache": "mine"}
    recipe = override(catalog.load("recipes", "sql_qa"), values, "recipe")
    text = written("runs/sql", recipe, "lora", True, str(tmp_path), FACTS)
    assert "\nSet otherwise than usual: `sql_qa.length=300`, `sql_qa.uncased=true`.\n" in text
    assert "mine" not in text


@dataclass(frozen=True)
class Own(Recipe):
    """A recipe that lies in no folder of ftkit's."""

    form: str | None = None
    images: str = ""
    kinds: tuple[str, ...] = field(default_factory=lambda: ("a", "b"))


def test_the_card_of_a_recipe_that_a_user_wrote(tmp_path):
    made = written("runs/own", Own(), "lora", True, str(tmp_path), FACTS)
    assert "Set otherwise" not in made
    recipe = Own(form="long", images="/somewhere/mine", kinds=("c", "a `b`\n## d"))
    made = written("runs/own", recipe, "lora", True, str(tmp_path), FACTS)
    name = Own().name
    said = f"`{name}.form=long`, `{name}.images` (see `run/run.toml`), `{name}.kinds` (see"
    assert f"\nSet otherwise than usual: {said} `run/run.toml`).\n" in made
    assert "somewhere" not in made


def test_a_base_without_a_licence_is_said_to_have_none():
    recipe = catalog.load("recipes", "medical")
    text = written("runs/a: b", recipe, "full", False, "owner/name", FACTS)
    assert head(text)["license"] == "unknown"
    assert head(text)["library_name"] == "transformers"
    assert "datasets" not in head(text)
    assert "the base states none, so say one before you pass this on" in text
    assert "the embedded world of ftkit for `medical`, seed 0" in text
    assert f"**{recipe.notice}**" in text


def test_scores_are_put_in_once_and_other_words_stay(card):
    line = replace(
        card.variants[-2],
        forgetting=Forgetting(1.0, 1.25, 32_000),
        elsewhere={"chat": Forgetting(1.0, 1.5, 3_000, "answers")},
        bias=Bias(Measure(0.625, 0.47, 0.76, 40), {"age": Measure(0.75, 0.4, 0.9, 8)}),
    )
    mine = "---\nlicense: mit\nmine: [1, 2]\n---\n\n# Mine\n\nMy words.\n"
    once = scored(*parts(mine), card, line)
    again = scored(*parts(once), card, line)
    assert again == once
    assert head(once)["mine"] == [1, 2]
    assert head(once)["license"] == "mit"
    assert once.count("## Scores: sql_qa") == 1
    mean = line.metrics["execution_accuracy"].mean
    for said in (
        *("# Mine\n\nMy words.", f"| Execution accuracy | {100 * mean:.1f} % |", "| 100 |"),
        "Evaluation seed 5",
        "+0.250 on 32 kB of the base's own text, +0.500 on answers of chat",
        "Of 40 pairs of sentences that differ in one word",
        "likelier in 62 % (95 % interval 47 % to 76 %)",
        *("age 75 %", "```\nftkit eval runs/sql_qa-lora\n```"),
    ):
        assert said in once
    other = scored(*parts(once), replace(card, recipe="chat"), line)
    kept = {result.dataset_type for result in ModelCard(other).data.eval_results}
    assert kept == {"ftkit/sql_qa", "ftkit/chat"}
    assert "## Scores: sql_qa" in other
    assert "## Scores: chat" in other
    (index,) = head(once)["model-index"]
    assert index["name"] == "sql_qa-lora"
    (result,) = index["results"]
    assert [metric["type"] for metric in result["metrics"]] == list(cards.METRICS)
    assert result["metrics"][0]["value"] == pytest.approx(mean)
    assert result["metrics"][0]["args"]["n"] == 100


@pytest.fixture
def runs(card, tmp_path):
    """Folders as a card names them: two of ours, one foreign, and the base."""
    places = SimpleNamespace(out=tmp_path / "eval")
    lines = []
    for name in ("base", "soft_prompt", "lora", "full"):
        folder = tmp_path / name
        (folder / "run").mkdir(parents=True) if name != "full" else folder.mkdir()
        (folder / "README.md").write_text("---\nlicense: mit\n---\nWords.\n")
        line = next(line for line in card.variants if line.method == name)
        lines.append(replace(line, folders=(str(folder),)))
        setattr(places, name, folder / "README.md")
    places.card = replace(card, variants=tuple(lines))
    return places


def test_scores_of_more_items_are_not_replaced_by_those_of_fewer(runs):
    list(write_cards(runs.card, runs.out))
    before = runs.lora.read_text()
    said = list(write_cards(replace(runs.card, n=12), runs.out))
    assert f"{runs.lora} keeps its scores of 100 items: these are of 12" in said
    assert runs.lora.read_text() == before
    assert list(write_cards(replace(runs.card, recipe="chat", n=12), runs.out)) == []


def test_ours_are_rewritten_and_others_are_not(runs):
    assert list(write_cards(runs.card, runs.out)) == []
    for path in (runs.soft_prompt, runs.lora):
        assert "## Scores: sql_qa" in path.read_text()
    for path in (runs.base, runs.full):
        assert path.read_text() == "---\nlicense: mit\n---\nWords.\n"
    beside = (runs.out / "cards" / "full" / "README.md").read_text()
    assert "## Scores: sql_qa" in beside
    assert "Words." in beside


def test_a_card_that_cannot_be_read_or_written_is_left_and_told(runs):
    runs.lora.write_text("---\nlicense: [\n---\nMine.\n")
    folder = runs.soft_prompt.parent
    os.rename(runs.soft_prompt, folder / "kept.md")
    runs.soft_prompt.mkdir()  # what cannot be written over, for root as well
    notes = list(write_cards(runs.card, runs.out))
    assert f"{runs.lora} is left as it is: its front matter cannot be read" in notes
    assert any(note.startswith(f"{runs.soft_prompt} is left as it is: ") for note in notes)
    assert len(notes) == 2
    assert runs.lora.read_text() == "---\nlicense: [\n---\nMine.\n"
