"""Tables to a manifest: by volume or by exam, in every mixture, and what did not join is named."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ctbench_core.config import ColumnsConfig, LabelsConfig
from ctbench_core.errors import ConfigError, ManifestError
from ctbench_core.manifest import PrepareOptions, PrepareResult, prepare, read_manifest, shared_patients, write_manifest

LABELS = """VolumeName,Nodule,Emphysema
train_1_a_1.nii.gz,1,0
train_1_a_2.nii.gz,1,0
train_2_a_1.nii.gz,0,
train_3_b_1.nii.gz,0,1
"""
VOLUMES = ["train_1_a_1", "train_1_a_2", "train_2_a_1", "train_3_b_1"]
# Prevalence in the released training table, in percent, as published facts give it.
TRAIN_PREVALENCE = {
    "Medical material": 12.34, "Arterial wall calcification": 28.37, "Cardiomegaly": 11.26, "Pericardial effusion": 7.24,
    "Coronary artery wall calcification": 25.50, "Hiatal hernia": 14.32, "Lymphadenopathy": 25.92, "Emphysema": 19.35,
    "Atelectasis": 26.01, "Lung nodule": 45.35, "Lung opacity": 36.95, "Pulmonary fibrotic sequela": 26.70,
    "Pleural effusion": 12.10, "Mosaic attenuation pattern": 7.72, "Peribronchial thickening": 10.55,
    "Consolidation": 17.64, "Bronchiectasis": 10.04, "Interlobular septal thickening": 7.94,
}  # fmt: skip


@pytest.fixture
def join(tmp_path: Path) -> Callable[..., PrepareResult]:
    """Return a function that writes the given tables and joins them; other arguments are options."""

    def run(**tables: Any) -> PrepareResult:
        for name, value in tables.items():
            if name.endswith("_csv"):
                path = tmp_path / f"{name}.csv"
                path.write_text(value, encoding="utf-8")
                tables[name] = str(path)
        return prepare(PrepareOptions(**tables))

    return run


def names(prepared: PrepareResult) -> list[str]:
    return prepared.manifest.volumes.tolist()


def test_labels_alone_make_a_manifest(join: Callable[..., PrepareResult]) -> None:
    prepared = join(labels_csv=LABELS)
    assert names(prepared) == VOLUMES
    assert prepared.manifest.labels == ["Nodule", "Emphysema"]
    assert prepared.manifest.visual_paths.tolist() == [f"image/{name}.npz" for name in VOLUMES]
    assert prepared.manifest.prevalence() == pytest.approx({"Nodule": 0.5, "Emphysema": 1 / 3})
    assert prepared.unmatched == {}


def test_a_split_chooses_and_orders(join: Callable[..., PrepareResult]) -> None:
    prepared = join(labels_csv=LABELS, split_csv="VolumeName\ntrain_3_b_1.nii.gz\ntrain_9_a_1\ntrain_1_a_2\n")
    assert names(prepared) == ["train_3_b_1", "train_1_a_2"]
    assert prepared.unmatched == {
        "split_without_labels": ["train_9_a_1"],
        "labels_not_in_split": ["train_1_a_1", "train_2_a_1"],
    }


@pytest.mark.parametrize("split", ["train_1_a_1\ntrain_3_b_1.nii.gz\n", "Volume Name\ntrain_1_a_1\ntrain_3_b_1\n"])
def test_a_plain_list_needs_no_header(join: Callable[..., PrepareResult], split: str) -> None:
    assert names(join(labels_csv=LABELS, split_csv=split)) == ["train_1_a_1", "train_3_b_1"]


def test_a_split_by_exam_means_its_volumes(join: Callable[..., PrepareResult]) -> None:
    prepared = join(labels_csv=LABELS, split_csv="VolumeName\ntrain_1_a\ntrain_8_a\n")
    assert names(prepared) == ["train_1_a_1", "train_1_a_2"]
    assert prepared.unmatched["split_without_labels"] == ["train_8_a"]


def test_labels_by_exam_go_to_its_volumes(join: Callable[..., PrepareResult]) -> None:
    prepared = join(
        labels_csv="VolumeName,A\ntrain_1_a,1\ntrain_2_a,0\n", split_csv="\n".join(["VolumeName", *VOLUMES])
    )
    assert names(prepared) == VOLUMES[:3]
    assert prepared.manifest.targets[:, 0].tolist() == [1, 1, 0]
    assert prepared.unmatched == {"split_without_labels": ["train_3_b_1"]}


def test_tables_by_exam_make_a_manifest_by_exam(join: Callable[..., PrepareResult]) -> None:
    metadata = "VolumeName,PatientSex\ntrain_2_a_1,F\ntrain_1_a_1,M\ntrain_1_a_2,O\n"
    prepared = join(labels_csv="VolumeName,A\ntrain_1_a,1\ntrain_2_a,0\n", metadata_csv=metadata)
    assert names(prepared) == ["train_1_a", "train_2_a"]
    assert prepared.manifest.patients.tolist() == ["train_1", "train_2"]
    assert prepared.manifest.frame["PatientSex"].tolist() == ["M", "F"]


def test_a_split_column_is_obeyed_or_mentioned(join: Callable[..., PrepareResult]) -> None:
    split = "VolumeName,Split\ntrain_1_a_1,train\ntrain_2_a_1, val\ntrain_3_b_1,train\n"
    assert names(join(labels_csv=LABELS, split_csv=split, split="train")) == ["train_1_a_1", "train_3_b_1"]
    assert "has splits train, val: all are used" in join(labels_csv=LABELS, split_csv=split).warnings[0]
    with pytest.raises(ManifestError, match=r"no row with split 'test'; its column split has train, val"):
        join(labels_csv=LABELS, split_csv=split, split="test")


def test_metadata_may_be_absent_for_some(join: Callable[..., PrepareResult]) -> None:
    metadata = "VolumeName,PatientSex,SamplesPerPixel,Site\ntrain_1_a_1.nii.gz,M,1,1\ntrain_2_a_1.nii.gz,F,1,0\ntrain_7_a_1,F,1,0\n"
    prepared = join(labels_csv=LABELS, metadata_csv=metadata)
    assert prepared.manifest.frame["PatientSex"].tolist() == ["M", "", "F", ""]
    assert prepared.unmatched == {
        "without_metadata": ["train_1_a_2", "train_3_b_1"],
        "metadata_unused": ["train_7_a_1"],
    }
    assert prepared.manifest.labels == ["Nodule", "Emphysema"]
    assert len(prepared.warnings) == 1
    assert prepared.warnings[0].startswith("Not used as findings, though all values are 0 or 1: Site.")


def test_a_report_by_exam_serves_every_volume_and_one_by_volume_its_exam(join: Callable[..., PrepareResult]) -> None:
    rows = 'train_1_a,"Two\nlines, quoted"\n'
    by_exam = join(labels_csv=LABELS, reports_csv="VolumeName,Findings_EN\n" + rows)
    assert by_exam.manifest.frame["Findings_EN"].tolist() == ["Two\nlines, quoted"] * 2 + ["", ""]
    assert by_exam.unmatched == {"without_report": ["train_2_a_1", "train_3_b_1"]}
    rows = "train_1_a_1,first\ntrain_1_a_2,second\ntrain_3_b_2,of another reconstruction\n"
    by_volume = join(labels_csv=LABELS, reports_csv="VolumeName,Findings_EN\n" + rows)
    assert by_volume.manifest.frame["Findings_EN"].tolist() == ["first", "second", "", "of another reconstruction"]
    assert by_volume.unmatched == {"without_report": ["train_2_a_1"]}


def test_columns_can_be_chosen(join: Callable[..., PrepareResult]) -> None:
    metadata = "VolumeName,PatientSex,PatientAge\ntrain_1_a_1,M,036Y\n"
    frame = join(labels_csv=LABELS, metadata_csv=metadata, metadata_columns=["PatientAge"]).manifest.frame
    assert "PatientAge" in frame and "PatientSex" not in frame
    with pytest.raises(ManifestError, match=r"no column 'Age'.*PatientSex, PatientAge.*metadata_columns="):
        join(labels_csv=LABELS, metadata_csv=metadata, metadata_columns=["Age"])


def test_paths_are_made_from_prefix_suffix_and_level(join: Callable[..., PrepareResult]) -> None:
    options = {"visual_prefix": "ctclip/", "visual_suffix": "pt", "text_prefix": "", "text_suffix": "_t.npy"}
    manifest = join(labels_csv=LABELS, visual_level="exam", **options).manifest
    assert manifest.visual_paths.tolist()[1:3] == ["ctclip/train_1_a.pt", "ctclip/train_2_a.pt"]
    assert manifest.text_paths is not None
    assert manifest.text_paths.tolist()[1:3] == ["train_1_a_2_t.npy", "train_2_a_1_t.npy"]


def test_paths_and_ids_of_the_tables_are_kept_unless_a_prefix_is_given(join: Callable[..., PrepareResult]) -> None:
    split = "volumename,visual_feature_path,patient_id,note\ntrain_1_a_1,x/1.npz,P1,hello\ntrain_2_a_1,x/2.npz,P1,\n"
    manifest = join(labels_csv=LABELS, split_csv=split).manifest
    assert manifest.visual_paths.tolist() == ["x/1.npz", "x/2.npz"]
    assert manifest.patients.tolist() == ["P1", "P1"]
    assert "note" not in manifest.frame
    made = join(labels_csv=LABELS, split_csv=split, visual_prefix="y").manifest
    assert made.visual_paths.tolist() == ["y/train_1_a_1.npz", "y/train_2_a_1.npz"]


def test_a_folder_of_features_is_a_list_of_volumes(join: Callable[..., PrepareResult], tmp_path: Path) -> None:
    folder = tmp_path / "features" / "image"
    folder.mkdir(parents=True)
    for name in ("train_2_a_1.npz", "train_1_a_1.nii.gz.pt", "train_9_a_1.npy", "notes.txt"):
        (folder / name).touch()
    options = PrepareOptions(split_csv=str(tmp_path / "features"))
    assert prepare(options).manifest.volumes.tolist() == ["train_1_a_1", "train_2_a_1", "train_9_a_1"]
    options.labels_csv = str(tmp_path / "labels.csv")
    Path(options.labels_csv).write_text(LABELS)
    prepared = prepare(options)
    assert names(prepared) == ["train_1_a_1", "train_2_a_1"]
    assert prepared.unmatched["split_without_labels"] == ["train_9_a_1"]
    with pytest.raises(ManifestError, match="contains no feature file"):
        (tmp_path / "empty").mkdir()
        prepare(PrepareOptions(split_csv=str(tmp_path / "empty")))


def test_manual_labels_go_through_the_accession_mapping(join: Callable[..., PrepareResult]) -> None:
    labels = "AccessionNo,Nodule\n001,1\n002,0\n003,1\n004,0\n"
    mapping = "AccessionNo,NameinCTRATE\n001,train_1_a\n002,train_2_a_1.nii.gz\n002,train_2_a_2\n003,not in CT-RATE\n009,train_9_a_1\n"
    prepared = join(labels_csv=labels, mapping_csv=mapping)
    assert names(prepared) == ["train_1_a", "train_2_a_1", "train_2_a_2"]
    assert prepared.manifest.targets[:, 0].tolist() == [1, 0, 0]
    assert prepared.unmatched == {
        "labels_without_mapping": ["004"],
        "mapping_without_volume": ["003"],
        "mapping_without_labels": ["009"],
    }
    with pytest.raises(ManifestError, match=r"duplicate AccessionNo 002 \(1 row\), on line 6.*collapse=any"):
        join(labels_csv=labels + "002,0\n", mapping_csv=mapping)
    with pytest.raises(ManifestError, match=r"mapping_csv.csv: duplicate NameinCTRATE train_2_a_1"):
        join(labels_csv=labels, mapping_csv=mapping.replace("003,not in CT-RATE", "003,train_2_a_1"))
    joined = join(
        labels_csv=labels, mapping_csv=mapping.replace("003,not in CT-RATE", "003,train_2_a_1"), collapse="any"
    )
    assert joined.manifest.targets[:, 0].tolist() == [1, 1, 0]
    with pytest.raises(ManifestError, match=r"mapping_csv.csv has no column 'AccessionNo'.*accession_column="):
        join(labels_csv=labels, mapping_csv="Accession,Name\n001,train_1_a_1\n")


@pytest.mark.parametrize("row", ["train_1_a_1, 1,0\n", "train_1_a_1.nii.gz,0,0\n"], ids=["equal", "different"])
def test_two_rows_of_one_volume_are_refused(join: Callable[..., PrepareResult], row: str) -> None:
    message = (
        r"labels_csv.csv: duplicate VolumeName train_1_a_1 \(1 row\), on line 6\..*collapse=any or collapse=majority"
    )
    with pytest.raises(ManifestError, match=message):
        join(labels_csv=LABELS + row)
    for table in ("split_csv", "metadata_csv", "reports_csv"):
        with pytest.raises(ManifestError, match=f"{table}.csv: duplicate VolumeName train_1_a_1"):
            join(labels_csv=LABELS, **{table: "VolumeName,x\ntrain_1_a_1,a\ntrain_1_a_1,a\n"})


READERS = """image_id,reader,finding A,B,site
v1,R1,1,,s1
v2,R1,0,0,s1
v1,R2,0,,s1
v1,R3,0,1,
v2,R2,0,,s2
v3,R1,,,s1
v4,R1,1,1,s1
v4,R2,0,1,s1
"""


def test_rows_of_readers_are_joined_by_any_or_majority(join: Callable[..., PrepareResult]) -> None:
    """The expected labels are pandas' own maximum and mean of each image."""
    frame = pd.read_csv(io.StringIO(READERS))
    votes = frame.groupby("image_id", sort=False)[["finding A", "B"]]
    for how, expected in (("any", votes.max()), ("majority", votes.mean().round().where(votes.mean() != 0.5))):
        joined = join(labels_csv=READERS, collapse=how)
        assert names(joined) == ["v1", "v2", "v3", "v4"]
        assert joined.manifest.labels == ["finding A", "B"]
        np.testing.assert_array_equal(joined.manifest.targets, expected.to_numpy(np.float32))
        assert joined.notes == ["labels_csv.csv: volumes are read from column 'image_id' (data.columns.volume)."]
        text = " ".join(joined.warnings)
        assert f"8 rows are joined to 4 by collapse={how}" in text
        assert "reader, site differ between rows of one volume: left out" in text
        assert ("1 label with as many positive as negative rows are unknown" in text) == (how == "majority")
        assert "no patient is known for v1, v2, v3, v4 (4 volumes)" in text


