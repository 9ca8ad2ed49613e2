"""The registered public data sets: which files they have, how these join, and what their labels mean.

A data set is one declaration here; finding, reading and joining its files is `ctbench_core.manifest.prepare_dataset`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ctbench_core.declared.registry import Registry

Role = Literal["labels", "link", "details", "volumes", "exclusion"]
ALL = "*"


@dataclass(frozen=True)
class SourceTable:
    """One file of a data set, found by name in the whole tree below its root.

    Attributes:
        role: ``labels`` has the findings. ``link`` leads from their rows to volumes, several a row where there are
            several; rows without a link are left out. ``details`` adds columns, blank where a volume has none.
            ``volumes`` lists the volumes of a split, ``exclusion`` those to leave out.
        title: what messages call it.
        files: names without ending (``.csv``, ``.tsv``, ``.txt``, ``.parquet``, each also with ``.gz``); ``*`` stands
            for any text; of several names the first that exists counts.
        key: spellings of the column that names its rows; ``link`` and ``details`` join by it.
        split: the split of its rows, if the file says it: train, valid or test.
        columns: the other columns to keep; ``*`` means all.
        required: whether the data set cannot be prepared without it; of the labels, one file is enough.
        several: whether all files that match are read, each with findings of its own.
    """

    role: Role
    title: str
    files: tuple[str, ...]
    key: tuple[str, ...] = ()
    split: str = ""
    columns: tuple[str, ...] = ()
    required: bool = False
    several: bool = False


@dataclass(frozen=True)
class PublicDataset:
    """One public data set.

    Attributes:
        licence: what its use requires, one sentence.
        labels: the label convention: keys of ``data.labels`` and their values.
        findings: the label columns; empty means all that are no key, split, patient, exam or kept column.
        location: what separates finding and location in the names of label columns; empty = no locations.
        collapse: how locations of a finding, and rows of a volume (readers), become one; empty = one row and column each.
        volume, patient, exam: the columns of the ids; without ``volume`` the key of the labels.
        patient_pattern, exam_pattern: regular expressions that find the id in a volume's name.
        split: the column of the split.
        prefix, suffix: folder and ending of the feature files unless the user says others.
        note: what to know before use, one sentence.
    """

    name: str
    title: str
    licence: str
    tables: tuple[SourceTable, ...]
    labels: Mapping[str, Any] = field(default_factory=dict)
    findings: tuple[str, ...] = ()
    location: str = ""
    collapse: Literal["", "any", "majority"] = ""
    volume: str = ""
    patient: str = ""
    exam: str = ""
    patient_pattern: str = ""
    exam_pattern: str = ""
    split: str = ""
    prefix: str = "image"
    suffix: str = ".npz"
    note: str = ""
    aliases: tuple[str, ...] = ()

    @property
    def terms(self) -> str:
        """The licence as a reminder, which replaces no terms."""
        return f"Licence: {self.licence} The terms that come with the data decide."


_CHEXPERT = (
    "No Finding",
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    "Support Devices",
)
# CheXpert's authors train a blank, which is a finding that the report does not mention, as negative.
_CHEXPERT_LABELS = {"uncertain": "unknown", "blank": "negative"}
_CHEXPERT_NOTE = "-1 (uncertain) is unknown and a blank (not mentioned) is negative; data.labels.* says otherwise."


def _ctrate_tables(split: str) -> tuple[tuple[Role, str, str, tuple[str, ...]], ...]:
    rest = {"valid": "validation"}.get(split, split)  # labels say valid, other files validation
    return (
        ("labels", "labels", f"{split}_predicted_labels", ()),
        ("details", "metadata", f"{rest}_metadata", (ALL,)),
        ("details", "reports", f"{rest}_reports", (ALL,)),
        ("exclusion", "exclusion list", f"no_chest_{split}", ()),
    )


DATASETS = Registry(
    "data set",
    (
        PublicDataset(
            "ct-rate",
            "CT-RATE",
            "CC BY-NC-SA 4.0: no commercial use.",
            tuple(
                SourceTable(role, f"{title} ({split})", (file,), key=("VolumeName",), split=split, columns=columns)
                for split in ("train", "valid")
                for role, title, file, columns in _ctrate_tables(split)
            ),
            note="Labels are derived from the reports.",
            aliases=("ctrate",),
        ),
        PublicDataset(
            "rad-chestct",
            "RAD-ChestCT",
            "CC BY-NC-ND 4.0: no commercial use, no derivatives.",
            (
                *(
                    SourceTable(
                        "labels",
                        f"labels ({split})",
                        (f"img{split}_Abnormality_and_Location_Labels",),
                        key=("NoteAcc_DEID",),
                        split=split,
                    )
                    for split in ("train", "valid", "test")
                ),
                SourceTable(
                    "details",
                    "metadata",
                    ("CT_Scan_Metadata_Complete*", "*metadata*"),
                    key=("NoteAcc_DEID",),
                    columns=(ALL,),
                ),
            ),
            location="*",
            collapse="any",
            patient="MRN_DEID",
            note="A finding is positive where any of its locations is.",
            aliases=("radchestct",),
        ),
        PublicDataset(
            "merlin",
            "Merlin abdominal CT",
            "Stanford research use agreement: no commercial use, no redistribution.",
            (
                SourceTable("labels", "labels", ("zero_shot_findings_disease_cls",), key=("study id", "study_id")),
                SourceTable(
                    "details",
                    "reports and splits",
                    ("reports_final", "reports_final_updated"),
                    key=("study id", "study_id"),
                    columns=(ALL,),
                ),
            ),
            labels={"uncertain": "unknown"},
            split="Split",
            note="-1 means not mentioned and is unknown.",
        ),
        PublicDataset(
            "inspect",
            "INSPECT",
            "Stanford research use agreement: no commercial use, no redistribution.",
            (
                SourceTable("labels", "labels", ("labels_2*", "labels"), key=("impression_id",)),
                SourceTable(
                    "link",
                    "mapping to scans",
                    ("study_mapping*",),
                    key=("impression_id",),
                    columns=("image_id", "person_id"),
                    required=True,
                ),
                SourceTable("details", "splits", ("splits_2*", "splits"), key=("impression_id",), columns=("split",)),
            ),
            labels={"values": {"Censored": "unknown", "Censor": "unknown"}},
            volume="image_id",
            patient="person_id",
            exam="impression_id",
            split="split",
            note="Censored is unknown: the patient was not followed for long enough.",
        ),
        PublicDataset(
            "chexpert",
            "CheXpert",
            "Stanford research use agreement: no commercial use, no redistribution.",
            tuple(
                SourceTable(
                    "labels",
                    f"labels ({split})",
                    files,
                    key=("Path",),
                    split=split,
                    columns=("Sex", "Age", "Frontal/Lateral", "AP/PA"),
                )
                for split, files in {
                    "train": ("train",),
                    "valid": ("valid",),
                    "test": ("test_labels", "groundtruth", "test"),
                }.items()
            ),
            labels=_CHEXPERT_LABELS,
            findings=_CHEXPERT,
            patient_pattern=r"patient\d+",
            exam_pattern=r"patient\d+/study\d+",
            note=_CHEXPERT_NOTE,
        ),
        PublicDataset(
            "mimic-cxr",
            "MIMIC-CXR-JPG",
            "PhysioNet credentialed health data licence: no redistribution.",
            (
                SourceTable("labels", "labels", ("mimic-cxr-*-chexpert",), key=("study_id",), columns=("subject_id",)),
                SourceTable(
                    "link",
                    "images and splits",
                    ("mimic-cxr-*-split",),
                    key=("study_id",),
                    columns=("dicom_id", "split"),
                    required=True,
                ),
                SourceTable(
                    "details",
                    "metadata",
                    ("mimic-cxr-*-metadata",),
                    key=("dicom_id",),
                    columns=("ViewPosition", "StudyDate", "Rows", "Columns"),
                ),
            ),
            labels=_CHEXPERT_LABELS,
            findings=_CHEXPERT,
            volume="dicom_id",
            patient="subject_id",
            exam="study_id",
            split="split",
            note=_CHEXPERT_NOTE,
            aliases=("mimic-cxr-jpg",),
        ),
        PublicDataset(
            "nih14",
            "NIH ChestX-ray14",
            "Free use with a link to NIH and a citation.",
            (
                SourceTable(
                    "labels",
                    "labels",
                    ("Data_Entry_2017*",),
                    key=("Image Index",),
                    columns=(
                        "Patient ID",
                        "Follow-up #",
                        "Patient Age",
                        "Patient Gender",
                        "Patient Sex",
                        "View Position",
                    ),
                ),
                SourceTable("volumes", "images for training", ("train_val_list",), split="train"),
                SourceTable("volumes", "images for test", ("test_list",), split="test"),
            ),
            labels={"list_column": "Finding Labels", "separator": "|"},
            patient="Patient ID",
            note="Labels are derived from the reports.",
            aliases=("chestx-ray14",),
        ),
        PublicDataset(
            "vindr",
            "VinDr-CXR",
            "PhysioNet credentialed health data licence: no redistribution.",
            tuple(
                SourceTable(
                    "labels",
                    f"labels ({split})",
                    (f"image_labels_{split}",),
                    key=("image_id",),
                    split=split,
                    columns=("rad_id",),
                )
                for split in ("train", "test")
            ),
            collapse="majority",
            note="Training images have three readers: a finding is what most of them say.",
            aliases=("vindr-cxr",),
        ),
        PublicDataset(
            "padchest",
            "PadChest",
            "PadChest research use agreement: no commercial use, no redistribution.",
            (
                SourceTable(
                    "labels",
                    "labels",
                    ("PADCHEST_chest_x_ray_images_labels*",),
                    key=("ImageID",),
                    columns=("PatientID", "StudyID", "PatientSex_DICOM", "PatientBirth", "Projection", "MethodLabel"),
                ),
            ),
            labels={"list_column": "Labels", "separator": ","},
            collapse="majority",
            patient="PatientID",
            exam="StudyID",
            note="'normal', 'unchanged' and 'exclude' are labels too: choose findings with data.labels.only.",
        ),
        PublicDataset(
            "cvpr26-ct",
            "CVPR 2026 3D-CT foundation models",
            "As each of its source data sets says.",
            (
                SourceTable(
                    "labels", "labels", (ALL,), key=("case_id", "id"), columns=("split",), required=True, several=True
                ),
            ),
            split="split",
            prefix="",
            suffix=".h5",
            note="Embeddings of most diseases are of that disease's region, so features differ by finding.",
            aliases=("cvpr26",),
        ),
    ),
)
