"""A head that is a plain module: its draws, its parameters, its layout, and what it leaves alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ctbench_core.config import Config, ModelParams
from ctbench_core.declared import HEADS, Head
from ctbench_core.errors import CheckpointError, ConfigError
from ctbench_core.train.batches import stream
from ctbench_core.train.checkpoint import load_head
from ctbench_core.train.inputs import Scaler
from ctbench_core.train.module import ModuleNetwork
from ctbench_core.train.parameters import StackedParameters
from ctbench_core.train.planning import bank_key, parameter_count

ROWS, FEATURES, FINDINGS = 7, 5, 2


class Normed(nn.Module):
    """A scale of its own shape, LayerNorm without bias, dropout: nothing that a chain of layers has."""

    def __init__(self, params: ModelParams, features: int, findings: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1, features, 1))
        self.norm, self.drop = nn.LayerNorm(features, bias=False), nn.Dropout(params.dropout)
        self.out = nn.Linear(features, findings)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.drop(self.norm(x * self.scale[0, :, 0])))


class Running(Normed):
    def __init__(self, params: ModelParams, features: int, findings: int) -> None:
        super().__init__(params, features, findings)
        self.batch = nn.BatchNorm1d(features)


def make_stack(seed: int = 3, dropout: float = 0.5, dtype: torch.dtype = torch.float64) -> StackedParameters:
    network = ModuleNetwork(Normed, ModelParams(dropout=dropout), FEATURES, FINDINGS)
    stack = StackedParameters(network, 1, dtype, "cpu")
    stack.initialise(0, seed)
    return stack


def inputs() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, ROWS, FEATURES, dtype=torch.float64, generator=generator)
    return x, torch.randint(0, 256, (1, ROWS, 8), dtype=torch.uint8, generator=generator)


def gradients(stack: StackedParameters, draws: Tensor) -> dict[str, Tensor]:
    x, _ = inputs()
    out = torch.empty(1, ROWS, FINDINGS, dtype=torch.float64)
    layers, grads = stack.leading_layers(1)
    stack.network.forward(layers, x, [draws], out)
    stack.network.backward(layers, torch.ones_like(out), grads)
    return {name: tensor.clone() for name, tensor in stack.network.tensors(stack.grad_KP[0]).items()}


def test_gradients_and_logits_are_those_of_the_module_in_pytorch() -> None:
    stack, (x, draws) = make_stack(dropout=0.0), inputs()
    plain = Normed(ModelParams(dropout=0.0), FEATURES, FINDINGS).double()
    plain.load_state_dict(stack.state_dict(0))
    plain(x[0]).sum().backward()
    for name, gradient in gradients(stack, draws).items():
        torch.testing.assert_close(gradient, dict(plain.named_parameters())[name].grad, rtol=0, atol=1e-12)
    torch.testing.assert_close(stack.logits(x[0])[0], plain(x[0]).detach(), rtol=0, atol=1e-12)


def test_draws_follow_the_bytes_of_the_step_and_leave_the_generator_of_others_alone() -> None:
    stack, (x, draws) = make_stack(), inputs()
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = gradients(stack, draws)
    torch.rand(100)  # somebody else draws
    again, other = gradients(stack, draws), gradients(stack, draws + 1)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)
    torch.manual_seed(1)
    gradients(stack, draws)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(stack.logits(x[0]), stack.logits(x[0])), "no dropout outside training"


def test_a_head_starts_by_its_seed_alone() -> None:
    torch.manual_seed(0)
    first = make_stack(seed=5).state_dict(0)
    torch.rand(10)
    again, other = make_stack(seed=5).state_dict(0), make_stack(seed=6).state_dict(0)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["out.weight"], other["out.weight"])
    assert first["out.weight"].abs().max() <= FEATURES**-0.5
    assert first["scale"].shape == (1, FEATURES, 1)
    with torch.random.fork_rng():
        torch.manual_seed(stream(5, "init").initial_seed())
        plain = Normed(ModelParams(), FEATURES, FINDINGS)
    torch.testing.assert_close(first["out.weight"], plain.out.weight.detach().double(), rtol=0, atol=0)


def test_running_statistics_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"Running has buffers \(batch.running_mean"):
        ModuleNetwork(Running, ModelParams(), FEATURES, FINDINGS)


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Config:
    head = Head("normed", "Normed", "normed", module=f"{__name__}:Normed", keys=("model.params.dropout",))
    monkeypatch.setitem(HEADS._items, "normed", head)
    config = Config()
    config.model._target_ = "normed"
    return config


def test_a_stored_module_reads_raw_features(registered: Config) -> None:
    stack, (x, _) = make_stack(), inputs()
    scaler = Scaler(torch.arange(5.0, dtype=torch.float64), torch.full((5,), 2.0, dtype=torch.float64))
    state = stack.network.stored(stack.state_dict(0), scaler)
    head = load_head(state, "cpu", registered.model, FEATURES, FINDINGS)
    assert (head.features, head.findings, head.dtype) == (FEATURES, FINDINGS, torch.float64)
    scaled = (x[0] - scaler.shift) / scaler.scale
    torch.testing.assert_close(head.logits(x[0]), stack.logits(scaled)[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"out.weight": torch.zeros(2, 6)}, r"out.weight needs shape \(2, 5\), found shape \(2, 6\)"),
        ({"more": torch.zeros(1)}, "has no layers more"),
    ],
)
def test_a_stored_module_of_another_shape_is_named(registered: Config, change: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        load_head(make_stack().state_dict(0) | change, "cpu", registered.model, FEATURES, FINDINGS)


def test_its_parameters_are_counted_and_its_runs_share_a_bank(registered: Config) -> None:
    assert parameter_count(registered.model, FEATURES, FINDINGS) == 5 + 5 + 5 * 2 + 2
    other = registered.copy()
    other.model.params.dropout = 0.1
    assert bank_key(other) == bank_key(registered)
