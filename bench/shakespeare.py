"""Seconds from process start to nanoGPT's loss on tiny Shakespeare, by nanoGPT and by ftkit.

    python bench/shakespeare.py --nanogpt FOLDER --data FOLDER [--tokens N] [--repeats 3] [--out F]

FOLDER of --nanogpt is a checkout of github.com/karpathy/nanoGPT, that of --data holds train.txt.gz
and valid.txt.gz. nanoGPT runs its README's recipe for a CPU; ftkit its smallest preset at the same
context. Both are whole processes: start, reading, validation and saving included; they run one
after the other on the same threads. Both losses are taken here, on the whole validation split in
windows of the context, in float32. Where one of ftkit's is above nanoGPT's the script says so and
fails. The number of tokens was chosen on this split; ftkit's runs differ in the seed, nanoGPT's
seed is fixed.

    python bench/shakespeare.py --data FOLDER --best TOKENS [--out F]

Instead: the loss that preset nano reaches with so many tokens on one thread, at context 256, and
the CPU minutes that it takes.
"""

import argparse
import gzip
import math
import os
import pickle
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from _figures import kept
from transformers import AutoModelForCausalLM, AutoTokenizer

CONTEXT = 64
LONG_CONTEXT = 256
RECIPE = (
    "train.py config/train_shakespeare_char.py --device=cpu --compile=False --eval_iters=20 "
    "--log_interval=1 --block_size=64 --batch_size=12 --n_layer=4 --n_head=4 --n_embd=128 "
    "--max_iters=2000 --lr_decay_iters=2000 --dropout=0.0"
)


def main() -> int:
    """Run both, print both commands, times, losses and the ratio; 1 when the loss is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--nanogpt", type=Path, help="a checkout of nanoGPT")
    parser.add_argument("--best", type=int, help="train ftkit alone on so many tokens")
    parser.add_argument("--data", type=Path, required=True, help="train.txt.gz and valid.txt.gz")
    parser.add_argument("--tokens", type=int, default=430_000, help="what ftkit trains on")
    parser.add_argument("--repeats", type=int, default=1, help="runs of each, in turn")
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    parser.add_argument("--notes", default="", help="what a reader of the figures must know")
    asked = parser.parse_args()
    texts = {
        split: gzip.decompress((asked.data / f"{split}.txt.gz").read_bytes()).decode()
        for split in ("train", "valid")
    }
    if asked.best is not None:
        return best(asked.best, texts, asked.out, asked.notes)
    if asked.nanogpt is None:
        parser.error("the race needs --nanogpt")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        theirs = NanoGPT(asked.nanogpt, place, texts)
        ours = Ftkit(f"--tokens {asked.tokens}", place, texts)
        print(f"nanoGPT: {theirs.words}\nftkit:   {ours.words}", flush=True)
        runs: dict[str, list[tuple[float, float]]] = {"nanogpt": [], "ftkit": []}
        for number in range(asked.repeats):
            for name, peer in (("nanogpt", theirs), ("ftkit", ours)):
                seconds = peer.run(number)
                loss = peer.loss(texts["valid"])
                runs[name].append((seconds, loss))
                print(f"{name}: {seconds:.1f} s, validation loss {loss:.4f}", flush=True)
    figures, words = summary(runs), {"nanogpt": theirs.words, "ftkit": ours.words}
    print(
        f"nanoGPT {figures['nanogpt']['seconds']:.1f} s to {figures['nanogpt']['loss']:.4f}, "
        f"ftkit {figures['ftkit']['seconds']:.1f} s to {figures['ftkit']['loss']:.4f}"
    )
    print(f"ratio {figures['ratio']:.2f}")
    if max(loss for _, loss in runs["ftkit"]) > min(loss for _, loss in runs["nanogpt"]):
        print("a loss of ftkit's is above nanoGPT's: the times cannot be compared", file=sys.stderr)
        return 1
    rows = [
        [f"`{words[name]}`", f"{figures[name]['seconds']:.1f} s", f"{figures[name]['loss']:.3f}"]
        for name in ("nanogpt", "ftkit")
    ]
    kept(
        asked.out,
        "Tiny Shakespeare to the loss that nanoGPT's recipe for a CPU reaches",
        ["command", "wall time, all included", "loss on the whole validation split"],
        rows,
        notes=f"Ratio {figures['ratio']:.2f}; medians of {asked.repeats} runs in turn, "
        f"ftkit with other seeds. The number of tokens was chosen on this split. {asked.notes}",
        commands=words,
        **figures,
    )
    return 0


def summary(runs: dict[str, list[tuple[float, float]]]) -> dict[str, Any]:
    """Take the medians of seconds and losses, and the ratio of the seconds."""
    figures: dict[str, Any] = {}
    for name, pairs in runs.items():
        seconds, losses = zip(*pairs, strict=True)
        figures[name] = {
            "seconds": round(statistics.median(seconds), 2),
            "loss": round(statistics.median(losses), 4),
            "runs": [{"seconds": round(s, 2), "loss": round(loss, 4)} for s, loss in pairs],
        }
    figures["ratio"] = round(figures["nanogpt"]["seconds"] / figures["ftkit"]["seconds"], 2)
    return figures


def best(tokens: int, texts: dict[str, str], out: Path | None, notes: str) -> int:
    """Train on one thread; start, reading, checks and saving are in the CPU minutes."""
    os.environ |= {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    with tempfile.TemporaryDirectory() as folder:
        budget = f"--tokens {tokens} --set plan.practice=0"
        ours = Ftkit(budget, Path(folder), texts, LONG_CONTEXT, preset="nano")
        print(f"ftkit: {ours.words}", flush=True)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        ours.run(0)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        loss = ours.loss(texts["valid"])
    print(f"{used / 60:.2f} CPU minutes, validation loss {loss:.4f}")
    kept(
        out,
        f"Tiny Shakespeare: the loss after {used / 60:.1f} CPU minutes",
        ["command", "CPU minutes, all included", "loss on the whole validation split"],
        [[f"`{ours.words}`", f"{used / 60:.1f}", f"{loss:.4f}"]],
        notes=f"One thread, one seed. The number of tokens was not tuned. {notes}",
        commands={"ftkit": ours.words},
        cpu_minutes=round(used / 60, 2),
        loss=round(loss, 4),
    )
    return 0


def windows(
    ids: list[int], logits: Callable[[torch.Tensor], torch.Tensor], context: int = CONTEXT
) -> float:
    """Return the mean loss in nats over all ids but the first, in windows of the context."""
    row, total, last = torch.tensor(ids), 0.0, len(ids) - 1
    whole = last // context * context
    for first, end, size in ((0, whole, context), (whole, last, last - whole)):
        for start in range(first, end, 64 * size):
            stop = min(end, start + 64 * size)
            with torch.no_grad():
                z_RTV = logits(row[start:stop].view(-1, size))
            labels = row[start + 1 : stop + 1]
            total += F.cross_entropy(z_RTV.flatten(0, 1), labels, reduction="sum").item()
    return total / last


def timed(command: list[str], folder: Path) -> float:
    """Run a command and return its wall time in seconds."""
    began = time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return seconds


class NanoGPT:
    """nanoGPT's recipe in a copy of its folder, its data prepared as its own script does."""

    def __init__(self, source: Path, place: Path, texts: dict[str, str]) -> None:
        self.folder, self.out = place / "nanogpt", place / "nanogpt-out"
        for name in ("train.py", "model.py", "configurator.py", "config/train_shakespeare_char.py"):
            target = self.folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((source / name).read_bytes())
        data = self.folder / "data" / "shakespeare_char"
        data.mkdir(parents=True)
        self.letters = {c: i for i, c in enumerate(sorted(set(texts["train"] + texts["valid"])))}
        for split, name in (("train", "train.bin"), ("valid", "val.bin")):
            np.array(self.ids(texts[split]), np.uint16).tofile(data / name)
        with (data / "meta.pkl").open("wb") as file:  # what its train.py reads the vocabulary from
            pickle.dump({"vocab_size": len(self.letters)}, file)
        self.words = f"python {RECIPE}"

    def ids(self, text: str) -> list[int]:
        """Number the characters as its prepare.py does."""
        return [self.letters[c] for c in text]

    def run(self, number: int) -> float:
        """Train and return the seconds."""
        command = [sys.executable, *RECIPE.split(), f"--out_dir={self.out}"]
        return timed(command, self.folder)

    def loss(self, text: str) -> float:
        """Open the checkpoint that it kept and take the loss."""
        sys.path.insert(0, str(self.folder))
        from model import GPT, GPTConfig  # type: ignore[import-not-found]

        kept = torch.load(self.out / "ckpt.pt", map_location="cpu", weights_only=True)
        model = GPT(GPTConfig(**kept["model_args"]))
        model.load_state_dict(kept["model"])
        model.eval()

        def logits(ids: torch.Tensor) -> torch.Tensor:
            return model(ids, ids)[0]  # type: ignore[no-any-return]  # with targets it gives all

        return windows(self.ids(text), logits)


