"""A run trained on CT-RATE's tables is judged on RAD-ChestCT's by the label map, and every number is computed apart."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import brier_score_loss, roc_auc_score

from ctbench_core.config import KEYS, Config, get_key, set_key
from ctbench_core.errors import ConfigError, ManifestError
from ctbench_core.evaluate import evaluate_run, evaluated_config, score_table
from ctbench_core.evaluate.predictions import ScoreOptions
from ctbench_core.experiment import run_experiment
from ctbench_core.report import run_paper
from ctbench_core.runs import disclosures_of, open_run

FINDINGS = ["Lung nodule", "Mosaic attenuation pattern", "Pulmonary fibrotic sequela", "Cardiomegaly", "Own finding"]
JUDGED = ["Lung nodule", "Pulmonary fibrotic sequela", "Cardiomegaly"]
COLUMNS = ["nodule", "fibrosis", "scarring", "cardiomegaly", "air_trapping", "mass"]
DIMENSIONS = 8
DIRECTIONS = np.random.default_rng(5).normal(size=(len(FINDINGS), DIMENSIONS))
SHARES = {"train": 0.5, "valid": 0.4, "test": 0.2}


def _vectors(folder: Path, names: list[str], seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(len(names), DIMENSIONS)).astype(np.float32)
    folder.mkdir(parents=True, exist_ok=True)
    for name, vector in zip(names, vectors):
        np.save(folder / f"{name}.npy", vector)
    return vectors


def _labels(vectors: np.ndarray, share: float, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=(len(vectors), len(FINDINGS)))
    scores = vectors @ DIRECTIONS.T + 2 * noise
    return (scores > np.quantile(scores, 1 - share, axis=0)).astype(int)


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write CT-RATE-shaped tables of 80 + 60 volumes, and a RAD-ChestCT-shaped one of 90, each with its features."""
    root = tmp_path_factory.mktemp("external")
    for split, count in (("train", 80), ("valid", 60)):
        names = [f"{split}_{i}_a_1" for i in range(1, count + 1)]
        labels = _labels(_vectors(root / "ctrate" / "features", names, count), SHARES[split], count)
        table = pd.DataFrame({"VolumeName": [f"{name}.nii.gz" for name in names]})
        table["visual_feature_path"] = [f"{name}.npy" for name in names]
        _write(table.join(pd.DataFrame(labels, columns=FINDINGS)), root / "ctrate" / "manifests" / f"{split}.csv")
    names = [f"trn{i:05d}" for i in range(90)]
    labels = _labels(_vectors(root / "rad" / "features", names, 90), SHARES["test"], 90)
    table = pd.DataFrame({"NoteAcc_DEID": names, "MRN_DEID": [f"p{i // 2}" for i in range(90)]})
    table["visual_feature_path"] = [f"{name}.npy" for name in names]
    scars = np.random.default_rng(2).integers(0, 2, 90) == 1
    table["nodule"], table["cardiomegaly"] = labels[:, 0], labels[:, 3]
    table["fibrosis"], table["scarring"] = labels[:, 2] & scars, labels[:, 2] & ~scars
    table["air_trapping"], table["mass"] = labels[:, 1], labels[:, 4]
    table = table.astype(str)
    table.loc[4, "cardiomegaly"] = ""
    table.loc[5, ["fibrosis", "scarring"]] = "", "1"
    table.loc[6, ["fibrosis", "scarring"]] = "0", ""
    _write(table, root / "rad" / "manifests" / "imgvalid.csv")
    return root


def _write(table: pd.DataFrame, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, index=False)


def _config(places: Path, changes: dict[str, Any]) -> Config:
    config = Config()
    values = {
        "paths.data_root": str(places / "ctrate" / "features"),
        "paths.manifest_dir": str(places / "ctrate" / "manifests"),
        "paths.outputs_root": str(places / "outputs"),
        "model._target_": "linear",
        "training.max_epochs": 15,
        "training.learning_rate": 0.05,
        "utils.device": "cpu",
    }
    for name, value in {**values, **changes}.items():
        set_key(config, name, value)
    return config


@pytest.fixture(scope="module")
def run_dir(places: Path) -> Path:
    return Path(run_experiment(_config(places, {}))["run_dir"])


