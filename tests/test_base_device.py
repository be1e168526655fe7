"""Device decisions with their reasons, and the measuring of memory."""

import mmap
import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from ftkit.basemodel import device as module
from ftkit.basemodel.budget import Pretrain, settle
from ftkit.basemodel.config import preset
from ftkit.basemodel.device import (
    COMPILE_GAIN,
    COMPILE_SECONDS,
    Device,
    PeakMemory,
    decide,
    free_memory,
)
from ftkit.basemodel.optim import FUSED, Group, Optimizer
from ftkit.config import table
from ftkit.errors import FtkitError

MEBI = 2**20


def test_every_choice_has_its_reason() -> None:
    found = decide(parameters=4_000_000, tokens=2_000_000, width=256)
    assert found.reasons.keys() == {"device", "dtype", "threads", "compile"}
    assert found.threads == torch.get_num_threads()
    assert Device.read(table(found)) == found
    assert Device.read(table(found) | {"steps": 7}) == found


@pytest.mark.skipif(torch.cuda.is_available() or torch.backends.mps.is_available(), reason="cpu")
def test_on_a_cpu_precision_follows_the_processor_and_the_width(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for unit in ("avx512_bf16", "amx_bf16"):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda unit=unit: {unit: True})
        assert decide(parameters=1).dtype == "bfloat16"
        assert decide(parameters=1, width=256).reasons["dtype"] == f"the processor has {unit}"
        assert decide(parameters=1, width=64).dtype == "float32"
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "amx_bf16": False})
    assert decide(parameters=1).dtype == "float32"


@pytest.mark.skipif(torch.cuda.is_available() or torch.backends.mps.is_available(), reason="cpu")
def test_only_long_work_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.shutil, "which", lambda name: f"/bin/{name}")
    assert not decide(parameters=4_000_000, tokens=100_000).compile
    assert decide(parameters=4_000_000, tokens=10**9).compile
    assert not decide(parameters=4_000_000).compile
    monkeypatch.setattr(module.shutil, "which", lambda name: None)
    assert (
        decide(parameters=4_000_000, tokens=10**9).reasons["compile"] == "there is no C++ compiler"
    )


@dataclass
class Fake:
    """A machine that is not there: what PyTorch says of its accelerators."""

    cuda: bool = False
    mps: bool = False
    bfloat16: bool = True
    triton: bool = True

    def _multiplies(self, including_emulation: bool = True) -> bool:
        """As PyTorch's own: what it emulates it calls supported, unless asked."""
        return self.bfloat16 or including_emulation

    def put(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: self.cuda)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA T4")
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", self._multiplies)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: self.mps)
        monkeypatch.setattr(module, "_triton_works", lambda: self.triton)


LONG = {"parameters": 10**9, "tokens": 10**10, "width": 2048}


def test_on_an_apple_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    Fake(mps=True).put(monkeypatch)
    monkeypatch.delenv("PYTORCH_ENABLE_MPS_FALLBACK", raising=False)
    found = decide(**LONG)
    assert (found.device, found.dtype, found.compile) == ("mps", "float32", False)
    assert found.reasons["compile"] == "compilation for Apple GPUs is not settled yet"
    assert found.torch_device == torch.device("mps")
    with found.autocast():
        assert not torch.is_autocast_enabled("mps")
    found.use()
    assert "PYTORCH_ENABLE_MPS_FALLBACK" not in os.environ  # what it lacks is said, not slow
    monkeypatch.setenv("WORLD_SIZE", "2")
    found = decide(**LONG)
    assert (found.device, found.reasons["device"]) == (
        "cpu",
        "several processes cannot share Apple's GPU",
    )


