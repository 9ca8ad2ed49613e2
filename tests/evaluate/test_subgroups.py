"""Subgroups: who is in which group, and a group's figures against those of its complement."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import false_discovery_control
from sklearn.metrics import average_precision_score, roc_auc_score

from ctbench_core.config import Config
from ctbench_core.errors import ManifestError
from ctbench_core.evaluate import MACRO, columns_of, evaluate_run, known_subgroups, subgroups_of
from ctbench_core.evaluate.groups import OTHER, UNKNOWN, groups_of, order_of, usable_columns
from ctbench_core.evaluate.subgroups import metadata_of, subgroup_frame
from ctbench_core.experiment import run_experiment
from ctbench_core.runs import EvaluationPaths, RunPaths

LABELS = ["Lung nodule", "Emphysema", "Rare"]


def column(name: str, values: list[object]) -> pd.Series:
    return pd.Series(values, name=name)


def test_spellings_of_a_maker_are_one_group() -> None:
    found = groups_of(
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
    assert found.tolist() == [
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
    assert groups_of(column("ManufacturerModelName", ["SIEMENS go"])).tolist() == ["SIEMENS go"]
    assert groups_of(column("manufacturer", ["Gemini"])).tolist() == ["Gemini"]


def test_ages_become_bands() -> None:
    ages = ["036Y", "039Y", "040Y", "74", "075Y", "102Y", "007M", "", "n/a"]
    found = groups_of(column("PatientAge", ages))
    assert found.tolist() == [
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
    assert order_of(found) == ["under 40", "40 to 59", "60 to 74", "75 and over"]
    assert groups_of(column("StageName", ["1", "2"])).tolist() == ["1", "2"]  # a stage is no age
    assert groups_of(column("age", ["old", "young"])).tolist() == ["old", "young"]


def test_numbers_are_cut_into_quarters_and_rare_texts_joined() -> None:
    found = groups_of(column("ZSpacing", [str(value / 10) for value in range(1, 41)] + [""]))
    assert pd.Series(found).value_counts()[order_of(found)].tolist() == [10, 10, 10, 10]
    assert found[-1] == UNKNOWN
    texts = [f"kernel {number}" for number in range(12) for _ in range(12 - number)]
    named = groups_of(column("ConvolutionKernel", texts))
    assert order_of(named)[-1] == OTHER
    assert len(order_of(named)) == 9
    assert groups_of(column("PatientSex", ["M", "m ", "F", "M"])).tolist() == ["M", "M", "F", "M"]


def test_only_columns_that_divide_are_offered() -> None:
    patients = np.array([f"p{number}" for number in range(40)])
    frame = pd.DataFrame({"Rows": ["512"] * 40, "SeriesDescription": [f"s{n}" for n in range(40)]})
    frame["PatientSex"] = ["M", "F"] * 20
    frame["Site"] = ["a"] * 36 + ["b"] * 4
    frame["Age"] = ["050Y"] * 20 + ["070Y"] * 20
    assert usable_columns(frame, patients) == ["PatientSex", "Age"]


def cohort(patients: int = 200, seed: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Draw two rows a patient: scores tell more in group a, blanks stand here and there, one finding is rare."""
    draw = np.random.default_rng(seed)
    people = np.repeat(np.arange(patients), 2)
    groups = np.array(["a", "b", ""], object)[np.repeat(draw.choice(3, patients, p=[0.45, 0.45, 0.1]), 2)]
    targets = np.repeat(draw.random((patients, 3)) < [0.4, 0.3, 0.02], 2, axis=0).astype(float)
    noise = np.repeat(draw.normal(size=(patients, 3)), 2, axis=0)
    scores = noise + targets * np.where(groups == "a", 2.5, 0.3)[:, None]
    targets[draw.random(targets.shape) < 0.05] = np.nan
    return targets, 1 / (1 + np.exp(-scores)), people.astype(str), groups


def test_a_group_stands_against_its_complement() -> None:
    targets, scores, patients, groups = cohort()
    frame = subgroup_frame(targets, scores, patients, groups, LABELS, resamples=300).set_index(
        ["group", "metric", "finding"]
    )
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
        assert row["complement"] == pytest.approx(values["b", "Emphysema"], abs=1e-12)  # the unknown group is nowhere
        assert 0 < row["gap_lo"] < row["gap"] < row["gap_hi"]
        assert row["p"] < 1e-3
        macro = frame.loc[("a", name, MACRO)]
        assert macro["gap"] == pytest.approx(
            np.mean([values["a", label] - values["b", label] for label in LABELS[:2]]), abs=1e-12
        )
        assert "2 findings" in macro["reason"]
    mirrored = frame.loc["a"][["gap", "p", "p_adjusted"]], frame.loc["b"][["gap", "p", "p_adjusted"]]
    np.testing.assert_allclose(mirrored[0]["gap"], -mirrored[1]["gap"], atol=1e-12)
    np.testing.assert_allclose(mirrored[0]["p"], mirrored[1]["p"], atol=1e-12)


def test_a_rare_finding_has_no_gap_and_says_why() -> None:
    targets, scores, patients, groups = cohort()
    frame = subgroup_frame(targets, scores, patients, groups, LABELS, resamples=100)
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
    assert not len(subgroup_frame(targets, scores, patients, np.full(80, "a", object), LABELS, resamples=20))


def test_equal_groups_are_seldom_called_different() -> None:
    found = []
    for seed in range(150):
        draw = np.random.default_rng(seed)
        targets = (draw.random((240, 2)) < 0.35).astype(float)
        scores = draw.normal(size=(240, 2)) + targets
        groups = draw.choice(np.array(["a", "b"], object), 240)
        frame = subgroup_frame(targets, scores, np.arange(240).astype(str), groups, ["x", "y"], resamples=100)
        found.append(frame.loc[frame["group"] == "a", "p"].to_numpy() < 0.05)
    # 900 tests, dependent in sixes: the standard error is about 1.2 points.
    assert 0.015 < np.mean(found) < 0.085


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


def test_subgroups_are_worked_out_once_and_kept(bundle: EvaluationPaths) -> None:
    assert known_subgroups(bundle, "PatientSex") is None
    found = subgroups_of(bundle, "PatientSex")
    assert found["volumes"].unique().tolist() == [12]
    pd.testing.assert_frame_equal(subgroups_of(bundle, "PatientSex"), found)
    assert known_subgroups(bundle, "PatientSex") is not None
    bundle.scores.touch()  # opened anew: what was kept no longer counts
    assert known_subgroups(bundle, "PatientSex") is None


def test_metadata_may_come_from_a_table_of_its_own(bundle: EvaluationPaths, tmp_path: Path) -> None:
    volumes = pd.read_parquet(bundle.scores)["volumename"]
    table = tmp_path / "metadata.csv"
    own = pd.DataFrame({"VolumeName": volumes + ".nii.gz", "Site": ["north", "south"] * 12})
    own.sample(frac=1, random_state=1).to_csv(table, index=False)
    assert metadata_of(bundle, table)["Site"].tolist() == ["north", "south"] * 12
    assert columns_of(bundle, table) == ["Site"]
    assert set(subgroups_of(bundle, "Site", table)["group"]) == {"north", "south"}
    assert not bundle.subgroups("Site").exists()
    own.assign(VolumeName="x").to_csv(table, index=False)
    with pytest.raises(ManifestError, match="None of the volumes"):
        metadata_of(bundle, table)
    own.rename(columns={"VolumeName": "thing"}).to_csv(table, index=False)
    with pytest.raises(ManifestError, match="no column of volume names"):
        metadata_of(bundle, table)
