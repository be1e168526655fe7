"""The peers of bench/tune.py, in a process and an environment of their own: TRL and the Trainer.

Nothing of ftkit is imported here. Prints one line of JSON: processor seconds of the whole process,
examples a second of the steps after the first, peak memory, and the loss of the held-out rows.
"""

import json
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

BEGAN = time.process_time(), time.perf_counter()

import torch  # noqa: E402 (loading it is part of the whole)
from torch.nn import functional as F  # noqa: E402
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback  # noqa: E402


def main() -> None:
    """Train as the first argument says, in JSON."""
    asked = json.loads(sys.argv[1])
    torch.set_num_threads(asked["threads"])
    tokenizer = AutoTokenizer.from_pretrained(asked["base"])
    model = AutoModelForCausalLM.from_pretrained(asked["base"], dtype=torch.float32)
    rows = [json.loads(line) for line in Path(asked["rows"]).read_text().splitlines()]
    ends: list[tuple[float, float]] = []

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *args: Any, **named: Any) -> None:
            ends.append((time.process_time(), time.perf_counter()))

    with tempfile.TemporaryDirectory() as folder:
        common = {
            "output_dir": folder,
            "num_train_epochs": 1,
            "learning_rate": asked["lr"],
            "lr_scheduler_type": "linear",
            "report_to": [],
            "save_strategy": "no",
            "disable_tqdm": True,
            "use_cpu": True,
            "seed": asked["seed"],
        } | asked["settings"]
        make = lora if asked["peer"] == "trl" else full
        trainer = make(model, tokenizer, rows, common, Clock())
        trainer.train()
        trainer.save_model(folder)
    cpu, wall = time.process_time() - BEGAN[0], time.perf_counter() - BEGAN[1]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    each = (ends[-1][0] - ends[0][0]) / max(1, len(ends) - 1)
    said = {
        "cpu": cpu,
        "seconds": wall,
        "warm": len(rows) / len(ends) / each,
        "steps": len(ends),
        "peak_memory": peak,
        "nats": losses(trainer.model, json.loads(Path(asked["held_out"]).read_text())),
    }
    print(json.dumps(said))


def lora(model: Any, tokenizer: Any, rows: list[Any], settings: Any, clock: Any) -> Any:
    """TRL's SFTTrainer with PEFT's LoRA of rank 8 on all linear layers."""
    from datasets import Dataset
    from peft import LoraConfig
    from trl import SFTConfig, SFTTrainer

    config = LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")
    texts = [{name: row[name] for name in ("prompt", "completion")} for row in rows]
    return SFTTrainer(
        model,
        SFTConfig(**settings),
        train_dataset=Dataset.from_list(texts),
        processing_class=tokenizer,
        callbacks=[clock],
        peft_config=config,
    )


def full(model: Any, tokenizer: Any, rows: list[Any], settings: Any, clock: Any) -> Any:
    """Transformers' Trainer on tokens, padded to the longest of a batch, or flattened."""
    from transformers import (
        DataCollatorForSeq2Seq,
        DataCollatorWithFlattening,
        Trainer,
        TrainingArguments,
    )

    flat = settings.pop("flatten", False)
    texts = [{"input_ids": row["ids"], "labels": row["labels"]} for row in rows]
    collate = DataCollatorWithFlattening() if flat else DataCollatorForSeq2Seq(tokenizer)
    return Trainer(
        model,
        TrainingArguments(**settings),
        train_dataset=texts,
        data_collator=collate,
        callbacks=[clock],
    )


@torch.no_grad()
def losses(model: Any, rows: list[tuple[list[int], list[int]]]) -> list[float]:
    """Sum the nats of each row's labelled tokens, one row after the other."""
    model.eval()
    found = []
    for ids, labels in rows:
        z_TV = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, :-1].float()
        targets_T = torch.tensor(labels[1:])
        found.append(float(F.cross_entropy(z_TV, targets_T, reduction="sum", ignore_index=-100)))
    return found


if __name__ == "__main__":
    main()
