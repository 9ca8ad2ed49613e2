"""Losses on logits, masked where a label is unknown.

To add a loss, add a function of (logits, targets, pos_weight) to ``LOSSES`` that returns one value
an element. Its gradient comes from autograd unless one is written out in ``GRADIENTS``.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ctbench_core.errors import unknown_name

LossFunction = Callable[[Tensor, Tensor, Tensor | None], Tensor]

FOCAL_GAMMA = 2.0
ASYMMETRIC_GAMMA, ASYMMETRIC_MARGIN = 4.0, 0.05


def bce(logits: Tensor, targets: Tensor, pos_weight: Tensor | None) -> Tensor:
    """Binary cross-entropy, positives weighted, one value an element."""
    return F.binary_cross_entropy_with_logits(logits, targets, pos_weight=pos_weight, reduction="none")


def focal(logits: Tensor, targets: Tensor, pos_weight: Tensor | None) -> Tensor:
    """Focal loss: (1 - p_t)^2 times the cross-entropy (Lin et al., ICCV 2017)."""
    right = torch.sigmoid(torch.where(targets > 0, logits, -logits))
    return (1 - right) ** FOCAL_GAMMA * bce(logits, targets, pos_weight)


def asymmetric(logits: Tensor, targets: Tensor, pos_weight: Tensor | None) -> Tensor:
    """Asymmetric loss: negatives shifted by .05 and focused with gamma 4 (Ridnik et al., ICCV 2021)."""
    p = torch.sigmoid(logits)
    shifted = (p - ASYMMETRIC_MARGIN).clamp(min=0)
    positive = F.softplus(-logits) if pos_weight is None else pos_weight * F.softplus(-logits)
    negative = -(shifted**ASYMMETRIC_GAMMA) * torch.log1p(-shifted.clamp(max=1 - 1e-8))
    return targets * positive + (1 - targets) * negative


LOSSES: dict[str, LossFunction] = {"bce": bce, "focal": focal, "asymmetric": asymmetric}
LOSS_ALIASES = {"torch.nn.BCEWithLogitsLoss": "bce"}


def _bce_gradient(logits: Tensor, targets: Tensor, pos_weight: Tensor | None) -> Tensor:
    p = torch.sigmoid(logits)
    if pos_weight is None:
        return p - targets
    # d/dz [w y softplus(-z) + (1 - y) softplus(z)] = (1 - y) p - w y (1 - p)
    return p * (1 + (pos_weight - 1) * targets) - pos_weight * targets


GRADIENTS: dict[LossFunction, LossFunction] = {bce: _bce_gradient}


def find_loss(name: str) -> LossFunction:
    """Return a registered loss.

    Raises:
        ConfigError: the name is not registered.
    """
    name = LOSS_ALIASES.get(name, name)
    if name not in LOSSES:
        raise unknown_name("loss", name, [*LOSSES, *LOSS_ALIASES])
    return LOSSES[name]


def masked_loss(
    loss: LossFunction, logits: Tensor, targets: Tensor, pos_weight: Tensor | None, gradient: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Sum a loss over the known labels of each head.

    Args:
        logits: shape (K, B, C). targets: {0, 1, NaN}, same shape. pos_weight: (C,) or None.

    Returns:
        Sum of the loss (K,), number of known labels (K,), and the gradient of the *mean* loss with
        respect to the logits (K, B, C) (empty unless ``gradient``); it is zero where unknown.
    """
    known = ~torch.isnan(targets)
    filled = torch.where(known, targets, 0.0)
    count = known.sum(dim=(1, 2))
    share = known.to(logits.dtype) / count.clamp(min=1).view(-1, 1, 1)
    written_out = GRADIENTS.get(loss)
    if not gradient or written_out is not None:
        with torch.no_grad():
            values = loss(logits, filled, pos_weight)
            slope = written_out(logits, filled, pos_weight) * share if gradient and written_out else logits.new_empty(0)
    else:
        leaf = logits.detach().requires_grad_(True)
        values = loss(leaf, filled, pos_weight)
        (slope,) = torch.autograd.grad((values * share).sum(), leaf)
    total = torch.where(known, values.detach(), 0.0).sum(dim=(1, 2))
    return total, count, slope


def positive_weights(targets: Tensor) -> Tensor:
    """Return negatives / max(positives, 1) of each finding over its known labels, shape (C,)."""
    positives = torch.nansum(targets, dim=0)
    known = (~torch.isnan(targets)).sum(dim=0)
    return (known - positives) / positives.clamp(min=1)
