"""Variants: opening a base with what was tuned on it, and asking it for text or likelihoods."""

# B rows, T positions, N labelled places, V vocabulary

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from ftkit import catalog, runs
from ftkit.errors import FtkitError

from ._decode import TransformersDecoder
from ._forward import Forward, causal
from ._method import Method, untie
from ._quantize import opening, settle
from ._quiet import quiet
from ._scores import nats
from .full import Full

# Of a scoring batch; on a CPU, whose caches more would overflow, few rows (twice as slow at 64).
TOKENS_AT_ONCE, ROWS_AT_ONCE = 8192, 16
FP32 = "float32"
# What the libraries raise for folders that are damaged or of another kind.
UNREADABLE = (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError)


@dataclass
class Variant:
    """A model ready to answer: a base, or a base with what a method made of it.

    Args:
        name: the folder's name.
        method: `base`, or the name of the method in adapters/ that made it.
        folder: where it lies.
        model: in evaluation mode.
        tokenizer: the base's; tuning never changes it.
        base_path: the folder of the base it was tuned from; its own for a base.
        base_fingerprint: hash of that base.
        fingerprint: hash of the variant's own folder.
        trainable_params: how many parameters were trained.
        bytes: size of the weight files in its folder.
        facts: what the run says of itself (seconds, peak_memory ...); empty for foreign folders.
    """

    name: str
    method: str
    folder: Path
    model: Any
    tokenizer: Any
    base_path: Path
    base_fingerprint: str
    fingerprint: str
    trainable_params: int
    bytes: int
    facts: dict[str, Any]
    how: Method

    @property
    def context(self) -> int:
        """Tokens that fit, prompt and answer together."""
        return self.decoder.context

    @property
    def pad(self) -> int:
        """The id that fills what no example covers."""
        for ids in (self.tokenizer.pad_token_id, self.tokenizer.eos_token_id):
            if ids is not None:
                return int(ids)
        return 0

    @property
    def stops(self) -> tuple[int, ...]:
        """The ids that end an answer, as the model's own generation settings say."""
        found = causal(self.model).generation_config.eos_token_id
        ids = found if isinstance(found, list) else [found, self.tokenizer.eos_token_id]
        return tuple(sorted({int(token) for token in ids if token is not None}))

    @cached_property
    def decoder(self) -> TransformersDecoder:
        """What `basemodel.generate.generate` needs to continue text."""
        return TransformersDecoder(self.model, self.how, self.pad)

    @cached_property
    def forward(self) -> Forward:
        """The forward that training uses, for scoring."""
        return Forward.of(self.model, self.how)

    @torch.inference_mode()
    def nll(self, rows: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[float]:
        """Sum the negative log-likelihood of each row's labelled tokens, in nats.

        Args:
            rows: pairs of token ids and labels of the same length; a label is the id at its own
                place, or -100 where nothing is asked.
        """
        if self.decoder.light is not None:
            return nats(self.decoder, rows)
        order = sorted(range(len(rows)), key=lambda row: len(rows[row][0]))
        most = ROWS_AT_ONCE if self.decoder.device.type == "cpu" else len(rows)
        found: dict[int, float] = {}
        batch: list[int] = []
        for place in order:
            longest = len(rows[place][0]) + self.how.virtual_tokens
            full = len(batch) == most or (len(batch) + 1) * longest > TOKENS_AT_ONCE
            if batch and full:
                found |= self._nll([(row, *rows[row]) for row in batch])
                batch = []
            batch.append(place)
        if batch:
            found |= self._nll([(row, *rows[row]) for row in batch])
        return [found[row] for row in range(len(rows))]

    def _nll(self, rows: list[tuple[int, Sequence[int], Sequence[int]]]) -> dict[int, float]:
        """Score one batch: pads on the right, where no text sees them."""
        size = self.how.virtual_tokens
        longest = size + max(len(ids) for _, ids, _ in rows)
        ids_BT = torch.full((len(rows), longest), self.pad)
        labels_BT = torch.full((len(rows), longest), -100)
        for place, (_, ids, labels) in enumerate(rows):
            ids_BT[place, size : size + len(ids)] = torch.tensor(ids)
            labels_BT[place, size : size + len(ids)] = torch.tensor(labels)
        labels_BT[:, 0] = -100  # nothing stands before the first token
        device = self.decoder.device
        positions_BT = torch.arange(longest, device=device).expand(len(rows), -1)
        slots_BT = torch.where(positions_BT < size, positions_BT, -1) if size else None
        labelled_N = (labels_BT.flatten() != -100).nonzero()[:, 0]
        targets_N = labels_BT.flatten()[labelled_N].to(device)
        loss_N = self.forward.nats_of_each(
            ids_BT.to(device), positions_BT, slots_BT, (labelled_N - 1).to(device), targets_N
        ).cpu()
        sums_B = torch.zeros(len(rows), dtype=torch.float64)
        sums_B.index_add_(0, labelled_N // longest, loss_N.double())
        return {row: float(total) for (row, _, _), total in zip(rows, sums_B, strict=True)}


def open_base(place: str | Path, quantize: str | None = None, dtype: str = FP32) -> tuple[Any, Any]:
    """Open a causal language model and its tokenizer on the CPU.

    Args:
        place: a folder in the Hugging Face layout, or a Hub id such as `owner/name`.
        quantize: `int8` or `nf4` to keep the linear layers in fewer bits.
        dtype: precision of the weights, as torch calls it.

    Returns:
        The model in evaluation mode, and the tokenizer.

    Raises:
        FtkitError: when there is none at that place, or it is an adapter or an unfinished run.
    """
    import transformers

    auto: Any = transformers.AutoModelForCausalLM
    where, how = _folder(place), opening(quantize)
    try:
        with quiet():
            model, found = auto.from_pretrained(
                where, dtype=getattr(torch, dtype), output_loading_info=True, **how
            )
            tokenizer = transformers.AutoTokenizer.from_pretrained(where)
    except UNREADABLE as problem:
        reason = str(problem).strip().splitlines()[0]
        raise FtkitError(f"{place} is no causal language model to open: {reason}") from None
    wrong = sorted(map(str, [*found["missing_keys"], *found["mismatched_keys"]]))
    if wrong:
        raise FtkitError(f"{place} lacks weights that its config.json asks for: {wrong[0]}")
    if quantize is not None:
        settle(model)
    return model.eval(), tokenizer


def _folder(place: str | Path) -> str:
    """Check a base's place; a local folder becomes absolute, so that adapters can name it."""
    path = Path(place)
    if not path.exists():
        beside = Path(path.parts[0]).is_dir() if path.parts else False  # as in runs/bse
        if len(path.parts) == 2 and not path.is_absolute() and not beside:
            return str(place)  # a Hub id
        raise FtkitError(f"no base model at {place}: there is no such folder")
    if (path / "run").is_dir():
        runs.Run.open(path)
    if (path / "adapter_config.json").is_file():
        raise FtkitError(f"{place} is an adapter: give the base it was tuned from")
    if not (path / "config.json").is_file():
        raise FtkitError(f"{place} is no base model: it has no config.json")
    return str(path.resolve())


def open_variant(folder: str | Path, *, plain: bool = False, dtype: str = FP32) -> Variant:
    """Open a finished run, or any Hugging Face model folder or PEFT adapter folder.

    Args:
        folder: the variant. An adapter's base is opened from the place it names, or from a run
            beside it with the same hash if it has moved.
        plain: open an adapter's base unquantised, even if it was tuned on a quantised one, whose
            rounding it has learned to make up for.
        dtype: precision of the weights, as torch calls it.

    Raises:
        FtkitError: when it is none of these, or the base is gone or no longer the same.
    """
    path = Path(folder)
    if not path.is_dir():
        raise FtkitError(f"no model at {folder}: there is no such folder")
    run = runs.Run.open(path) if (path / "run").is_dir() else None
    settings = run.settings if run else {}
    if (path / "adapter_config.json").is_file():
        model, tokenizer, how, base = _open_adapter(path, settings, plain, dtype)
    else:
        how, base = Full(), path
        model, tokenizer = open_base(path, dtype=dtype)
        if settings.get("command") == "tune":
            base = Path(settings["base"]["path"])
    facts = run.done if run else {}
    tuned = (path / "adapter_config.json").is_file() or settings.get("command") == "tune"
    whole = sum(parameter.numel() for parameter in model.parameters())
    adapter = sum(p.numel() for name, p in model.named_parameters() if _is_adapter(name))
    return Variant(
        name=path.resolve().name,
        method=how.name if tuned else "base",
        folder=path,
        model=model.eval(),
        tokenizer=tokenizer,
        base_path=base,
        base_fingerprint=settings.get("base", {}).get("fingerprint") or runs.fingerprint(base),
        fingerprint=runs.fingerprint(path),  # as it is, even if it was changed after its run
        trainable_params=facts.get("trainable_params", adapter or (whole if tuned else 0)),
        bytes=sum(file.stat().st_size for file in path.glob(f"*{runs.WEIGHTS}")),
        facts=facts,
        how=how,
    )


def _is_adapter(name: str) -> bool:
    return any(mark in name for mark in ("lora_", "ia3_", "prompt_encoder"))


def _open_adapter(
    path: Path, settings: dict[str, Any], plain: bool, dtype: str
) -> tuple[Any, Any, Method, Path]:
    """Open an adapter on its base."""
    from peft import PeftConfig, PeftModel

    try:
        config = PeftConfig.from_pretrained(str(path))
        how = _method_of(path, config)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as problem:
        raise FtkitError(f"{path / 'adapter_config.json'} is not PEFT's: {problem}") from None
    if not any(path.glob(f"*{runs.WEIGHTS}")):  # else PEFT would look for them on the Hub
        raise FtkitError(f"{path} holds no weights: there is no adapter_model{runs.WEIGHTS}")
    base = _find_base(path, str(config.base_model_name_or_path), settings)
    tuned_on = settings.get("base", {}).get("quantize")
    model, tokenizer = open_base(base, None if plain else tuned_on, dtype)
    how.check(model)
    try:
        with quiet():
            tuned = PeftModel.from_pretrained(model, str(path))
            # An answer then costs no more than one of the base; rounded weights would change it.
            if how.mergeable and not getattr(model, "is_quantized", False):
                untie(tuned)
                tuned.merge_adapter(safe_merge=True)
    except UNREADABLE as problem:
        reason = str(problem).strip().splitlines()[0]
        raise FtkitError(f"{path} is damaged, or not of base {base}: {reason}") from None
    if (path / "tokenizer.json").is_file():  # its template is the one it was tuned with
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(str(path))
    return tuned, tokenizer, how, Path(base)


def _method_of(path: Path, config: Any) -> Method:
    """Find the method whose format an adapter has."""
    methods: list[Method] = [catalog.load("adapters", name) for name in catalog.names("adapters")]
    found = (opened for method in methods if (opened := method.opened(config)) is not None)
    if (how := next(found, None)) is not None:
        return how
    kind, there = config.peft_type.value, sorted({m.peft_type for m in methods} - {""})
    raise FtkitError(f"{path} is an adapter of kind {kind}: ftkit opens {', '.join(there)}")


def _find_base(path: Path, named: str, settings: dict[str, Any]) -> str:
    """Find an adapter's base: where it says, else among the runs beside it by its hash."""
    wanted = settings.get("base", {}).get("fingerprint")
    if not wanted:
        return named
    if Path(named).is_dir() and runs.fingerprint(Path(named)) == wanted:
        return named
    for run in runs.find_runs(path.resolve().parent):
        if run.done.get("fingerprint") == wanted == runs.fingerprint(run.path):
            return str(run.path)
    if not Path(named).is_dir():
        if not Path(named).is_absolute():
            return named  # a Hub id
        raise FtkitError(
            f"the base of {path} is gone: neither {named} nor a run beside it "
            f"has hash {wanted[:12]}"
        )
    raise FtkitError(
        f"{named} is no longer the base that {path} was tuned from: its hash is "
        f"{runs.fingerprint(Path(named))[:12]}, not {wanted[:12]}"
    )
