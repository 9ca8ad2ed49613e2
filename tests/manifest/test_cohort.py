"""Cohorts: exclusions, conditions on metadata, one reconstruction of each exam."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ctbench_core.config import CohortConfig
from ctbench_core.errors import ConfigError, ManifestError
from ctbench_core.manifest import Manifest, apply_cohort, read_manifest

TABLE = """volumename,visual_feature_path,PatientAge,PatientSex,ZSpacing,Nodule
train_1_a_2,v,036Y,M,1.5,1
train_1_a_1,v,036Y,M,0.75,1
train_1_b_10,v,037Y,M,1.5,0
train_1_b_9,v,037Y,M,,0
train_2_a_1,v,,F,2,1
train_3_a_3,v,101Y,F,10,0
"""


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    """Return six volumes of four exams of three patients."""
    (tmp_path / "train.csv").write_text(TABLE)
    return read_manifest(tmp_path / "train.csv")


def volumes(manifest: Manifest, **cohort: Any) -> list[str]:
    return [name.removeprefix("train_") for name in apply_cohort(manifest, CohortConfig(**cohort)).volumes]


def test_all_keeps_the_manifest_itself(manifest: Manifest) -> None:
    assert apply_cohort(manifest, CohortConfig()) is manifest


def test_one_reconstruction_an_exam_by_number_not_by_name(manifest: Manifest) -> None:
    assert volumes(manifest, recon="first") == ["1_a_1", "1_b_9", "2_a_1", "3_a_3"]
    assert volumes(manifest, recon="last") == ["1_a_2", "1_b_10", "2_a_1", "3_a_3"]


def test_the_first_reconstruction_is_chosen_among_those_volumes(manifest: Manifest) -> None:
    conditions = [{"column": "ZSpacing", "op": ">", "value": 1}]
    assert volumes(manifest, recon="first", where=conditions) == ["1_a_2", "1_b_10", "2_a_1", "3_a_3"]


@pytest.mark.parametrize(
    ("column", "op", "value", "expected"),
    [
        ("PatientAge", ">=", 37, ["1_b_10", "1_b_9", "3_a_3"]),
        ("PatientAge", "<", 100, ["1_a_2", "1_a_1", "1_b_10", "1_b_9"]),
        ("PatientAge", "==", 36, ["1_a_2", "1_a_1"]),
        ("PatientAge", "!=", 36, ["1_b_10", "1_b_9", "3_a_3"]),
        ("PatientAge", "==", "036Y", ["1_a_2", "1_a_1"]),
        ("PatientSex", "==", "F", ["2_a_1", "3_a_3"]),
        ("PatientSex", "!=", "F", ["1_a_2", "1_a_1", "1_b_10", "1_b_9"]),
        ("PatientSex", "in", ["F", "O"], ["2_a_1", "3_a_3"]),
        ("PatientSex", "in", "M", ["1_a_2", "1_a_1", "1_b_10", "1_b_9"]),
        ("ZSpacing", "<=", 1.5, ["1_a_2", "1_a_1", "1_b_10"]),
        ("ZSpacing", "<", 9, ["1_a_2", "1_a_1", "1_b_10", "2_a_1"]),  # as numbers: 10 is not below 9
        ("ZSpacing", "in", [2, 10], ["2_a_1", "3_a_3"]),
        ("Nodule", "==", 1, ["1_a_2", "1_a_1", "2_a_1"]),
    ],
)
def test_conditions(manifest: Manifest, column: str, op: str, value: Any, expected: list[str]) -> None:
    assert volumes(manifest, where=[{"column": column, "op": op, "value": value}]) == expected


def test_conditions_add_up(manifest: Manifest) -> None:
    conditions = [
        {"column": "PatientSex", "op": "==", "value": "M"},
        {"column": "PatientAge", "op": ">", "value": 36},
    ]
    assert volumes(manifest, where=conditions) == ["1_b_10", "1_b_9"]


def test_exclusions_are_a_list_of_names(manifest: Manifest, tmp_path: Path) -> None:
    path = tmp_path / "exclude.txt"
    path.write_bytes("\ufefftrain_1_a_1.nii.gz\n\n train_3_a_3 ,moved\nunknown\n".encode())
    assert volumes(manifest, exclude=str(path)) == ["1_a_2", "1_b_10", "1_b_9", "2_a_1"]
    with pytest.raises(ManifestError, match=r"Exclusion list .*none.txt does not exist"):
        volumes(manifest, exclude=str(tmp_path / "none.txt"))


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ({"column": "Age", "op": "==", "value": 1}, "no column 'Age'"),
        ({"column": "PatientAge", "op": "=>", "value": 1}, "Unknown operator.*Known: .*>="),
        ({"column": "PatientAge", "op": "__import__", "value": 1}, "Unknown operator"),
        ({"column": "PatientAge", "op": "=="}, "exactly the keys column, op and value"),
        ({"column": "PatientAge", "op": "==", "value": 1, "and": 2}, "exactly the keys"),
    ],
)
def test_a_condition_that_cannot_hold_is_refused(manifest: Manifest, condition: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        volumes(manifest, where=[condition])


def test_an_empty_cohort_is_refused(manifest: Manifest) -> None:
    with pytest.raises(ManifestError, match=r"leaves no row \(6 volumes in all, 0 with"):
        volumes(manifest, where=[{"column": "PatientAge", "op": ">", "value": 200}])


def test_an_exclusion_list_may_be_written_by_a_spreadsheet(manifest: Manifest, tmp_path: Path) -> None:
    path, name = tmp_path / "exclude.csv", manifest.volumes[0]
    for content in (f'"{name}.nii.gz",because\r\n'.encode(), f"\ufeff{name}\n".encode(), f"{name}\n".encode("utf-16")):
        path.write_bytes(content)
        kept = apply_cohort(manifest, CohortConfig(exclude=str(path)))
        assert kept.volumes.tolist() == manifest.volumes.tolist()[1:]
    path.write_bytes("größe\n".encode("cp1252"))
    with pytest.raises(ManifestError, match=r"exclude.csv is not UTF-8 text: byte 2, line 1"):
        apply_cohort(manifest, CohortConfig(exclude=str(path)))
