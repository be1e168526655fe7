"""What a quantised base saves and costs: bytes, memory, time, and the loss after the same LoRA.

Each form is measured in a process of its own, on random weights, which cost what others do. Time is
the process's own, the least of several. torchao's int8 stands beside as what was not chosen; it is
left out where it is not installed. The loss is that of a tiny base, tuned with three seeds.

python bench/quantize.py --out results/bench/quantize.json
"""

# B rows, T positions

import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import methods_lr
import torch
from _figures import alone, asked, kept
from methods_lr import BASE, PLAN

from ftkit.adapters._folded import folded
from ftkit.adapters._forward import Forward
from ftkit.adapters._quiet import quiet
from ftkit.adapters._variant import Variant, open_base, open_variant
from ftkit.basemodel.budget import Pretrain
from ftkit.basemodel.device import PeakMemory, decide
from ftkit.basemodel.optim import Optimizer
from ftkit.basemodel.pretrain import pretrain
from ftkit.catalog import load
from ftkit.config import override, table
from ftkit.recipes._pack import Packer
from ftkit.recipes._render import Rendered, Renderer
from ftkit.recipes._tune import tune
from ftkit.recipes._work import batch_loss
from ftkit.runs import Run

FORMS = {"fp32": "", "int8": "bitsandbytes", "nf4": "bitsandbytes", "int8 (torchao)": "torchao"}
SHAPE = {
    "hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 8, "head_dim": 64,
    "num_attention_heads": 16, "num_key_value_heads": 8, "vocab_size": 4096,
    "tie_word_embeddings": True,
}  # fmt: skip
ROWS, ROW, DECODED, TIMES = 2, 256, 8, 3
SEEDS = 3
WORLD = methods_lr.WORLD | {"rows": 400}


def opened(folder: Path, form: str) -> Any:
    """Open a base in one of the forms."""
    if form != "int8 (torchao)":
        return open_base(folder, None if form == "fp32" else form)[0]
    from torchao.quantization import Int8WeightOnlyConfig
    from transformers import AutoModelForCausalLM, TorchAoConfig

    auto: Any = AutoModelForCausalLM
    config: Any = TorchAoConfig
    how = config(Int8WeightOnlyConfig())
    with quiet():
        return auto.from_pretrained(folder, dtype=torch.float32, quantization_config=how).eval()


def held(model: torch.nn.Module) -> int:
    """Count the bytes of a model's weights as they lie in memory, scales of quantised ones too."""
    tensors = [*model.parameters(), *model.buffers()]
    for weight in model.parameters():
        if hasattr(weight, "tensor_data_names"):  # torchao's, which says it is as large as before
            tensors = [part for part in tensors if part is not weight]
            tensors += [getattr(weight, name) for name in weight.tensor_data_names]
        state = getattr(weight, "quant_state", None)
        states = [state, state.state2] if state is not None and state.nested else [state]
        tensors += [part for one in states if one is not None for part in (one.absmax, one.code)]
        tensors += [getattr(weight, "SCB", None)]
    places = {part.data_ptr(): part for part in tensors if part is not None}
    return sum(part.numel() * part.element_size() for part in places.values())


def least(call: Callable[[], Any], times: int = TIMES) -> float:
    """Time a call after one that warms up, in seconds of the process."""
    call()
    spent = []
    for _ in range(times):
        began = time.process_time()
        call()
        spent.append(time.process_time() - began)
    return min(spent)


def one(folder: Path, form: str) -> dict[str, Any]:
    """Measure one form: weights, forward, a decoded token, a LoRA step, and the peak of it all."""
    decide(parameters=10**8, width=SHAPE["hidden_size"]).use()
    draw = torch.Generator().manual_seed(0)
    ids_BT = torch.randint(0, SHAPE["vocab_size"], (ROWS, ROW), generator=draw)
    method = load("adapters", "lora")
    with PeakMemory() as memory, ExitStack() as until:
        model = opened(folder, form)
        weights = held(model)
        tuned = method.attach(model, None, 0).train()
        until.enter_context(folded(tuned, exact=True))
        forward, optimizer = Forward.of(tuned, method), Optimizer(method.groups(tuned))
        items = [Rendered(row, [-100, *row[1:]]) for row in ids_BT.tolist()]
        batch = Packer(items, ROW, ROWS)(0)

        def step() -> None:
            (batch_loss(forward, batch) / batch.tokens).backward()
            optimizer.step(1.0)
            optimizer.zero_grad()

        stepped = least(step)
    tuned.eval()
    with torch.inference_mode():
        read = least(lambda: tuned(input_ids=ids_BT, use_cache=False))
        cache = tuned(input_ids=ids_BT[:, :64], use_cache=True).past_key_values
        one_B1 = ids_BT[:, :1]
        written = least(lambda: tuned(input_ids=one_B1, past_key_values=cache), DECODED)
    return {
        "form": form, "bytes": weights, "peak_memory": memory.bytes, "forward": read,
        "decode": written, "step": stepped,
    }  # fmt: skip


