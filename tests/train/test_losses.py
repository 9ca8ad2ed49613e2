"""Losses against plain computations, and what masking and weighting mean."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from ctbench_core.errors import ConfigError
from ctbench_core.train.losses import LOSSES, find_loss, masked_loss, positive_weights

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


@pytest.mark.parametrize("loss", sorted(LOSSES))
@pytest.mark.parametrize("target", [0, 1])
@pytest.mark.parametrize("weight", [None, 2.5])
def test_values_are_those_of_the_papers(loss: str, target: int, weight: float | None) -> None:
    targets = torch.full_like(LOGITS, target)
    pos_weight = None if weight is None else torch.full((LOGITS.shape[1],), weight, dtype=torch.float64)
    values = LOSSES[loss](LOGITS, targets, pos_weight)
    expected = [plain(loss, z, target, weight or 1.0) for z in LOGITS[0].tolist()]
    assert values[0].tolist() == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_extreme_logits_stay_finite(loss: str) -> None:
    logits = torch.tensor([[-1e4, 1e4, -1e4, 1e4]], dtype=torch.float32)
    targets = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    total, _, slope = masked_loss(LOSSES[loss], logits[None], targets[None], None, gradient=True)
    assert torch.isfinite(total).all()
    assert torch.isfinite(slope).all()


def random_case(rows: int = 12) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(2, rows, 3, dtype=torch.float64, generator=generator)
    targets = torch.randint(0, 2, (2, rows, 3), generator=generator).double()
    targets[torch.rand(targets.shape, generator=generator) < 0.3] = torch.nan
    return logits, targets


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_unknown_labels_have_no_say(loss: str) -> None:
    logits, targets = random_case()
    known = ~torch.isnan(targets)
    total, count, slope = masked_loss(LOSSES[loss], logits, targets, None, gradient=True)
    for k in range(2):
        kept = LOSSES[loss](logits[k], torch.nan_to_num(targets[k]), None)[known[k]]
        assert total[k].item() == pytest.approx(kept.sum().item(), rel=1e-12)
        assert count[k] == known[k].sum()
    assert torch.equal(slope[~known], torch.zeros_like(slope[~known]))
    assert (slope[known] != 0).all()
    changed = torch.where(known, logits, logits + 5)
    assert torch.equal(masked_loss(LOSSES[loss], changed, targets, None, gradient=False)[0], total)


def test_a_batch_without_any_known_label_moves_nothing() -> None:
    logits, targets = random_case()
    total, count, slope = masked_loss(LOSSES["bce"], logits, torch.full_like(targets, torch.nan), None, gradient=True)
    assert total.tolist() == [0.0, 0.0]
    assert count.tolist() == [0, 0]
    assert torch.equal(slope, torch.zeros_like(slope))


def test_weights_are_negatives_over_positives_of_the_known() -> None:
    nan = math.nan
    targets = torch.tensor([[1, 0, 0, nan], [1, 0, nan, nan], [0, 0, 1, nan], [0, 0, nan, nan], [0, 0, 1, nan]])
    assert positive_weights(targets).tolist() == [1.5, 5.0, 0.5, 0.0]


def test_names() -> None:
    assert find_loss("torch.nn.BCEWithLogitsLoss") is LOSSES["bce"]
    with pytest.raises(ConfigError, match=r"Unknown loss 'focl'. Known: focal"):
        find_loss("focl")
