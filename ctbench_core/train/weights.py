"""Class weights of a run: how much more a positive counts than a negative."""

from __future__ import annotations

from torch import Tensor

from ctbench_core.config import Config
from ctbench_core.errors import ConfigError
from ctbench_core.train.losses import positive_weights


def class_weights(config: Config, targets: Tensor, labels: int) -> Tensor | None:
    """Return the weight of each finding's positives (C,), None where all are 1.

    Raises:
        ConfigError: weights were given, but not one a finding.
    """
    given = config.training.loss.pos_weight
    if given is None or given == "auto":
        return positive_weights(targets)
    if given == "none":
        return None
    if isinstance(given, str) or len(given) != labels:
        raise ConfigError(
            f"training.loss.pos_weight is {given!r}: expected auto, none, or {labels} numbers, one a finding."
        )
    return targets.new_tensor(given)