def _target_config(run_dir: Path, places: Path, **changes: Any) -> Config:
    config = open_run(run_dir).config.copy()
    values = {
        "data.test_manifests": ["imgvalid.csv"],
        "paths.manifest_dir": str(places / "rad" / "manifests"),
        "paths.data_root": str(places / "rad" / "features"),
        "data.columns.volume": "NoteAcc_DEID",
        "data.columns.patient": "MRN_DEID",
        "data.labels.rename": "@ctrate-to-radchestct",
        "data.label_origin": "report-derived",
        **changes,
    }
    for name, value in values.items():
        set_key(config, name, value)
    return config


@pytest.fixture(scope="module")
def result(run_dir: Path, places: Path) -> dict[str, Any]:
    return evaluate_run(run_dir, config=_target_config(run_dir, places))


@pytest.fixture(scope="module")
def metrics(result: dict[str, Any]) -> dict[str, Any]:
    return result["test"]["imgvalid.csv"]


def _truth(places: Path) -> pd.DataFrame:
    """Return the targets of RAD-ChestCT under the names here, by pandas alone."""
    table = pd.read_csv(places / "rad" / "manifests" / "imgvalid.csv").set_index("NoteAcc_DEID")
    scars = table[["fibrosis", "scarring"]]
    joined = scars.max(axis=1).where(scars.notna().all(axis=1) | (scars == 1).any(axis=1))
    return pd.DataFrame(
        {"Lung nodule": table["nodule"], "Pulmonary fibrotic sequela": joined, "Cardiomegaly": table["cardiomegaly"]}
    )


def test_only_mapped_findings_are_judged_by_the_targets_of_the_other_set(
    run_dir: Path, places: Path, metrics: dict[str, Any]
) -> None:
    assert list(metrics["per_class"]) == JUDGED
    assert (
        metrics["label_origin"] == disclosures_of([open_run(run_dir)], "imgvalid").label_origins == ["report-derived"]
    )
    assert disclosures_of([open_run(run_dir)], "test").label_origins == ["unknown"]
    assert metrics["n"] == {"volumes": 90, "exams": 90, "patients": 45}
    scores = pd.read_parquet(run_dir / "evaluation" / "imgvalid" / "scores.parquet").set_index("volumename")
    truth = _truth(places)
    weights = torch.load(run_dir / "checkpoints" / "final_model.pt", weights_only=True)
    vectors = np.stack([np.load(places / "rad" / "features" / f"{name}.npy") for name in scores.index])
    weight, bias = (value.double().numpy() for value in weights.values())
    for label in JUDGED:
        expected = truth.loc[scores.index, label]
        assert scores[f"target_{label}"].astype(float).equals(expected.astype(float).rename(f"target_{label}"))
        own = FINDINGS.index(label)
        np.testing.assert_allclose(scores[f"logit_{label}"], vectors @ weight[own] + bias[own], rtol=1e-4, atol=1e-5)
        known = expected.notna()
        auroc = roc_auc_score(expected[known], scores.loc[known, f"prob_{label}"])
        assert metrics["per_class"][label]["auroc"] == pytest.approx(auroc, abs=1e-12)
    assert truth.loc[["trn00005", "trn00006"], "Pulmonary fibrotic sequela"].isna().tolist() == [False, True]


def test_both_sides_list_what_has_no_counterpart(metrics: dict[str, Any], result: dict[str, Any]) -> None:
    external = metrics["external"]
    assert external["label_map"]["name"] == "ctrate-to-radchestct"
    assert set(external["not_judged"]) == {"Mosaic attenuation pattern", "Own finding"}
    assert external["not_judged"]["Mosaic attenuation pattern"].startswith("No column: air_trapping")
    assert external["not_judged"]["Own finding"] == "not in the label map"
    assert set(external["unused_columns"]) == {"air_trapping", "mass"}
    assert external["pairs"]["Pulmonary fibrotic sequela"]["columns"] == ["fibrosis", "scarring"]
    assert external["pairs"]["Pulmonary fibrotic sequela"]["note"].startswith("Both count")
    said = " ".join(metrics["warnings"])
    assert "not judged: Mosaic attenuation pattern (No column" in said and "Own finding (not in the label map)" in said
    assert "not used: air_trapping, mass (2 columns)" in said and "label map ctrate-to-radchestct" in said
    assert not [text for text in result["warnings"] if "changed" in text or "verifiable" in text]


