"""The validation set of a run, finding by finding, before a test set is evaluated."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from ctbench_core.config import Config, set_keys
from ctbench_core.evaluate import evaluate_on_validation
from ctbench_core.experiment import run_experiment
from ctbench_core.metrics import FOLDS, fit_calibration, patient_folds
from ctbench_core.runs import disclosures_of, open_run, repair
from ctbench_core.runs.damage import damage_of


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Any:
    keys = {
        "paths.data_root": str(tiny_data / "features"),
        "paths.manifest_dir": str(tiny_data / "manifests"),
        "paths.outputs_root": str(tmp_path_factory.mktemp("validation")),
        "training.max_epochs": 4,
        "model.params.hidden_dims": [8],
        "utils.device": "cpu",
    }
    return evaluate_on_validation(run_experiment(set_keys(Config(), keys))["run_dir"])


@pytest.fixture(scope="module")
def stored(result: Any) -> dict[str, Any]:
    return json.loads((Path(result["run_dir"]) / "validation" / "metrics.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def scores(result: Any) -> pd.DataFrame:
    return pd.read_parquet(Path(result["run_dir"]) / "validation" / "scores.parquet")


def _highest_f1(y: np.ndarray, p: np.ndarray) -> float:
    values = np.unique(p)
    return float(max(values, key=lambda one: (sk.f1_score(y, p >= one, zero_division=0), one)))


def test_the_ranking_is_that_of_the_best_epoch(result: Any, stored: dict[str, Any], scores: pd.DataFrame) -> None:
    best = open_run(result["run_dir"]).best()
    assert stored["best_epoch"] == result["best_epoch"] == best["epoch"]
    assert stored["auprc"] == pytest.approx(best["val_metrics"]["auprc"], abs=1e-6)
    for label, values in stored["per_class"].items():
        y, p = scores[f"target_{label}"].to_numpy(int), scores[f"prob_{label}"].to_numpy()
        assert values["auroc"] == pytest.approx(sk.roc_auc_score(y, p), abs=1e-12)
        assert values["support"] == y.sum()


def test_no_row_is_called_by_a_threshold_that_its_patient_chose(stored: dict[str, Any], scores: pd.DataFrame) -> None:
    fold_of = patient_folds(scores["patient"].to_numpy(str))
    differs = 0
    for label, values in stored["per_class"].items():
        y, p = scores[f"target_{label}"].to_numpy(int), scores[f"prob_{label}"].to_numpy()
        calls = np.zeros(len(y), int)
        for fold in range(FOLDS):
            own = fold_of == fold
            calls[own] = p[own] >= _highest_f1(y[~own], p[~own])
        assert values["f1_tuned"] == pytest.approx(sk.f1_score(y, calls, zero_division=0), abs=1e-9), label
        assert values["threshold_tuned"] == pytest.approx(_highest_f1(y, p), abs=1e-12)
        differs += values["f1_tuned"] != sk.f1_score(y, p >= values["threshold_tuned"])
    assert differs  # the case would notice thresholds that were chosen on all


def test_calibration_is_cross_fitted(result: Any, scores: pd.DataFrame) -> None:
    table = pd.read_csv(Path(result["run_dir"]) / "validation" / "calibration.csv").set_index(["finding", "stage"])
    fold_of = patient_folds(scores["patient"].to_numpy(str))
    labels = list(table.index.get_level_values(0).unique())
    targets, logits = (scores[[f"{part}_{label}" for label in labels]].to_numpy(float) for part in ("target", "logit"))
    fitted = np.empty(logits.shape)
    for fold in range(FOLDS):
        own = fold_of == fold
        fitted[own] = fit_calibration(targets[~own], logits[~own], "platt").apply(logits[own])
    for c, label in enumerate(labels):
        brier = np.mean((fitted[:, c] - targets[:, c]) ** 2)
        assert table.loc[(label, "platt"), "brier"] == pytest.approx(brier, abs=1e-12)


def test_it_is_marked_and_no_test_is_evaluated(result: Any, stored: dict[str, Any]) -> None:
    run = open_run(result["run_dir"])
    assert stored["test_set"]["name"] == "validation" and stored["openings"] is None
    assert any("it chose the epoch" in text for text in stored["warnings"])
    assert result["warnings"] == stored["warnings"]
    assert run.evaluations() == []
    assert disclosures_of([run], "validation").n == stored["n"]
    assert not (run.store / "evaluations.jsonl").exists()
    table = pd.read_csv(run.paths.validation.per_class)
    assert table["warning"].str.contains("it chose the epoch").all()


def test_damaged_validation_results_are_moved_and_computed_again(
    make_config: Callable[..., Config], tiny_data: Path, tmp_path: Path
) -> None:
    folder = Path(run_experiment(make_config(tiny_data, {"paths.outputs_root": str(tmp_path)}))["run_dir"])
    evaluate_on_validation(folder)
    (folder / "validation" / "metrics.json").write_text("[]")
    assert "validation/metrics.json" in damage_of(folder).replace("\\", "/")
    assert repair(tmp_path, folder)
    assert not damage_of(folder, thorough=True)
    evaluate_on_validation(folder)
    assert (folder / "validation" / "metrics.json").is_file()


def test_the_verb_prints_it_and_names_what_it_cannot_evaluate(result: Any, cli: Callable[..., Any]) -> None:
    ended = cli("evaluate", f"run={result['run_dir']}", "on=validation")
    assert ended.code == 0, ended.err
    assert ended.json["validation"]["auprc"] == result["validation"]["auprc"]
    assert "it chose the epoch" in ended.out
    refused = cli("evaluate", f"run={result['run_dir']}", "on=tests")
    assert refused.code == 2
    assert "on is 'tests'; expected validation" in refused.json["error"]
