"""The `score` verb: tables of predictions, against scikit-learn and published results."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from ctbench_core.cli.main import main
from ctbench_core.config import Config
from ctbench_core.errors import ManifestError
from ctbench_core.evaluate import ScoreOptions, score_table
from ctbench_core.evaluate.predictions import read_predictions
from ctbench_core.runs import open_run

GOLDENS = Path(os.environ.get("CTBENCH_TEST_DATA", "../shared/data")) / "metrics_goldens"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """60 volumes of 30 patients, two findings, ties, blanks."""
    rng = np.random.default_rng(0)
    names = [f"valid_{p}_a_{r}.nii.gz" for p in range(1, 31) for r in (1, 2)]
    frame = pd.DataFrame({"VolumeName": names})
    for label in ("Lung nodule", "Emphysema"):
        frame[f"target_{label}"] = pd.array(rng.integers(0, 2, 60), dtype="Int8")
        frame[f"prob_{label}"] = rng.random(60).round(1)
    frame.loc[3, "target_Emphysema"] = pd.NA
    path = tmp_path / "predictions.csv"
    frame.to_csv(path, index=False)
    return path


def test_csv_and_parquet_agree_with_scikit_learn(table: Path, tmp_path: Path) -> None:
    frame = pd.read_csv(table)
    frame.to_parquet(tmp_path / "predictions.parquet")
    known = frame.dropna()
    for path in (table, tmp_path / "predictions.parquet"):
        metrics = score_table(path)["per_class"]["Emphysema"]
        assert metrics["auroc"] == pytest.approx(
            roc_auc_score(known["target_Emphysema"], known["prob_Emphysema"]), abs=1e-12
        )
        expected = average_precision_score(known["target_Emphysema"], known["prob_Emphysema"])
        assert metrics["auprc"] == pytest.approx(expected, abs=1e-12)


def test_targets_without_probabilities_are_named(table: Path) -> None:
    pd.read_csv(table).drop(columns="prob_Emphysema").to_csv(table, index=False)
    texts = score_table(table)["warnings"]
    assert "predictions.csv: target_Emphysema without a column of probabilities: not scored." in texts


def test_patients_come_from_the_volume_names(table: Path) -> None:
    assert score_table(table)["n"] == {"volumes": 60, "exams": 30, "patients": 30}


def test_clustering_widens_the_interval_of_repeated_rows(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    single = pd.DataFrame({"target_A": rng.integers(0, 2, 80), "patient": np.arange(80).astype(str)})
    single["prob_A"] = np.clip(0.5 + 0.2 * (single["target_A"] - 0.5) + rng.normal(0, 0.2, 80), 0, 1)
    widths = {}
    for copies in (1, 5):
        path = tmp_path / f"{copies}.parquet"
        pd.concat([single] * copies).to_parquet(path)
        low, high = score_table(path)["per_class"]["A"]["auroc_ci"]
        widths[copies] = high - low
    assert widths[5] == pytest.approx(widths[1], rel=0.1)


def test_stored_scores_are_a_run_with_a_bundle(table: Path, tmp_path: Path) -> None:
    config = Config()
    config.paths.outputs_root, config.job_name = str(tmp_path / "out"), "score"
    result = score_table(table, ScoreOptions(name="external"), config)
    run = open_run(result["run_dir"])
    assert (run.status.state, run.status.kind, run.name) == ("finished", "score", "external")
    stored = pd.read_parquet(run.paths.evaluation("predictions").scores)
    source = pd.read_csv(table)
    np.testing.assert_array_equal(stored["prob_Lung nodule"], source["prob_Lung nodule"])
    assert stored["target_Emphysema"].isna().sum() == 1


def test_targets_come_from_a_manifest_in_any_order(table: Path, tmp_path: Path) -> None:
    frame = pd.read_csv(table)
    manifest = frame[["VolumeName", "target_Lung nodule"]].rename(
        columns={"VolumeName": "volumename", "target_Lung nodule": "Nodule"}
    )
    manifest.insert(1, "visual_feature_path", "x.npz")
    path = tmp_path / "manifest.csv"
    manifest.sample(frac=1, random_state=0).head(50).to_csv(path, index=False)
    options = ScoreOptions(manifest=str(path), labels=["Nodule"], rename={"Lung nodule": "Nodule"})
    result = score_table(table, options)
    common = frame[frame["VolumeName"].isin(pd.read_csv(path)["volumename"])]
    expected = roc_auc_score(common["target_Lung nodule"], common["prob_Lung nodule"])
    assert result["per_class"]["Nodule"]["auroc"] == pytest.approx(expected, abs=1e-12)
    assert result["n"]["volumes"] == 50
    assert "10 predictions have no row" in result["warnings"][0]


def test_undefined_is_nan_with_a_reason(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "few.csv"
    pd.read_csv(table).head(1).to_csv(path, index=False)
    result = score_table(path)
    assert math.isnan(result["auroc"])
    assert math.isnan(result["per_class"]["Emphysema"]["auprc"])
    assert set(result["undefined"]) == {"Emphysema", "Lung nodule"}
    assert main(["score", str(path), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert printed["auroc"] is None
    assert printed["per_class"]["Emphysema"]["auroc_ci"] == [None, None]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.assign(prob_Emphysema=1.5), "prob_Emphysema is not 0 to 1 or blank on line 2, 3, 4, 5, 6, ..."),
        (lambda f: f.assign(target_Emphysema="yes"), "label column 'target_Emphysema' has 'yes' on line 2, 3, 4"),
        (lambda f: f.assign(**{"prob_Lung nodule": "half"}), "prob_Lung nodule is not 0 to 1 or blank on line 2"),
        (lambda f: f.assign(VolumeName="train_1_a_1"), "duplicate VolumeName train_1_a_1, .* on line 3, 4, 5, 6, 7"),
        (lambda f: f.assign(VolumeName=f["VolumeName"].where(f.index != 4)), "VolumeName is blank on line 6 "),
        (lambda f: f.drop(columns="target_Emphysema"), "no targets for 'Emphysema'"),
        (lambda f: f[["VolumeName"]], "no column that begins with 'prob_'"),
    ],
)
def test_messages_name_what_is_wrong(table: Path, tmp_path: Path, change, message: str) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "bad.csv"
    change(pd.read_csv(table)).to_csv(path, index=False)
    with pytest.raises(ManifestError, match=message.replace("'", ".")):
        score_table(path)


def test_rows_without_names_stay_without_and_are_own_patients(tmp_path: Path) -> None:
    """No name is invented: it could be a volume's of another table."""
    path = tmp_path / "p.csv"
    path.write_text("prob_A,target_A\n.2,0\n.8,1\n.7,1\n.1,0\n")
    manifest, _ = read_predictions(path, ScoreOptions(), Config())
    assert manifest.volumes.tolist() == [""] * 4
    assert len(set(manifest.patients)) == 4 and manifest.unknown_patients == 4
    config = Config()
    config.paths.outputs_root = str(tmp_path / "out")
    result = score_table(path, ScoreOptions(name="kept"), config)
    assert any("no patient is known for 4 rows" in text for text in result["warnings"])
    stored = pd.read_parquet(open_run(result["run_dir"]).paths.evaluation("p").scores)
    assert stored["volumename"].tolist() == [""] * 4
    assert stored["patient"].nunique() == 4 and not set(stored["patient"]) & {"0", "1", "2", "3"}
    again = score_table(open_run(result["run_dir"]).paths.evaluation("p").scores)
    assert again["per_class"]["A"]["auroc"] == result["per_class"]["A"]["auroc"] == 1
    with pytest.raises(ManifestError, match=r"no column of volume names.*data.columns.volume"):
        score_table(path, ScoreOptions(manifest=str(path)))


