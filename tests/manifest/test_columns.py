"""The columns of volumes, patients and exams are found by the names that people give them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ctbench_core.config import ColumnsConfig
from ctbench_core.errors import ManifestError
from ctbench_core.manifest import column_guesses, find_columns, read_manifest

PATH = Path("t.csv")


def found(*names: str, **columns: str) -> tuple[str | None, str | None, str | None]:
    ids = find_columns(PATH, names, ColumnsConfig(**columns))  # type: ignore[arg-type]
    return ids.volume, ids.patient, ids.exam


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["volumename", "patient_id", "exam_id"], ("volumename", "patient_id", "exam_id")),
        (["id", "VolumeName"], ("VolumeName", None, None)),
        (["AccessionNo", "PatientID"], ("AccessionNo", "PatientID", None)),
        (["study_id", "image_id", "subject_id"], ("image_id", "subject_id", "study_id")),
        (["Study ID"], ("Study ID", None, None)),
        (["case-id", "Subject"], ("case-id", "Subject", None)),
        (["volumename", "PatientSex", "PatientAge", "examined"], ("volumename", None, None)),
        (["A", "B"], (None, None, None)),
    ],
)
def test_spellings_are_known(names: list[str], expected: tuple[str | None, ...]) -> None:
    assert found(*names) == expected


def test_named_columns_win_and_missing_ones_are_refused() -> None:
    names = ("volumename", "patient_id", "exam_id", "other", "mrn")
    assert found(*names, volume="other", patient="mrn") == ("other", "mrn", "exam_id")
    assert found(*names, grouping_col="mrn") == ("volumename", "mrn", "exam_id")
    assert found(*names, grouping_col="mrn", patient="other")[1] == "other"
    assert found(*names, volume="patient_id") == ("patient_id", None, "exam_id")
    for role in ("volume", "patient", "exam"):
        with pytest.raises(ManifestError, match=rf"t.csv has no column 'x'.*volumename.*data.columns.{role}"):
            found(*names, **{role: "x"})


def test_what_was_found_is_said(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    path.write_text("AccessionNo,visual_feature_path,subject,A\n001,p,7,1\n002,q,7,0\n")
    manifest = read_manifest(path)
    assert manifest.volumes.tolist() == ["001", "002"]
    assert manifest.patients.tolist() == ["7", "7"]
    assert manifest.labels == ["A"]
    assert manifest.metadata_columns == []
    assert manifest.notes[:2] == [
        "train.csv: volumes are read from column 'AccessionNo' (data.columns.volume).",
        "train.csv: patients are read from column 'subject' (data.columns.patient).",
    ]
    named = read_manifest(path, ColumnsConfig(volume="AccessionNo", patient="subject"))
    assert not any("are read from column" in note for note in named.notes)
    repeated = tmp_path / "again.csv"
    repeated.write_text("study_id,visual_feature_path,A\n1,p,1\n1,q,0\n")
    with pytest.raises(ManifestError, match=r"duplicate study_id 1 .*on line 3\. .*data\.columns\.volume"):
        read_manifest(repeated)


def test_guesses_offer_what_may_be_meant(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    path.write_text("VolumeName,image_path,image_id,report_path,subject_id,A\nx,p,1,t,s,1\n")
    guesses = column_guesses(path)
    assert {role: guess.column for role, guess in guesses.items()} == {
        "volume": "VolumeName",
        "patient": "subject_id",
        "exam": None,
        "visual": "image_path",
        "text": "report_path",
        "split": None,
    }
    assert guesses["volume"].candidates == ["VolumeName", "image_id"]
    assert guesses["visual"].key == "data.columns.visual_feature"
    assert guesses["patient"].key == "data.columns.patient"
    with pytest.raises(
        ManifestError, match=r"no column 'visual_feature_path'.*Set data.columns.visual_feature=image_path"
    ):
        read_manifest(path)
    assert read_manifest(path, ColumnsConfig(visual_feature="image_path")).visual_paths.tolist() == ["p"]
