"""The training loop: token-weighted accumulation, schedule, clipping, refusals, going on."""

import time
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from ftkit.basemodel import GPT, GPTConfig
from ftkit.basemodel.device import Device
from ftkit.basemodel.fit import Plan, Step, fit, schedule
from ftkit.basemodel.optim import Group, Optimizer, hidden_matrices
from ftkit.errors import FtkitError, WorkError

CONFIG = GPTConfig(
    vocab_size=32,
    hidden_size=16,
    intermediate_size=24,
    num_hidden_layers=1,
    num_attention_heads=2,
    num_key_value_heads=1,
    head_dim=8,
    max_position_embeddings=32,
)
CPU = Device()


@dataclass
class Part:
    ids_BT: Tensor
    labels_BT: Tensor
    where: str = ""

    @property
    def tokens(self) -> int:
        return int((self.labels_BT >= 0).sum())


def nats(gpt: nn.Module, part: Part) -> Tensor:
    assert isinstance(gpt, GPT)
    return gpt.nats(part.ids_BT, part.labels_BT)


def uneven(number: int, rows: int) -> Part:
    """Rows of very uneven lengths: row r of the whole stream has 1 + (5 r mod 23) labels."""
    draw = torch.Generator().manual_seed(7)
    ids_NT = torch.randint(32, (400, 25), generator=draw)[number * rows : (number + 1) * rows]
    labels_NT = ids_NT[:, 1:].clone()
    for row, labels_T in enumerate(labels_NT, number * rows):
        labels_T[1 + (5 * row) % 23 :] = -100
    return Part(ids_NT[:, :-1], labels_NT)


def adamw(gpt: GPT, lr: float = 1e-2) -> list[Group]:
    return [Group(list(gpt.parameters()), lr)]


def mixed(gpt: GPT) -> Optimizer:
    matrices, others = hidden_matrices(gpt, [gpt.head])
    return Optimizer([Group(matrices, 0.02, rule="muon"), Group(others, 5e-3)])


def train(rows: int, accumulate: int, steps: int = 6) -> tuple[list[Step], GPT]:
    gpt = GPT(CONFIG)
    plan = Plan(steps, accumulate=accumulate)
    return list(fit(gpt, lambda n: uneven(n, rows), nats, plan, adamw(gpt), CPU)), gpt


def test_four_small_batches_equal_one_large_one() -> None:
    (one, whole), (four, parts) = train(8, 1), train(2, 4)
    for a, b in zip(one, four, strict=True):
        assert (a.number, a.tokens, a.lr) == (b.number, b.tokens, b.lr)
        assert a.loss == pytest.approx(b.loss, rel=1e-6)
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(parts.state_dict()[name], value, atol=5e-6, rtol=0)


def test_losses_of_the_first_steps_stay_what_they_are() -> None:
    gpt = GPT(CONFIG)
    steps = list(fit(gpt, lambda n: uneven(n % 2, 8), nats, Plan(10), adamw(gpt), CPU))
    expected = [3.4688, 3.4702, 3.3498, 3.3865, 3.2613, 3.3054, 3.1755, 3.2405, 3.1126, 3.2023]
    assert [step.loss for step in steps] == pytest.approx(expected, abs=1e-3)
    assert steps[-1].tokens == 5 * (uneven(0, 8).tokens + uneven(1, 8).tokens)


def test_the_schedule_rises_holds_and_falls() -> None:
    plan = Plan(100, warmup=0.1, decay=0.5, floor=0.1)
    scales = [schedule(step, plan) for step in range(100)]
    assert scales[:10] == pytest.approx([0.1 * step for step in range(1, 11)])
    assert set(scales[10:50]) == {1.0}
    assert scales[50:] == pytest.approx([0.1 + 0.9 * (100 - step) / 50 for step in range(50, 100)])
    assert schedule(0, Plan(1)) == 1.0


def test_the_gradient_is_clipped_to_its_norm() -> None:
    weight = nn.Linear(1, 1, bias=False)
    seen: list[float] = []

    class One:
        tokens = 1

    class Watch(Optimizer):
        def step(self, scale: float) -> None:
            seen.append(weight.weight.grad.norm().item())  # type: ignore[union-attr]

    def steep(model: nn.Module, batch: One) -> Tensor:
        return 50.0 * model(torch.ones(1, 1)).sum()  # type: ignore[no-any-return]

    for clip, norm in ((1.0, 1.0), (0.0, 50.0)):
        optimizer = Watch([Group([weight.weight], 0.1)])
        list(fit(weight, lambda n: One(), steep, Plan(1, clip=clip), optimizer, CPU))
        assert seen.pop() == pytest.approx(norm, rel=1e-5)


