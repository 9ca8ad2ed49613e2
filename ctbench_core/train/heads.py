"""What a head of a config comes to: the widths of its layers, its parameters, and what it refuses.

To add a head that is trained step by step, declare it in ``declared/heads.py``; one that is fitted whole stands
there and in ``fitted.FITTERS``.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from ctbench_core.config import ModelConfig
from ctbench_core.declared import STEPWISE, UNLEARNED, head_name
from ctbench_core.errors import ConfigError


def check_head(model: ModelConfig) -> None:
    """Refuse what a head cannot read.

    Raises:
        ConfigError: the head is unknown, needs prompts, or cannot weigh two modalities.
    """
    name = head_name(model._target_)
    if model.inputs == "gated" and name not in STEPWISE:
        raise ConfigError(f"model.inputs=gated needs a head that learns the gate: {' or '.join(STEPWISE)}, not {name}.")
    if name == "zero_shot" and not model.prompts:
        raise ConfigError("zero_shot needs model.prompts: a .npz or .parquet of prompt embeddings.")


def layer_widths(model: ModelConfig, in_features: int, classes: int) -> list[int]:
    """Return the widths of a head's layers, from ``in_features`` to ``classes``.

    Raises:
        ConfigError: ``model._target_`` names no registered head.
    """
    hidden = model.params.hidden_dims if head_name(model._target_) == "mlp" else []
    return [in_features, *hidden, classes]


def parameter_count(model: ModelConfig, in_features: int, classes: int) -> int:
    """Count the weights and biases that one head learns; ``in_features`` are those of both modalities where it reads both.

    Raises:
        ConfigError: ``model._target_`` names no registered head.
    """
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
