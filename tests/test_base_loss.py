"""The loss at the output layer: PyTorch's own value and gradients, whatever the size of a piece."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ftkit.basemodel import loss
from ftkit.basemodel.loss import nats, nats_of_each


def problem(rows: int = 37) -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    x_ND = torch.randn(rows, 16, generator=draw).requires_grad_()
    head_VD = torch.randn(50, 16, generator=draw).requires_grad_()
    labels_N = torch.randint(50, (rows,), generator=draw)
    labels_N[::5] = -100
    return x_ND, head_VD, labels_N


@pytest.mark.parametrize("piece", [1, 50 * 7, 2**20])
def test_value_and_gradients_are_those_of_cross_entropy(
    piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loss, "PIECE", piece)
    monkeypatch.setattr(loss, "LEAST", 1)
    x_ND, head_VD, labels_N = problem()
    wanted = F.cross_entropy(x_ND @ head_VD.T, labels_N, reduction="sum")
    wanted_grads = torch.autograd.grad(wanted / 3, (x_ND, head_VD))
    found = nats(x_ND, head_VD, labels_N)
    torch.testing.assert_close(found, wanted)
    (found / 3).backward()  # type: ignore[no-untyped-call]
    assert x_ND.grad is not None
    assert head_VD.grad is not None
    torch.testing.assert_close((x_ND.grad, head_VD.grad), wanted_grads)
    assert not x_ND.grad[::5].any()


@pytest.mark.parametrize("piece", [1, 50 * 7, 2**20])
def test_scores_of_each_place_never_have_the_logits_of_all(
    piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loss, "PIECE", piece)
    monkeypatch.setattr(loss, "LEAST", 1)
    x_ND, head_VD, labels_N = (tensor.detach() for tensor in problem())
    seen: list[int] = []

    def head(x_PD: Tensor) -> Tensor:
        seen.append(len(x_PD))
        return x_PD @ head_VD.T

    found_N = nats_of_each(head, x_ND, labels_N, 50)
    wanted_N = F.cross_entropy(x_ND @ head_VD.T, labels_N, reduction="none")
    torch.testing.assert_close(found_N, wanted_N)
    assert max(seen) == min(37, max(1, piece // 50))


def test_only_what_needs_a_gradient_gets_one() -> None:
    x_ND, head_VD, labels_N = problem()
    nats(x_ND.detach(), head_VD, labels_N).backward()  # type: ignore[no-untyped-call]
    assert x_ND.grad is None
    assert head_VD.grad is not None
    with torch.no_grad():
        assert not nats(x_ND, head_VD, labels_N).requires_grad
    assert nats(x_ND, head_VD, torch.full_like(labels_N, -100)).item() == 0


def test_a_gradient_is_given_once_or_not_at_all() -> None:
    """That of the head is made on the way forward, and scaled where it lies."""
    x_ND, head_VD, labels_N = problem()
    found = nats(x_ND, head_VD, labels_N)
    found.backward(retain_graph=True)  # type: ignore[no-untyped-call]
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        found.backward()  # type: ignore[no-untyped-call]


def test_no_place_at_all_gives_gradients_of_zero() -> None:
    x_ND, head_VD, labels_N = problem()
    nats(x_ND[:0], head_VD, labels_N[:0]).backward()  # type: ignore[no-untyped-call]
    assert head_VD.grad is not None
    assert not head_VD.grad.any()


def test_under_autocast_products_are_bfloat16_and_sums_float32() -> None:
    x_ND, head_VD, labels_N = problem(400)
    exact = nats(x_ND, head_VD, labels_N)
    with torch.autocast("cpu", torch.bfloat16):
        found = nats(x_ND, head_VD, labels_N)
    assert found.dtype == torch.float32
    assert found != exact
    torch.testing.assert_close(found, exact, rtol=1e-3, atol=0)
    found.backward()  # type: ignore[no-untyped-call]
    assert head_VD.grad is not None
    assert head_VD.grad.dtype == torch.float32
