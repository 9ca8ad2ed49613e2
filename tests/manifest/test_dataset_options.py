"""Public data sets: what the user may change, what a wrong input says, and that a new set is one declaration."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ctbench_core.config import ColumnsConfig, LabelsConfig
from ctbench_core.declared import DATASETS, PublicDataset, SourceTable
from ctbench_core.errors import ConfigError, ManifestError
from ctbench_core.manifest import (
    PreparedDataset,
    PrepareOptions,
    prepare,
    prepare_dataset,
    read_manifest,
    write_dataset,
)
from tests.public_datasets import CHEXPERT, INSPECT, NIH, RAD, VINDR
from tests.wrong_files import WRONG, edit, write

Make = Callable[..., PreparedDataset]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return the folder of the raw files."""
    return tmp_path / "raw"


@pytest.fixture
def make(root: Path, tmp_path: Path) -> Make:
    """Return a function that prepares a data set; its files are written the first time."""

    def run(name: str, given: dict[str, Any] | None = None, **options: Any) -> PreparedDataset:
        if not root.exists():
            write(root, name)
        columns = options.pop("columns", None)
        options = {"root": str(root), "output_file": str(tmp_path / "made")} | options
        return prepare_dataset(PrepareOptions(dataset=name, **options), columns, given)

    return run


def prevalence(prepared: PreparedDataset, finding: str) -> float:
    return prepared.parts[0].manifest.prevalence()[finding]


def test_given_keys_replace_those_of_the_convention(make: Make, root: Path) -> None:
    assert prevalence(make("chexpert"), "Edema") < prevalence(make("chexpert", {"blank": "unknown"}), "Edema")
    raw = pd.read_csv(root / "CheXpert-v1.0-small/train.csv.gz")["Edema"]
    assert prevalence(make("chexpert", {"blank": "unknown"}), "Edema") == pytest.approx(
        (raw == 1).sum() / raw.isin([0, 1]).sum()
    )
    assert prevalence(make("chexpert", {"uncertain": "positive"}), "Edema") == pytest.approx((raw.abs() == 1).mean())


def test_given_texts_are_added_to_those_of_the_convention(make: Make, root: Path) -> None:
    write(root, "inspect")
    edit(root / "labels_20250611.tsv", lambda table: table.replace({"pe_positive_nlp": {"False": "no"}}))
    with pytest.raises(
        ManifestError,
        match=r"labels_20250611.tsv: label column 'pe_positive_nlp' has 'no' on line 3, .*data.labels.values=\{no: unknown\}",
    ):
        make("inspect")
    assert make("inspect", {"values": {"no": 0}}).parts[0].manifest.labels == INSPECT


def test_findings_are_renamed_and_chosen(make: Make) -> None:
    prepared = make("rad-chestct", {"rename": {"nodule": "Lung nodule"}, "only": ["Lung nodule", "hernia"]})
    assert prepared.parts[0].manifest.labels == ["Lung nodule", "hernia"]
    assert "cardiomegaly" not in prepared.parts[0].manifest.frame
    assert make("rad-chestct", columns=ColumnsConfig(labels=["hernia"])).parts[0].manifest.labels == ["hernia"]
    with pytest.raises(ConfigError, match=r"Unknown finding 'Nodule'. Known: nodule"):
        make("rad-chestct", {"only": ["Nodule"]})


@pytest.mark.parametrize(
    ("how", "expected"), [("any", np.nanmax), ("majority", lambda votes, axis: votes.mean(axis) > 0.5)]
)
def test_locations_are_joined_by_the_chosen_rule(make: Make, root: Path, how: str, expected: Any) -> None:
    prepared = make("rad-chestct", collapse=how)
    raw = pd.read_csv(root / "imgtrain_Abnormality_and_Location_Labels.csv")
    nodules = raw[[name for name in RAD if name.startswith("nodule")]].to_numpy()
    known = np.ones(len(raw), bool) if how == "any" else nodules.mean(1) != 0.5  # two locations: a tie is unknown
    targets = prepared.parts[0].manifest.targets[:, 0]
    assert np.array_equal(~np.isnan(targets), known)
    assert np.array_equal(targets[known], np.asarray(expected(nodules, axis=1))[known])


