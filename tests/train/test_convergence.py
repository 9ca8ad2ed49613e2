"""A linear probe is compared with the optimum of its own loss, as scikit-learn finds it, and carries a mark if far off."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score

from ctbench_core.config import Config
from ctbench_core.evaluate import evaluate_run
from ctbench_core.experiment import load_training, run_bank, run_experiment
from ctbench_core.runs import Convergence, convergence, disclosures_of, open_run, read_json
from ctbench_core.train import convergence as rules
from ctbench_core.train.logistic import LogisticPath
from ctbench_core.train.losses import element_weights, known_labels
from ctbench_core.train.trainer import Trainer

Build = Callable[..., Config]
# The larger part validates: its 30 patients have 10 of each class, as a comparison needs.
LINEAR = {
    "model._target_": "linear",
    "data.train_manifest": "valid.csv",
    "data.val_manifest": "train.csv",
    "training.precision": "float64",
    "training.max_epochs": 2,
}


@pytest.fixture
def make_run(make_config: Build, tiny_data: Path) -> Callable[..., rules.LinearRun]:
    """Return a builder of what a run's optimum depends on."""

    def build(changes: dict[str, Any] | None = None, dimensions: int = 16, unknown: bool = False) -> rules.LinearRun:
        config = make_config(tiny_data, {**LINEAR, **(changes or {})})
        dataset = load_training(config)
        wide = np.random.default_rng(0).normal(size=(len(dataset.matrix), max(0, dimensions - 16)))
        dataset.matrix = np.c_[dataset.matrix, wide].astype(np.float32)
        if unknown:
            manifest = dataset.manifests["train"]  # shared by all that read it
            targets = manifest.targets.copy()
            targets[::5, 0] = np.nan
            dataset.manifests["train"] = dataclasses.replace(manifest, targets=targets)
        trainer = Trainer([config], [dataset])
        weight_C = None if trainer.pos_weight_K1C is None else trainer.pos_weight_K1C[0, 0]
        known = int((~torch.isnan(trainer._train[0].targets)).sum())
        return rules.LinearRun(config, trainer.features, trainer._train[0], trainer._val[0], weight_C, known)

    return build