class Ftkit:
    """`ftkit pretrain` with its smallest preset over characters."""

    def __init__(
        self,
        budget: str,
        place: Path,
        texts: dict[str, str],
        context: int = CONTEXT,
        preset: str = "pico",
    ) -> None:
        self.context = context
        self.folder = place / "ftkit"
        self.folder.mkdir()
        (self.folder / "train.txt").write_text(texts["train"], encoding="utf-8")
        self.arguments = (
            f"pretrain --data train.txt --preset {preset} --tokenizer char {budget} "
            f"--set plan.context={context}"
        )
        self.words = f"python -m ftkit {self.arguments}"
        self.out = self.folder / "base"

    def run(self, number: int) -> float:
        """Train and return the seconds; each time from nothing."""
        for old in (*self.folder.glob("base*"), *self.folder.glob(".corpora")):
            subprocess.run(["rm", "-rf", str(old)], check=True)
        command = [sys.executable, "-m", "ftkit", *self.arguments.split(), "--seed", str(number)]
        root = str(Path(__file__).parent.parent)
        os.environ["PYTHONPATH"] = root
        return timed([*command, "--out", str(self.out)], self.folder)

    def loss(self, text: str) -> float:
        """Open the folder with transformers and take the loss."""
        model = AutoModelForCausalLM.from_pretrained(self.out).eval()
        ids = AutoTokenizer.from_pretrained(self.out)(text, add_special_tokens=False)["input_ids"]
        assert len(ids) == len(text), "a character is a token"
        found = windows(ids, lambda row: model(row).logits, self.context)
        assert math.isfinite(found)
        return found


if __name__ == "__main__":
    sys.exit(main())