@pytest.mark.parametrize("able", [True, False])
def test_on_an_nvidia_gpu(monkeypatch: pytest.MonkeyPatch, able: bool) -> None:
    Fake(cuda=True, mps=True, bfloat16=able).put(monkeypatch)
    found = decide(**LONG)
    assert (found.device, found.compile) == ("cuda", True)
    assert found.reasons["device"] == "NVIDIA T4 is there"
    assert found.dtype == ("bfloat16" if able else "float32")
    assert not decide(**LONG, shard=True).compile
    assert not decide(parameters=10**6, tokens=10**6).compile


def test_what_a_gpu_keeps_in_float32_is_multiplied_in_tf32() -> None:
    before = torch.get_float32_matmul_precision()
    try:
        Device("cpu").use()
        assert torch.get_float32_matmul_precision() == before
        Device("cuda").use()
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize(("device", "rows"), [("cpu", 32), ("mps", 64), ("cuda", 256)])
def test_a_device_computes_as_many_rows_at_once_as_it_can(
    monkeypatch: pytest.MonkeyPatch, device: str, rows: int
) -> None:
    Fake(cuda=device == "cuda", mps=device == "mps").put(monkeypatch)
    monkeypatch.setattr(Device, "peak_flops", lambda self: 1.0)
    settings = Pretrain(preset="pico", batch=2**16, tokens=2**20)
    decided = settle(settings, preset("pico"), 0.0)
    assert (decided["device"], decided["rows"]) == (device, rows)
    assert decided["rows"] * decided["accumulate"] * 128 == 2**16


def test_adamw_is_fused_where_pytorch_has_such_a_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch.utils._foreach_utils import _get_fused_kernels_supported_devices

    assert set(_get_fused_kernels_supported_devices()) >= FUSED
    for where, fused in (("cpu", True), ("meta", False)):
        weight = torch.nn.Parameter(torch.ones(2, device=where))
        (part,) = Optimizer([Group([weight], 0.1)])._parts
        assert part.param_groups[0]["fused"] is fused


@pytest.mark.parametrize(("device", "threads"), [("cpu", 1), ("cpu", 4)])
def test_compiling_begins_where_it_pays(
    monkeypatch: pytest.MonkeyPatch, device: str, threads: int
) -> None:
    Fake().put(monkeypatch)
    monkeypatch.setattr(module.shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": False})
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    # 6 N tokens / (0.07e12 a thread) seconds, of which 13 % pay 30 s back.
    least = COMPILE_SECONDS / COMPILE_GAIN * 0.07e12 * threads / 6 / 10**6
    assert not decide(parameters=10**6, tokens=int(least * 0.99)).compile
    assert decide(parameters=10**6, tokens=int(least * 1.01)).compile


@pytest.mark.parametrize(("width", "dtype"), [(191, "float32"), (192, "bfloat16")])
def test_bfloat16_begins_where_it_pays(
    monkeypatch: pytest.MonkeyPatch, width: int, dtype: str
) -> None:
    Fake().put(monkeypatch)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True})
    assert decide(parameters=1, width=width).dtype == dtype


SHAPES = """
import ctypes
import torch
import ftkit.basemodel
def used():
    ctypes.CDLL(None).malloc_trim(0)  # what was freed is not what is kept, and varies
    return int(open("/proc/self/statm").read().split()[1]) * 4
def products(rows):
    for count in rows:
        torch.ones(count, 256, dtype=torch.bfloat16) @ weight
weight = torch.ones(256, 704, dtype=torch.bfloat16)
products(range(300, 400))
before = used()
products(range(400, 800))
print(used() - before)
"""
GLIBC = platform.libc_ver()[0] == "glibc"


def _kept(**environment: str) -> int:
    """How many KiB a process grows by over products of 400 further shapes."""
    ran = subprocess.run(
        [sys.executable, "-c", SHAPES],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parent.parent,
        env=os.environ | environment,
    )
    return int(ran.stdout)


