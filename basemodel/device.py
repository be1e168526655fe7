"""Where and how a run computes: device, precision, compilation and threads, decided once, why."""

import ctypes
import dataclasses
import gc
import importlib.util
import math
import os
import resource
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, ParamSpec, TypeVar

import torch

from ftkit.errors import FtkitError

from .group import many

Taken = ParamSpec("Taken")
Given = TypeVar("Given")

# Floating point operations a second that training reaches, per CPU thread or per accelerator.
# Rough on purpose: they only tell runs of seconds from runs of hours.
FLOPS = {"cpu float32": 0.07e12, "cpu bfloat16": 0.2e12, "cuda": 50e12, "mps": 2e12}
PRODUCT = {"cpu": 1024, "mps": 4096, "cuda": 8192}  # rows of the square matrix that is measured
PRODUCT_SECONDS = 0.2
COMPILE_SECONDS = 30.0  # what compiling a training step costs before the first step
COMPILE_GAIN = 0.13  # the share of the remaining time that it then saves
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # mallopt's names for them, from malloc.h
NARROW = 192  # below this width call overhead rules and bfloat16 does not pay on a CPU


@dataclass(frozen=True)
class Device:
    """What was decided, with a reason for each choice; kept in run.toml and read on resume."""

    device: str = "cpu"
    dtype: str = "float32"
    compile: bool = False
    threads: int = 1
    reasons: dict[str, str] = field(default_factory=dict)

    @property
    def torch_device(self) -> torch.device:
        """The device as PyTorch's type."""
        return torch.device(self.device)

    @property
    def torch_dtype(self) -> torch.dtype:
        """The precision of matrix products as PyTorch's type."""
        return torch.bfloat16 if self.dtype == "bfloat16" else torch.float32

    def autocast(self) -> AbstractContextManager[Any]:
        """Open a block whose matrix products run in bfloat16, or a block that changes nothing."""
        if self.dtype != "bfloat16":
            return nullcontext()
        return torch.autocast(self.torch_device.type, dtype=torch.bfloat16)

    def use(self) -> None:
        """Make the process follow the decision; compiled code is held to deterministic kernels."""
        torch.set_num_threads(self.threads)
        if self.device == "cuda":  # what stays in float32 is multiplied with 10 bits behind the dot
            torch.set_float32_matmul_precision("high")
        _keep_freed_memory()
        # Compiled embedding gradients are summed with atomic additions, in any order, otherwise.
        torch.use_deterministic_algorithms(self.compile, warn_only=True)

    def there(self) -> None:
        """Refuse to go on where the device is not.

        Raises:
            FtkitError: naming it.
        """
        there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
        if not there.get(self.device, True):
            raise FtkitError(f"the run began on {self.device}, which is not here")

    def compiled(self, function: Callable[Taken, Given]) -> Callable[Taken, Given]:
        """Return the function compiled where that was decided, else as it is."""
        return torch.compile(function, dynamic=False) if self.compile else function

    def peak_flops(self) -> float:
        """Measure the floating point operations a second of a large matrix product, at the best."""
        size = PRODUCT[self.device]
        draw = torch.Generator().manual_seed(0)
        x_SS = torch.randn(size, size, generator=draw).to(self.torch_device, self.torch_dtype)
        best, began = math.inf, time.perf_counter()
        for _ in range(100):
            start = time.perf_counter()
            (x_SS @ x_SS)[0, 0].item()  # an accelerator has to finish before it can say
            end = time.perf_counter()
            best = min(best, end - start)
            if end - began > PRODUCT_SECONDS:
                break
        return 2 * size**3 / best

    @staticmethod
    def read(decided: Mapping[str, Any]) -> "Device":
        """Take up the decision of an earlier session from the `[decided]` table of run.toml."""
        names = {item.name for item in dataclasses.fields(Device)}
        return Device(**{name: value for name, value in decided.items() if name in names})


def decide(
    *,
    parameters: int,
    tokens: int | None = None,
    width: int | None = None,
    shard: bool = False,
) -> Device:
    """Choose device, precision, compilation and threads for a piece of work.

    Args:
        parameters: the model's size.
        tokens: how many tokens will be trained on; None when nothing will be trained.
        width: the model's hidden size; None when unknown.
        shard: whether several processes divide the weights among them.
    """
    device, why = _device()
    reasons = {"device": why}
    dtype, reasons["dtype"] = _dtype(device, width)
    threads = torch.get_num_threads()
    reasons["threads"] = f"PyTorch uses {threads} here (OMP_NUM_THREADS changes that)"
    compiles, reasons["compile"] = _compile(device, dtype, threads, parameters, tokens)
    if compiles and shard:
        compiles, reasons["compile"] = False, "weights are divided among processes"
    return Device(device, dtype, compiles, threads, reasons)


def _device() -> tuple[str, str]:
    if torch.cuda.is_available():
        return "cuda", f"{torch.cuda.get_device_name()} is there"
    if torch.backends.mps.is_available():
        if many():
            return "cpu", "several processes cannot share Apple's GPU"
        return "mps", "Apple's GPU is there"
    return "cpu", "there is no CUDA or Apple GPU"


def bfloat16_unit() -> str:
    """Name what the processor multiplies bfloat16 by; "" when it cannot."""
    found = torch.cpu.get_capabilities()
    return next((unit for unit in ("amx_bf16", "avx512_bf16") if found.get(unit) is True), "")


