"""Subgroups: the group of each volume, and the metrics of a group against its complement."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import false_discovery_control
from sklearn.metrics import average_precision_score, roc_auc_score

from ctbench_core.config import Config
from ctbench_core.errors import ManifestError
from ctbench_core.evaluate import evaluate_run, evaluate_subgroups, stored_subgroups, subgroup_columns
from ctbench_core.evaluate.groups import OTHER, UNKNOWN, comparable_columns, metadata_groups, sorted_groups
from ctbench_core.evaluate.subgroups import read_metadata, subgroup_frame
from ctbench_core.experiment import run_experiment
from ctbench_core.inference import ELIGIBLE, MACRO
from ctbench_core.runs import EvaluationPaths, RunPaths

LABELS = ["Lung nodule", "Emphysema", "Rare"]


def column(name: str, values: list[object]) -> pd.Series:
    return pd.Series(values, name=name)


def test_spellings_of_a_maker_are_one_group() -> None:
    groups = metadata_groups(
        column(
            "Manufacturer",
            [
                "SIEMENS",
                "Siemens Healthineers",
                "Philips",
                "PNMS",
                "GE MEDICAL SYSTEMS",
                "Toshiba",
                "Canon Medical",
                "",
                None,
                "Acme",
            ],
        )
    )
    assert groups.tolist() == [
        "Siemens",
        "Siemens",
        "Philips",
        "Philips Neusoft",
        "GE",
        "Canon",
        "Canon",
        UNKNOWN,
        UNKNOWN,
        "Acme",
    ]
    # A model is no maker, and General Dynamics is not General Electric.
    assert metadata_groups(column("ManufacturerModelName", ["SIEMENS go"])).tolist() == ["SIEMENS go"]
    assert metadata_groups(column("manufacturer", ["Gemini"])).tolist() == ["Gemini"]


def test_ages_become_bands() -> None:
    ages = ["036Y", "039Y", "040Y", "74", "075Y", "102Y", "007M", "", "n/a"]
    groups = metadata_groups(column("PatientAge", ages))
    assert groups.tolist() == [
        "under 40",
        "under 40",
        "40 to 59",
        "60 to 74",
        "75 and over",
        "75 and over",
        "under 40",
        "",
        "",
    ]
    assert sorted_groups(groups) == ["under 40", "40 to 59", "60 to 74", "75 and over"]
    assert metadata_groups(column("StageName", ["1", "2"])).tolist() == ["1", "2"]  # a stage is no age
    assert metadata_groups(column("age", ["old", "young"])).tolist() == ["old", "young"]


def test_numbers_become_quartiles_and_rare_texts_are_merged() -> None:
    groups = metadata_groups(column("ZSpacing", [str(value / 10) for value in range(1, 41)] + [""]))
    assert pd.Series(groups).value_counts()[sorted_groups(groups)].tolist() == [10, 10, 10, 10]
    assert groups[-1] == UNKNOWN
    texts = [f"kernel {number}" for number in range(12) for _ in range(12 - number)]
    named = metadata_groups(column("ConvolutionKernel", texts))
    assert sorted_groups(named)[-1] == OTHER
    assert len(sorted_groups(named)) == 9
    assert metadata_groups(column("PatientSex", ["M", "m ", "F", "M"])).tolist() == ["M", "M", "F", "M"]


def test_only_columns_with_several_groups_are_offered() -> None:
    patients = np.array([f"p{number}" for number in range(40)])
    frame = pd.DataFrame({"Rows": ["512"] * 40, "SeriesDescription": [f"s{n}" for n in range(40)]})
    frame["PatientSex"] = ["M", "F"] * 20
    frame["Site"] = ["a"] * 36 + ["b"] * 4
    frame["Age"] = ["050Y"] * 20 + ["070Y"] * 20
    assert comparable_columns(frame, patients) == ["PatientSex", "Age"]


def cohort(patients: int = 200, seed: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Draw two rows a patient: scores are better in group a, some labels are blank, one finding is rare."""
    draw = np.random.default_rng(seed)
    people = np.repeat(np.arange(patients), 2)
    groups = np.array(["a", "b", ""], object)[np.repeat(draw.choice(3, patients, p=[0.45, 0.45, 0.1]), 2)]
    targets = np.repeat(draw.random((patients, 3)) < [0.4, 0.3, 0.02], 2, axis=0).astype(float)
    noise = np.repeat(draw.normal(size=(patients, 3)), 2, axis=0)
    scores = noise + targets * np.where(groups == "a", 2.5, 0.3)[:, None]
    targets[draw.random(targets.shape) < 0.05] = np.nan
    return targets, 1 / (1 + np.exp(-scores)), people.astype(str), groups