def test_ids_are_kept_as_they_are_written(tmp_path: Path) -> None:
    path, config = tmp_path / "p.csv", Config()
    path.write_text("volumename,patient_id,exam_id,prob_1,target_1\n001,007,NA,.2,0\n01,7,1e5,.8,1\n1,07,,.7,1\n")
    config.paths.outputs_root = str(tmp_path / "out")
    result = score_table(path, ScoreOptions(name="kept"), config)
    stored = pd.read_parquet(open_run(result["run_dir"]).paths.evaluation("p").scores)
    assert stored["volumename"].tolist() == ["001", "01", "1"]
    assert stored["patient"].tolist() == ["007", "7", "07"]
    assert stored["exam"].tolist()[:2] == ["NA", "1e5"]
    assert list(result["per_class"]) == ["1"]
    assert result["warnings"] == []


def test_columns_and_label_rules_are_those_of_manifests(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    rows = ["q1;a;0,2;-1;no;Mass|Nodule", "q2;a;0,8;1;yes;", "q3;b;0,7;1;yes;Nodule", "q4;c;0,1;0;no;No Finding"]
    path.write_text("\n".join(["Scan;mrn;prob_A;A;target_B;list", *rows]) + "\n")
    config = Config()
    config.data.columns.volume, config.data.columns.patient = "Scan", "mrn"
    with pytest.raises(ManifestError, match=r"label column 'A' has '-1' on line 2"):
        read_predictions(path, ScoreOptions(), config)
    config.data.labels.uncertain = "negative"
    manifest, probabilities = read_predictions(path, ScoreOptions(), config)
    assert manifest.patients.tolist() == ["a", "a", "b", "c"]
    assert probabilities[:, 0].tolist() == [0.2, 0.8, 0.7, 0.1]
    assert manifest.targets[:, 0].tolist() == [0, 1, 1, 0]
    assert manifest.label_mapping["values"]["-1"]["meaning"] == "negative"
    assert any("-1 is read as negative" in text for text in score_table(path, config=config)["warnings"])
    config.data.columns.volume = config.data.columns.patient = None
    aliased, _ = read_predictions(path, ScoreOptions(id="Scan", patient="mrn", rename={"A": "Alpha"}), config)
    assert (aliased.labels, aliased.patients.tolist()) == (["Alpha"], ["a", "a", "b", "c"])
    config.data.labels.list_column, config.data.labels.rename = "list", {"A": "Nodule"}
    listed, _ = read_predictions(path, ScoreOptions(), config)
    assert listed.labels == ["Nodule"]
    np.testing.assert_array_equal(listed.targets[:, 0], [1, np.nan, 1, 0])


@pytest.mark.skipif(not GOLDENS.is_dir(), reason=f"real predictions are not at {GOLDENS}")
def test_reproduces_the_published_prediction_set() -> None:
    metrics = score_table(GOLDENS / "chexnet_test.parquet")["per_class"]
    expected = pd.read_csv(GOLDENS / "chexnet_expected.csv").set_index("label")
    for label, row in expected.iterrows():
        assert metrics[label]["auroc"] == pytest.approx(row["auroc"], abs=1e-9)
        assert metrics[label]["auprc"] == pytest.approx(row["average_precision"], abs=1e-9)
    published = pd.read_csv(GOLDENS / "chexnet_published_auroc.csv").set_index("label")["auc"]
    agreeing = [label for label, value in published.items() if abs(metrics[label]["auroc"] - value) < 1e-6]
    assert len(agreeing) == 8
