"""Splits and folds: whole groups, prevalence as in the whole, the same for one seed and for every label source."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ctbench_core.config import AutoSplitConfig
from ctbench_core.errors import ConfigError, ManifestError
from ctbench_core.manifest import (
    Manifest,
    PrepareOptions,
    assign_folds,
    prepare,
    read_folds,
    read_manifest,
    shared_patients,
    split_by_fold,
    split_by_group,
    write_folds,
)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Return 400 patients of 1 to 3 exams of 1 to 3 reconstructions; a common and a rare finding, some unknown."""
    draw = np.random.default_rng(3)
    rows = ["volumename,visual_feature_path,common,rare"]
    for patient in range(400):
        for exam in "abc"[: draw.integers(1, 4)]:
            labels = f"{draw.integers(2)},{'' if draw.random() < 0.05 else int(draw.random() < 0.06)}"
            rows += [f"t_{patient}_{exam}_{r},v,{labels}" for r in range(1, draw.integers(2, 5))]
    path = tmp_path_factory.mktemp("split") / "train.csv"
    path.write_text("\n".join(rows))
    return read_manifest(path)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("stratify", [True, False])
def test_no_patient_is_on_both_sides_and_no_volume_is_lost(manifest: Manifest, seed: int, stratify: bool) -> None:
    train, val = split_by_group(manifest, AutoSplitConfig(stratify=stratify), seed)
    assert shared_patients(val, [train]) == []
    assert sorted([*train.volumes, *val.volumes]) == sorted(manifest.volumes)
    assert val.counts()["patients"] == 40


def test_stratified_keeps_the_prevalence_of_rare_findings(manifest: Manifest) -> None:
    whole = np.array(list(manifest.prevalence().values()))

    def gaps(stratify: bool) -> np.ndarray:
        sides = [split_by_group(manifest, AutoSplitConfig(stratify=stratify), seed)[1] for seed in range(12)]
        return np.array([np.abs(np.array(list(side.prevalence().values())) - whole).max() for side in sides])

    assert gaps(True).max() < 0.02
    assert gaps(True).mean() < gaps(False).mean() / 2


def test_the_seed_alone_decides(manifest: Manifest) -> None:
    def chosen(options: AutoSplitConfig, seed: int) -> list[str]:
        return split_by_group(manifest, options, seed)[1].volumes.tolist()

    assert chosen(AutoSplitConfig(), 1) == chosen(AutoSplitConfig(), 1)
    assert chosen(AutoSplitConfig(), 1) != chosen(AutoSplitConfig(), 2)
    assert chosen(AutoSplitConfig(seed=5), 1) == chosen(AutoSplitConfig(seed=5), 2)


def test_exams_and_volumes_may_be_the_groups(manifest: Manifest) -> None:
    by_exam, exam_val = split_by_group(manifest, AutoSplitConfig(group="exam"), 0)
    assert not set(by_exam.exams) & set(exam_val.exams)
    assert shared_patients(exam_val, [by_exam])
    by_volume, volume_val = split_by_group(manifest, AutoSplitConfig(group="none"), 0)
    assert set(by_volume.exams) & set(volume_val.exams)


def test_a_tiny_share_still_takes_one_group_and_a_large_one_leaves_one(manifest: Manifest) -> None:
    assert split_by_group(manifest, AutoSplitConfig(val_fraction=1e-6), 0)[1].counts()["patients"] == 1
    assert split_by_group(manifest, AutoSplitConfig(val_fraction=0.9999), 0)[0].counts()["patients"] == 1


def test_one_patient_cannot_be_split(manifest: Manifest) -> None:
    with pytest.raises(ManifestError, match="cannot split 1 patient into"):
        split_by_group(manifest.select(manifest.patients == "t_0"), AutoSplitConfig(), 0)


