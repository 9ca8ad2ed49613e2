"""A table on disk to a validated manifest, or one message that says what to fix."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ctbench_core.config import ColumnsConfig
from ctbench_core.errors import ManifestError
from ctbench_core.manifest import Manifest, read_manifest, shared_patients

HEADER = "volumename,visual_feature_path,Lung nodule,Emphysema\n"
ROWS = "train_1_a_1,image/1.npz,1,0\ntrain_1_a_2,image/1.npz,1,0\ntrain_2_a_1,image/2.npz,0,\n"


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Return a writer of a manifest file."""

    def write_file(text: str | bytes, name: str = "train.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(text.encode("utf-8") if isinstance(text, str) else text)
        return path

    return write_file


def test_reads_names_labels_and_paths(write: Callable[..., Path]) -> None:
    path = write(HEADER + ROWS)
    manifest = read_manifest(path)
    assert manifest.name == "train.csv"
    assert manifest.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert manifest.volumes.tolist() == ["train_1_a_1", "train_1_a_2", "train_2_a_1"]
    assert manifest.exams.tolist() == ["train_1_a", "train_1_a", "train_2_a"]
    assert manifest.patients.tolist() == ["train_1", "train_1", "train_2"]
    assert manifest.recons.tolist() == [1, 2, 1]
    assert manifest.visual_paths.tolist() == ["image/1.npz", "image/1.npz", "image/2.npz"]
    assert manifest.labels == ["Lung nodule", "Emphysema"]
    np.testing.assert_array_equal(manifest.targets, np.array([[1, 0], [1, 0], [0, np.nan]], dtype=np.float32))
    assert manifest.targets.dtype == np.float32
    assert manifest.text_paths is None
    assert manifest.counts() == {"volumes": 3, "exams": 2, "patients": 2}
    assert manifest.prevalence() == pytest.approx({"Lung nodule": 2 / 3, "Emphysema": 0.0})


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "\ufeff" + text,
        lambda text: text.replace(",", ";"),
        lambda text: text.replace(",", "\t"),
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace(",", " , "),
        lambda text: text.replace("train_1_a_1", '"train_1_a_1"').replace("Emphysema", '"Emphysema"'),
        lambda text: text.replace("_1,image", "_1.nii.gz,image"),
        lambda text: text.replace(",1,", ",1.0,").replace(",0,", ",0.0,"),
        lambda text: text.rstrip("\n"),
        lambda text: text.replace("0,\n", "0,NaN\n"),
        lambda text: text.replace("0,\n", "0,  \n"),
    ],
    ids=[
        "bom",
        "semicolons",
        "tabs",
        "crlf",
        "spaces",
        "quotes",
        "nii",
        "floats",
        "no-last-newline",
        "nan",
        "spaces-for-blank",
    ],
)
def test_writing_habits_make_no_difference(write: Callable[..., Path], change: Callable[[str], str]) -> None:
    plain, other = read_manifest(write(HEADER + ROWS)), read_manifest(write(change(HEADER + ROWS), "other.csv"))
    assert other.labels == plain.labels
    for name in ("volumes", "exams", "patients", "visual_paths"):
        assert getattr(other, name).tolist() == getattr(plain, name).tolist()
    np.testing.assert_array_equal(other.targets, plain.targets)


def test_parquet_reads_like_csv(tmp_path: Path, write: Callable[..., Path]) -> None:
    frame = pd.DataFrame(
        {
            "volumename": ["train_1_a_1", "train_1_a_2", "train_2_a_1"],
            "visual_feature_path": ["image/1.npz", "image/1.npz", "image/2.npz"],
            "Lung nodule": np.array([1, 1, 0], dtype=np.int64),
            "Emphysema": [0.0, 0.0, None],
        }
    )
    frame.to_parquet(tmp_path / "train.parquet")
    plain, other = read_manifest(write(HEADER + ROWS)), read_manifest(tmp_path / "train.parquet")
    assert other.labels == plain.labels
    assert other.exams.tolist() == plain.exams.tolist()
    np.testing.assert_array_equal(other.targets, plain.targets)


def test_ids_stay_strings(write: Callable[..., Path]) -> None:
    path = write("volumename,visual_feature_path,patient_id,exam_id,x\n001,a.npz,007,1e5,1\n1,b.npz,7,100000,0\n")
    manifest = read_manifest(path)
    assert manifest.volumes.tolist() == ["001", "1"]
    assert manifest.patients.tolist() == ["007", "7"]
    assert manifest.exams.tolist() == ["1e5", "100000"]
    assert manifest.labels == ["x"]
    assert manifest.warnings == []


def test_explicit_ids_win_where_filled(write: Callable[..., Path]) -> None:
    path = write("volumename,visual_feature_path,patient_id,x\ntrain_1_a_1,a,P9,1\ntrain_2_a_1,b,,0\n")
    assert read_manifest(path).patients.tolist() == ["P9", "  train_2"]
    agreeing = write("volumename,visual_feature_path,patient_id,x\ntrain_1_a_1,a,train_1,1\ntrain_2_a_1,b,,0\n")
    assert read_manifest(agreeing).patients.tolist() == ["train_1", "train_2"]


