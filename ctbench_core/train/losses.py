"""Losses on logits, one value an element; whoever sums them weights the positives and masks what is unknown.

To add a loss, add a function of (logits, targets) to ``LOSSES`` that returns one value an element. Its gradient
comes from autograd unless one is written out in ``GRADIENTS``.

MERGED: Class weights of a run: how much more a positive counts than a negative.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ctbench_core.config import Config
from ctbench_core.declared import loss_name
from ctbench_core.errors import ConfigError

LossFunction = Callable[[Tensor, Tensor], Tensor]

FOCAL_GAMMA = 2
ASYMMETRIC_GAMMA, ASYMMETRIC_MARGIN = 4, 0.05


def bce(logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy."""
    return F.binary_cross_entropy_with_logits(logits, targets, reduction="none")


def focal(logits: Tensor, targets: Tensor) -> Tensor:
    """Focal loss: (1 - p_t)^2 times the cross-entropy (Lin et al., ICCV 2017); their alpha is the class weight."""
    right = torch.sigmoid(torch.where(targets > 0, logits, -logits))
    return (1 - right) ** FOCAL_GAMMA * bce(logits, targets)


def asymmetric(logits: Tensor, targets: Tensor) -> Tensor:
    """Asymmetric loss: negatives shifted by .05 and focused with gamma 4 (Ridnik et al., ICCV 2021)."""
    shifted = (torch.sigmoid(logits) - ASYMMETRIC_MARGIN).clamp(min=0)
    negative = -(shifted**ASYMMETRIC_GAMMA) * torch.log1p(-shifted)
    return torch.where(targets > 0, F.softplus(-logits), negative)


LOSSES: dict[str, LossFunction] = {"bce": bce, "focal": focal, "asymmetric": asymmetric}


def _bce_gradient(logits: Tensor, targets: Tensor) -> Tensor:
    return torch.sigmoid(logits).sub_(targets)


def _focal_gradient(logits: Tensor, targets: Tensor) -> Tensor:
    towards = torch.where(targets > 0, logits, -logits)
    right = torch.sigmoid(towards)
    slope = (1 - right) ** 2 * (2 * right * F.softplus(-towards) + 1 - right)
    return torch.where(targets > 0, -slope, slope)


def _asymmetric_gradient(logits: Tensor, targets: Tensor) -> Tensor:
    p = torch.sigmoid(logits)
    shifted = (p - ASYMMETRIC_MARGIN).clamp(min=0)
    negative = shifted**3 * (shifted / (1 - shifted) - 4 * torch.log1p(-shifted)) * p * (1 - p)
    return torch.where(targets > 0, p - 1, negative)


# By loss; one that is not here gets its gradient from autograd.
GRADIENTS: dict[LossFunction, LossFunction] = {
    bce: _bce_gradient,
    focal: _focal_gradient,
    asymmetric: _asymmetric_gradient,
}


def find_loss(name: str) -> LossFunction:
    """Return a registered loss.

    Raises:
        ConfigError: the name is not registered.
    """
    return LOSSES[loss_name(name)]


def slopes(loss: LossFunction, logits: Tensor, targets: Tensor) -> Tensor:
    """Return the derivative of a loss by each logit; ``targets`` hold no NaN."""
    if loss in GRADIENTS:
        return GRADIENTS[loss](logits, targets)
    with torch.inference_mode(False), torch.enable_grad():
        leaf = logits.detach().clone().requires_grad_(True)
        return torch.autograd.grad(loss(leaf, targets.clone()).sum(), leaf)[0]


def known_labels(targets: Tensor) -> tuple[Tensor, Tensor]:
    """Split targets {0, 1, NaN} into targets without NaN and a mask of ones where the label is known."""
    known = ~torch.isnan(targets)
    return torch.where(known, targets, 0.0), known.to(targets.dtype)


def element_weights(targets: Tensor, known: Tensor, pos_weight: Tensor | None) -> Tensor:
    """Return how much each element of (..., B, C) counts: 0 where unknown, ``pos_weight`` if positive, else 1."""
    return known if pos_weight is None else torch.where(targets > 0, pos_weight, known)


def weighted_sum(loss: LossFunction, logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Sum a loss over (..., B, C) with a weight an element, in float64: shape (...). Weight 0 hides even a NaN."""
    values = torch.where(weights > 0, loss(logits, targets) * weights, 0.0)
    return values.sum(dim=(-2, -1), dtype=torch.float64)


def positive_weights(targets: Tensor) -> Tensor:
    """Return negatives / max(positives, 1) of each finding over its known labels, shape (C,)."""
    positives = torch.nansum(targets, dim=0)
    known = (~torch.isnan(targets)).sum(dim=0)
    return (known - positives) / positives.clamp(min=1)


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