def test_prevalences_of_both_sets_and_n_are_those_of_pandas(
    run_dir: Path, places: Path, metrics: dict[str, Any]
) -> None:
    source = {name: pd.read_csv(places / "ctrate" / "manifests" / f"{name}.csv") for name in ("train", "valid")}
    truth, table = _truth(places), pd.read_csv(run_dir / "evaluation" / "imgvalid" / "per_class.csv")
    assert table["finding"].tolist() == JUDGED
    for label in JUDGED:
        expected = {
            "prevalence_train": source["train"][label].mean(),
            "prevalence_val": source["valid"][label].mean(),
            "prevalence": truth[label].mean(),
            "labelled": truth[label].notna().sum(),
        }
        for key, value in expected.items():
            assert metrics["per_class"][label][key] == pytest.approx(value, abs=1e-7), (label, key)
            assert table.set_index("finding").loc[label, key] == pytest.approx(value, abs=1e-7)
    assert metrics["per_class"]["Cardiomegaly"]["labelled"] == 89
    assert table["warning"].str.contains("label map ctrate-to-radchestct").all()


def test_recalibration_is_the_shift_of_log_odds_from_validation_to_test(
    run_dir: Path, places: Path, metrics: dict[str, Any]
) -> None:
    scores = pd.read_parquet(run_dir / "evaluation" / "imgvalid" / "scores.parquet")
    tuning = json.loads((run_dir / "validation" / "tuning.json").read_text(encoding="utf-8"))
    table = pd.read_csv(run_dir / "evaluation" / "imgvalid" / "calibration.csv").set_index(["finding", "stage"])
    validation = pd.read_csv(places / "ctrate" / "manifests" / "valid.csv")
    assert set(table.index.get_level_values("stage")) == {"before", "platt", "temperature", "recalibrated"}
    for label in JUDGED:
        known = scores[f"target_{label}"].notna()
        y, z = scores.loc[known, f"target_{label}"].astype(int), scores.loc[known, f"logit_{label}"]
        slope, intercept = (tuning["calibration"]["platt"][part][label] for part in ("slope", "intercept"))
        platt = 1 / (1 + np.exp(-(slope * z + intercept)))
        s, t = validation[label].mean(), y.mean()
        positive, negative = platt * t / s, (1 - platt) * (1 - t) / (1 - s)  # Bayes, with the new prior
        direct = positive / (positive + negative)
        assert table.loc[(label, "platt"), "brier"] == pytest.approx(brier_score_loss(y, platt), abs=1e-9)
        assert table.loc[(label, "recalibrated"), "brier"] == pytest.approx(brier_score_loss(y, direct), abs=1e-9)
        stored = metrics["per_class"][label]
        assert stored["brier_recalibrated"] == pytest.approx(brier_score_loss(y, direct), abs=1e-9)
        assert stored["brier_platt"] == pytest.approx(brier_score_loss(y, platt), abs=1e-9)
        # Order stays, and with it the slope; where prevalence alone differs, the intercept comes near 0.
        assert stored["slope_recalibrated"] == pytest.approx(stored["slope_platt"], abs=1e-6)
        shift = np.log(t / (1 - t)) - np.log(s / (1 - s))
        assert stored["intercept_recalibrated"] == pytest.approx(stored["intercept_platt"] - shift, abs=1e-6)
        assert "ece_recalibrated" in stored and "ece_platt" in stored
    assert {"brier_recalibrated", "slope_platt"} <= set(
        pd.read_csv(run_dir / "evaluation" / "imgvalid" / "per_class.csv")
    )