def test_no_given_id_meets_the_group_of_a_blank_one(write: Callable[..., Path]) -> None:
    """Given: train_2 and train_7 in another numbering than the names; blank: a name that reads so, twice by name."""
    ids = [("train_7", "P1"), ("train_7_a_1", ""), ("train_7_b_1", ""), ("train_2", ""), ("train_1_a_1", "train_7"),
           ("x", "train_2"), ("y", "  x "), ("z", "")]  # fmt: skip
    rows = "".join(f"{volume},p,{patient},{i % 2}\n" for i, (volume, patient) in enumerate(ids))
    manifest = read_manifest(write("volumename,visual_feature_path,patient_id,A\n" + rows))
    groups = [np.flatnonzero(manifest.patients == patient).tolist() for patient in dict.fromkeys(manifest.patients)]
    assert groups == [[0], [1, 2], [3], [4], [5], [6], [7]]
    assert manifest.unknown.tolist() == [False, False, False, True, False, False, False, True]
    assert manifest.unknown_patients == 2
    assert manifest.select(np.array([3, 0])).unknown_patients == 1
    given = read_manifest(write("volumename,visual_feature_path,patient_id,A\nq,p,z,1\nr,p,train_2,0\n", "b.csv"))
    assert shared_patients(given, [manifest]) == ["train_2"]


def test_one_volume_in_two_manifests_is_one_patient(write: Callable[..., Path]) -> None:
    header = "volumename,visual_feature_path,A\n"
    first = read_manifest(write(header + "scan-a,p,1\nscan-b,p,0\n"))
    second = read_manifest(write(header + "scan-b,p,1\nscan-c,p,0\n", "b.csv"))
    assert [name.strip() for name in shared_patients(first, [second])] == ["scan-b"]


def test_grouping_column_tells_the_patient(write: Callable[..., Path]) -> None:
    path = write("volumename,visual_feature_path,subject,x\ntrain_1_a_1,a,S1,1\ntrain_2_a_1,b,S1,0\n")
    assert read_manifest(path, ColumnsConfig(grouping_col="subject")).patients.tolist() == ["S1", "S1"]
    with pytest.raises(ManifestError, match="no column 'nobody'"):
        read_manifest(path, ColumnsConfig(grouping_col="nobody"))


def test_volumes_that_tell_no_patient_are_counted_once_and_named(write: Callable[..., Path]) -> None:
    path = write("volumename,visual_feature_path,x\nscan-a,a,1\nscan-b,b,0\ntrain_1_a_1,c,0\n")
    manifest = read_manifest(path)
    assert [name.strip() for name in manifest.patients] == ["scan-a", "scan-b", "train_1"]
    assert manifest.unknown_patients == 2
    assert len(manifest.warnings) == 1
    assert "scan-a, scan-b (2 volumes)" in manifest.warnings[0]
    assert "patient_id" in manifest.warnings[0]


def test_numbers_restart_in_each_split(write: Callable[..., Path]) -> None:
    train = read_manifest(write(HEADER + ROWS))
    valid = read_manifest(write(HEADER + ROWS.replace("train_", "valid_"), "valid.csv"))
    assert shared_patients(valid, [train]) == []
    assert shared_patients(train, [train]) == ["train_1", "train_2"]


def test_labels_are_inferred_without_ids_paths_and_metadata(write: Callable[..., Path]) -> None:
    header = "volumename,visual_feature_path,text_feature_path,patient_id,mask_path,PatientSex,site,age,A,B,allblank\n"
    rows = "train_1_a_1,v,t,1,0,1,0,044,1,0,\ntrain_2_a_1,v,t,0,1,0,1,051,,1.0,\n"
    columns = ColumnsConfig(metadata=["site"])
    assert read_manifest(write(header + rows), columns).labels == ["A", "B"]


def test_given_labels_keep_their_order_and_win(write: Callable[..., Path]) -> None:
    path = write(HEADER + ROWS)
    assert read_manifest(path, labels=["Emphysema", "Lung nodule"]).labels == ["Emphysema", "Lung nodule"]
    assert read_manifest(path, ColumnsConfig(labels=["Emphysema"])).labels == ["Emphysema"]
    np.testing.assert_array_equal(read_manifest(path, labels=["Emphysema"]).targets[:, 0], [0, 0, np.nan])


