"""Sizes of heads from their configs."""

from __future__ import annotations

import itertools

import pytest
import torch

from ctbench_core.config import Config, ModelConfig, ModelParams
from ctbench_core.errors import ConfigError
from ctbench_core.train.network import Dropout, Gated
from ctbench_core.train.parameters import StackedParameters
from ctbench_core.train.planning import layer_widths, parameter_count, run_cost


def test_parameters_are_counted() -> None:
    for widths in ([6, 3], [6, 8, 3], [6, 8, 5, 3]):
        model = ModelConfig(params=ModelParams(hidden_dims=widths[1:-1]))
        layers = [torch.nn.Linear(inner, out) for inner, out in itertools.pairwise(widths)]
        expected = sum(p.numel() for layer in layers for p in layer.parameters())
        assert parameter_count(model, widths[0], widths[-1]) == expected


@pytest.mark.parametrize("gate", ["scalar", "dimension"])
@pytest.mark.parametrize("hidden", [[], [8], [8, 5]])
def test_parameters_of_a_gated_head_are_those_of_its_stack(gate: str, hidden: list[int]) -> None:
    model = ModelConfig(inputs="gated", params=ModelParams(hidden_dims=hidden, gate=gate))  # type: ignore[arg-type]
    widths = [*hidden, 3]
    network = Gated([4, 6], widths, 1 if gate == "scalar" else widths[0], Dropout(0))
    stack = StackedParameters(network, 1, torch.float32, "cpu")
    assert parameter_count(model, 10, 3) == stack.flat_KP.numel()


@pytest.mark.parametrize("name", ["mlp", "classification.models.mlp.MLP", "src.classification.models.mlp.MLP"])
def test_names_of_the_mlp(name: str) -> None:
    model = ModelConfig(_target_=name, params=ModelParams(hidden_dims=[7, 5]))
    assert layer_widths(model, 16, 3) == [16, 7, 5, 3]


@pytest.mark.parametrize("name", ["linear", "linear_probe"])
def test_a_linear_head_has_no_hidden_layer_whatever_hidden_dims_say(name: str) -> None:
    assert layer_widths(ModelConfig(_target_=name), 16, 3) == [16, 3]


def test_unknown_head_lists_the_nearest_first_and_imports_nothing() -> None:
    with pytest.raises(ConfigError, match=r"Unknown head 'mpl'. Known: mlp,"):
        layer_widths(ModelConfig(_target_="mpl"), 16, 3)
    with pytest.raises(ConfigError, match=r"Unknown head 'os.system'"):
        layer_widths(ModelConfig(_target_="os.system"), 16, 3)


def test_budgets_weigh_their_rows_on_the_cpu_and_nothing_on_a_gpu() -> None:
    config = Config()
    config.utils.device = "cpu"
    assert run_cost(config, 500) == 500
    config.data.budget = 20
    assert run_cost(config, 500) == 20
    config.utils.device = "cuda"
    assert run_cost(config, 500) == 1
