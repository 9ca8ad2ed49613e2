"""Learning-rate schedules, and the fused optimisers against the plain ones."""

from __future__ import annotations

import math

import pytest
import torch

from ctbench_core.config import TrainingConfig
from ctbench_core.declared import OPTIMIZERS, Optimizer
from ctbench_core.train.network import Dropout, Mlp
from ctbench_core.train.optim import Optimiser, learning_rate
from ctbench_core.train.parameters import StackedParameters


def rates(**options: object) -> list[float]:
    config = TrainingConfig(learning_rate=1.0, max_epochs=10, **options)  # type: ignore[arg-type]
    return [learning_rate(config, epoch) for epoch in range(1, 11)]


def test_constant_is_constant() -> None:
    assert rates() == [1.0] * 10


def test_warm_up_climbs_in_even_steps_to_the_full_rate() -> None:
    assert rates(warmup_epochs=4) == pytest.approx([0.2, 0.4, 0.6, 0.8, *[1.0] * 6])


def test_cosine_falls_from_the_full_rate_and_never_reaches_nought() -> None:
    got = rates(scheduler="cosine")
    assert got == pytest.approx([(1 + math.cos(math.pi * t / 10)) / 2 for t in range(10)])
    assert min(got) > 0


def test_warm_up_then_cosine() -> None:
    got = rates(scheduler="cosine", warmup_epochs=5)
    assert got[:6] == pytest.approx([1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 1.0])
    assert got[5:] == sorted(got[5:], reverse=True)


def test_warm_up_longer_than_the_run_is_harmless() -> None:
    assert rates(warmup_epochs=50, scheduler="cosine") == pytest.approx([e / 51 for e in range(1, 11)])


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("adam", lambda p, decay: torch.optim.Adam(p, lr=0.1, weight_decay=decay)),
        ("adamw", lambda p, decay: torch.optim.AdamW(p, lr=0.1, weight_decay=decay)),
        ("sgd", lambda p, decay: torch.optim.SGD(p, lr=0.1, weight_decay=decay, momentum=0.9)),
    ],
)
def test_steps_are_those_of_the_plain_optimiser(name: str, plain) -> None:  # type: ignore[no-untyped-def]
    stack = StackedParameters(Mlp([4, 3], Dropout(0)), 2, torch.float64, "cpu")
    decays = (0.05, 0.5)
    for k in range(2):
        stack.initialise(k, k)
    options = [TrainingConfig(optimizer=name, learning_rate=0.1, weight_decay=decay) for decay in decays]
    optimiser = Optimiser(stack, options)
    optimiser.start_epoch([1, 1])
    copies = [row.clone().requires_grad_(True) for row in stack.flat_KP]
    references = [plain([row], decay) for row, decay in zip(copies, decays)]
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        stack.grad_KP.copy_(torch.randn(stack.grad_KP.shape, dtype=torch.float64, generator=generator))
        for parameter, gradient in zip(copies, stack.grad_KP):
            parameter.grad = gradient.clone()
        optimiser.step(2)
        for reference in references:
            reference.step()
    torch.testing.assert_close(stack.flat_KP, torch.stack([c.detach() for c in copies]), rtol=0, atol=1e-12)


def signed(tensors: dict[str, list[torch.Tensor]], rate: float, decay: float) -> None:
    for parameter, gradient, seen in zip(tensors["param"], tensors["grad"], tensors["seen"]):
        seen.add_(gradient)
        parameter.sub_(rate * torch.sign(seen) + decay)


def test_a_registered_optimiser_steps_by_its_function_and_keeps_its_moments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OPTIMIZERS._items, "signed", Optimizer("signed", "Signed", f"{__name__}:signed", ("seen",)))
    stack = StackedParameters(Mlp([4, 3], Dropout(0)), 2, torch.float64, "cpu")
    options = [TrainingConfig(optimizer="signed", learning_rate=rate, weight_decay=0.5) for rate in (1.0, 2.0)]
    optimiser = Optimiser(stack, options)
    optimiser.start_epoch([1, 1])
    stack.grad_KP.fill_(-3.0)
    optimiser.step(2)
    assert stack.flat_KP[:, 0].tolist() == [0.5, 1.5]
    state = optimiser.state_dict(1)
    assert (state["name"], state["seen"].unique().tolist()) == ("signed", [-3.0])


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_a_unit_that_fell_silent_leaves_no_subnormal_moments(name: str) -> None:
    """They are a hundred times slower to reckon with on a CPU, and nothing else: the weights are those of Adam."""
    stack = StackedParameters(Mlp([4, 3], Dropout(0)), 1, torch.float32, "cpu")
    stack.initialise(0, 0)
    optimiser = Optimiser(stack, [TrainingConfig(optimizer=name, learning_rate=1e-3)])  # type: ignore[arg-type]
    plain = stack.flat_KP[0].clone().requires_grad_(True)
    makers = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    reference = makers[name]([plain], weight_decay=0.0, lr=1e-3) if name in makers else None
    generator = torch.Generator().manual_seed(0)
    for step in range(1200):
        if step % 100 == 0:
            optimiser.start_epoch([1 + step // 100])
        stack.grad_KP.normal_(generator=generator)
        if step > 5:
            stack.grad_KP[:, :6] = 0
        plain.grad = stack.grad_KP[0].clone()
        optimiser.step(1)
        if reference is not None:
            reference.step()
    sizes = torch.stack(list(optimiser.moments.values())).abs()
    assert (optimiser.moments["exp_avg"][0, :6] == 0).all()
    assert not ((sizes > 0) & (sizes < torch.finfo(torch.float32).tiny)).any()
    if reference is not None:
        torch.testing.assert_close(stack.flat_KP[0], plain.detach(), rtol=1e-5, atol=1e-7)