def test_a_loss_that_is_not_finite_stops_with_step_and_rows_and_changes_nothing() -> None:
    gpt = GPT(CONFIG)

    def broken(model: nn.Module, part: Part) -> Tensor:
        return nats(model, part) * (float("nan") if part.where else 1.0)

    def parts(number: int) -> Part:
        return Part(*uneven(number, 2).__dict__.values()) if number < 5 else replaced(number)

    def replaced(number: int) -> Part:
        part = uneven(number, 2)
        return Part(part.ids_BT, part.labels_BT, f"data.jsonl:{number}")

    steps = fit(gpt, parts, broken, Plan(9, accumulate=2), adamw(gpt), CPU)
    assert [next(steps).number, next(steps).number] == [1, 2]
    before = {name: value.clone() for name, value in gpt.state_dict().items()}
    with pytest.raises(WorkError, match=r"the loss is nan at step 3 \(rows: data\.jsonl:5\): a "):
        next(steps)
    for name, value in before.items():
        assert torch.equal(gpt.state_dict()[name], value)


def test_what_is_not_finite_before_any_update_is_no_matter_of_the_rate() -> None:
    gpt = GPT(CONFIG)
    next(gpt.parameters()).data[:] = float("nan")
    steps = fit(gpt, lambda n: uneven(n, 2), nats, Plan(9), adamw(gpt), CPU)
    with pytest.raises(WorkError, match=r"at step 1: no step was made yet, so the weights"):
        next(steps)


def test_a_batch_without_labels_is_no_nan() -> None:
    gpt = GPT(CONFIG)
    part = uneven(0, 2)
    empty = Part(part.ids_BT, torch.full_like(part.labels_BT, -100))
    (step,) = fit(gpt, lambda n: empty, nats, Plan(1), adamw(gpt), CPU)
    assert (step.loss, step.tokens) == (0.0, 1)


def test_going_on_from_any_step_is_as_if_never_stopped() -> None:
    straight = GPT(CONFIG)
    steps = list(fit(straight, lambda n: uneven(n, 4), nats, Plan(6), mixed(straight), CPU))
    first = GPT(CONFIG)
    optimizer = mixed(first)
    for step in fit(first, lambda n: uneven(n, 4), nats, Plan(6), optimizer, CPU):
        if step.number == 3:
            break
    second = GPT(CONFIG, seed=9)
    second.load_state_dict(first.state_dict())
    fresh = mixed(second)
    fresh.load(optimizer.state())
    rest = list(fit(second, lambda n: uneven(n, 4), nats, Plan(6), fresh, CPU, start=3))
    assert [step.loss for step in rest] == [step.loss for step in steps[3:]]
    for name, value in straight.state_dict().items():
        assert torch.equal(second.state_dict()[name], value), name


def test_muon_moves_matrices_by_near_orthogonal_updates() -> None:
    linear = nn.Linear(24, 12)
    before = linear.weight.detach().clone()
    optimizer = Optimizer([Group([linear.weight], 0.5, rule="muon"), Group([linear.bias], 0.1)])
    linear.weight.grad, linear.bias.grad = torch.randn(12, 24), torch.ones(12)
    optimizer.step(0.1)
    values = torch.linalg.svdvals((before - linear.weight.detach()) / 0.05)
    assert values.min() > 0.6
    assert values.max() < 1.3
    bias_moves = (torch.zeros(12) - linear.bias.detach()).std()
    assert bias_moves > 0


def test_matrices_go_to_muon_and_tables_to_adamw() -> None:
    gpt = GPT(CONFIG)
    gpt.model.layers[0].mlp.up_proj.weight.requires_grad_(False)
    matrices, others = hidden_matrices(gpt, [gpt.head])
    names = {id(param): name for name, param in gpt.named_parameters()}
    assert all("_proj" in names[id(param)] for param in matrices)
    assert len(matrices) == 6
    assert {names[id(param)].split(".")[-2] for param in others} == {
        "embed_tokens",
        "input_layernorm",
        "post_attention_layernorm",
        "q_norm",
        "k_norm",
        "norm",
    }


@pytest.mark.parametrize(
    ("field", "value"), [("steps", 0), ("accumulate", 0), ("clip", -1.0), ("warmup", 1.5)]
)
def test_impossible_plans_are_refused(field: str, value: float) -> None:
    with pytest.raises(FtkitError, match=rf"plan\.{field} is {value}"):
        Plan(**({"steps": 4} | {field: value}))


def test_what_the_caller_does_between_steps_is_no_training() -> None:
    seconds = []
    gpt = GPT(CONFIG)
    for step in fit(gpt, lambda n: uneven(n, 4), nats, Plan(4), adamw(gpt), CPU):
        seconds.append(step.seconds)
        time.sleep(0.3)
    assert seconds == sorted(seconds)
    assert seconds[-1] < 0.3
