"""Files of public data sets that are not as released: what the message says, and what its reader does then."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from tests.public_datasets import CASES, save

Follow = Callable[[Path, re.Match[str]], Mapping[str, str]]


def write(root: Path, name: str) -> None:
    CASES[name].write(root, np.random.default_rng(3))


def edit(path: Path, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    separator = "\t" if ".tsv" in path.name else ","
    save(change(pd.read_csv(path, dtype=str, keep_default_na=False, sep=separator)), path, separator)


def rename(old: str, new: str) -> Callable[[Path], object]:
    return lambda root: (root / old).rename(root / new)


def change(file: str, how: Callable[[pd.DataFrame], pd.DataFrame]) -> Callable[[Path], object]:
    return lambda root: edit(root / file, how)


@dataclass(frozen=True)
class WrongFile:
    """One wrong file or option of a data set.

    Attributes:
        message: a pattern; its groups are what the reader takes from the message.
        follow: does what the message says, given the folder of the files, and returns options and keys to set.
        given: options that replace the right ones.
    """

    dataset: str
    damage: Callable[[Path], object]
    message: str
    follow: Follow
    given: Mapping[str, str] = field(default_factory=dict)


def use(**options: str) -> Follow:
    """Set options, with groups of the message in their values; ``data_labels_x`` is ``data.labels.x``."""
    dotted = {re.sub(r"^data_([a-z]+)_", r"data.\1.", name): value for name, value in options.items()}
    return lambda _, message: {name: value.format(**message.groupdict()) for name, value in dotted.items()}


def rename_file(root: Path, message: re.Match[str]) -> Mapping[str, str]:
    """Give the nearest file the expected name, with its own endings."""
    near = next(root.rglob(message["near"]))
    near.rename(near.with_name(message["right"].replace("*", "x") + near.name[near.name.index(".") :]))
    return {}


def save_as_csv(root: Path, message: re.Match[str]) -> Mapping[str, str]:
    Path(message["file"]).rename(Path(message["file"]).with_suffix(".csv"))
    return {}


def rename_column(root: Path, message: re.Match[str]) -> Mapping[str, str]:
    edit(Path(message["file"]), lambda table: table.rename(columns={message["near"]: message["right"]}))
    return {}


def correct(how: Callable[[pd.DataFrame, re.Match[str]], pd.DataFrame]) -> Follow:
    """Change the table that the message names."""

    def follow(root: Path, message: re.Match[str]) -> Mapping[str, str]:
        edit(Path(message["file"]), lambda table: how(table, message))
        return {}

    return follow


def release(name: str) -> Follow:
    """Use the files as released, in a folder of their own."""

    def follow(root: Path, message: re.Match[str]) -> Mapping[str, str]:
        write(root.with_name("released"), name)
        return {"root": str(root.with_name("released"))}

    return follow


# The command line names options and keys, the page the fields.
ROOT = "(?:root=|“Root folder”)"
COLLAPSE = "(?:collapse=|“Join repeated rows” = )"
VALUES = "(?:data.labels.values=|“Label values” = )(?P<map>{.*?})"
VOLUME = "(?:data.columns.volume|“Volume column”)"
LIST = "(?:data.labels.list_column|“List column”)"
METADATA = "(?:data.columns.metadata|“Metadata columns”)"
FILE = r"(?P<file>\S+)"
NEAREST = r"Nearest: (?P<near>\S+)\."
LABELS = "imgtrain_Abnormality_and_Location_Labels.csv"
MIMIC = "mimic-cxr-jpg/2.1.0/mimic-cxr-2.0.0-"
WRONG: dict[str, WrongFile] = {
    "file of labels renamed": WrongFile(
        "merlin", rename("zero_shot_findings_disease_cls.csv", "zero_shot_finding_cls.csv"),
        rf"holds no labels of Merlin.*expected a file (?P<right>zero_shot_findings_disease_cls) .*{NEAREST} Correct {ROOT}, or rename the file",
        rename_file,
    ),
    "spreadsheet": WrongFile(
        "merlin", rename("reports_final.csv", "reports_final.xlsx"),
        rf"{FILE} is a spreadsheet.*Save it as CSV",
        save_as_csv,
    ),
    "unknown split": WrongFile(
        "merlin", change("reports_final.csv", lambda t: t.replace({"Split": {"val": "fold 2"}})),
        rf"{FILE}: column '(?P<column>Split)' has (?P<wrong>fold 2) on line 4, 10, .*expected train.*Correct the values",
        correct(lambda t, m: t.replace({m["column"]: {m["wrong"]: "valid"}})),
    ),
    "key of reports renamed": WrongFile(
        "merlin", change("reports_final.csv", lambda t: t.rename(columns={"study id": "study"})),
        rf"{FILE} has no column '(?P<right>study id)' or 'study_id'.*Its columns are: study, Findings, Split. {NEAREST} Rename the right one, or",
        rename_column,
    ),
    "volume twice": WrongFile(
        "merlin", change("zero_shot_findings_disease_cls.csv", lambda t: pd.concat([t, t[:1]])),
        rf"zero_shot_findings_disease_cls.csv: duplicate study id AC\w+ \(1 row\), on line 92.*{COLLAPSE}(?P<how>any)",
        use(collapse="{how}"),
    ),
    "label in words": WrongFile(
        "merlin", change("zero_shot_findings_disease_cls.csv", lambda t: t.assign(ascites=["maybe", *t["ascites"][1:]])),
        rf"_cls.csv: label column 'ascites' has 'maybe' on line 2 .*{VALUES}.*{METADATA}",
        use(data_labels_values="{map}"),
    ),
    "volume column renamed": WrongFile(
        "rad-chestct", change(LABELS, lambda t: t.rename(columns={"NoteAcc_DEID": "NoteAcc"})),
        rf"{FILE} has no column 'NoteAcc_DEID', which the files of RAD-ChestCT have.*{NEAREST} .*{VOLUME}",
        use(data_columns_volume="{near}"),
    ),
    "no location": WrongFile(
        "rad-chestct", change(LABELS, lambda t: t.rename(columns=lambda name: name.replace("*", "/"))),
        rf"{FILE} has no column 'finding\*location'.*nodule/right_lung",
        correct(lambda t, m: t.rename(columns=lambda name: name.replace("/", "*"))),
    ),
    "location in words": WrongFile(
        "rad-chestct", change(LABELS, lambda t: t.assign(**{"nodule*left_lung": "x"})),
        rf"_Labels.csv: label column 'nodule\*left_lung' has 'x' on line 2.*{VALUES}.*{METADATA}",
        use(data_labels_values="{map}"),
    ),
    "volume in two splits": WrongFile(
        "rad-chestct", change(LABELS, lambda t: t.assign(NoteAcc_DEID=["tst00000", *t["NoteAcc_DEID"][1:]])),
        rf"tst00000 \(1 volume\): several splits, in (?P<file>\S*imgtrain\S*) on line 2 \(1 row\), \S*imgtest\S* on line 2 .*{ROOT}[ =]*<file>",
        use(root="{file}"),
    ),
    "finding is missing": WrongFile(
        "chexpert", change("CheXpert-v1.0-small/valid.csv", lambda t: t.drop(columns="Edema")),
        rf"{FILE} has no column '(?P<right>Edema)'.*Add it",
        correct(lambda t, m: t.assign(**{m["right"]: "0"})),
    ),
    "file of splits renamed": WrongFile(
        "mimic-cxr", rename(f"{MIMIC}split.csv.gz", "split.csv.gz"),
        rf"holds no images and splits of MIMIC-CXR-JPG: expected a file (?P<right>\S+) .*{NEAREST} Correct {ROOT}, or rename the file",
        rename_file,
    ),
    "another release": WrongFile(
        "mimic-cxr", change(f"{MIMIC}split.csv.gz", lambda t: t.assign(study_id="7")),
        r"split.csv.gz and the labels share no study_id: it begins with 7, the labels with 50000000\. Give the files",
        release("mimic-cxr"),
    ),
    "study in two splits": WrongFile(
        "inspect", change("splits_20250611.tsv", lambda t: pd.concat([t, t[:1].assign(split="test")])),
        rf"{FILE}: duplicate impression_id 100000 \(1 row\), on line (?P<line>\d+)\. Keep one row a volume\.$",
        correct(lambda t, m: t.drop(index=int(m["line"]) - 2)),
    ),
    "link is missing": WrongFile(
        "inspect", change("study_mapping_20250611.tsv", lambda t: t.drop(columns="image_id")),
        rf"study_mapping_20250611.tsv has no column 'image_id'.*correct {ROOT}",
        release("inspect"),
    ),
    "list column renamed": WrongFile(
        "nih14", change("Data_Entry_2017_v2020.csv", lambda t: t.rename(columns={"Finding Labels": "Findings"})),
        rf"Data_Entry_2017_v2020.csv has no column 'Finding Labels'.*{NEAREST} .*{LIST}",
        use(data_labels_list_column="{near}"),
    ),
    "two copies": WrongFile(
        "ct-rate", lambda root: write(root / "copy", "ct-rate"),
        rf"2 files could be the labels \(train\) of CT-RATE: (?P<copy>\S+copy)/\S*train_predicted_labels.csv, .*Give {ROOT}",
        use(root="{copy}"),
    ),
    "tables disagree on splits": WrongFile(
        "cvpr26-ct", change("labels/gallstone.csv", lambda t: t.assign(split="train")),
        rf"amos_0030.*several splits, in (?P<file>\S+ascites.csv) on line 32, .*, \S+gallstone.csv on line 27.*each with {ROOT}[ =]*<file>",
        use(root="{file}"),
    ),
    "no labels": WrongFile(
        "cvpr26-ct", lambda root: [file.unlink() for file in (root / "labels").iterdir()],
        rf"holds no labels of CVPR.*with the columns case_id or id, split.*Correct {ROOT}",
        release("cvpr26-ct"),
    ),
    "unknown data set": WrongFile(
        "chexpert", lambda root: None, r"Unknown data set 'chexprt'. Known: (?P<near>chexpert), ",
        use(dataset="{near}"), {"dataset": "chexprt"},
    ),
    "no root": WrongFile(
        "merlin", lambda root: None, rf"Set {ROOT} to the folder with the files of Merlin",
        lambda root, _: {"root": str(root)}, {"root": ""},
    ),
    "root mistyped": WrongFile(
        "merlin", lambda root: root.rename(root.with_name("rwa")), rf"{ROOT}[ =]*(?P<place>\S+)raw does not exist. Nearest: (?P<near>rwa). Give the folder",
        use(root="{place}{near}"),
    ),
    "tables beside a data set": WrongFile(
        "merlin", lambda root: None, r"Leave out (?P<option>labels_csv)", lambda *_: {"labels_csv": ""}, {"labels_csv": "x.csv"},
    ),
}  # fmt: skip
