"""Plan a training from configs, without torch: the size of a head, and which runs train together.

Runs of one *bank* share feature files and the shape of their heads. A bank is divided into *stacks*, whose heads step
together: they agree in everything that a product of a step needs. A stack holds heads of at most twice as many steps
an epoch, so that a run of a small budget does not wait for one of a large budget.

To add a head that is trained step by step, declare it in ``declared/heads.py``; a head that is fitted whole is
declared there too, and has a class in ``fitted.FITTERS``.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from ctbench_core.config import Config, ModelConfig, get_key
from ctbench_core.dataset import Dataset
from ctbench_core.declared import STEPWISE, UNLEARNED, head_name
from ctbench_core.errors import ConfigError

# Runs whose configs agree in these keys read the same feature files through heads of the same shape.
_BANK_KEYS = (
    "paths.data_root",
    "paths.cache_dir",
    "data.columns.visual_feature",
    "data.columns.text_feature",
    "data.feature_key",
    "data.pool",
    "data.standardise",
    "data.on_bad_feature",
    "model._target_",
    "model.inputs",
    "model.prompts",
    "model.params.in_features",
    "model.params.hidden_dims",
    "model.params.gate",
    "training.batch_size",
    "training.optimizer",
    "training.precision",
    "utils.device",
)

# Parameters of a stack's heads on the CPU: beyond, their weights no longer stay in the cache between steps.
STACK_PARAMETERS = 4_000_000
STACK_PARAMETERS_GPU = 500_000_000
SPREAD = 2.0  # most steps an epoch in a stack, over the fewest


def check_head(model: ModelConfig) -> None:
    """Refuse an unknown head, one that lacks its prompts, and one that cannot weigh two modalities."""
    name = head_name(model._target_)
    if model.inputs == "gated" and name not in STEPWISE:
        raise ConfigError(f"model.inputs=gated needs a head that learns the gate: {' or '.join(STEPWISE)}, not {name}.")
    if name == "zero_shot" and not model.prompts:
        raise ConfigError("zero_shot needs model.prompts: a .npz or .parquet of prompt embeddings.")


def layer_widths(model: ModelConfig, in_features: int, classes: int) -> list[int]:
    """Return the widths of a head's layers, from ``in_features`` to ``classes``."""
    hidden = model.params.hidden_dims if head_name(model._target_) == "mlp" else []
    return [in_features, *hidden, classes]


def parameter_count(model: ModelConfig, in_features: int, classes: int) -> int:
    """Count the weights and biases that one head learns; ``in_features`` counts both modalities where it reads both."""
    widths = layer_widths(model, in_features, classes)
    if head_name(model._target_) in UNLEARNED:
        return 0
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
    return repr([(name, get_key(config, name)) for name in _BANK_KEYS])


def divide_into_stacks(configs: Sequence[Config], datasets: Sequence[Dataset]) -> list[list[int]]:
    """Divide a bank's heads into stacks; return the positions of each stack's heads, those of few rows first."""
    compatible: dict[tuple[object, ...], list[int]] = {}
    for k, (config, dataset) in enumerate(zip(configs, datasets)):
        findings = tuple(dataset.manifests["train"].labels)
        key = (id(dataset.matrix), findings, config.training.loss._target_, config.model.params.dropout)
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
    if head_name(config.model._target_) not in STEPWISE:
        return 1
    size = parameter_count(config.model, dataset.matrix.shape[1], len(dataset.manifests["train"].labels))
    return max(1, (STACK_PARAMETERS if _on_cpu(config) else STACK_PARAMETERS_GPU) // size)


def _steps(config: Config, dataset: Dataset) -> int:
    return -(-len(dataset.rows["train"]) // config.training.batch_size)


def _on_cpu(config: Config) -> bool:
    import torch

    return config.utils.device == "cpu" or (config.utils.device == "auto" and not torch.cuda.is_available())
