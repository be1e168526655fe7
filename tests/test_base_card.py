"""The model card of a base: its front matter is the Hub's, its figures are the run's."""

from pathlib import Path

from huggingface_hub import ModelCard

from ftkit.basemodel.budget import Pretrain
from ftkit.basemodel.card import Text, card
from ftkit.basemodel.pretrain import pretrain
from ftkit.config import table
from ftkit.runs import Run


def test_the_model_card_says_what_was_read_and_what_it_came_to(tmp_path: Path) -> None:
    settings = Pretrain(preset="pico", context=32, vocab_size=300, batch=256, tokens=512)
    run = Run.create(tmp_path / "base", {"command": "pretrain", "plan": table(settings)})
    for _ in pretrain(run, settings, documents=[f"Number {n} is {n * n}. " * 9 for n in range(99)]):
        pass
    found = ModelCard.load(run.path / "README.md")
    assert found.data.to_dict() == {
        "library_name": "transformers",
        "license": "unknown",
        "pipeline_tag": "text-generation",
        "tags": ["ftkit", "qwen3"],
    }
    assert f"{run.done['validation']['nats']:.3f} nats a token" in found.text
    assert f'AutoTokenizer.from_pretrained("{run.path}")' in found.text
    facts = run.done | {"bigram": None}
    text = Text(["x.txt@2", "y.txt"], "mit", "No advice.")
    assert "license: mit" in card("a/b", "llama", facts, text)
    other = card("a/b", "llama", facts, text, "theirs")
    assert "# b\n\n**No advice.**\n\nA llama model of" in other
    assert "pretrained on from `theirs` with" in other
    assert "\n- x.txt@2\n- y.txt\n" in other
    assert "license: unknown" in other
    assert ModelCard(other).data.base_model == "theirs"
    odd = card('my "own" bases/a', "llama", facts, Text(["hub:owner/name:main@0.5"]))
    assert 'from_pretrained("my \\"own\\" bases/a")' in odd
    assert "ftkit tune --base 'my \"own\" bases/a'" in odd
    assert ModelCard(odd).data.datasets == ["owner/name"]
    assert "pairs" not in other
