"""Muon: equal to PyTorch's own, in the precision of the run, whatever the processor can do."""

import pytest
import torch
from torch.nn import Parameter

from ftkit.basemodel.device import Device
from ftkit.basemodel.muon import Muon, orthogonal
from ftkit.basemodel.optim import Group, Optimizer

SHAPES = ((24, 12), (12, 24), (24, 12), (16, 16), (12, 24))


def steps(kind: type[torch.optim.Optimizer], count: int = 6, **settings: float) -> list[Parameter]:
    source = torch.Generator().manual_seed(3)
    params = [Parameter(torch.randn(shape, generator=source)) for shape in SHAPES]
    optimizer = kind(params, **settings)  # type: ignore[call-arg]
    for _ in range(count):
        for param in params:
            param.grad = torch.randn(param.shape, generator=source)
        optimizer.step()
    return params


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_in_bfloat16_it_is_torchs_own(decay: float) -> None:
    ours = steps(Muon, lr=0.05, weight_decay=decay, dtype=torch.bfloat16)
    theirs = steps(torch.optim.Muon, lr=0.05, weight_decay=decay)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, atol=6e-3, rtol=0)  # of updates of 0.3 in all


def test_in_float32_it_is_float64s() -> None:
    matrices_MRC = torch.randn(3, 20, 50)
    exact = orthogonal(matrices_MRC, torch.float64)
    torch.testing.assert_close(orthogonal(matrices_MRC).double(), exact, atol=1e-4, rtol=0)
    alone = torch.cat([orthogonal(matrix_1RC) for matrix_1RC in matrices_MRC.split(1)])
    torch.testing.assert_close(alone, orthogonal(matrices_MRC), atol=1e-5, rtol=0)


def test_directions_stay_and_singular_values_come_near_1() -> None:
    left, _, right = torch.linalg.svd(torch.randn(2, 30, 20), full_matrices=False)
    values = torch.linspace(0.05, 1, 20).repeat(2, 1)
    found = left.mT @ orthogonal(left * values[:, None] @ right) @ right.mT
    on = found.diagonal(dim1=1, dim2=2)
    assert 0.6 < on.min() < on.max() < 1.3
    assert (found - torch.diag_embed(on)).abs().max() < 1e-3


def test_a_run_in_float32_multiplies_nothing_in_bfloat16() -> None:
    """A processor without bfloat16 arithmetic took 12 s a step where it takes 0.1 s."""
    seen: set[torch.dtype] = set()

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            result = func(*args, **(kwargs or {}))
            seen.update(x.dtype for x in (result,) if isinstance(x, torch.Tensor))
            return result

    weight = Parameter(torch.randn(8, 8))
    weight.grad = torch.randn(8, 8)
    for dtype, low in (("float32", False), ("bfloat16", True)):
        group = Group([weight], 0.1, rule="muon", dtype=Device(dtype=dtype).torch_dtype)
        seen.clear()
        with Watch():
            Optimizer([group]).step(1.0)
        assert (torch.bfloat16 in seen) is low