@pytest.mark.skipif(not GLIBC, reason="asks glibc to give back what was freed")
def test_rows_of_many_widths_do_not_fill_the_memory() -> None:
    free = _kept(ONEDNN_PRIMITIVE_CACHE_CAPACITY="1024", LRU_CACHE_CAPACITY="1024")
    # 20 MiB against 1 with AVX-512; with AVX2 hardly anything is kept, limit or none.
    assert _kept() < max(free // 2, 8 * 1024)


def test_autocast_follows_the_dtype() -> None:
    x, linear = torch.ones(1, 4), torch.nn.Linear(4, 4)
    with Device(dtype="bfloat16").autocast():
        assert linear(x).dtype == torch.bfloat16
    with Device().autocast():
        assert linear(x).dtype == torch.float32


def use(mebibytes: int) -> None:
    """Touch memory of our own and give it back to the system at once."""
    with mmap.mmap(-1, mebibytes * MEBI) as block:
        block.write(b"x" * (mebibytes * MEBI))


def test_peak_memory_is_that_of_the_block() -> None:
    with PeakMemory() as idle:
        pass
    with PeakMemory() as small:
        use(40)
    with PeakMemory() as whole:
        use(150)
        with PeakMemory() as inner:
            use(40)
    with PeakMemory() as after:
        pass
    assert small.bytes - idle.bytes > 30 * MEBI
    assert whole.bytes - small.bytes > 80 * MEBI  # the inner block did not lose the outer's mark
    assert whole.bytes - inner.bytes > 80 * MEBI
    assert after.bytes < small.bytes


def test_without_triton_nothing_is_compiled_for_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    Fake(cuda=True, triton=False).put(monkeypatch)
    found = decide(**LONG)
    assert (found.device, found.compile) == ("cuda", False)
    assert found.reasons["compile"] == "Triton or a C compiler for it is missing"


@pytest.mark.parametrize("name", ["cuda", "mps"])
def test_a_device_that_is_gone_is_one_sentence(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    Fake().put(monkeypatch)
    with pytest.raises(FtkitError, match=f"the run began on {name}, which is not here"):
        Device(name).there()
    Device("cpu").there()


def test_free_memory_is_what_kernel_and_control_groups_leave(tmp_path: Path) -> None:
    cpu, put = torch.device("cpu"), lambda name, text: write(tmp_path / name, text)
    assert free_memory(cpu, tmp_path) is None, "nobody says"
    put("proc/meminfo", "MemTotal: 9000 kB\nMemAvailable:    4000 kB\n")
    assert free_memory(cpu, tmp_path) == 4000 * 1024
    put("proc/self/cgroup", "4:memory:/job/7\n1:cpu:/job\n0::/slice\n")
    assert free_memory(cpu, tmp_path) == 4000 * 1024, "groups that are not to be seen"
    put("sys/fs/cgroup/slice/memory.max", "max\n")
    put("sys/fs/cgroup/slice/memory.current", "7\n")
    put("sys/fs/cgroup/memory.max", "1000000\n")  # a container's own, as it sees it
    put("sys/fs/cgroup/memory.current", "600000\n")
    put("sys/fs/cgroup/memory.stat", "anon 400000\ninactive_file 150000\n")
    assert free_memory(cpu, tmp_path) == 1_000_000 - 600_000 + 150_000
    put("sys/fs/cgroup/memory/job/7/memory.limit_in_bytes", "900000\n")
    put("sys/fs/cgroup/memory/job/7/memory.usage_in_bytes", "950000\n")
    assert free_memory(cpu, tmp_path) == 0
    assert free_memory(torch.device("mps"), tmp_path) is None
    if sys.platform == "linux":
        assert 2**20 < (free_memory(cpu) or 0) < 2**50


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_free_memory_of_a_gpu_has_what_pytorch_holds_back(monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"memory_reserved": 300, "memory_allocated": 100, "mem_get_info": (1000, 9000)}
    for name, value in said.items():
        monkeypatch.setattr(torch.cuda, name, lambda device, value=value: value)
    assert free_memory(torch.device("cuda")) == 1000 + 300 - 100