def random_base(folder: Path) -> Path:
    """Write a base of random weights."""
    import transformers

    torch.manual_seed(0)
    configured: Any = transformers.Qwen3Config
    with quiet():
        transformers.Qwen3ForCausalLM(configured(**SHAPE)).save_pretrained(folder)
    kinds = {"preset": "pico", "tokens": 50_000, "vocab_size": 1024, "context": 384, "batch": 4096}
    with tempfile.TemporaryDirectory() as temporary:  # open_base wants a tokenizer beside
        small = trained(Path(temporary) / "base", Pretrain(**kinds), world())  # type: ignore[arg-type]
        for file in small.glob("tokenizer*"):
            (folder / file.name).write_bytes(file.read_bytes())
    return folder


def world() -> Any:
    """Take the SQL world, small."""
    return override(load("recipes", "sql_qa"), WORLD, "recipe")


def trained(folder: Path, plan: Pretrain, recipe: Any) -> Path:
    """Pretrain a tiny base on the world's own text."""
    run = Run.create(folder, {"command": "pretrain", "options": {"seed": 0}, "plan": table(plan)})
    for _ in pretrain(run, plan, documents=list(recipe.corpus())):
        pass
    return folder


def learned(base: Path, out: Path, form: str, seed: int) -> dict[str, Any]:
    """Tune by LoRA on a form; return its loss there, and with the unquantised base below it."""
    method, recipe = load("adapters", "lora"), world()
    opening = {} if form == "fp32" else {"quantize": form}
    settings = {"command": "tune", "method": {"name": "lora"} | table(method), "base": opening}
    run = Run.create(out, settings)
    for _ in tune(run, recipe, method, str(base), PLAN, seed=seed):
        pass
    own, plain = (open_variant(out, plain=plain) for plain in (False, True))
    found = {"form": form, "seed": seed, "before": run.done["validation_nats_before"]}
    return found | {"nats": nats(own, recipe), "on_plain": nats(plain, recipe)}


def nats(variant: Variant, recipe: Any) -> float:
    """Measure the loss per labelled token on the validation rows."""
    renderer = Renderer(variant.tokenizer, str(variant.folder))
    rows = [renderer.render(example.messages) for example in recipe.examples("validation")]
    asked = [(row.ids, row.labels) for row in rows if len(row.ids) <= recipe.length]
    labelled = sum(label != -100 for _, labels in asked for label in labels[1:])
    return sum(variant.nll(asked)) / labelled


def main() -> None:
    """Measure every form and keep the table."""
    out = asked(__doc__, one)
    forms = [form for form, library in FORMS.items() if not library or find_spec(library)]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        costs = alone(__file__, random_base(folder / "wide"), forms)
        base, tries = trained(folder / "base", BASE, world()), []
        for form in forms:
            for seed in range(SEEDS) if "torchao" not in form else ():
                tries.append(learned(base, folder / f"{form}-{seed}", form, seed))
                print(tries[-1], flush=True)
    show(out, costs, tries)


def show(out: Path | None, costs: list[dict[str, Any]], tries: list[dict[str, Any]]) -> None:
    """Lay out the table."""
    rows, first = [], costs[0]
    for cost in costs:
        losses = [[t[k] for t in tries if t["form"] == cost["form"]] for k in ("nats", "on_plain")]
        rows.append([
            cost["form"],
            f"{cost['bytes'] / 1e6:.0f} MB",
            f"{cost['peak_memory'] / 2**20:.0f} MiB",
            *(beside(cost[kind], first[kind]) for kind in ("forward", "decode", "step")),
            *(spread(found) for found in losses),
        ])  # fmt: skip
    columns = ("base", "weights", "peak of tuning", "forward", "a token", "LoRA step")
    columns += ("nats after LoRA", "the same on fp32")
    parameters = first["bytes"] // 4
    notes = (
        f"Sizes and times: a qwen3 model of {parameters / 1e6:.0f}M random weights, 1,024 wide, 8 "
        f"layers, {ROWS} rows of {ROW} tokens, LoRA of rank 8 on it, seconds of the process. "
        f"Losses: a base of {BASE.tokens:,} tokens, {WORLD['rows']} rows of the SQL world, mean "
        f"and spread of {SEEDS} seeds, validation rows; {tries[0]['before']:.3f} before. "
        "No GPU was at hand."
    )
    kept(out, "Quantised bases", columns, rows, notes=notes, costs=costs, tries=tries)
    print("\n".join(" | ".join(row) for row in [list(columns), *rows]))


def beside(seconds: float, whole: float) -> str:
    """Put a time beside that of the unquantised base."""
    shown = f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.0f} ms"
    more = round(100 * (seconds / whole - 1))
    return shown if not more else f"{shown}, {abs(more)} % {'slower' if more > 0 else 'faster'}"


def spread(values: list[float]) -> str:
    """Show mean and standard deviation."""
    return f"{statistics.mean(values):.3f} ±{statistics.stdev(values):.3f}" if values else "–"


if __name__ == "__main__":
    main()