def test_label_rules_hold_for_the_joined_table(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("VolumeName,Nodule,Effusion,Mass\ntrain_1_a_1,-1,0,0\ntrain_2_a_1,1,True,1\n")
    rules = LabelsConfig(uncertain="positive", rename={"Nodule": "Lung nodule"}, only=["Lung nodule", "Effusion"])
    manifest = prepare(PrepareOptions(labels_csv=str(path)), rules=rules).manifest
    assert manifest.labels == ["Lung nodule", "Effusion"]
    assert manifest.targets.tolist() == [[1, 0], [1, 1]]
    with pytest.raises(ManifestError, match=r"'Nodule' has '-1' on line 2"):
        prepare(PrepareOptions(labels_csv=str(path)))


def test_joining_rows_keeps_what_agrees_and_refuses_what_is_no_label(join: Callable[..., PrepareResult]) -> None:
    split = "VolumeName,patient_id\nv1,P1\nv1,\nv2,P2\n"
    joined = join(labels_csv="VolumeName,A\nv1,1\nv2,0\n", split_csv=split, collapse="any")
    assert joined.manifest.patients.tolist() == ["P1", "P2"]
    rows = "".join(f"v{i // 2},{i % 2}\n" for i in range(12))
    with pytest.raises(ManifestError, match=r"label column 'A' has 'x' on line 14"):
        join(labels_csv=f"VolumeName,A\n{rows}v1,x\n", collapse="majority")


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"labels_csv": LABELS.replace("VolumeName", "Sample")}, r"labels_csv.csv has no column 'volumename'.*data.columns.volume"),
        ({"labels_csv": LABELS.replace("train_2_a_1.nii.gz", "")}, r"labels_csv.csv: VolumeName is blank on line 4"),
        ({"labels_csv": LABELS.replace("_1.nii.gz,0,\n", "_1,yes,\n")}, r"labels_csv.csv: label column 'Nodule' has 'yes' on line 4"),
        ({"labels_csv": LABELS, "split_csv": "VolumeName\nvalid_1_a_1\n"}, r"share no volume: the first begins with valid_1_a_1"),
        ({"labels_csv": LABELS, "reports_csv": "VolumeName,A,A\nx,1,2\n"}, r"reports_csv.csv: duplicate column 'A'"),
        ({"labels_csv": LABELS, "metadata_csv": "VolumeName,A\nx\n"}, r"metadata_csv.csv cannot be parsed: .*line 2"),
        ({}, r"Set labels_csv= .*, split_csv= .* or both"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_table_is_said(
    join: Callable[..., PrepareResult], tables: dict[str, str], message: str
) -> None:
    with pytest.raises((ManifestError, ConfigError), match=message):
        join(**tables)


def test_named_findings_leave_other_columns_alone(join: Callable[..., PrepareResult], tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("VolumeName,A,comment\ntrain_1_a_1,1,fine\ntrain_2_a_1,0,\n")
    options = PrepareOptions(labels_csv=str(path))
    with pytest.raises(ManifestError, match=r"'comment' has 'fine' on line 2.*data.columns.metadata"):
        prepare(options)
    for columns in (ColumnsConfig(labels=["A"]), ColumnsConfig(metadata=["comment"])):
        manifest = prepare(options, columns).manifest
        assert manifest.labels == ["A"]
        assert manifest.frame["comment"].tolist() == ["fine", ""]


@pytest.mark.parametrize("name", ["train.csv", "train.parquet"])
def test_what_is_written_reads_back_alike(join: Callable[..., PrepareResult], tmp_path: Path, name: str) -> None:
    reports = 'VolumeName,Findings_EN\ntrain_1_a,"A ""quoted"" line,\nand another"\n'
    prepared = join(labels_csv=LABELS, reports_csv=reports, output_file=str(tmp_path / "new" / name))
    assert not prepared.manifest.path.exists()
    write_manifest(prepared)
    manifest = read_manifest(tmp_path / "new" / name)
    assert manifest.volumes.tolist() == VOLUMES
    assert manifest.labels == prepared.manifest.labels
    assert manifest.prevalence() == prepared.manifest.prevalence()
    assert manifest.frame.equals(prepared.manifest.frame)


def test_a_table_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(LABELS)
    with pytest.raises(ConfigError, match="is also an input"):
        prepare(PrepareOptions(labels_csv=str(path), output_file=str(tmp_path / "." / "labels.csv")))


def test_the_command_line_previews_and_writes(cli: Any, tmp_path: Path) -> None:
    path, output = tmp_path / "a 'quoted' name.csv", tmp_path / "out.csv"
    path.write_text(LABELS)
    shown = cli("prepare", f"labels_csv={path}")
    assert shown.code == 0
    assert shown.json["output_file"] is None and shown.json["rows"] == 4
    assert "nothing written" in shown.out
    done = cli("prepare", f"labels_csv={path}", f"output_file={output}", "visual_prefix=ctclip")
    assert done.json["output_file"] == str(output)
    assert done.json["unmatched"] == {}
    assert read_manifest(output).visual_paths[0] == "ctclip/train_1_a_1.npz"
    assert cli("prepare").code == 2
    assert cli("prepare", f"labels_csv={path}", "visual_level=series").code == 2
    assert cli("prepare", f"labels_csv={path}", "metadata_columns=PatientSex").code == 2
    assert cli("prepare", f"labels_csv={tmp_path / 'absent.csv'}").code == 2


def test_allowed_folders_hold_for_every_table(cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "labels.csv").write_text(LABELS)
    (tmp_path / "allowed").mkdir()
    monkeypatch.setenv("CTBENCH_ROOTS", str(tmp_path / "allowed"))
    ended = cli("prepare", f"labels_csv={tmp_path / 'labels.csv'}")
    assert ended.code == 2 and "CTBENCH_ROOTS" in ended.err


def test_ct_rate_validation_joins_completely(real_data: Callable[[str], Path], tmp_path: Path) -> None:
    options = PrepareOptions(
        output_file=str(tmp_path / "valid.csv"),
        labels_csv=str(real_data("ctrate/labels/valid_predicted_labels.csv")),
        metadata_csv=str(real_data("ctrate/metadata/validation_metadata.csv")),
        reports_csv=str(real_data("ctrate/reports/validation_reports.csv")),
    )
    prepared = prepare(options)
    write_manifest(prepared)
    manifest = read_manifest(tmp_path / "valid.csv")
    assert manifest.counts() == {"volumes": 3039, "exams": 1564, "patients": 1304}
    assert manifest.labels == list(TRAIN_PREVALENCE)
    assert prepared.unmatched == {} and prepared.warnings == []
    assert (manifest.frame["StudyDate"] != "").all()
    ages = pd.read_csv(options.metadata_csv, dtype=str, usecols=["PatientAge"])["PatientAge"]
    assert (manifest.frame["PatientAge"] != "").sum() == ages.notna().sum()


def test_ct_rate_training_has_its_published_prevalence_and_no_leak(real_data: Callable[[str], Path]) -> None:
    train, valid = (
        prepare(PrepareOptions(labels_csv=str(real_data(f"ctrate/labels/{name}_predicted_labels.csv")))).manifest
        for name in ("train", "valid")
    )
    assert train.counts() == {"volumes": 47_149, "exams": 24_128, "patients": 20_000}
    assert {label: share * 100 for label, share in train.prevalence().items()} == pytest.approx(
        TRAIN_PREVALENCE, abs=0.006
    )
    assert shared_patients(valid, [train]) == []