def arrays(run: rules.LinearRun, side: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the standardised features and targets of a side."""
    rows = getattr(run, side)
    return run.features.take(rows.rows, rows.scaler).double().numpy().copy(), rows.targets.numpy()


@pytest.mark.parametrize(
    ("changes", "dimensions", "unknown"),
    [
        ({"training.weight_decay": 1e-2}, 16, False),
        ({"training.weight_decay": 1e-2}, 80, False),  # more than two dimensions a row
        ({"training.weight_decay": 1e-3, "data.standardise": "zscore"}, 16, True),
        ({"training.loss.pos_weight": [2.0, 0.5, 3.0]}, 80, False),
        ({"training.loss.pos_weight": "none", "data.standardise": "zscore"}, 50, True),
    ],
)
def test_the_optimum_is_scikit_learns(
    make_run: Callable[..., rules.LinearRun],
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    dimensions: int,
    unknown: bool,
) -> None:
    run = make_run(changes, dimensions, unknown)
    monkeypatch.setattr(rules, "TOLERANCE", 1e-14)
    fitted = rules._fit(run, lambda: True)
    assert fitted is not None
    weights, c = fitted
    x, y = arrays(run, "train")
    known = ~np.isnan(y)
    decay = changes.get("training.weight_decay", 0)
    weakest = 100 / np.mean((x**2).sum(axis=1))
    assert c == pytest.approx(min(1 / (decay * known.sum()), weakest) if decay else weakest)
    x_val, y_val = arrays(run, "val")
    auprc = rules._auprc(run, weights)
    for k in range(y.shape[1]):
        rows = known[:, k]
        weight = 1.0 if run.pos_weight_C is None else float(run.pos_weight_C[k])
        model = LogisticRegression(C=c, tol=1e-12, max_iter=100_000)
        model.fit(x[rows], y[rows, k], sample_weight=np.where(y[rows, k] > 0, weight, 1.0))
        np.testing.assert_allclose(weights[k, :-1], model.coef_[0], rtol=1e-3, atol=1e-5)
        assert float(weights[k, -1]) == pytest.approx(model.intercept_[0], rel=1e-3, abs=1e-5)
        expected = average_precision_score(y_val[:, k], model.decision_function(x_val))
        assert auprc[k] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_penalty_is_the_runs_own(
    make_run: Callable[..., rules.LinearRun], monkeypatch: pytest.MonkeyPatch, smoothing: float
) -> None:
    """The gradient of what training minimises, mean loss + weight_decay |w|^2 / 2, is 0 at the optimum."""
    changes = {"training.weight_decay": 0.02, "training.loss.smoothing": smoothing}
    run = make_run(changes, unknown=True)
    monkeypatch.setattr(rules, "TOLERANCE", 1e-14)
    weights, _ = rules._fit(run, lambda: True) or (torch.empty(0), 0.0)
    x, _ = arrays(run, "train")
    labels, known = known_labels(run.train.targets)
    weights = weights.clone().requires_grad_(True)
    logits = torch.as_tensor(x) @ weights[:, :-1].T + weights[:, -1]
    smooth = labels * (1 - smoothing) + smoothing / 2
    values = F.binary_cross_entropy_with_logits(logits, smooth, reduction="none")
    loss = (values * element_weights(labels, known, run.pos_weight_C)).sum() / known.sum()
    (loss + 0.01 * weights[:, :-1].square().sum()).backward()
    assert weights.grad is not None
    assert float(weights.grad.abs().max()) < 1e-6


def test_the_optimum_of_some_findings_is_that_of_all_in_these(make_run: Callable[..., rules.LinearRun]) -> None:
    run = make_run({"training.weight_decay": 1e-2}, unknown=True)
    every, c = rules._fit(run, lambda: True) or (torch.empty(0), 0.0)
    some, same_c = rules._fit(run.findings(np.array([True, False, True])), lambda: True) or (torch.empty(0), 0.0)
    assert c == same_c
    np.testing.assert_allclose(some, every[[0, 2]], rtol=1e-9)


def test_the_decay_of_adamw_is_no_penalty(make_run: Callable[..., rules.LinearRun]) -> None:
    changes = {"training.weight_decay": 0.1}
    assert math.isfinite(make_run(changes).penalty())
    assert make_run({**changes, "training.optimizer": "adamw"}).penalty() == math.inf


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"model._target_": "mlp", "model.params.hidden_dims": []}, True),
        ({"model.inputs": "concat"}, True),
        ({"model._target_": "mlp", "model.params.hidden_dims": [8]}, False),
        ({"model.inputs": "gated"}, False),
        ({"training.loss._target_": "focal"}, False),
        ({"model._target_": "logistic"}, False),
    ],
)
def test_only_linear_heads_with_cross_entropy_have_an_optimum(
    make_config: Build, tiny_data: Path, changes: dict[str, Any], expected: bool
) -> None:
    assert rules.has_optimum(make_config(tiny_data, {**LINEAR, **changes})) is expected


@pytest.mark.parametrize(
    ("losses", "expected"),
    [([5, 4, 3, 2, 1], True), ([1], True), ([1, 1, 1, 1], False), ([1, 2], False), ([9, 9, *range(10, 0, -1)], True)],
)
def test_a_loss_still_falls_when_its_last_epochs_lie_below_those_before(losses: list[float], expected: bool) -> None:
    assert rules.still_falls(losses) is expected


def test_a_probe_stopped_early_carries_the_mark_and_a_converged_one_does_not(
    make_config: Build, tiny_data: Path
) -> None:
    tests = {"data.test_manifests": ["test.csv"]}
    short = make_config(tiny_data, {**LINEAR, **tests, "training.learning_rate": 1e-5})
    result = run_experiment(short)
    run = open_run(result["run_dir"])
    record = convergence(run)
    assert record is not None and record.converged is False and record.falling
    assert record.gap == pytest.approx(record.optimum - record.value) and record.gap > 0.01
    per_class = run.best()["val_metrics"]["per_class"]
    assert record.findings == 3
    assert record.value == pytest.approx(np.mean([values["auprc"] for values in per_class.values()]))
    assert (read_json(run.paths.best_metrics) or {})["convergence"]["converged"] is False
    assert record.sentence() in result["warnings"]
    assert "Raise training.learning_rate or training.max_epochs, or use model=logistic." in record.sentence()
    assert record.sentence() in evaluate_run(run.paths.root)["test"]["test.csv"]["warnings"]
    assert disclosures_of([run], "test").warnings.count(record.sentence()) == 1
    long = make_config(tiny_data, {**LINEAR, "training.learning_rate": 0.1, "training.max_epochs": 60})
    result = run_experiment(long)
    record = convergence(open_run(result["run_dir"]))
    assert record is not None and record.converged and not record.mark and not record.sentence()
    assert not any("onverged" in text for text in result["warnings"])


def test_runs_of_the_same_rows_and_penalty_share_an_optimum(
    make_config: Build, tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits: list[float] = []
    fit = LogisticPath.fit
    monkeypatch.setattr(LogisticPath, "fit", lambda path, c, *rest: (fits.append(c), fit(path, c, *rest))[1])
    changes = [{"utils.seed": 1}, {"utils.seed": 2}, {"training.learning_rate": 0.5}, {"training.weight_decay": 0.1}]
    results = run_bank([make_config(tiny_data, {**LINEAR, **change}) for change in changes])
    records = [convergence(open_run(result["run_dir"])) for result in results]
    assert len(fits) == 2  # of the last, and of the others
    assert len({record.optimum for record in records[:3] if record}) == 1
    assert all(records)


def test_a_run_resumed_after_its_last_epoch_has_the_same_record(make_config: Build, tiny_data: Path) -> None:
    config = make_config(tiny_data, {**LINEAR, "training.max_epochs": 4})
    whole = convergence(open_run(run_experiment(config)["run_dir"]))
    first = Path(run_experiment(make_config(tiny_data, {**LINEAR, "training.max_epochs": 2}))["run_dir"])
    run_experiment(config, first, resume=True)
    assert convergence(open_run(first)) == whole


def test_few_validation_patients_allow_no_comparison_and_the_record_says_so(
    make_config: Build, tiny_data: Path
) -> None:
    config = make_config(tiny_data, {**LINEAR, "data.train_manifest": "train.csv", "data.val_manifest": "test.csv"})
    result = run_experiment(config)
    record = convergence(open_run(result["run_dir"]))
    assert record is not None and record.converged is None and not record.mark
    assert "No finding has 10 validation patients of each class" in record.sentence()
    assert not any("optimum" in text for text in result["warnings"])


def test_memory_that_runs_out_costs_the_comparison_not_the_run(
    make_config: Build, tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(rules, "_fit", fail)
    result = run_experiment(make_config(tiny_data, LINEAR))
    assert result["state"] == "finished"
    record = convergence(open_run(result["run_dir"]))
    assert record is not None and "Memory ran out" in record.sentence()


def test_runs_from_before_have_no_record(make_config: Build, tiny_data: Path) -> None:
    run = open_run(run_experiment(make_config(tiny_data, LINEAR))["run_dir"])
    content = read_json(run.paths.best_metrics)
    content.pop("convergence")
    run.paths.best_metrics.write_text(str(content).replace("'", '"'))
    assert convergence(open_run(run.paths.root)) is None


def test_a_loss_that_rises_asks_for_a_lower_rate() -> None:
    record = Convergence(0.7, 0.8, 1.0, 3, falling=False)
    assert "Lower training.learning_rate, or use model=logistic." in record.sentence()
    assert Convergence(0.795, 0.8, 1.0, 3).converged and Convergence(0.785, 0.8, 1.0, 3).converged is False
