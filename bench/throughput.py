"""Training tokens a second at one shape: ftkit, nanoGPT as it is and helped, transformers' Trainer.

    python bench/throughput.py --nanogpt FOLDER [--steps 30] [--out F]

The shape: 256 wide, 6 layers, 4 heads, context 256, 16 rows an update, vocabulary 4096; gpt2 for
nanoGPT, qwen3 for the Trainer, ftkit in both. Each runs in a process of its own, one after the
other, on random tokens and the same threads; counted are the updates after WARM, each with forward,
backward, clipping and optimizer. nanoGPT as it is: float32, eager, its default on a CPU. Helped:
torch.compile, and bfloat16 where the processor has it; so is the Trainer. ftkit: what it decides
by itself for a long run; with AdamW as the others, and with its own Muon.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from _figures import bfloat16_unit, kept

ROWS, CONTEXT, VOCABULARY, WIDTH, LAYERS, HEADS = 16, 256, 4096, 256, 6, 4
INNER = 384  # of the gated feed-forward part of qwen3, three maps: 256 x 384
WARM = 5
SEEDED = 0


def main() -> None:
    """Measure every variant in a process of its own and print the ratios."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--nanogpt", type=Path, required=True, help="a checkout of nanoGPT")
    parser.add_argument("--steps", type=int, default=30, help="updates that are counted")
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    parser.add_argument("--notes", default="", help="what a reader of the figures must know")
    parser.add_argument("--only", choices=VARIANTS, help="measure this one here and print it")
    asked = parser.parse_args()
    if asked.only:
        print(json.dumps(VARIANTS[asked.only](asked.nanogpt, asked.steps)))
        return
    found: dict[str, Any] = {}
    for name in VARIANTS:
        command = [sys.executable, __file__, "--nanogpt", str(asked.nanogpt), "--only", name]
        done = subprocess.run(
            [*command, "--steps", str(asked.steps)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"{name} failed:\n{done.stderr[-3000:]}")
        found[name] = json.loads(done.stdout.splitlines()[-1])
        said = found[name]
        print(f"{name:16} {said['tokens_per_second']:9,.0f} tokens/s  {said['how']}", flush=True)
    rate = {name: said["tokens_per_second"] for name, said in found.items()}
    ratios = {
        "gpt2 against nanoGPT helped": rate["ftkit gpt2"] / rate["nanogpt helped"],
        "gpt2 against nanoGPT as it is": rate["ftkit gpt2"] / rate["nanogpt"],
        "qwen3 against the Trainer": rate["ftkit qwen3"] / rate["trainer qwen3"],
    }
    for name, ratio in ratios.items():
        print(f"{name}: ratio {ratio:.2f}")
    kept(
        asked.out,
        "Training at 256 wide, 6 layers, 4 heads, context 256, 16 rows, vocabulary 4096",
        ["", "tokens/s", "how"],
        [[name, f"{rate[name]:,.0f}", found[name]["how"]] for name in found],
        notes="; ".join(f"{name}: {ratio:.2f}" for name, ratio in ratios.items())
        + f". {asked.steps} updates after {WARM}. {asked.notes}",
        variants=found,
        ratios={name: round(ratio, 3) for name, ratio in ratios.items()},
    )


def timed(steps: Iterator[Any], count: int) -> float:
    """Return tokens a second over the steps after WARM."""
    for _ in range(WARM):
        next(steps)
    began = time.perf_counter()
    for _ in range(count):
        next(steps)
    return count * ROWS * CONTEXT / (time.perf_counter() - began)


def tokens() -> torch.Tensor:
    """Draw one batch of ids with their labels, ROWS x (CONTEXT + 1)."""
    draw = torch.Generator().manual_seed(SEEDED)
    return torch.randint(VOCABULARY, (ROWS, CONTEXT + 1), generator=draw)


def nanogpt(folder: Path, count: int, *, helped: bool) -> dict[str, Any]:
    """Run the inner loop of nanoGPT's train.py on its model."""
    sys.path.insert(0, str(folder))
    from model import GPT, GPTConfig  # type: ignore[import-not-found]

    torch.manual_seed(SEEDED)
    shape = {"n_layer": LAYERS, "n_head": HEADS, "n_embd": WIDTH, "block_size": CONTEXT}
    model = GPT(GPTConfig(**shape, vocab_size=VOCABULARY, bias=False, dropout=0.0))
    optimizer = model.configure_optimizers(1e-1, 1e-3, (0.9, 0.95), "cpu")
    low = helped and bool(bfloat16_unit())
    context = torch.autocast("cpu", dtype=torch.bfloat16) if low else nullcontext()
    run = torch.compile(model) if helped else model
    batch = tokens()

    def steps() -> Iterator[None]:
        while True:
            with context:
                _, loss = run(batch[:, :-1].contiguous(), batch[:, 1:].contiguous())
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            loss.item()
            yield

    how = f"{'bfloat16' if low else 'float32'}, {'compiled' if helped else 'eager'}, AdamW"
    return {"tokens_per_second": round(timed(steps(), count), 1), "how": how}


def ftkit(family: str, count: int, *, muon: bool) -> dict[str, Any]:
    """Run ftkit's loop as `ftkit pretrain` does in a run that is long enough to be compiled."""
    sys.path.insert(0, str(Path(__file__).parent.parent))
    from ftkit.basemodel import GPT, GPTConfig
    from ftkit.basemodel.device import decide
    from ftkit.basemodel.fit import Plan, fit
    from ftkit.basemodel.optim import Group, hidden_matrices
    from ftkit.basemodel.tokens import Rows

    plain = family == "gpt2"
    gpt = GPT(
        GPTConfig(
            family=family,
            vocab_size=VOCABULARY,
            hidden_size=WIDTH,
            intermediate_size=4 * WIDTH if plain else INNER,
            num_hidden_layers=LAYERS,
            num_attention_heads=HEADS,
            num_key_value_heads=HEADS if plain else HEADS // 2,
            head_dim=WIDTH // HEADS,
            max_position_embeddings=CONTEXT,
            attention_bias=plain,
            mlp_bias=plain,
        )
    )
    device = decide(parameters=gpt.config.parameters, width=WIDTH, tokens=10**9)
    matrices, others = hidden_matrices(gpt, gpt.tables)
    rule: Any = "muon" if muon else "adamw"
    groups = [Group(matrices, 1e-3, rule=rule, dtype=device.torch_dtype), Group(others, 1e-3)]
    ids = tokens()
    batch = Rows(ids[:, :-1], ids[:, 1:], ROWS * CONTEXT)
    nats = device.compiled(gpt.nats)

    def loss(_: torch.nn.Module, rows: Rows) -> torch.Tensor:
        return nats(rows.ids_BT, rows.labels_BT)

    steps = fit(gpt, lambda _: batch, loss, Plan(10**6), groups, device)
    how = f"{device.dtype}, {'compiled' if device.compile else 'eager'}, "
    rate = timed(iter(steps), count)
    return {
        "tokens_per_second": round(rate, 1),
        "how": how + ("Muon and AdamW" if muon else "AdamW"),
        "parameters": gpt.config.parameters,
    }


def trainer(count: int) -> dict[str, Any]:
    """Run transformers' Trainer on Qwen3ForCausalLM, as its performance guide advises."""
    from transformers import (
        Qwen3Config,
        Qwen3ForCausalLM,
        Trainer,
        TrainerCallback,
        TrainingArguments,
    )

    torch.manual_seed(SEEDED)
    model = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=VOCABULARY,
            hidden_size=WIDTH,
            intermediate_size=INNER,
            num_hidden_layers=LAYERS,
            num_attention_heads=HEADS,
            num_key_value_heads=HEADS // 2,
            head_dim=WIDTH // HEADS,
            max_position_embeddings=CONTEXT,
            tie_word_embeddings=True,
            use_cache=False,
        )
    )
    rows = [{"input_ids": row, "labels": row} for row in tokens()[:, :-1]] * (WARM + count)
    ends: list[float] = []

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *args: Any, **named: Any) -> None:
            ends.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=ROWS,
            max_steps=WARM + count,
            bf16=bool(bfloat16_unit()),
            torch_compile=True,
            use_cpu=True,
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
        )
        Trainer(model, arguments, train_dataset=rows, callbacks=[Clock()]).train()
    rate = count * ROWS * CONTEXT / (ends[-1] - ends[WARM - 1])
    how = f"{'bfloat16' if bfloat16_unit() else 'float32'}, compiled, AdamW"
    return {"tokens_per_second": round(rate, 1), "how": how}


VARIANTS: dict[str, Callable[[Path, int], dict[str, Any]]] = {
    "nanogpt": lambda folder, count: nanogpt(folder, count, helped=False),
    "nanogpt helped": lambda folder, count: nanogpt(folder, count, helped=True),
    "ftkit gpt2": lambda _, count: ftkit("gpt2", count, muon=False),
    "ftkit gpt2 Muon": lambda _, count: ftkit("gpt2", count, muon=True),
    "trainer qwen3": lambda _, count: trainer(count),
    "ftkit qwen3": lambda _, count: ftkit("qwen3", count, muon=False),
    "ftkit qwen3 Muon": lambda _, count: ftkit("qwen3", count, muon=True),
}

if __name__ == "__main__":
    main()
