"""What a pretrained base knows: minimal pairs of grammar (BLiMP), bits per byte of unseen text.

    python bench/knows.py RUN --blimp dev.jsonl.gz --text valid.txt.gz [--limit N] [--out F]

RUN is any causal language model folder; of one that ftkit wrote the loss over its training is kept
too. A pair counts as right when the good sentence is likelier than the bad one, each after the
token that opens a document; a tie is wrong (BLiMP, arXiv:1912.00582). The text is read in windows
of the context that overlap by half, and only what is new in a window counts.
"""

import argparse
import gzip
import json
import math
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from _figures import kept
from transformers import AutoModelForCausalLM, AutoTokenizer

sys.path.insert(0, str(Path(__file__).parent.parent))
from ftkit.eval._bounds import wilson

TOKENS = 8192  # of a batch


class Reader:
    """A model that says how likely texts are."""

    def __init__(self, folder: Path) -> None:
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.context = int(self.model.config.max_position_embeddings)
        opening = self.tokenizer.bos_token_id
        self.opening = self.tokenizer.eos_token_id if opening is None else opening

    def ids(self, text: str) -> list[int]:
        """Encode a text; what it holds are never control tokens."""
        return list(
            self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        )

    def nats(self, rows: Sequence[tuple[Sequence[int], int]]) -> list[float]:
        """Sum the negative log-likelihood of each row's ids from a place on, in nats."""
        order = sorted(range(len(rows)), key=lambda row: len(rows[row][0]))
        found = [0.0] * len(rows)
        for batch in _batches(order, [len(ids) for ids, _ in rows]):
            longest = max(len(rows[row][0]) for row in batch)
            ids_BT = torch.full((len(batch), longest), self.opening)
            counted_BT = torch.zeros(len(batch), longest, dtype=torch.bool)
            for place, row in enumerate(batch):
                ids, first = rows[row]
                ids_BT[place, : len(ids)] = torch.tensor(ids)  # pads stand behind, unseen
                counted_BT[place, first : len(ids)] = True
            with torch.inference_mode():
                z_BTV = self.model(ids_BT, use_cache=False).logits[:, :-1]
            each_BT = F.cross_entropy(z_BTV.transpose(1, 2), ids_BT[:, 1:], reduction="none")
            sums_B = (each_BT.double() * counted_BT[:, 1:]).sum(1)
            for row, nats in zip(batch, sums_B.tolist(), strict=True):
                found[row] = nats
        return found


def _batches(order: Sequence[int], lengths: Sequence[int]) -> Iterator[list[int]]:
    batch: list[int] = []
    for row in order:
        if batch and (len(batch) + 1) * lengths[row] > TOKENS:
            yield batch
            batch = []
        batch.append(row)
    yield batch


def blimp(reader: Reader, path: Path, limit: int | None) -> dict[str, Any]:
    """Return the share of pairs that are right, of all and of each field, with 95 % intervals."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        pairs = [json.loads(line) for line in file]
    pairs = pairs[:: max(1, len(pairs) // limit)] if limit else pairs
    texts = [pair[name] for pair in pairs for name in ("sentence_good", "sentence_bad")]
    nats = reader.nats([([reader.opening, *reader.ids(text)], 1) for text in texts])
    right: dict[str, list[bool]] = defaultdict(list)
    for pair, good, bad in zip(pairs, nats[::2], nats[1::2], strict=True):
        for name in ("all", pair["field"], f"paradigm {pair['UID']}"):
            right[name].append(good < bad)
    return {name: _share(marks) for name, marks in sorted(right.items())}


def _share(marks: Sequence[bool]) -> dict[str, float]:
    low, high = wilson(sum(marks), len(marks))
    mean = sum(marks) / len(marks)
    return {"mean": round(mean, 4), "low": round(low, 4), "high": round(high, 4), "n": len(marks)}


def bits(reader: Reader, path: Path, limit: int | None) -> dict[str, float]:
    """Return the bits per byte of a text."""
    text = gzip.decompress(path.read_bytes()).decode()
    text = text[: 50 * limit] if limit else text
    ids, half = [reader.opening, *reader.ids(text)], reader.context // 2
    rows = []
    for first in range(0, len(ids) - 1, half):
        window = ids[first : first + reader.context]
        rows.append((window, 1 if first == 0 else reader.context - half))
        if first + reader.context >= len(ids):
            break
    total, size = sum(reader.nats(rows)), len(text.encode())
    assert sum(len(window) - first for window, first in rows) == len(ids) - 1
    return {
        "bits_per_byte": round(total / math.log(2) / size, 4),
        "nats_per_token": round(total / (len(ids) - 1), 4),
        "bytes": size,
        "tokens": len(ids) - 1,
    }


def curve(folder: Path) -> dict[str, Any]:
    """Keep a run's settings, costs and its validation over the tokens; empty for others."""
    inner = folder / "run"
    if not (inner / "done").is_file():
        return {}
    records = [json.loads(line) for line in (inner / "log.jsonl").read_text().splitlines()]
    tokens = {row["step"]: row["tokens"] for row in records if "tokens" in row}
    checks = [
        {"tokens": tokens[row["step"]]}
        | {name: round(value, 4) for name, value in row["validation"].items()}
        for row in records
        if "validation" in row
    ]
    done = json.loads((inner / "done").read_text())
    told = ("parameters", "tokens", "seconds", "training_seconds", "tokens_per_second", "mfu")
    return {
        "done": {name: done[name] for name in told if name in done},
        "bigram": done.get("bigram"),
        "curve": checks,
    }


def main() -> None:
    """Read the base, print what it knows and write the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--blimp", type=Path, required=True, help="pairs, .jsonl.gz")
    parser.add_argument("--text", type=Path, required=True, help="text nobody trained on, .txt.gz")
    parser.add_argument("--limit", type=int, help="about so many pairs, and 50 times the letters")
    parser.add_argument("--title", default="", help="what the table calls it")
    parser.add_argument("--notes", default="", help="what a reader of the figures must know")
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    asked = parser.parse_args()
    reader = Reader(asked.run)
    read, pairs = bits(reader, asked.text, asked.limit), blimp(reader, asked.blimp, asked.limit)
    fields = {name: said for name, said in pairs.items() if not name.startswith("paradigm")}
    rows = [
        [
            f"BLiMP, {name}",
            f"{100 * said['mean']:.1f} %",
            f"{100 * said['low']:.1f} to {100 * said['high']:.1f} %",
            f"{said['n']:,} pairs",
        ]
        for name, said in fields.items()
    ]
    rows.append(
        ["text", f"{read['bits_per_byte']:.3f} bits per byte", "", f"{read['bytes']:,} bytes"]
    )
    run = curve(asked.run)
    rows += [
        [
            f"{check['tokens'] / 1e6:.2f}M tokens",
            f"{check['bits_per_byte']:.3f} bits per byte",
            "of its own held-out documents",
            "",
        ]
        for check in run.get("curve", [])
    ]
    for row in rows:
        print("  ".join(row))
    kept(
        asked.out,
        asked.title,
        ["", "", "95 % interval", ""],
        rows,
        notes=asked.notes,
        text=read,
        blimp=pairs,
        **run,
    )


if __name__ == "__main__":
    main()
