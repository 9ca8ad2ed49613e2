"""Splits made here: whole groups, like prevalence, the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from ctbench_core.config import AutoSplitConfig
from ctbench_core.errors import ManifestError
from ctbench_core.manifest import Manifest, read_manifest, shared_patients, split_by_group


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
    with pytest.raises(ManifestError, match="cannot split 1 patient group"):
        split_by_group(manifest.select(manifest.patients == "t_0"), AutoSplitConfig(), 0)
