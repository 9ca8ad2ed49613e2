"""Folds: whole patients, every finding as common as in the whole, the same for every label source."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ctbench_core.errors import ConfigError, ManifestError
from ctbench_core.manifest import (
    Manifest,
    PrepareOptions,
    assign_folds,
    hold_out,
    prepare,
    read_folds,
    read_manifest,
    shared_patients,
    write_folds,
)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
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
def test_each_patient_is_in_one_fold_and_findings_are_alike(manifest: Manifest, seed: int) -> None:
    folds = assign_folds(manifest, 5, seed=seed)
    of_patient = pd.Series(folds).groupby(manifest.patients)
    assert (of_patient.nunique() == 1).all()
    assert np.bincount(of_patient.first()).tolist() == [60] * 5
    assert largest_gap(manifest, folds) < 2
    assert (
        largest_gap(manifest, folds) < largest_gap(manifest, assign_folds(manifest, 5, stratify=False, seed=seed)) / 2
    )


def test_the_unit_is_a_choice(manifest: Manifest) -> None:
    by_exam, by_volume = (assign_folds(manifest, 5, group=group) for group in ("exam", "none"))
    assert (pd.Series(by_exam).groupby(manifest.exams).nunique() == 1).all()
    assert (pd.Series(by_exam).groupby(manifest.patients).nunique() > 1).any()
    assert (pd.Series(by_volume).groupby(manifest.exams).nunique() > 1).any()


def test_the_seed_alone_decides(manifest: Manifest) -> None:
    first = assign_folds(manifest, 5, seed=1)
    np.testing.assert_array_equal(first, assign_folds(manifest, 5, seed=1))
    # Another seed is another partition: two volumes that shared a fold seldom still do.
    other = assign_folds(manifest, 5, seed=2)
    together = pd.crosstab(first, other).to_numpy()
    assert together.max() < 0.5 * np.bincount(first).min()


@pytest.mark.parametrize("count", [7, 299, 300])
def test_sizes_differ_by_one_patient_at_most(manifest: Manifest, count: int) -> None:
    sizes = pd.Series(manifest.patients).groupby(assign_folds(manifest, count)).nunique()
    assert len(sizes) == count
    assert sizes.max() - sizes.min() <= 1


def test_holding_out_parts_the_manifest(manifest: Manifest) -> None:
    folds = assign_folds(manifest, 3)
    rest, held = hold_out(manifest, folds, 2)
    assert shared_patients(held, [rest]) == []
    assert sorted([*rest.volumes, *held.volumes]) == sorted(manifest.volumes)
    with pytest.raises(ConfigError, match="Fold 3 does not exist: 3 folds are numbered 0 to 2"):
        hold_out(manifest, folds, 3)


def test_too_few_folds_or_groups_are_named(manifest: Manifest) -> None:
    with pytest.raises(ConfigError, match="at least 2"):
        assign_folds(manifest, 1)
    with pytest.raises(ManifestError, match="300 patient groups cannot fill 301 folds"):
        assign_folds(manifest, 301)


def test_folds_in_a_file_serve_another_label_source(manifest: Manifest, tmp_path: Path) -> None:
    folds, path = assign_folds(manifest, 5), tmp_path / "folds.csv"
    write_folds(path, manifest, folds)
    order = np.random.default_rng(0).permutation(len(manifest))[:200]
    np.testing.assert_array_equal(read_folds(path, manifest.select(order)), folds[order])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("volumename,fold\nt_0_a_1,0\n", r"names no fold for .*Use the manifest"),
        ("volumename,part\nt_0_a_1,0\n", r"needs the columns volumename and fold"),
        ("volumename,fold\nt_0_a_1,one\nt_0_a_2,-1\n", r"no number from 0 on line 2, 3 \(2 rows\)"),
        ("volumename,fold\nt_0_a_1,0\nt_0_a_1.nii.gz,1\n", r"t_0_a_1 \(1 row\) stand twice"),
    ],
)
def test_a_damaged_fold_file_is_named(manifest: Manifest, tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "folds.csv"
    path.write_text(text)
    with pytest.raises(ManifestError, match=message):
        read_folds(path, manifest)


@pytest.mark.parametrize("split", ["valid", "train"])
def test_five_folds_of_ct_rate(real_data: Callable[[str], Path], split: str) -> None:
    options = PrepareOptions(labels_csv=str(real_data(f"ctrate/labels/{split}_predicted_labels.csv")))
    manifest = prepare(options).manifest
    folds = assign_folds(manifest, 5, seed=1)
    assert (pd.Series(folds).groupby(manifest.patients).nunique() == 1).all()
    assert largest_gap(manifest, folds) < (1 if split == "valid" else 0.1)
