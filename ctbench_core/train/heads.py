"""The registered heads: what stands between an embedding and the C logits.

To add a head that is trained step by step, add the widths of its hidden layers to ``HEADS`` and its name to
``STEPWISE``; one that is fitted whole stands in ``HEADS`` and in ``fitted.FITTERS``.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from ctbench_core.config import ModelConfig
from ctbench_core.errors import ConfigError, unknown_name

HEADS: dict[str, Callable[[ModelConfig], list[int]]] = {
    "mlp": lambda model: list(model.params.hidden_dims),
    "linear": lambda model: [],
    "logistic": lambda model: [],
    "knn": lambda model: [],
    "zero_shot": lambda model: [],
}

STEPWISE = ("mlp", "linear")  # trained batch by batch, in banks
UNLEARNED = ("knn", "zero_shot")  # they compare with stored vectors

# Import paths in older configs; they are looked up here, never imported.
HEAD_ALIASES = {
    "classification.models.mlp.MLP": "mlp",
    "src.classification.models.mlp.MLP": "mlp",
    "linear_probe": "linear",
}


def head_name(model: ModelConfig) -> str:
    """Return the registered name of a config's head.

    Raises:
        ConfigError: ``model._target_`` names no registered head.
    """
    name = HEAD_ALIASES.get(model._target_, model._target_)
    if name not in HEADS:
        raise unknown_name("head", model._target_, [*HEADS, *HEAD_ALIASES])
    return name


def check_head(model: ModelConfig) -> None:
    """Refuse what a head cannot read.

    Raises:
        ConfigError: the head is unknown, needs prompts, or cannot weigh two modalities.
    """
    name = head_name(model)
    if model.inputs == "gated" and name not in STEPWISE:
        raise ConfigError(f"model.inputs=gated needs a head that learns the gate: {' or '.join(STEPWISE)}, not {name}.")
    if name == "zero_shot" and not model.prompts:
        raise ConfigError("zero_shot needs model.prompts: a .npz or .parquet of prompt embeddings.")


def layer_widths(model: ModelConfig, in_features: int, classes: int) -> list[int]:
    """Return the widths of a head's layers, from ``in_features`` to ``classes``.

    Raises:
        ConfigError: ``model._target_`` names no registered head.
    """
    return [in_features, *HEADS[head_name(model)](model), classes]


def parameter_count(model: ModelConfig, in_features: int, classes: int) -> int:
    """Count the weights and biases that one head learns; ``in_features`` are those of both modalities where it reads both.

    Raises:
        ConfigError: ``model._target_`` names no registered head.
    """
    widths = layer_widths(model, in_features, classes)
    if head_name(model) in UNLEARNED:
        return 0
    if model.inputs != "gated":
        return _chain(widths)
    first = widths[1]
    gate = 1 if model.params.gate == "scalar" else first
    return first * (in_features + 2) + gate * (in_features + 1) + _chain(widths[1:])


def _chain(widths: Sequence[int]) -> int:
    return sum(out * (inner + 1) for inner, out in itertools.pairwise(widths))
