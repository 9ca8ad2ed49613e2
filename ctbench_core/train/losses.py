"""Losses on logits, and the weights of their elements: positives by class weight, unknown labels 0.

``declared/losses.py`` registers each loss with its function of (logits, targets) here, one value for each element, and
the derivative where it is written out.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ctbench_core.config import Config, LossConfig
from ctbench_core.declared import LOSSES, load
from ctbench_core.train.refusals import check_class_weights

LossFunction = Callable[[Tensor, Tensor], Tensor]


class BoundLoss(NamedTuple):
    """A loss with its parameters: its values and its derivative with respect to the logits, of (logits, targets)."""

    values: LossFunction
    gradient: LossFunction


def bind_loss(options: LossConfig) -> BoundLoss:
    """Return the loss of a config with its parameters; its gradient comes from autograd where none is written out."""
    declared = LOSSES.resolve(options._target_)
    parameters = {name: getattr(options, name) for name in declared.parameters}
    values = functools.partial(load(declared.function), **parameters)
    if not declared.gradient:
        return BoundLoss(values, functools.partial(_autograd, values))
    return BoundLoss(values, functools.partial(load(declared.gradient), **parameters))


def _autograd(values: LossFunction, logits: Tensor, targets: Tensor) -> Tensor:
    with torch.inference_mode(False), torch.enable_grad():
        leaf = logits.detach().clone().requires_grad_(True)
        return torch.autograd.grad(values(leaf, targets.clone()).sum(), leaf)[0]


def bce(logits: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
    """Binary cross-entropy, of targets moved by ``smoothing / 2`` towards each other."""
    return F.binary_cross_entropy_with_logits(logits, _smooth(targets, smoothing), reduction="none")


def bce_gradient(logits: Tensor, targets: Tensor, smoothing: float) -> Tensor:
    """Return the derivative of `bce`."""
    return torch.sigmoid(logits).sub_(_smooth(targets, smoothing))


def _smooth(targets: Tensor, smoothing: float) -> Tensor:
    return targets * (1 - smoothing) + smoothing / 2 if smoothing else targets


def focal(logits: Tensor, targets: Tensor, gamma: float) -> Tensor:
    """Focal loss: (1 - p_t)^gamma times the cross-entropy (Lin et al., ICCV 2017); their alpha is the class weight."""
    p_target = torch.sigmoid(torch.where(targets > 0, logits, -logits))
    return (1 - p_target) ** gamma * bce(logits, targets)


def focal_gradient(logits: Tensor, targets: Tensor, gamma: float) -> Tensor:
    """Return the derivative of `focal`."""
    signed = torch.where(targets > 0, logits, -logits)
    p_target = torch.sigmoid(signed)
    slope = (1 - p_target) ** gamma * (gamma * p_target * F.softplus(-signed) + 1 - p_target)
    return torch.where(targets > 0, -slope, slope)


def asymmetric(logits: Tensor, targets: Tensor, gamma_negative: float, margin: float) -> Tensor:
    """Asymmetric loss: negatives shifted by the margin and focused by gamma (Ridnik et al., ICCV 2021)."""
    shifted = (torch.sigmoid(logits) - margin).clamp(min=0)
    negative = -(shifted**gamma_negative) * torch.log1p(-shifted)
    return torch.where(targets > 0, F.softplus(-logits), negative)


def asymmetric_gradient(logits: Tensor, targets: Tensor, gamma_negative: float, margin: float) -> Tensor:
    """Return the derivative of `asymmetric`."""
    p = torch.sigmoid(logits)
    shifted = (p - margin).clamp(min=0)
    slope = shifted / (1 - shifted) - gamma_negative * torch.log1p(-shifted)
    negative = shifted ** (gamma_negative - 1) * slope * p * (1 - p)
    return torch.where(targets > 0, p - 1, torch.where(shifted > 0, negative, 0.0))


def known_labels(targets: Tensor) -> tuple[Tensor, Tensor]:
    """Split targets {0, 1, NaN} into targets without NaN and a mask of ones where the label is known."""
    known = ~torch.isnan(targets)
    return torch.where(known, targets, 0.0), known.to(targets.dtype)


def element_weights(targets: Tensor, known: Tensor, pos_weight: Tensor | None) -> Tensor:
    """Return the weight of each element of (..., B, C): 0 where unknown, ``pos_weight`` where positive, else 1."""
    return known if pos_weight is None else torch.where(targets > 0, pos_weight, known)


def weighted_sum(values: LossFunction, logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Sum a weighted loss over (..., B, C) in float64, shape (...). Weight 0 hides even a NaN."""
    weighted = torch.where(weights > 0, values(logits, targets) * weights, 0.0)
    return weighted.sum(dim=(-2, -1), dtype=torch.float64)


def positive_weights(targets: Tensor) -> Tensor:
    """Return negatives / max(positives, 1) of each finding over its known labels, shape (C,)."""
    positives = torch.nansum(targets, dim=0)
    known = (~torch.isnan(targets)).sum(dim=0)
    return (known - positives) / positives.clamp(min=1)


def class_weights(config: Config, targets: Tensor, labels: int) -> Tensor | None:
    """Return the weight of each finding's positives (C,), None where all are 1; refuse another number of weights."""
    weights = config.training.loss.pos_weight
    check_class_weights(config, labels)
    if weights is None or weights == "auto":
        return positive_weights(targets)
    return None if weights == "none" else targets.new_tensor(weights)