def test_methods_and_the_paper_table_state_map_prevalences_and_recalibration(
    run_dir: Path, metrics: dict[str, Any], tmp_path: Path
) -> None:
    files = run_paper(open_run(run_dir), "imgvalid")
    text = files["methods.txt"]
    assert "label map ctrate-to-radchestct (SHA-256" in text
    assert "for 3 findings" in text
    assert "Mosaic attenuation pattern (No column" in text
    nodule = metrics["per_class"]["Lung nodule"]
    shares = "/".join(f"{nodule[key]:.3f}"[1:] for key in ("prevalence_train", "prevalence_val", "prevalence"))
    assert f"Lung nodule {shares} (N 90)" in text
    assert "Saerens" in text and "uses its labels" in text
    (tmp_path / "table.csv").write_text(files["table.csv"], encoding="utf-8")
    table = pd.read_csv(tmp_path / "table.csv").set_index("finding")
    assert table.loc["Cardiomegaly", "labelled"] == 89
    assert table.loc["Lung nodule", "prevalence_val"] == pytest.approx(0.4)


def test_the_command_line_shows_prevalences_and_recalibration(
    run_dir: Path, places: Path, metrics: dict[str, Any]
) -> None:
    from ctbench_core.cli.summaries import run_table
    from ctbench_core.evaluate import run_summary
    from ctbench_core.runs import read_metrics

    run = open_run(run_dir)
    stored = read_metrics(run.paths.evaluation("imgvalid").metrics)
    assert stored is not None and stored.to_json()["external"] == metrics["external"]
    text = run_table(run_summary(run, {"imgvalid.csv": stored}, []))
    for part in ("Prev. train", "Prev. val.", "Brier, recalibrated", "uses its labels", "not used: air_trapping, mass"):
        assert part in text


def test_a_test_set_of_the_same_data_has_nothing_external(run_dir: Path, places: Path) -> None:
    own = evaluate_run(run_dir, ["valid.csv"])["test"]["valid.csv"]
    assert "external" not in own and list(own["per_class"]) == FINDINGS
    assert "prevalence_train" not in own["per_class"]["Lung nodule"]


def test_findings_can_be_left_out_and_the_reason_is_said(run_dir: Path, places: Path) -> None:
    table = pd.read_csv(places / "rad" / "manifests" / "imgvalid.csv", dtype=str)
    _write(table, places / "rad" / "manifests" / "again.csv")
    changes = {"data.labels.only": ["Lung nodule", "Cardiomegaly"], "evaluation.detail": "scores"}
    config = _target_config(run_dir, places, **changes, **{"data.test_manifests": ["again.csv"]})
    external = evaluate_run(run_dir, config=config)["test"]["again.csv"]["external"]
    assert set(external["pairs"]) == {"Lung nodule", "Cardiomegaly"}
    assert external["not_judged"]["Pulmonary fibrotic sequela"] == "left out by data.labels.only"
    assert external["unused_columns"]["scarring"] == "Pulmonary fibrotic sequela is not judged"


def test_maps_that_do_not_fit_are_errors(run_dir: Path, places: Path, tmp_path: Path) -> None:
    def evaluate(**changes: Any) -> None:
        evaluate_run(run_dir, config=_target_config(run_dir, places, **changes))

    with pytest.raises(ConfigError, match=r"no such label map. Known: @ctrate-to-radchestct"):
        evaluate(**{"data.labels.rename": "@ctrate-to-merlin"})
    table = pd.read_csv(places / "rad" / "manifests" / "imgvalid.csv").drop(columns="scarring")
    _write(table, tmp_path / "manifests" / "imgvalid.csv")
    with pytest.raises(ManifestError, match=r"no column 'scarring'.*leave its finding out with data.labels.only"):
        evaluate(**{"paths.manifest_dir": str(tmp_path / "manifests")})
    own = pd.DataFrame([["Another", "nodule", "x", "y", "", ""]], columns=_MAP_COLUMNS)
    own.to_csv(tmp_path / "own.csv", index=False)
    with pytest.raises(ConfigError, match=r"None of Lung nodule.* is read by data.labels.rename"):
        evaluate(**{"data.labels.rename": str(tmp_path / "own.csv")})


_MAP_COLUMNS = ["finding", "columns", "finding_definition", "columns_definition", "note", "not_mapped"]


