"""Tuning on validation: no test set, however wrong, changes a threshold, a calibration or the selected epoch."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ctbench_core.config import Config
from ctbench_core.evaluate import RULES, evaluate_run
from ctbench_core.evaluate.tuning import calibration_map, cross_fitted_probabilities
from ctbench_core.experiment import run_experiment
from ctbench_core.metrics import choose_thresholds, fit_calibration, patient_folds
from ctbench_core.runs import Ledger, RunPaths


def flip_labels(path: Path) -> None:
    """Flip every label of a manifest, and give each volume the features of another."""
    with path.open(newline="", encoding="utf-8") as file:
        head, *rows = list(csv.reader(file))
    shifted = rows[1:] + rows[:1]
    for row, other in zip(rows, [list(row) for row in shifted]):
        row[1:3] = other[1:3]
        row[3:] = [str(1 - int(value)) for value in row[3:]]
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([head, *rows])


def test_a_poisoned_test_set_changes_no_choice(data: Path, make_config: Callable[..., Config]) -> None:
    config = make_config(data, {"evaluation.after_training": True})
    clean = RunPaths(Path(run_experiment(config)["run_dir"]))
    flip_labels(data / "manifests" / "test.csv")
    poisoned = RunPaths(Path(run_experiment(config)["run_dir"]))
    assert json.loads(clean.tuning.read_text()) == json.loads(poisoned.tuning.read_text())
    assert json.loads(clean.best_metrics.read_text()) == json.loads(poisoned.best_metrics.read_text())
    both = [json.loads(paths.evaluation("test").metrics.read_text()) for paths in (clean, poisoned)]
    for label, values in both[0]["per_class"].items():
        assert values["threshold_tuned"] == both[1]["per_class"][label]["threshold_tuned"]
    # The poisoned test was calibrated by the maps of the clean validation.
    tuning, bundle = json.loads(clean.tuning.read_text()), poisoned.evaluation("test")
    scores, stored = pd.read_parquet(bundle.scores), pd.read_csv(bundle.calibration)
    for method in ("platt", "temperature"):
        logits = scores[[f"logit_{label}" for label in tuning["labels"]]].to_numpy(float)
        forecast = calibration_map(tuning, tuning["labels"], method).apply(logits)
        expected = ((forecast - scores[[f"target_{label}" for label in tuning["labels"]]].to_numpy(float)) ** 2).mean(0)
        assert stored.loc[stored["stage"] == method, "brier"].tolist() == pytest.approx(expected.tolist(), abs=1e-12)
    # The poison did reach the test metrics.
    assert both[0]["auroc"] != both[1]["auroc"]


def test_thresholds_and_maps_are_those_of_the_validation_scores(config: Config) -> None:
    run_dir = Path(run_experiment(config)["run_dir"])
    assert not (run_dir / "validation").exists()
    metrics = evaluate_run(run_dir)["test"]["test.csv"]
    paths = RunPaths(run_dir)
    frame, tuning = pd.read_parquet(paths.validation_scores), json.loads(paths.tuning.read_text())
    labels = tuning["labels"]
    targets = frame[[f"target_{label}" for label in labels]].to_numpy(float)
    probabilities = frame[[f"prob_{label}" for label in labels]].to_numpy(float)
    for rule in RULES:
        assert (
            list(tuning["thresholds"][rule].values()) == choose_thresholds(targets, probabilities, rule).values.tolist()
        )
    fitted = fit_calibration(targets, frame[[f"logit_{label}" for label in labels]].to_numpy(float))
    assert list(tuning["calibration"]["platt"]["slope"].values()) == pytest.approx(fitted.slope.tolist())
    assert metrics["optimism"]["auroc"] == pytest.approx(tuning["validation"]["auroc"] - metrics["auroc"])
    assert np.isfinite(metrics["f1_tuned"])


def test_the_bundle_holds_calibration_before_and_after(config: Config) -> None:
    run_dir = Path(run_experiment(config)["run_dir"])
    evaluate_run(run_dir)
    bundle = RunPaths(run_dir).evaluation("test")
    table = pd.read_csv(bundle.calibration)
    assert set(table["stage"]) == {"before", "platt", "temperature"}
    bins = pd.read_parquet(bundle.reliability)
    rows = bins.groupby(["finding", "stage"])["rows"].sum()
    assert (rows == len(pd.read_parquet(bundle.scores))).all()


def test_without_validation_tests_are_evaluated_with_a_warning(config: Config, data: Path) -> None:
    config.paths.manifest_dir = str(data / "manifests")
    run_dir = Path(run_experiment(config)["run_dir"])
    (data / "manifests" / "train.csv").unlink()
    result = evaluate_run(run_dir)
    assert "f1_tuned" not in result["test"]["test.csv"]
    assert any("could not be fitted on validation" in text for text in result["warnings"])
    assert len(Ledger(config.paths.outputs_root).openings()) == 1


@pytest.mark.parametrize("method", ["platt", "temperature"])
def test_validation_is_calibrated_by_maps_of_other_patients(method: str) -> None:
    rng = np.random.default_rng(4)
    targets = (rng.random((60, 2)) < 0.4).astype(float)
    logits, patients = rng.normal(size=(60, 2)) + targets, np.arange(60) // 2
    calibrated = cross_fitted_probabilities(targets, logits, patients, method)
    folds = patient_folds(patients)
    for row in range(60):
        others = folds != folds[row]
        assert not (patients[others] == patients[row]).any()
        expected = fit_calibration(targets[others], logits[others], method).apply(logits[row : row + 1])
        assert calibrated[row] == pytest.approx(expected[0], abs=1e-12)
