"""Greedy answers a second beside transformers' own `generate`, on the test prompts of sql_qa.

    python bench/generate.py RUN [--items N] [--rounds N] [--dtype bfloat16] [--processor] [--out F]

RUN is any variant that `ftkit eval` opens. Both sides answer the same prompts in one process, in
the same precision and on the same threads, in turn; both get them sorted by length. Each side's
batch size is the best one found first. Twice: as an evaluation asks, where answers end by
themselves, and 40 tokens for each. The best round counts; the last line is the ratio of the first.
Seconds are the processor's with `--processor`, on one thread, for a machine that does other work.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from _figures import kept

from ftkit import catalog
from ftkit.adapters._forward import causal
from ftkit.adapters._variant import Variant, open_variant
from ftkit.basemodel.generate import generate
from ftkit.config import override
from ftkit.eval._ask import Asker, Form

SIZES = (64, 128, 256, 512)
NEVER = 2**30  # no token
FIXED = 40  # tokens of each answer in the second job
Texts = list[list[int]]


@dataclass(frozen=True)
class Job:
    """What both sides are asked.

    Args:
        variant: the model.
        prompts: token ids, the shortest first.
        new: the most tokens of an answer.
        stops: ids that end one; none where all answers are as long as they may be.
    """

    variant: Variant
    prompts: Sequence[list[int]]
    new: int
    stops: tuple[int, ...]
    clock: Callable[[], float] = time.perf_counter

    def ours(self, size: int) -> Texts:
        """Answer with ftkit."""
        found = generate(
            self.variant.decoder, self.prompts, max_new_tokens=self.new, stop=self.stops,
            pad=self.variant.pad, batch_size=size,
        )  # fmt: skip
        return [reply.ids for reply in found]

    def theirs(self, size: int) -> Texts:
        """Answer with transformers."""
        batches = range(0, len(self.prompts), size)
        return [text for first in batches for text in self._batch(self.prompts[first:][:size])]

    @torch.inference_mode()
    def _batch(self, prompts: Sequence[list[int]]) -> Texts:
        longest, device = max(map(len, prompts)), self.variant.decoder.device
        pads = [longest - len(prompt) for prompt in prompts]
        ids_BT = torch.tensor(
            [[self.variant.pad] * n + p for n, p in zip(pads, prompts, strict=True)]
        )
        mask_BT = (torch.arange(longest) >= torch.tensor(pads)[:, None]).long()
        made = causal(self.variant.model).generate(
            ids_BT.to(device), attention_mask=mask_BT.to(device), max_new_tokens=self.new,
            do_sample=False, pad_token_id=self.variant.pad, eos_token_id=[*self.stops] or [NEVER],
        )  # fmt: skip
        return [self._cut(ids) for ids in made[:, longest:].tolist()]

    def _cut(self, ids: list[int]) -> list[int]:
        ends = (place for place, token in enumerate(ids) if token in self.stops)
        return ids[: next(ends, len(ids))]


def opened(run: Path, items: int, dtype: str) -> tuple[Variant, list[list[int]], Asker]:
    """Open the variant and put the world's test questions into tokens."""
    variant = open_variant(run, dtype=dtype)
    recipe = override(catalog.load("recipes", "sql_qa"), {"tests": items}, "recipe")
    asker = Asker(variant, recipe, Form())
    asked = [asker.ask(example) for example in recipe.examples("test")]
    return variant, sorted((item.prompt for item in asked if item), key=len), asker


def measured(job: Job, rounds: int) -> dict[str, float]:
    """Find each side's best batch size, then let them answer in turn."""
    sides = {"ours": job.ours, "theirs": job.theirs}
    job.ours(SIZES[0]), job.theirs(SIZES[0])  # both warm
    tried = {
        name: {size: timed(ask, size, job.clock)[0] for size in SIZES}
        for name, ask in sides.items()
    }
    sizes = {name: min(each, key=each.__getitem__) for name, each in tried.items()}
    best = {name: tried[name][size] for name, size in sizes.items()}
    equal = 0.0
    for _ in range(rounds):
        texts = {}
        for name, ask in sides.items():
            seconds, texts[name] = timed(ask, sizes[name], job.clock)
            best[name] = min(best[name], seconds)
        pairs = list(zip(texts["ours"], texts["theirs"], strict=True))
        equal = sum(a == b for a, b in pairs) / len(pairs)
    tokens = sum(map(len, texts["ours"]))
    return {
        **{f"{name}_batch": size for name, size in sizes.items()},
        **{f"{name}_seconds": round(seconds, 3) for name, seconds in best.items()},
        "answers": len(job.prompts),
        "tokens": tokens,
        "equal": round(equal, 4),
        "ratio": round(best["theirs"] / best["ours"], 2),
    }


def timed(
    ask: Callable[[int], Texts], size: int, clock: Callable[[], float]
) -> tuple[float, Texts]:
    """Answer everything once."""
    began = clock()
    texts = ask(size)
    return clock() - began, texts


def main() -> None:
    """Answer, compare, and print the ratio."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--items", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--threads", type=int, help="how many; PyTorch's own choice otherwise")
    parser.add_argument("--processor", action="store_true", help="count the processor's seconds")
    parser.add_argument("--title", default="", help="what the table calls it")
    parser.add_argument("--notes", default="", help="what a reader of the figures must know")
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    said = parser.parse_args()
    if said.threads or said.processor:
        torch.set_num_threads(said.threads or 1)
    variant, prompts, asker = opened(said.run, said.items, said.dtype)
    clock = time.process_time if said.processor else time.perf_counter
    room = asker.recipe.max_new_tokens
    jobs = {
        "until they end": Job(variant, prompts, room, asker.stops(""), clock),
        f"{FIXED} tokens each": Job(variant, prompts, FIXED, (), clock),
    }
    rows, figures = [], {}
    for name, job in jobs.items():
        figures[name] = found = measured(job, said.rounds)
        for side in ("ours", "theirs"):
            speed = f"{found['answers'] / found[f'{side}_seconds']:.1f} answers/s"
            rows.append([name, side, f"batch {found[f'{side}_batch']}", speed])
            print("  ".join(rows[-1]))
        print(f"{found['tokens']} tokens, {100 * found['equal']:.1f} % of the texts are equal")
    ratios = [found["ratio"] for found in figures.values()]
    print(f"{FIXED} tokens each: {ratios[1]}")
    kept(said.out, said.title, ["answers", "side", "", ""], rows, notes=said.notes, jobs=figures)
    print(f"ratio {ratios[0]}")


if __name__ == "__main__":
    main()
