"""What a step of LoRA keeps in memory and how long it takes, on a GPT-2 of 124M, by settings.

Each setting is measured in a process of its own, on random weights, which cost what others do.
Time is the process's own, the least of several steps.

python bench/room.py --out results/bench/room.json
"""

# B rows, T positions, N labelled places, V vocabulary

import tempfile
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import torch
from _figures import alone, asked, kept
from torch.nn import functional as F

from ftkit.adapters._forward import Forward
from ftkit.adapters._quiet import quiet
from ftkit.basemodel.device import Device, PeakMemory
from ftkit.basemodel.optim import Optimizer
from ftkit.catalog import load
from ftkit.recipes._pack import Batch, Packer
from ftkit.recipes._render import Rendered
from ftkit.recipes._room import roomy, saved
from ftkit.recipes._ways import quicken
from ftkit.recipes._work import batch_loss

ROWS, ROW, TIMES = 2, 256, 2
# Name: logits at once, blocks computed again.
SETTINGS = {
    "all logits at once, blocks kept": (True, "false"),
    "logits in pieces": (False, "false"),
    "logits in pieces, blocks computed again": (False, "true"),
}


def one(folder: Path, name: str) -> dict[str, Any]:
    """Measure one setting: weights, what a loss keeps, the peak, a step."""
    from transformers import GPT2LMHeadModel

    whole, again = SETTINGS[name]
    device = Device(threads=torch.get_num_threads())
    device.use()
    draw = torch.Generator().manual_seed(0)
    ids_BT = torch.randint(0, 50257, (ROWS, ROW), generator=draw)
    items = [Rendered(row, [-100, *row[1:]]) for row in ids_BT.tolist()]
    batch, method = Packer(items, ROW, ROWS)(0), load("adapters", "lora")
    with PeakMemory() as memory, ExitStack() as until:
        with quiet():
            opened: Any = GPT2LMHeadModel
            model = opened.from_pretrained(folder, dtype=torch.float32).eval()
        tuned = method.attach(model, None, 0)
        forward, optimizer = Forward.of(tuned, method), Optimizer(method.groups(tuned))
        loss = partial(batch_loss if not whole else at_once, forward, batch)
        decided: dict[str, Any] = {"attention": "apart", "dtype": "float32", "reasons": {}}
        quicken(forward, batch, decided, until)
        until.enter_context(roomy(forward, batch, device, decided, again))
        tuned.train()
        held = saved(tuned, loss)
        spent = []
        for _ in range(1 + TIMES):
            began = time.process_time()
            nats = loss()
            (nats / batch.tokens).backward()
            optimizer.step(1.0)
            optimizer.zero_grad()
            spent.append(time.process_time() - began)
    weights = sum(p.numel() * p.element_size() for p in tuned.parameters())
    return {
        "setting": name, "weights": weights, "saved": held, "peak_memory": memory.bytes,
        "step": min(spent[1:]), "nats": float(nats.detach()) / batch.tokens,
    }  # fmt: skip


def at_once(forward: Forward, batch: Batch) -> torch.Tensor:
    """Compute the loss as most do, by all logits at once."""
    z_NV = forward.logits(batch.ids_BT, batch.positions_BT, batch.slots_BT, batch.where_N)
    return F.cross_entropy(z_NV, batch.targets_N, reduction="sum")


def main() -> None:
    """Measure every setting and keep the table."""
    out = asked(__doc__, one)
    import transformers

    with tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(0)
        plain: Any = transformers.GPT2Config(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
        with quiet():
            transformers.GPT2LMHeadModel(plain).save_pretrained(folder)
        costs = alone(__file__, Path(folder), SETTINGS)
    rows = [
        [
            cost["setting"],
            f"{cost['weights'] / 2**20:,.0f} MiB",
            f"{cost['saved'] / 2**20:,.0f} MiB",
            f"{cost['peak_memory'] / 2**20:,.0f} MiB",
            f"{cost['step']:.1f} s",
            f"{cost['nats']:.6f}",
        ]
        for cost in costs
    ]
    notes = (
        f"A GPT-2 of 124M random weights, LoRA of rank 8, {ROWS} rows of {ROW} tokens with a label "
        "each, float32, seconds of the process, the least of two. The peak is the process's, "
        "libraries, weights and all. No GPU was at hand."
    )
    columns = ("a step", "weights", "kept for the way back", "peak", "time", "nats after three")
    kept(out, "Memory of a step of LoRA", columns, rows, notes=notes, costs=costs)


if __name__ == "__main__":
    main()
