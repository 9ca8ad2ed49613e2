"""Which runs may train as one bank, and how a bank is divided into stacks that step together.

Two runs step together when they agree in everything that a product of the step needs; what is left is each head's
own. A stack holds heads of at most twice as many steps an epoch, so that a small budget waits for no large one.
"""

from __future__ import annotations

from collections.abc import Sequence

from ctbench_core.config import Config, get_key
from ctbench_core.dataset import Dataset
from ctbench_core.declared import STEPWISE, head_name
from ctbench_core.train.heads import parameter_count

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


def bank_key(config: Config) -> str:
    """Return a text that is equal for configs whose runs may train in one bank.

    They share feature files, head shape, batch size, optimiser, precision and device; seed, rows, labels, loss,
    learning rate, weight decay, dropout, schedule and patience are each head's own.
    """
    return repr([(name, get_key(config, name)) for name in _BANK_KEYS])


def stacks(configs: Sequence[Config], datasets: Sequence[Dataset]) -> list[list[int]]:
    """Divide a bank's heads into stacks, those of few rows first; return the places of each stack's heads."""
    alike: dict[tuple[object, ...], list[int]] = {}
    for k, (config, dataset) in enumerate(zip(configs, datasets)):
        findings = tuple(dataset.manifests["train"].labels)
        key = (id(dataset.matrix), findings, config.training.loss._target_, config.model.params.dropout)
        alike.setdefault(key, []).append(k)
    found = [stack for heads in alike.values() for stack in _divided(heads, configs, datasets)]
    return sorted(found, key=lambda stack: _steps(configs[stack[0]], datasets[stack[0]]))


def _divided(heads: list[int], configs: Sequence[Config], datasets: Sequence[Dataset]) -> list[list[int]]:
    most = _most(configs[heads[0]], datasets[heads[0]])
    found: list[list[int]] = []
    for k in sorted(heads, key=lambda k: _steps(configs[k], datasets[k])):
        steps = _steps(configs[k], datasets[k])
        if found and len(found[-1]) < most and steps <= SPREAD * _steps(configs[found[-1][0]], datasets[found[-1][0]]):
            found[-1].append(k)
        else:
            found.append([k])
    return found


def _most(config: Config, dataset: Dataset) -> int:
    """Return how many heads of a shape step together."""
    if head_name(config.model._target_) not in STEPWISE:
        return 1
    size = parameter_count(config.model, dataset.matrix.shape[1], len(dataset.manifests["train"].labels))
    room = STACK_PARAMETERS if _on_cpu(config) else STACK_PARAMETERS_GPU
    return max(1, room // size)


def _steps(config: Config, dataset: Dataset) -> int:
    return -(-len(dataset.rows["train"]) // config.training.batch_size)


def _on_cpu(config: Config) -> bool:
    import torch

    return config.utils.device == "cpu" or (config.utils.device == "auto" and not torch.cuda.is_available())