@pytest.fixture(scope="module")
def four_findings(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Return 300 patients of 1 to 8 volumes; four findings from 50 to 4 %, a tenth of the labels unknown."""
    draw = np.random.default_rng(11)
    rows = ["volumename,visual_feature_path,A,B,C,D"]
    for patient in range(300):
        kinds = draw.random(4) < [0.5, 0.3, 0.1, 0.04]
        for exam in "abcd"[: draw.integers(1, 5)]:
            labels = ["" if draw.random() < 0.1 else str(int(kind)) for kind in kinds]
            rows += [f"t_{patient}_{exam}_{r},v,{','.join(labels)}" for r in (1, 2)]
    path = tmp_path_factory.mktemp("folds") / "all.csv"
    path.write_text("\n".join(rows))
    return read_manifest(path)


def largest_gap(manifest: Manifest, folds: np.ndarray) -> float:
    """Return the largest difference, in points, of a fold's prevalence to the whole's, counted by pandas."""
    table = pd.DataFrame(manifest.targets)
    return float((table.groupby(folds).mean() - table.mean()).abs().to_numpy().max()) * 100


@pytest.mark.parametrize("seed", range(5))
def test_each_patient_is_in_one_fold_and_findings_are_alike(four_findings: Manifest, seed: int) -> None:
    folds = assign_folds(four_findings, 5, seed=seed)
    of_patient = pd.Series(folds).groupby(four_findings.patients)
    assert (of_patient.nunique() == 1).all()
    assert np.bincount(of_patient.first()).tolist() == [60] * 5
    assert largest_gap(four_findings, folds) < 2
    assert (
        largest_gap(four_findings, folds)
        < largest_gap(four_findings, assign_folds(four_findings, 5, stratify=False, seed=seed)) / 2
    )


def test_the_unit_is_a_choice(four_findings: Manifest) -> None:
    by_exam, by_volume = (assign_folds(four_findings, 5, group=group) for group in ("exam", "none"))
    assert (pd.Series(by_exam).groupby(four_findings.exams).nunique() == 1).all()
    assert (pd.Series(by_exam).groupby(four_findings.patients).nunique() > 1).any()
    assert (pd.Series(by_volume).groupby(four_findings.exams).nunique() > 1).any()


def test_the_seed_alone_decides_the_folds(four_findings: Manifest) -> None:
    first = assign_folds(four_findings, 5, seed=1)
    np.testing.assert_array_equal(first, assign_folds(four_findings, 5, seed=1))
    # Another seed is another partition: two volumes that shared a fold seldom still do.
    other = assign_folds(four_findings, 5, seed=2)
    together = pd.crosstab(first, other).to_numpy()
    assert together.max() < 0.5 * np.bincount(first).min()


@pytest.mark.parametrize("count", [7, 299, 300])
def test_sizes_differ_by_one_patient_at_most(four_findings: Manifest, count: int) -> None:
    sizes = pd.Series(four_findings.patients).groupby(assign_folds(four_findings, count)).nunique()
    assert len(sizes) == count
    assert sizes.max() - sizes.min() <= 1


def test_holding_out_parts_the_manifest(four_findings: Manifest) -> None:
    folds = assign_folds(four_findings, 3)
    rest, held = split_by_fold(four_findings, folds, 2)
    assert shared_patients(held, [rest]) == []
    assert sorted([*rest.volumes, *held.volumes]) == sorted(four_findings.volumes)
    with pytest.raises(ConfigError, match="Fold 3 does not exist: 3 folds are numbered 0 to 2"):
        split_by_fold(four_findings, folds, 3)


def test_too_few_folds_or_groups_are_named(four_findings: Manifest) -> None:
    with pytest.raises(ConfigError, match="at least 2"):
        assign_folds(four_findings, 1)
    with pytest.raises(ManifestError, match="300 patient groups cannot fill 301 folds"):
        assign_folds(four_findings, 301)


def test_folds_in_a_file_serve_another_label_source(four_findings: Manifest, tmp_path: Path) -> None:
    folds, path = assign_folds(four_findings, 5), tmp_path / "folds.csv"
    write_folds(path, four_findings, folds)
    order = np.random.default_rng(0).permutation(len(four_findings))[:200]
    np.testing.assert_array_equal(read_folds(path, four_findings.select(order)), folds[order])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("volumename,fold\nt_0_a_1,0\n", r"has no fold for .*Use the manifest"),
        ("volumename,part\nt_0_a_1,0\n", r"needs the columns volumename and fold"),
        ("volumename,fold\nt_0_a_1,one\nt_0_a_2,-1\n", r"other values on line 2, 3 \(2 rows\)"),
        ("volumename,fold\nt_0_a_1,0\nt_0_a_1.nii.gz,1\n", r"duplicate volumename t_0_a_1 \(1 row\)"),
    ],
)
def test_a_damaged_fold_file_is_named(four_findings: Manifest, tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "folds.csv"
    path.write_text(text)
    with pytest.raises(ManifestError, match=message):
        read_folds(path, four_findings)


@pytest.mark.parametrize("split", ["valid", "train"])
def test_five_folds_of_ct_rate(real_data: Callable[[str], Path], split: str) -> None:
    options = PrepareOptions(labels_csv=str(real_data(f"ctrate/labels/{split}_predicted_labels.csv")))
    manifest = prepare(options).manifest
    folds = assign_folds(manifest, 5, seed=1)
    assert (pd.Series(folds).groupby(manifest.patients).nunique() == 1).all()
    assert largest_gap(manifest, folds) < (1 if split == "valid" else 0.1)
