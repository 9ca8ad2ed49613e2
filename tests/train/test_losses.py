"""Losses against plain computations, and what masking and weighting mean."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from ctbench_core.declared import LOSSES, loss_name
from ctbench_core.errors import ConfigError
from ctbench_core.train.losses import (
    GRADIENTS,
    LOSS_FUNCTIONS,
    element_weights,
    known_labels,
    loss_gradient,
    positive_weights,
    weighted_sum,
)

LOGITS = torch.tensor([[-30.0, -3.0, -0.5, 0.0, 0.5, 3.0, 30.0]], dtype=torch.float64)


def sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z))


def plain(loss: str, z: float, y: int, w: float) -> float:
    """One element, as the papers print it."""
    p = sigmoid(z)
    positive, negative = w * math.log1p(math.exp(-z)), math.log1p(math.exp(z))
    if loss == "bce":
        return positive if y else negative
    if loss == "focal":
        return (1 - p) ** 2 * positive if y else p**2 * negative
    shifted = max(p - 0.05, 0.0)
    return positive if y else -(shifted**4) * math.log(1 - shifted)


@pytest.mark.parametrize("loss", sorted(LOSS_FUNCTIONS))
@pytest.mark.parametrize("target", [0, 1])
@pytest.mark.parametrize("weight", [None, 2.5])
def test_values_are_those_of_the_papers(loss: str, target: int, weight: float | None) -> None:
    targets = torch.full_like(LOGITS, target)
    pos_weight = None if weight is None else torch.full((LOGITS.shape[1],), weight, dtype=torch.float64)
    values = LOSS_FUNCTIONS[loss](LOGITS, targets) * element_weights(targets, torch.ones_like(targets), pos_weight)
    expected = [plain(loss, z, target, weight or 1.0) for z in LOGITS[0].tolist()]
    assert values[0].tolist() == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("loss", sorted(LOSS_FUNCTIONS))
def test_extreme_logits_stay_finite(loss: str) -> None:
    logits = torch.tensor([[-1e4, 1e4, -1e4, 1e4]], dtype=torch.float32)
    targets = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    assert torch.isfinite(LOSS_FUNCTIONS[loss](logits, targets)).all()
    assert torch.isfinite(loss_gradient(LOSS_FUNCTIONS[loss], logits, targets)).all()


@pytest.mark.parametrize("loss", sorted(LOSS_FUNCTIONS))
def test_gradients_written_out_are_those_of_autograd(loss: str) -> None:
    logits = torch.randn(500, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 4
    logits = torch.cat([logits, LOGITS[:, :4], LOGITS[:, 3:]]).requires_grad_(True)
    targets = (torch.rand(logits.shape, generator=torch.Generator().manual_seed(1)) < 0.5).double()
    (expected,) = torch.autograd.grad(LOSS_FUNCTIONS[loss](logits, targets).sum(), logits)
    assert LOSS_FUNCTIONS[loss] in GRADIENTS
    torch.testing.assert_close(
        loss_gradient(LOSS_FUNCTIONS[loss], logits.detach(), targets), expected, rtol=0, atol=1e-10
    )


def test_a_loss_without_a_written_gradient_gets_it_from_autograd() -> None:
    logits, targets = torch.tensor([[0.3, -2.0]], dtype=torch.float64), torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    with torch.inference_mode():
        gradient = loss_gradient(lambda z, y: (z - y) ** 2, logits, targets)
    torch.testing.assert_close(gradient, 2 * (logits - targets))


def random_case(rows: int = 12) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(2, rows, 3, dtype=torch.float64, generator=generator)
    targets = torch.randint(0, 2, (2, rows, 3), generator=generator).double()
    targets[torch.rand(targets.shape, generator=generator) < 0.3] = torch.nan
    return logits, targets


@pytest.mark.parametrize("loss", sorted(LOSS_FUNCTIONS))
def test_unknown_labels_do_not_count(loss: str) -> None:
    logits, targets = random_case()
    present = ~torch.isnan(targets)
    labels, known = known_labels(targets)
    weights = element_weights(labels, known, None)
    total = weighted_sum(LOSS_FUNCTIONS[loss], logits, labels, weights)
    slope = loss_gradient(LOSS_FUNCTIONS[loss], logits, labels) * weights
    for k in range(2):
        values = LOSS_FUNCTIONS[loss](logits[k], torch.nan_to_num(targets[k]))[present[k]]
        assert total[k].item() == pytest.approx(values.sum().item(), rel=1e-12)
    assert torch.equal(slope[~present], torch.zeros_like(slope[~present]))
    assert (slope[present] != 0).all()
    changed = torch.where(present, logits, torch.nan)
    assert torch.equal(weighted_sum(LOSS_FUNCTIONS[loss], changed, labels, weights), total)


def test_weights_are_negatives_over_positives_of_the_known() -> None:
    nan = math.nan
    targets = torch.tensor([[1, 0, 0, nan], [1, 0, nan, nan], [0, 0, 1, nan], [0, 0, nan, nan], [0, 0, 1, nan]])
    assert positive_weights(targets).tolist() == [1.5, 5.0, 0.5, 0.0]


def test_names() -> None:
    assert loss_name("torch.nn.BCEWithLogitsLoss") == "bce"
    assert set(LOSS_FUNCTIONS) == set(LOSSES)
    with pytest.raises(ConfigError, match=r"Unknown loss 'focl'. Known: focal"):
        loss_name("focl")
