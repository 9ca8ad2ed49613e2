"""Losses against plain computations, and what masking and weighting mean."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor

from ctbench_core.config import Config, LossConfig, set_key
from ctbench_core.config.sections import with_parameters
from ctbench_core.declared import LOSSES, OPTIMIZERS, Loss, key
from ctbench_core.errors import ConfigError
from ctbench_core.train.losses import (
    BoundLoss,
    bind_loss,
    class_weights,
    element_weights,
    known_labels,
    positive_weights,
    weighted_sum,
)

LOGITS = torch.tensor([[-30.0, -3.0, -0.5, 0.0, 0.5, 3.0, 30.0]], dtype=torch.float64)
# Parameters at their defaults, at others, and where a formula could divide by zero.
CASES: list[tuple[str, dict[str, float]]] = [
    ("bce", {}),
    ("bce", {"smoothing": 0.2}),
    ("focal", {}),
    ("focal", {"gamma": 0.0}),
    ("focal", {"gamma": 0.7}),
    ("focal", {"gamma": 3.5}),
    ("asymmetric", {}),
    ("asymmetric", {"gamma_negative": 0.0, "margin": 0.2}),
    ("asymmetric", {"gamma_negative": 1.0, "margin": 0.001}),
    ("asymmetric", {"gamma_negative": 2.5, "margin": 0.3}),
]


def test_every_loss_has_a_case() -> None:
    assert {name for name, _ in CASES} == set(LOSSES)


def bound(loss: str, parameters: dict[str, float]) -> BoundLoss:
    options = Config().training.loss
    options._target_ = loss
    for name, value in parameters.items():
        setattr(options, name, value)
    return bind_loss(options)


def sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z))


def plain(loss: str, given: dict[str, float], z: float, y: int, w: float) -> float:
    """One element, as the papers print it."""
    p = sigmoid(z)
    positive, negative = w * math.log1p(math.exp(-z)), math.log1p(math.exp(z))
    if loss == "bce":
        target = (1 - given.get("smoothing", 0)) * y + given.get("smoothing", 0) / 2
        return (w if y else 1) * (target * positive / w + (1 - target) * negative)
    if loss == "focal":
        gamma = given.get("gamma", 2)
        return (1 - p) ** gamma * positive if y else p**gamma * negative
    shifted = max(p - given.get("margin", 0.05), 0.0)
    focus = shifted ** given.get("gamma_negative", 4) if shifted else 0.0
    return positive if y else -focus * math.log(1 - shifted)


@pytest.mark.parametrize(("loss", "given"), CASES)
@pytest.mark.parametrize("target", [0, 1])
@pytest.mark.parametrize("weight", [None, 2.5])
def test_values_are_those_of_the_papers(loss: str, given: dict[str, float], target: int, weight: float | None) -> None:
    targets = torch.full_like(LOGITS, target)
    pos_weight = None if weight is None else torch.full((LOGITS.shape[1],), weight, dtype=torch.float64)
    values = bound(loss, given).values(LOGITS, targets)
    values = values * element_weights(targets, torch.ones_like(targets), pos_weight)
    expected = [plain(loss, given, z, target, weight or 1.0) for z in LOGITS[0].tolist()]
    assert values[0].tolist() == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(("loss", "given"), CASES)
def test_extreme_logits_stay_finite(loss: str, given: dict[str, float]) -> None:
    logits = torch.tensor([[-1e4, 1e4, -1e4, 1e4]], dtype=torch.float32)
    targets = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    assert torch.isfinite(bound(loss, given).values(logits, targets)).all()
    assert torch.isfinite(bound(loss, given).gradient(logits, targets)).all()


@pytest.mark.parametrize(("loss", "given"), [case for case in CASES if LOSSES[case[0]].gradient])
def test_gradients_written_out_are_those_of_autograd(loss: str, given: dict[str, float]) -> None:
    logits = torch.randn(500, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 4
    logits = torch.cat([logits, LOGITS[:, :4], LOGITS[:, 3:]]).requires_grad_(True)
    targets = (torch.rand(logits.shape, generator=torch.Generator().manual_seed(1)) < 0.5).double()
    (expected,) = torch.autograd.grad(bound(loss, given).values(logits, targets).sum(), logits)
    torch.testing.assert_close(bound(loss, given).gradient(logits.detach(), targets), expected, rtol=0, atol=1e-10)


def squared(logits: Tensor, targets: Tensor, scale: float) -> Tensor:
    return scale * (logits - targets) ** 2


def test_a_loss_without_a_written_gradient_gets_it_from_autograd(monkeypatch: pytest.MonkeyPatch) -> None:
    options = Config().training.loss
    options._target_ = "squared"
    options.scale = 3.0  # type: ignore[attr-defined]
    declared = Loss("squared", "Squared", "squared error", f"{__name__}:squared", parameters={"scale": (float, None)})
    monkeypatch.setitem(LOSSES._items, "squared", declared)
    logits, targets = torch.tensor([[0.3, -2.0]], dtype=torch.float64), torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    with torch.inference_mode():
        gradient = bind_loss(options).gradient(logits, targets)
    torch.testing.assert_close(gradient, 6 * (logits - targets))


def random_case(rows: int = 12) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(2, rows, 3, dtype=torch.float64, generator=generator)
    targets = torch.randint(0, 2, (2, rows, 3), generator=generator).double()
    targets[torch.rand(targets.shape, generator=generator) < 0.3] = torch.nan
    return logits, targets


@pytest.mark.parametrize("loss", LOSSES)
def test_unknown_labels_do_not_count(loss: str) -> None:
    logits, targets = random_case()
    present = ~torch.isnan(targets)
    labels, known = known_labels(targets)
    weights = element_weights(labels, known, None)
    values, gradient = bound(loss, {})
    total = weighted_sum(values, logits, labels, weights)
    slope = gradient(logits, labels) * weights
    for k in range(2):
        alone = values(logits[k], torch.nan_to_num(targets[k]))[present[k]]
        assert total[k].item() == pytest.approx(alone.sum().item(), rel=1e-12)
    assert torch.equal(slope[~present], torch.zeros_like(slope[~present]))
    assert (slope[present] != 0).all()
    changed = torch.where(present, logits, torch.nan)
    assert torch.equal(weighted_sum(values, changed, labels, weights), total)


def test_weights_are_negatives_over_positives_of_the_known() -> None:
    nan = math.nan
    targets = torch.tensor([[1, 0, 0, nan], [1, 0, nan, nan], [0, 0, 1, nan], [0, 0, nan, nan], [0, 0, 1, nan]])
    assert positive_weights(targets).tolist() == [1.5, 5.0, 0.5, 0.0]


@pytest.mark.parametrize("given", ["balanced", [1.0, 2.0], []])
def test_weights_are_words_or_one_number_for_each_finding(given: object) -> None:
    config = Config()
    config.training.loss.pos_weight = given  # type: ignore[assignment]
    with pytest.raises(ConfigError, match="expected auto, none, or one number for each of the 3 findings"):
        class_weights(config, torch.zeros(4, 3), 3)


def test_names() -> None:
    assert LOSSES.resolve("torch.nn.BCEWithLogitsLoss").name == "bce"
    with pytest.raises(ConfigError, match=r"Unknown loss 'focl'. Known: focal"):
        LOSSES.resolve("focl")


def test_two_meanings_of_one_parameter_are_refused() -> None:
    """Losses may share a parameter that they declare alike; the config has one key for it."""
    parameters = LOSSES["focal"].parameters
    one = Loss("one", "One", "one", "", parameters=parameters)
    assert [f.name for f in dataclasses.fields(with_parameters(LossConfig, {"a": LOSSES["focal"], "b": one}))][
        -1
    ] == "gamma"
    other = Loss("two", "Two", "two", "", parameters={"gamma": (float, key(3.0, "Another gamma.", scope="stack"))})
    taken = Loss("three", "Three", "three", "", parameters={"pos_weight": parameters["gamma"]})
    for loss in (other, taken):
        with pytest.raises(ValueError, match="is declared already, with another meaning"):
            with_parameters(LossConfig, {"a": LOSSES["focal"], "b": loss})


def test_an_alias_of_a_closed_choice_is_its_registered_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OPTIMIZERS._aliases, "torch.optim.AdamW", "adamw")
    config = Config()
    set_key(config, "training.optimizer", "torch.optim.AdamW")
    assert config.training.optimizer == "adamw"
