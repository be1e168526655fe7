"""Device decisions with their reasons, and the measuring of memory."""

import mmap
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ftkit.basemodel import device as module
from ftkit.basemodel.device import Device, PeakMemory, decide
from ftkit.config import table

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


SHAPES = """
import torch
import ftkit.basemodel
def used():
    return int(open("/proc/self/statm").read().split()[1]) * 4 // 1024
def products(rows):
    for count in rows:
        torch.ones(count, 256, dtype=torch.bfloat16) @ weight
weight = torch.ones(256, 704, dtype=torch.bfloat16)
products(range(300, 400))
before = used()
products(range(400, 800))
print(used() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="Linux")
def test_rows_of_many_widths_do_not_fill_the_memory() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", SHAPES],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parent.parent,
    )
    assert int(ran.stdout) < 80  # MiB; 140 and more without the limit on what is kept


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