def _dtype(device: str, width: int | None) -> tuple[str, str]:
    if device == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bfloat16", "the GPU multiplies bfloat16"
        return "float32", "the GPU has no bfloat16"
    if device == "mps":
        return "float32", "Apple GPUs gain little from bfloat16 at these sizes"
    unit = bfloat16_unit()
    if not unit:
        return "float32", "the processor has no bfloat16 arithmetic"
    if width is not None and width < NARROW:
        return "float32", f"the processor has {unit}, but {width} wide is too narrow to gain by it"
    return "bfloat16", f"the processor has {unit}"


def _compile(
    device: str, dtype: str, threads: int, parameters: int, tokens: int | None
) -> tuple[bool, str]:
    if tokens is None:
        return False, "nothing is trained"
    if device == "mps":
        return False, "compilation for Apple GPUs is not settled yet"
    if device == "cpu" and not any(map(shutil.which, ("g++", "clang++", "c++"))):
        return False, "there is no C++ compiler"
    if device == "cuda" and not _triton_works():
        return False, "Triton or a C compiler for it is missing"
    rate = FLOPS[f"cpu {dtype}"] * threads if device == "cpu" else FLOPS[device]
    seconds = 6 * parameters * tokens / rate  # 2 forward and 4 backward for each weight and token
    if seconds * COMPILE_GAIN < COMPILE_SECONDS:
        return False, f"about {seconds:.0f} s of work do not pay {COMPILE_SECONDS:.0f} s back"
    return True, f"about {seconds:.0f} s of work pay {COMPILE_SECONDS:.0f} s back"


def _triton_works() -> bool:
    compiler = "CC" in os.environ or any(map(shutil.which, ("cc", "gcc", "clang")))
    return compiler and importlib.util.find_spec("triton") is not None


def _keep_freed_memory() -> None:
    """Tell glibc to reuse large blocks: giving each back to the kernel cost a third of a step."""
    _libc("mallopt", M_MMAP_THRESHOLD, 2**30)
    _libc("mallopt", M_TRIM_THRESHOLD, 2**31 - 1)


def _libc(name: str, *arguments: int) -> None:
    """Call one of glibc's own functions; other systems and C libraries have none."""
    function = getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
    if function is not None:
        function(*arguments)


def free_memory(device: torch.device, root: Path = Path("/")) -> int | None:
    """Tell how many bytes this process may still take on a device; None where nobody says.

    Args:
        device: where.
        root: of the file system, in which the kernel says what is available and what the process's
            control group has left.
    """
    if device.type == "cuda":
        held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + held
    known = root / "proc/meminfo"
    if device.type != "cpu" or not known.exists():
        return None
    available = _numbers(known)["MemAvailable:"] * 1024
    return min([available, *_left_of_groups(root)])


def _left_of_groups(root: Path) -> Iterator[int]:
    """Yield what the control groups of this process leave it; a container sees its own as "/"."""
    kinds = {"": ("memory.max", "memory.current")}
    kinds["memory"] = ("memory.limit_in_bytes", "memory.usage_in_bytes")
    told = root / "proc/self/cgroup"
    for line in told.read_text().splitlines() if told.exists() else ():
        _, kind, path = line.split(":", 2)
        for place in {path.lstrip("/"), ""} if kind in kinds else ():
            group = root / "sys/fs/cgroup" / kind / place
            limit, used = (group / name for name in kinds[kind])
            if limit.exists() and used.exists() and (most := limit.read_text().strip()) != "max":
                dropped = _numbers(group / "memory.stat").get("inactive_file", 0)  # files' pages
                yield max(0, int(most) - int(used.read_text()) + dropped)


def _numbers(file: Path) -> dict[str, int]:
    """Read lines of a name and a number."""
    lines = file.read_text().splitlines() if file.exists() else ()
    return {words[0]: int(words[1]) for line in lines if len(words := line.split()) > 1}


class PeakMemory:
    """Measure the highest memory use of this process, and of its GPU, inside a `with` block.

    On Linux the kernel's high-water mark is set back at the start, so blocks measure themselves
    and not what came before; blocks may lie in one another. Elsewhere it is the mark since the
    process began. `bytes` is the process's resident memory plus what PyTorch held on the GPU.
    """

    _open: ClassVar[list["PeakMemory"]] = []

    def __init__(self) -> None:
        self._seen = 0

    @property
    def bytes(self) -> int:
        """The highest use so far, or of the whole block when it has ended."""
        if self in self._open:
            self._seen = max(self._seen, _high_water())
        return self._seen

    def __enter__(self) -> "PeakMemory":
        for block in self._open:  # they would lose their mark when it is set back
            block._seen = max(block._seen, _high_water())
        # What earlier work has freed and kept for reuse goes back, so that it is not counted here.
        gc.collect()
        _libc("malloc_trim", 0)
        _reset_high_water()
        self._open.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._seen = self.bytes
        self._open.remove(self)


def _reset_high_water() -> None:
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        clear.write_text("5")


def _high_water() -> int:
    gpu = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
    status = Path("/proc/self/status")
    if status.exists():
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        if "VmHWM" in fields:
            return gpu + int(fields["VmHWM"].split()[0]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return gpu + (peak if sys.platform == "darwin" else peak * 1024)
