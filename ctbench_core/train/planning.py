"""Plan a training from configs, without torch: the size of a head, and which runs train together.

Runs of one *bank* share feature files and the shape of their heads. A bank is divided into *stacks*, whose heads step
together: they agree in everything that a product of a step needs. A stack holds heads of at most twice as many steps
an epoch, so that a run of a small budget does not wait for one of a large budget. A head that is a plain module or is
fitted whole has a stack of its own.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from ctbench_core.config import Config, ModelConfig, values_for
from ctbench_core.dataset import Dataset
from ctbench_core.declared import HEADS, load

# Parameters of a stack's heads on the CPU: beyond, their weights no longer stay in the cache between steps.
STACK_PARAMETERS = 4_000_000
STACK_PARAMETERS_GPU = 500_000_000
SPREAD = 2.0  # most steps an epoch in a stack, over the fewest


def layer_widths(model: ModelConfig, in_features: int, classes: int) -> list[int]:
    """Return the widths of a head's layers, from ``in_features`` to ``classes``."""
    hidden = model.params.hidden_dims if "model.params.hidden_dims" in HEADS.resolve(model._target_).keys else []
    return [in_features, *hidden, classes]


def parameter_count(model: ModelConfig, in_features: int, classes: int) -> int:
    """Count the weights and biases that one head learns; ``in_features`` counts both modalities where it reads both."""
    head = HEADS.resolve(model._target_)
    if head.size:
        return int(load(head.size)(model, in_features, classes))
    if not head.module:
        return 0
    import torch

    with torch.device("meta"):  # shapes only
        module = load(head.module)(model.params, in_features, classes)
    return sum(parameter.numel() for parameter in module.parameters())


def chain_size(model: ModelConfig, in_features: int, classes: int) -> int:
    """Count the weights and biases of a chain of linear layers, and of its gate."""
    widths = layer_widths(model, in_features, classes)
    if model.inputs != "gated":
        return _chain(widths)
    first = widths[1]
    gate = 1 if model.params.gate == "scalar" else first
    return first * (in_features + 2) + gate * (in_features + 1) + _chain(widths[1:])


def _chain(widths: Sequence[int]) -> int:
    return sum(out * (inner + 1) for inner, out in itertools.pairwise(widths))


def bank_key(config: Config) -> str:
    """Return a text that is equal for configs whose runs may train in one bank.

    They share feature files, head shape, batch size, optimiser, precision and device. Seed, rows, labels, loss,
    learning rate, weight decay, dropout, schedule and patience may differ.
    """
    return repr(values_for(config, "bank key"))


def run_cost(config: Config, rows: int) -> float:
    """Estimate what a run adds to its bank, of as many training rows without a budget, beside runs of its bank key.

    On the CPU that is its rows. On a GPU heads of a stack step at once, and cost the same as one: each counts 1, so
    that runs of equal steps are divided by their number alone.
    """
    if not _on_cpu(config):
        return 1.0
    return float(min(config.data.budget or rows, rows))


def divide_into_stacks(configs: Sequence[Config], datasets: Sequence[Dataset]) -> list[list[int]]:
    """Divide a bank's heads into stacks; return the positions of each stack's heads, those of few rows first."""
    compatible: dict[tuple[object, ...], list[int]] = {}
    for k, (config, dataset) in enumerate(zip(configs, datasets)):
        findings = tuple(dataset.manifests["train"].labels)
        key = (id(dataset.matrix), findings, repr(values_for(config, "stack key")))
        compatible.setdefault(key, []).append(k)
    stacks = [stack for heads in compatible.values() for stack in _divide(heads, configs, datasets)]
    return sorted(stacks, key=lambda stack: _steps(configs[stack[0]], datasets[stack[0]]))


def _divide(heads: list[int], configs: Sequence[Config], datasets: Sequence[Dataset]) -> list[list[int]]:
    """Divide compatible heads by their number of steps and by the size of a stack."""
    capacity = _stack_capacity(configs[heads[0]], datasets[heads[0]])
    steps = {k: _steps(configs[k], datasets[k]) for k in heads}
    stacks: list[list[int]] = []
    for k in sorted(heads, key=steps.__getitem__):
        if stacks and len(stacks[-1]) < capacity and steps[k] <= SPREAD * steps[stacks[-1][0]]:
            stacks[-1].append(k)
        else:
            stacks.append([k])
    return stacks


def _stack_capacity(config: Config, dataset: Dataset) -> int:
    """Return how many heads of a shape may step together."""
    if not HEADS.resolve(config.model._target_).network:
        return 1
    size = parameter_count(config.model, dataset.matrix.shape[1], len(dataset.manifests["train"].labels))
    return max(1, (STACK_PARAMETERS if _on_cpu(config) else STACK_PARAMETERS_GPU) // size)


def _steps(config: Config, dataset: Dataset) -> int:
    return -(-len(dataset.rows["train"]) // config.training.batch_size)


def _on_cpu(config: Config) -> bool:
    import torch

    return config.utils.device == "cpu" or (config.utils.device == "auto" and not torch.cuda.is_available())