def test_select_keeps_everything_aligned(write: Callable[..., Path]) -> None:
    manifest = read_manifest(write(HEADER + ROWS))
    picked = manifest.select(np.array([2, 0]))
    assert picked.volumes.tolist() == ["train_2_a_1", "train_1_a_1"]
    assert picked.frame["Lung nodule"].tolist() == ["0", "1"]
    assert picked.lines.tolist() == [4, 2]
    masked = manifest.select(np.array([False, True, False]))
    assert masked.volumes.tolist() == ["train_1_a_2"]
    assert isinstance(masked, Manifest)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"train.csv is empty"),
        ("\n\n", r"train.csv is empty"),
        (HEADER, r"train.csv has no rows"),
        ("what,visual_feature_path,x\na,b,1\n", r"no column 'volumename'.*Its columns are: what, visual_feature_path"),
        (
            "volumename,image_path,x\na,b,1\n",
            r"no column 'visual_feature_path'.*data.columns.visual_feature=image_path",
        ),
        (HEADER + ROWS + ROWS, r"duplicate volumename train_1_a_1, train_1_a_2, train_2_a_1 \(3 rows\).*line 5"),
        (HEADER + "a.nii.gz,p,1,0\na,p,1,0\n", r"duplicate volumename a \(1 row\)"),
        (HEADER + ROWS.replace("train_2_a_1", " "), r"volumename is blank on line 4 \(1 row\)"),
        ("volumename,visual_feature_path,x,x\na,b,1,0\n", r"duplicate column 'x'"),
        ("volumename,visual_feature_path,note\na,b,hello\n", r"no label column"),
        (HEADER + "a,b,1,0,0\n", r"cannot be parsed: line 1 names 4 columns"),
        ('volumename,visual_feature_path,x\n"a,b,1\n', r"cannot be parsed"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(write: Callable[..., Path], text: str, message: str) -> None:
    path = write(text)
    with pytest.raises(ManifestError, match=message):
        read_manifest(path)


def test_too_many_values_are_refused_outside_tests_too(write: Callable[..., Path]) -> None:
    """pandas only warns here, and then cuts the row: the check must not rely on the tests' strict warnings."""
    path = write(HEADER + "a,b,1,0,0\n")
    with warnings.catch_warnings(), pytest.raises(ManifestError, match="names 4 columns, but line 2 has 5 values"):
        warnings.simplefilter("ignore")
        read_manifest(path)


def test_labels_that_are_no_labels_name_column_values_and_lines(write: Callable[..., Path]) -> None:
    rows = "".join(
        f"train_{i}_a_1,v,{value},0\n" for i, value in enumerate(["1", "2", "yes", "0", "-1", "2", "3", "9"])
    )
    message = r"'Lung nodule' has '2', 'yes', '-1' on line 3, 4, 6, 7, 8, ... \(6 rows\).*0, 1 or blank"
    with pytest.raises(ManifestError, match=message):
        read_manifest(write(HEADER + rows), labels=["Lung nodule"])


def test_absent_label_column_lists_the_columns(write: Callable[..., Path]) -> None:
    with pytest.raises(ManifestError, match=r"no column 'Nodule'.*Lung nodule, Emphysema"):
        read_manifest(write(HEADER + ROWS), labels=["Nodule"])


def test_a_label_named_twice_is_refused(write: Callable[..., Path]) -> None:
    with pytest.raises(ManifestError, match="duplicate label 'Emphysema'"):
        read_manifest(write(HEADER + ROWS), labels=["Emphysema", "Emphysema"])


def test_missing_file_names_its_neighbours(write: Callable[..., Path], tmp_path: Path) -> None:
    write(HEADER + ROWS)
    with pytest.raises(ManifestError, match=r"trian.csv does not exist. That folder contains: train.csv"):
        read_manifest(tmp_path / "trian.csv")
    with pytest.raises(ManifestError, match="does not exist"):
        read_manifest(tmp_path / "nowhere" / "train.csv")


@pytest.mark.parametrize("content", ["Größe\n".encode("utf-16-le"), "Lungenödem,x\n".encode("latin-1")])
def test_other_encodings_are_named(write: Callable[..., Path], content: bytes) -> None:
    with pytest.raises(ManifestError, match="UTF-8"):
        read_manifest(write(content))


def test_a_file_that_may_not_be_read_is_named(write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: Path) -> bytes:
        raise PermissionError("permission denied")

    path = write(HEADER + ROWS)
    monkeypatch.setattr(Path, "read_bytes", refused)
    with pytest.raises(ManifestError, match=r"train.csv cannot be read: permission denied"):
        read_manifest(path)


def test_damaged_parquet_is_named(write: Callable[..., Path]) -> None:
    with pytest.raises(ManifestError, match="not a readable Parquet"):
        read_manifest(write(b"PAR1 but not quite", "train.parquet"))


def test_line_numbers_count_blank_lines(write: Callable[..., Path]) -> None:
    path = write(HEADER + "\n" + "train_1_a_1,v,1,0\n\n\ntrain_2_a_1,v,maybe,0\n")
    with pytest.raises(ManifestError, match=r"on line 6 \(1 row\)"):
        read_manifest(path, labels=["Lung nodule"])
