"""The registered losses by name; ``train/losses.py`` computes them."""

from __future__ import annotations

from ctbench_core.errors import unknown_name

# Titles by name.
LOSSES = {"bce": "BCE", "focal": "Focal", "asymmetric": "Asymmetric"}

# Import paths in older configs; they are translated here, never imported.
LOSS_ALIASES = {"torch.nn.BCEWithLogitsLoss": "bce"}


def loss_name(target: str) -> str:
    """Return the registered name of ``training.loss._target_``.

    Raises:
        ConfigError: no loss has this name.
    """
    name = LOSS_ALIASES.get(target, target)
    if name not in LOSSES:
        raise unknown_name("loss", target, [*LOSSES, *LOSS_ALIASES])
    return name