def test_predictions_are_scored_against_a_manifest_read_by_the_map(
    run_dir: Path, places: Path, result: dict[str, Any], metrics: dict[str, Any]
) -> None:
    table = run_dir / "evaluation" / "imgvalid" / "scores.parquet"
    config = Config()
    for name, value in {"volume": "volumename", "patient": "patient"}.items():
        set_key(config, f"data.columns.{name}", value)
    config.data.labels.rename = "@ctrate-to-radchestct"
    manifest = places / "rad" / "named.csv"
    named = pd.read_csv(places / "rad" / "manifests" / "imgvalid.csv", dtype=str)
    _write(named.rename(columns={"NoteAcc_DEID": "volumename", "MRN_DEID": "patient"}), manifest)
    scored = score_table(table, ScoreOptions(manifest=str(manifest)), config)
    for label in JUDGED:
        assert scored["per_class"][label]["auroc"] == pytest.approx(metrics["per_class"][label]["auroc"], abs=1e-12)
    with pytest.raises(ConfigError, match="is a label map of a manifest's columns"):
        score_table(table, ScoreOptions(), config)


def test_the_command_takes_the_map_and_the_columns_of_the_other_set(
    cli: Callable[..., Any], run_dir: Path, places: Path
) -> None:
    table = pd.read_csv(places / "rad" / "manifests" / "imgvalid.csv", dtype=str)
    _write(table, places / "rad" / "manifests" / "command.csv")
    ended = cli(
        "evaluate",
        f"run={run_dir}",
        "data.test_manifests=[command.csv]",
        f"paths.manifest_dir={places / 'rad' / 'manifests'}",
        f"paths.data_root={places / 'rad' / 'features'}",
        "data.labels.rename=@ctrate-to-radchestct",
        "data.columns.volume=NoteAcc_DEID",
        "data.columns.patient=MRN_DEID",
        "evaluation.detail=scores",
    )
    assert ended.code == 0, ended.err
    assert list(ended.json["test"]["command.csv"]["per_class"]) == JUDGED
    assert "Mosaic attenuation pattern (No column" in ended.out and "Prev. train" in ended.out
    assert cli("evaluate", f"run={run_dir}", "data.labels.rename=@radchestct").code == 2


def test_a_test_set_beside_the_training_data_is_read_by_the_map_and_the_training_data_are_not(
    run_dir: Path, places: Path, metrics: dict[str, Any]
) -> None:
    table = pd.read_csv(places / "rad" / "manifests" / "imgvalid.csv", dtype=str)
    table["visual_feature_path"] = [str(places / "rad" / "features" / name) for name in table["visual_feature_path"]]
    _write(table, places / "ctrate" / "manifests" / "beside.csv")
    own = {name: str(places / "ctrate" / folder) for name, folder in PLACES.items()}
    config = _target_config(run_dir, places, **own, **{"data.test_manifests": ["beside.csv"]})
    config.evaluation.detail = "scores"
    result = evaluate_run(run_dir, config=config)
    beside = result["test"]["beside.csv"]
    places_of = {name: metrics["external"]["settings"].get(name) for name in own}
    assert beside["external"] | {"settings": beside["external"]["settings"] | places_of} == metrics["external"]
    assert not own.keys() & beside["external"]["settings"].keys()  # they are the run's own
    assert beside["per_class"]["Lung nodule"]["auroc"] == metrics["per_class"]["Lung nodule"]["auroc"]
    assert not [text for text in result["warnings"] if "Leak" in text or "verifiable" in text or "fitted" in text]


PLACES = {"paths.manifest_dir": "manifests", "paths.data_root": "features"}


def test_an_evaluation_is_repeated_with_its_own_settings(run_dir: Path, result: dict[str, Any]) -> None:
    run = open_run(run_dir)
    config = evaluated_config(run, "imgvalid")
    changed = {name for name in KEYS if get_key(config, name) != get_key(run.config, name)}
    assert changed == {
        *("paths.data_root", "paths.manifest_dir", "data.columns.volume", "data.columns.patient", "data.labels.rename"),
        "data.label_origin",
    }
    again = evaluate_run(run_dir, ["imgvalid.csv"], config=config)
    for key in ("auprc", "auroc", "f1_macro", "per_class"):
        assert again["test"]["imgvalid.csv"][key] == result["test"]["imgvalid.csv"][key]
    assert evaluated_config(run, "never") == run.config