def test_a_group_is_compared_with_its_complement() -> None:
    targets, scores, patients, groups = cohort()
    frame = subgroup_frame(targets, scores, patients, groups, LABELS).set_index(["group", "metric", "finding"])
    for name, figure in (("auroc", roc_auc_score), ("auprc", average_precision_score)):
        values = {}
        for group in ("a", "b"):
            for c, label in enumerate(LABELS[:2]):
                mine = (groups == group) & ~np.isnan(targets[:, c])
                values[group, label] = figure(targets[mine, c], scores[mine, c])
                row = frame.loc[(group, name, label)]
                assert row["value"] == pytest.approx(values[group, label], abs=1e-12)
                assert row["positives"] == targets[mine, c].sum()
                assert row["prevalence"] == pytest.approx(targets[mine, c].mean())
                assert (row["volumes"], row["patients"]) == ((groups == group).sum(), (groups == group).sum() / 2)
                assert row["lo"] < row["value"] < row["hi"]
        row = frame.loc[("a", name, "Emphysema")]
        assert row["complement"] == pytest.approx(values["b", "Emphysema"], abs=1e-12)  # unknown groups are left out
        assert 0 < row["gap_lo"] < row["gap"] < row["gap_hi"]
        assert row["p"] < 1e-3
        eligible, macro = (frame.loc[("a", name, finding)] for finding in (ELIGIBLE, MACRO))
        assert eligible["gap"] == pytest.approx(
            np.mean([values["a", label] - values["b", label] for label in LABELS[:2]]), abs=1e-12
        )
        assert np.isnan(macro["p"])
        assert eligible["positives"] == sum(frame.loc[("a", name, label), "positives"] for label in LABELS[:2])
        assert macro["reason"] == "2 of 3 findings have 10 patients of each class"
    mirrored = frame.loc["a"][["gap", "p", "p_adjusted"]], frame.loc["b"][["gap", "p", "p_adjusted"]]
    np.testing.assert_allclose(mirrored[0]["gap"], -mirrored[1]["gap"], atol=1e-12)
    np.testing.assert_allclose(mirrored[0]["p"], mirrored[1]["p"], atol=1e-12)


def test_a_rare_finding_has_a_reason_and_no_gap() -> None:
    targets, scores, patients, groups = cohort()
    frame = subgroup_frame(targets, scores, patients, groups, LABELS)
    rare = frame[frame["finding"] == "Rare"]
    assert rare["p"].isna().all()
    assert rare[["lo", "hi", "gap_lo"]].isna().all().all()
    assert rare["reason"].str.contains("positive patients").all()
    # Two groups mirror each other: six tests, three a metric with the macro mean, less the rare finding.
    assert set(frame["family"]) == {6}
    first = frame[(frame["group"] == "a") & frame["p"].notna()]
    np.testing.assert_allclose(first["p_adjusted"], false_discovery_control(first["p"]), atol=1e-12)


def test_one_group_compares_nothing() -> None:
    targets, scores, patients, _ = cohort(40)
    assert not len(subgroup_frame(targets, scores, patients, np.full(80, "a", object), LABELS))


def test_equal_groups_are_seldom_called_different() -> None:
    significant = []
    for seed in range(150):
        draw = np.random.default_rng(seed)
        targets = (draw.random((240, 2)) < 0.35).astype(float)
        scores = draw.normal(size=(240, 2)) + targets
        groups = draw.choice(np.array(["a", "b"], object), 240)
        frame = subgroup_frame(targets, scores, np.arange(240).astype(str), groups, ["x", "y"])
        significant.append(frame.loc[frame["group"] == "a", "p"].to_numpy() < 0.05)
    # 900 tests, dependent in sixes: the standard error is about 1.2 points.
    assert 0.015 < np.mean(significant) < 0.085


@pytest.fixture
def bundle(config: Config, data: Path) -> EvaluationPaths:
    """Evaluate a run on a test set with a column of sexes."""
    for path in (data / "manifests").glob("*.csv"):
        frame = pd.read_csv(path)
        frame.insert(3, "PatientSex", np.repeat(["M", "F"], (len(frame) + 1) // 2)[: len(frame)])
        frame.to_csv(path, index=False)
    config.paths.manifest_dir = str(data / "manifests")
    run_dir = Path(run_experiment(config)["run_dir"])
    evaluate_run(run_dir)
    return RunPaths(run_dir).evaluation("test")


def test_subgroups_are_computed_once_and_stored(bundle: EvaluationPaths) -> None:
    assert stored_subgroups(bundle, "PatientSex") is None
    table = evaluate_subgroups(bundle, "PatientSex")
    assert table["volumes"].unique().tolist() == [12]
    pd.testing.assert_frame_equal(evaluate_subgroups(bundle, "PatientSex"), table)
    assert stored_subgroups(bundle, "PatientSex") is not None
    bundle.scores.touch()  # evaluated again: the stored table is stale
    assert stored_subgroups(bundle, "PatientSex") is None


def test_metadata_may_come_from_a_table_of_its_own(bundle: EvaluationPaths, tmp_path: Path) -> None:
    volumes = pd.read_parquet(bundle.scores)["volumename"]
    table = tmp_path / "metadata.csv"
    own = pd.DataFrame({"VolumeName": volumes + ".nii.gz", "Site": ["north", "south"] * 12})
    own.sample(frac=1, random_state=1).to_csv(table, index=False)
    assert read_metadata(bundle, table)["Site"].tolist() == ["north", "south"] * 12
    assert subgroup_columns(bundle, table) == ["Site"]
    assert set(evaluate_subgroups(bundle, "Site", table)["group"]) == {"north", "south"}
    assert not bundle.subgroups("Site").exists()
    own.assign(VolumeName="x").to_csv(table, index=False)
    with pytest.raises(ManifestError, match="None of the volumes"):
        read_metadata(bundle, table)
    own.rename(columns={"VolumeName": "thing"}).to_csv(table, index=False)
    with pytest.raises(ManifestError, match=r"no column .volumename"):
        read_metadata(bundle, table)