def test_locations_of_any_table_are_joined(tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    table.write_text("volumename,mass*a,mass*b,mass,cyst*a,Site\nv1,0,1,0,,x\nv2,0,0,0,0,x\nv3,,,1,1,y\n")
    options = PrepareOptions(labels_csv=str(table), collapse="any", location_separator="*")
    manifest = prepare(options, ColumnsConfig(metadata=["Site"])).manifest
    assert manifest.labels == ["mass", "cyst"]
    assert np.array_equal(manifest.targets, [[1, np.nan], [0, 0], [1, 1]], equal_nan=True)
    assert manifest.frame["Site"].tolist() == ["x", "x", "y"]
    options.collapse = None
    with pytest.raises(ConfigError, match="also set collapse="):
        prepare(options)


def test_readers_are_joined_by_the_chosen_rule(make: Make, root: Path) -> None:
    prepared = make("vindr", collapse="any")
    train = pd.read_csv(root / "annotations/image_labels_train.csv").groupby("image_id")[VINDR].max()
    assert prepared.parts[0].manifest.prevalence() == pytest.approx(train.mean().to_dict())
    assert "rows of a volume were joined by collapse=any" in " ".join(prepared.parts[0].record["warnings"])
    assert "joined" not in " ".join(prepared.parts[1].record["warnings"])


def test_a_finding_that_a_file_lacks_is_unknown_there(make: Make, root: Path) -> None:
    write(root, "vindr")
    edit(root / "annotations/image_labels_test.csv", lambda table: table.drop(columns="Nodule/Mass"))
    prepared = make("vindr", {"blank": "negative"})
    assert "image_labels_test.csv has no Nodule/Mass: unknown in its volumes." in prepared.notes
    assert np.isnan(prepared.parts[1].manifest.targets[:, 1]).all()
    assert not any("blank is read" in text for text in prepared.parts[1].record["warnings"])  # it has no blank cell


def test_one_split_goes_to_one_file(make: Make, tmp_path: Path) -> None:
    prepared = make("merlin", split="val", output_file=str(tmp_path / "mine.parquet"))
    write_dataset(prepared)
    assert read_manifest(tmp_path / "mine.parquet").labels == ["submucosal_edema", "ascites", "renal_cyst"]
    with pytest.raises(
        ConfigError, match=r"3 splits, train, valid, test.*give a folder as output_file=.*or choose one with split="
    ):
        make("merlin", output_file=str(tmp_path / "mine.csv"))
    with pytest.raises(ConfigError, match=r"no split 'dev2' here. It has: train, valid, test"):
        make("merlin", split="dev2")


def test_the_root_may_be_the_only_file(make: Make, root: Path) -> None:
    write(root, "merlin")
    file = root / "renamed.csv"
    (root / "zero_shot_findings_disease_cls.csv").rename(file)
    prepared = make("merlin", root=str(file))
    assert [part.manifest.name for part in prepared.parts] == ["train.csv"]
    assert len(prepared.parts[0].manifest) == 90
    assert any(note.startswith("No reports and splits: no file reports_final") for note in prepared.notes)


def test_paths_follow_the_options(make: Make) -> None:
    assert make("cvpr26-ct").parts[0].manifest.visual_paths[0] == "amos_0000.h5"
    other = make("cvpr26-ct", visual_prefix="x", visual_suffix=".npz", text_prefix="t").parts[0].manifest
    assert other.visual_paths[0] == "x/amos_0000.npz"
    assert other.text_paths is not None and other.text_paths[0] == "t/amos_0000.npz"


def test_ids_and_kept_columns_have_the_usual_names(make: Make) -> None:
    frame = make("chexpert").parts[0].manifest.frame
    assert list(frame)[:4] == ["volumename", "visual_feature_path", "patient_id", "exam_id"]
    assert frame.loc[0, "volumename"] == "CheXpert-v1.0-small/train/patient00001/study1/view1_frontal"
    assert frame.loc[0, ["patient_id", "exam_id"]].tolist() == ["patient00001", "patient00001/study1"]
    assert list(frame)[4:] == [*CHEXPERT, "Sex", "Age", "Frontal/Lateral", "AP/PA"]


def test_reports_by_exam_and_metadata_by_volume_join(make: Make) -> None:
    prepared = make("ct-rate")
    assert [part.manifest.name for part in prepared.parts] == ["train.csv", "test.csv"]  # its valid is the test
    assert any("its validation split is written as test.csv" in note for note in prepared.notes)
    test = prepared.parts[1].manifest.frame
    assert test["Findings_EN"].tolist() == ["Clear, as before."] * 16
    assert test["PatientSex"].tolist() == ["", *["F"] * 15]  # the first volume has no metadata


def test_a_written_manifest_states_its_convention_until_it_is_changed(make: Make, tmp_path: Path) -> None:
    write_dataset(make("chexpert"))
    path = tmp_path / "made" / "train.csv"
    manifest = read_manifest(path)
    assert manifest.labels == CHEXPERT  # not Age, though it looks like a label column to nobody
    assert (
        manifest.label_mapping["blank"] == "negative" and manifest.label_mapping["values"][""]["meaning"] == "negative"
    )
    assert any(text.startswith("train.csv: -1.0 is read as unknown in") for text in manifest.warnings)
    assert any("prevalence changed" in text for text in manifest.warnings)
    rules = LabelsConfig(rename={"Edema": "Oedema"}, only=["Oedema"])
    assert read_manifest(path, rules=rules).labels == ["Oedema"]
    path.write_text(path.read_text().replace("Male", "Female"))
    changed = read_manifest(path)
    assert changed.label_mapping == {}
    assert any("was changed after it was prepared" in text for text in changed.warnings)
    record = path.with_name("train.csv.prepare.json")
    assert json.loads(record.read_text())["licence"] == DATASETS["chexpert"].licence
    record.write_text("[]")
    with pytest.raises(ManifestError, match=r"train.csv.prepare.json is no record.*Delete it"):
        read_manifest(path)


def test_metadata_that_looks_like_labels_is_no_finding(make: Make, tmp_path: Path) -> None:
    write_dataset(make("nih14"))
    assert set(read_manifest(tmp_path / "made" / "train.csv").labels) == set(NIH)  # Follow-up # is 0 or 1 here


def test_prepared_manifests_below_the_root_are_no_raw_files(make: Make, root: Path) -> None:
    for _ in range(2):
        write_dataset(make("chexpert", output_file=str(root / "manifests")))


def test_an_eleventh_data_set_is_one_declaration(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, make: Make, root: Path
) -> None:
    monkeypatch.setattr(DATASETS, "_items", dict(DATASETS))
    table = SourceTable("labels", "labels", ("rsna_*",), key=("StudyInstanceUID",), columns=("fold",))
    DATASETS.add(PublicDataset("rsna-pe", "RSNA PE", "Free.", (table,), split="fold"))
    rows = [f"1.2.{i},{i % 2},{'train' if i < 6 else 'test'}" for i in range(9)]
    root.mkdir()
    (root / "rsna_pe_train.csv").write_text("\n".join(["StudyInstanceUID,pe,fold", *rows]))
    parts = make("rsna-pe").parts
    assert [(part.manifest.name, len(part.manifest), part.manifest.labels) for part in parts] == [
        ("train.csv", 6, ["pe"]),
        ("test.csv", 3, ["pe"]),
    ]


@pytest.mark.parametrize(
    ("name", "column"), [("rad-chestct", "nodule*left_lung"), ("chexpert", "Edema"), ("merlin", "ascites")]
)
def test_metadata_are_no_findings_and_stay(make: Make, name: str, column: str) -> None:
    manifest = make(name, columns=ColumnsConfig(metadata=[column])).parts[0].manifest
    assert column in manifest.frame and column not in manifest.labels


def test_a_location_that_is_metadata_does_not_count(make: Make, root: Path) -> None:
    prepared = make("rad-chestct", columns=ColumnsConfig(metadata=["nodule*left_lung"]))
    raw = pd.read_csv(root / "imgtrain_Abnormality_and_Location_Labels.csv")
    assert prevalence(prepared, "nodule") == pytest.approx(raw["nodule*right_lung"].mean())


def test_a_volume_column_that_no_table_has_is_an_error(make: Make) -> None:
    with pytest.raises(ManifestError, match=r"no column 'Note'.*data.columns.volume"):
        make("rad-chestct", columns=ColumnsConfig(volume="Note"))


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_file_is_an_error_whose_advice_works(
    cli: Callable[..., Any], root: Path, tmp_path: Path, case: str
) -> None:
    wrong = WRONG[case]
    write(root, wrong.dataset)
    wrong.damage(root)
    options = {"dataset": wrong.dataset, "root": str(root), "output_file": str(tmp_path / "made"), **wrong.given}

    def call() -> Any:
        return cli("prepare", *(f"{name}={value}" for name, value in options.items() if value))

    refused = call()
    assert refused.code == 2 and not (tmp_path / "made").exists()
    message = re.search(wrong.message, refused.json["error"])
    assert message, refused.json["error"]
    options |= wrong.follow(root, message)
    solved = call()
    assert solved.code == 0, solved.err
    assert list((tmp_path / "made").glob("*.csv"))


def test_the_verb_shows_and_writes_nothing_without_an_output(cli: Callable[..., Any], root: Path) -> None:
    write(root, "chexpert")
    shown = cli("prepare", "dataset=chexpert", f"root={root}", "data.labels.blank=unknown")
    assert shown.code == 0
    assert "Label convention: uncertain=unknown, blank=unknown" in shown.out
    assert "Preview, nothing written" in shown.out
    assert list(Path.cwd().iterdir()) == []
    assert cli("prepare", "dataset=chexpert", "root=nowhere").code == 2


def test_ctrates_own_tables_are_a_data_set(real_data: Callable[[str], Path], tmp_path: Path) -> None:
    tables = real_data("ctrate/labels").parent
    prepared = prepare_dataset(PrepareOptions(dataset="ct-rate", root=str(tables), output_file=str(tmp_path)))
    raw = pd.read_csv(tables / "labels/train_predicted_labels.csv").drop(columns="VolumeName")
    train, test = (part.manifest for part in prepared.parts)
    assert train.counts() == {"volumes": 47149, "exams": 24128, "patients": 20000}
    assert test.counts() == {"volumes": 3039, "exams": 1564, "patients": 1304}
    assert train.prevalence() == pytest.approx(raw.mean().to_dict())
    assert (test.frame["Findings_EN"] != "").all() and (test.frame["Manufacturer"] != "").all()
