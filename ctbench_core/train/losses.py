"""Losses on logits, and the weights of their elements: positives by class weight, unknown labels 0.

To add a loss, declare its name in ``declared/losses.py`` and add a function of (logits, targets) to ``LOSS_FUNCTIONS`` that
returns one value for each element. Its gradient comes from autograd unless ``GRADIENTS`` has a formula.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ctbench_core.config import Config
from ctbench_core.errors import ConfigError
from ctbench_core.formatting import plural

LossFunction = Callable[[Tensor, Tensor], Tensor]

FOCAL_GAMMA = 2
ASYMMETRIC_GAMMA, ASYMMETRIC_MARGIN = 4, 0.05


def bce(logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy."""
    return F.binary_cross_entropy_with_logits(logits, targets, reduction="none")


def focal(logits: Tensor, targets: Tensor) -> Tensor:
    """Focal loss: (1 - p_t)^2 times the cross-entropy (Lin et al., ICCV 2017); their alpha is the class weight."""
    p_target = torch.sigmoid(torch.where(targets > 0, logits, -logits))
    return (1 - p_target) ** FOCAL_GAMMA * bce(logits, targets)


def asymmetric(logits: Tensor, targets: Tensor) -> Tensor:
    """Asymmetric loss: negatives shifted by .05 and focused with gamma 4 (Ridnik et al., ICCV 2021)."""
    shifted = (torch.sigmoid(logits) - ASYMMETRIC_MARGIN).clamp(min=0)
    negative = -(shifted**ASYMMETRIC_GAMMA) * torch.log1p(-shifted)
    return torch.where(targets > 0, F.softplus(-logits), negative)


LOSS_FUNCTIONS: dict[str, LossFunction] = {"bce": bce, "focal": focal, "asymmetric": asymmetric}


def _bce_gradient(logits: Tensor, targets: Tensor) -> Tensor:
    return torch.sigmoid(logits).sub_(targets)


def _focal_gradient(logits: Tensor, targets: Tensor) -> Tensor:
    signed = torch.where(targets > 0, logits, -logits)
    p_target = torch.sigmoid(signed)
    slope = (1 - p_target) ** 2 * (2 * p_target * F.softplus(-signed) + 1 - p_target)
    return torch.where(targets > 0, -slope, slope)


def _asymmetric_gradient(logits: Tensor, targets: Tensor) -> Tensor:
    p = torch.sigmoid(logits)
    shifted = (p - ASYMMETRIC_MARGIN).clamp(min=0)
    negative = shifted**3 * (shifted / (1 - shifted) - 4 * torch.log1p(-shifted)) * p * (1 - p)
    return torch.where(targets > 0, p - 1, negative)


# A loss without an entry gets its gradient from autograd.
GRADIENTS: dict[LossFunction, LossFunction] = {
    bce: _bce_gradient,
    focal: _focal_gradient,
    asymmetric: _asymmetric_gradient,
}


def loss_gradient(loss: LossFunction, logits: Tensor, targets: Tensor) -> Tensor:
    """Return the derivative of a loss with respect to each logit; ``targets`` hold no NaN."""
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
    """Return the weight of each element of (..., B, C): 0 where unknown, ``pos_weight`` where positive, else 1."""
    return known if pos_weight is None else torch.where(targets > 0, pos_weight, known)


def weighted_sum(loss: LossFunction, logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Sum a weighted loss over (..., B, C) in float64, shape (...). Weight 0 hides even a NaN."""
    values = torch.where(weights > 0, loss(logits, targets) * weights, 0.0)
    return values.sum(dim=(-2, -1), dtype=torch.float64)


def positive_weights(targets: Tensor) -> Tensor:
    """Return negatives / max(positives, 1) of each finding over its known labels, shape (C,)."""
    positives = torch.nansum(targets, dim=0)
    known = (~torch.isnan(targets)).sum(dim=0)
    return (known - positives) / positives.clamp(min=1)


def class_weights(config: Config, targets: Tensor, labels: int) -> Tensor | None:
    """Return the weight of each finding's positives (C,), None where all are 1; refuse another number of weights."""
    weights = config.training.loss.pos_weight
    if weights is None or weights == "auto":
        return positive_weights(targets)
    if weights == "none":
        return None
    if isinstance(weights, str) or len(weights) != labels:
        raise ConfigError(
            f"training.loss.pos_weight is {weights!r}: expected auto, none, or one number for each of the "
            f"{plural(labels, 'finding')}."
        )
    return targets.new_tensor(weights)
