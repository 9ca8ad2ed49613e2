"""Small tables typed after the conventions of ten public data sets, and what pandas alone makes of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

CHEXPERT = [
    "No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema", "Consolidation",
    "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture", "Support Devices",
]  # fmt: skip


@dataclass(frozen=True)
class Expected:
    """One manifest: N, patients, and the prevalence of some findings."""

    volumes: int
    patients: int
    prevalence: dict[str, float]


@dataclass(frozen=True)
class Case:
    """One data set: how its files are written, what is in them, and keys for a run on its manifests."""

    write: Callable[[Path, np.random.Generator], None]
    expect: Callable[[Path], dict[str, Expected]]
    keys: tuple[str, ...] = ()
    unmatched: dict[str, int] = field(default_factory=dict)


def save(frame: pd.DataFrame, path: Path, separator: str = ",") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_csv(path, index=False, sep=separator)


def draw(random: np.random.Generator, rows: int, columns: list[str], values: list[object]) -> pd.DataFrame:
    """Draw labels; the first rows hold every value of every column."""
    picked = random.integers(0, len(values), (rows, len(columns)))
    picked[: len(values)] = np.arange(len(values))[:, None]
    return pd.DataFrame({name: [values[i] for i in column] for name, column in zip(columns, picked.T)}, dtype=object)


def means(frame: pd.DataFrame, columns: list[str]) -> dict[str, float]:
    return {name: float(pd.to_numeric(frame[name]).mean()) for name in columns}


def write_features(manifests: Path, root: Path) -> None:
    """Write a vector for each path of the manifests."""
    random = np.random.default_rng(5)
    for file in manifests.glob("*.csv"):
        for name in pd.read_csv(file)["visual_feature_path"]:
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            vector = random.normal(size=4).astype(np.float32)
            if path.suffix == ".h5":
                with h5py.File(path, "w") as h5:
                    h5["y_hat"] = vector
            else:
                np.savez(path, vector)


def write_ctrate(root: Path, random: np.random.Generator) -> None:
    for split, rest, patients in (("train", "train", 20), ("valid", "validation", 8)):
        names = [f"{split}_{p}_a_{r}" for p in range(1, patients + 1) for r in (1, 2)]
        labels = draw(random, len(names), ["Lung nodule", "Emphysema", "Hiatal hernia"], [0, 1])
        labels.insert(0, "VolumeName", [f"{name}.nii.gz" for name in names])
        save(labels, root / f"dataset/multi_abnormality_labels/{split}_predicted_labels.csv")
        if split == "valid":
            metadata = pd.DataFrame({"VolumeName": labels["VolumeName"][1:], "PatientSex": "F", "RescaleSlope": 1})
            save(metadata, root / f"dataset/metadata/{rest}_metadata.csv")
            exams = [f"{split}_{p}_a" for p in range(1, patients + 1)]
            reports = pd.DataFrame({"VolumeName": exams, "Findings_EN": "Clear, as before."})
            save(reports, root / f"dataset/radiology_text_reports/{rest}_reports.csv")
    (root / "dataset/metadata/no_chest_train.txt").write_text("train_1_a_1.nii.gz\ntrain_20_a_2.nii.gz\n")


def expect_ctrate(root: Path) -> dict[str, Expected]:
    expected = {}
    for split, file in (("train", "train.csv"), ("valid", "test.csv")):
        labels = pd.read_csv(root / f"dataset/multi_abnormality_labels/{split}_predicted_labels.csv")
        labels = labels[~labels["VolumeName"].isin(["train_1_a_1.nii.gz", "train_20_a_2.nii.gz"])]
        patients = labels["VolumeName"].str.split("_").str[:2].str.join("_").nunique()
        expected[file] = Expected(len(labels), patients, means(labels, list(labels)[1:]))
    return expected


RAD = ["nodule*right_lung", "nodule*left_lung", "cardiomegaly*heart", "hernia*other_location", "hernia*esophagus"]


def write_radchestct(root: Path, random: np.random.Generator) -> None:
    scans = []
    for split, letters, rows in (("train", "trn", 40), ("valid", "val", 16), ("test", "tst", 16)):
        labels = draw(random, rows, RAD, [0, 0, 0, 1])
        labels.insert(0, "NoteAcc_DEID", [f"{letters}{i:05d}" for i in range(rows)])
        save(labels, root / f"img{split}_Abnormality_and_Location_Labels.csv")
        scans += labels["NoteAcc_DEID"].tolist()
    patients = [f"{name[:3]}p{int(name[3:]) // 2}" for name in scans]
    metadata = pd.DataFrame({"NoteAcc_DEID": scans, "MRN_DEID": patients, "Set_Assigned": "x", "Gender": "M"})
    save(metadata, root / "CT_Scan_Metadata_Complete_35747.csv")


def expect_radchestct(root: Path) -> dict[str, Expected]:
    expected = {}
    for split in ("train", "valid", "test"):
        labels = pd.read_csv(root / f"img{split}_Abnormality_and_Location_Labels.csv")
        joined = labels[RAD].T.groupby(lambda name: name.split("*")[0]).max().T
        metadata = pd.read_csv(root / "CT_Scan_Metadata_Complete_35747.csv").set_index("NoteAcc_DEID")
        patients = metadata.loc[labels["NoteAcc_DEID"], "MRN_DEID"].nunique()
        expected[f"{split}.csv"] = Expected(len(labels), patients, means(joined, list(joined)))
    return expected


def write_merlin(root: Path, random: np.random.Generator) -> None:
    labels = draw(random, 90, ["submucosal_edema", "ascites", "renal_cyst"], [1, 0, -1])
    labels.insert(0, "study id", [f"AC{i:06x}" for i in range(90)])
    save(labels.sample(frac=1, random_state=1), root / "zero_shot_findings_disease_cls.csv")
    reports = pd.DataFrame({"study id": labels["study id"], "Findings": "Lungs: clear.\nLiver: normal."})
    reports["Split"] = ["train", "val", "test"] * 30
    save(reports[:-2], root / "reports_final.csv")


def expect_merlin(root: Path) -> dict[str, Expected]:
    labels = pd.read_csv(root / "zero_shot_findings_disease_cls.csv").replace(-1, np.nan)
    labels = labels.merge(pd.read_csv(root / "reports_final.csv"), on="study id")
    files = {"train": "train.csv", "val": "valid.csv", "test": "test.csv"}
    return {
        files[split]: Expected(len(part), len(part), means(part, ["submucosal_edema", "ascites", "renal_cyst"]))
        for split, part in labels.groupby("Split")
    }


INSPECT = ["pe_positive_nlp", "1_month_mortality", "12_month_PH"]


def write_inspect(root: Path, random: np.random.Generator) -> None:
    ids = [str(100000 + i) for i in range(80)]
    labels = draw(random, 80, INSPECT, ["True", "False", "Censored"])
    labels.insert(0, "impression_id", ids)
    save(labels, root / "labels_20250611.tsv", "\t")
    scans = pd.DataFrame({"impression_id": ids[:-3], "image_id": [f"PE{i:x}.nii.gz" for i in range(2000, 2077)]})
    scans["person_id"] = [f"1{i // 2}" for i in range(77)]
    save(scans.iloc[::-1], root / "study_mapping_20250611.tsv", "\t")
    splits = pd.DataFrame({"impression_id": ids, "split": ["train", "train", "valid", "test"] * 20})
    save(pd.concat([splits, splits[:4]]), root / "splits_20250611.tsv", "\t")  # the release repeats rows


def expect_inspect(root: Path) -> dict[str, Expected]:
    tables = [
        pd.read_csv(root / f"{name}_20250611.tsv", sep="\t", dtype=str)
        for name in ("labels", "study_mapping", "splits")
    ]
    rows = tables[0].merge(tables[1], on="impression_id").merge(tables[2].drop_duplicates(), on="impression_id")
    rows[INSPECT] = rows[INSPECT].apply(lambda column: column.map({"True": 1, "False": 0}))
    return {
        f"{split}.csv": Expected(len(part), part["person_id"].nunique(), means(part, INSPECT))
        for split, part in rows.groupby("split")
    }


def write_chexpert(root: Path, random: np.random.Generator) -> None:
    for split, patients, ending in (("train", 20, ".csv.gz"), ("valid", 10, ".csv")):
        values = ["1.0", "0.0", "-1.0", "", ""] if split == "train" else ["1.0", "0.0"]
        labels = draw(random, patients * 2, CHEXPERT, values)
        numbers = [(p, view) for p in range(1, patients + 1) for view in ("view1_frontal", "view2_lateral")]
        start = 0 if split == "train" else 64540
        paths = [f"CheXpert-v1.0-small/{split}/patient{start + p:05d}/study1/{view}.jpg" for p, view in numbers]
        front = {"Path": paths, "Sex": "Male", "Age": 68, "Frontal/Lateral": "Frontal", "AP/PA": ["AP", ""] * patients}
        save(pd.concat([pd.DataFrame(front), labels], axis=1), root / f"CheXpert-v1.0-small/{split}{ending}")


def expect_chexpert(root: Path) -> dict[str, Expected]:
    expected = {}
    for file, name in (("train.csv.gz", "train.csv"), ("valid.csv", "test.csv")):
        labels = pd.read_csv(root / "CheXpert-v1.0-small" / file)
        read = labels[CHEXPERT].fillna(0).replace(-1, np.nan)
        patients = labels["Path"].str.extract(r"(patient\d+)")[0].nunique()
        expected[name] = Expected(len(labels), patients, means(read, CHEXPERT))
    return expected


def write_mimic(root: Path, random: np.random.Generator) -> None:
    studies = pd.DataFrame({"subject_id": [str(10000000 + i // 2) for i in range(40)]})
    studies["study_id"] = [str(50000000 + i) for i in range(40)]
    labels = draw(random, 40, CHEXPERT, ["1.0", "0.0", "-1.0", ""])
    save(pd.concat([studies, labels], axis=1), root / "mimic-cxr-jpg/2.1.0/mimic-cxr-2.0.0-chexpert.csv.gz")
    images = studies.loc[np.repeat(np.arange(39), 2)].reset_index(drop=True)  # one study without images
    images.insert(0, "dicom_id", [f"{i:08x}-0a" for i in range(len(images))])
    images["split"] = [
        "train" if int(s) % 4 < 2 else "validate" if int(s) % 4 == 2 else "test" for s in images["subject_id"]
    ]
    save(images, root / "mimic-cxr-jpg/2.1.0/mimic-cxr-2.0.0-split.csv.gz")
    metadata = images.assign(ViewPosition="PA", StudyDate=21800506, Rows=3056, Columns=2544)
    save(metadata, root / "mimic-cxr-jpg/2.1.0/mimic-cxr-2.0.0-metadata.csv.gz")


def expect_mimic(root: Path) -> dict[str, Expected]:
    folder = root / "mimic-cxr-jpg/2.1.0"
    labels, images = (pd.read_csv(folder / f"mimic-cxr-2.0.0-{name}.csv.gz") for name in ("chexpert", "split"))
    rows = images.merge(labels, on=["subject_id", "study_id"])
    rows[CHEXPERT] = rows[CHEXPERT].fillna(0).replace(-1, np.nan)
    files = {"train": "train.csv", "validate": "valid.csv", "test": "test.csv"}
    return {
        files[split]: Expected(len(part), part["subject_id"].nunique(), means(part, CHEXPERT))
        for split, part in rows.groupby("split")
    }


NIH = ["Effusion", "Infiltration", "Mass"]


def write_nih(root: Path, random: np.random.Generator) -> None:
    images = [(p, i) for p in range(1, 31) for i in (0, 1)]
    names = [f"{p:08d}_{i:03d}.png" for p, i in images]
    table = pd.DataFrame({"Image Index": names})
    drawn = random.random((60, 3)) < 0.4
    drawn[:3], drawn[-3:] = np.eye(3, dtype=bool), np.eye(3, dtype=bool)
    table["Finding Labels"] = ["|".join(np.array(NIH)[row]) or "No Finding" for row in drawn]
    table["Follow-up #"], table["Patient ID"] = [i for _, i in images], [p for p, _ in images]
    table["Patient Age"], table["Patient Gender"], table["View Position"] = "058", "M", "PA"
    save(table, root / "Data_Entry_2017_v2020.csv")
    (root / "train_val_list.txt").write_text("\n".join(names[:40]))
    (root / "test_list.txt").write_text("\n".join(names[40:]) + "\n")


def expect_nih(root: Path) -> dict[str, Expected]:
    table = pd.read_csv(root / "Data_Entry_2017_v2020.csv")
    expected = {}
    for file, name in (("train_val_list.txt", "train.csv"), ("test_list.txt", "test.csv")):
        part = table[table["Image Index"].isin((root / file).read_text().split())]
        lists = part["Finding Labels"].str.get_dummies("|")
        expected[name] = Expected(len(part), part["Patient ID"].nunique(), means(lists, NIH))
    return expected


VINDR = ["Aortic enlargement", "Nodule/Mass", "No finding"]


def write_vindr(root: Path, random: np.random.Generator) -> None:
    ids = [f"{i:032x}" for i in range(60)]
    readers = pd.DataFrame({"image_id": np.repeat(ids[:40], 3), "rad_id": ["R8", "R9", "R10"] * 40})
    train = pd.concat([readers, draw(random, 120, VINDR, [0, 1])], axis=1)
    save(train.sample(frac=1, random_state=2), root / "annotations/image_labels_train.csv")
    test = pd.concat([pd.DataFrame({"image_id": ids[40:]}), draw(random, 20, VINDR, [0, 1])], axis=1)
    save(test, root / "annotations/image_labels_test.csv")
    (root / "annotations/annotations_train.csv").write_text("image_id,rad_id,class_name\n")


def expect_vindr(root: Path) -> dict[str, Expected]:
    train = pd.read_csv(root / "annotations/image_labels_train.csv").groupby("image_id")[VINDR].mean() > 0.5
    test = pd.read_csv(root / "annotations/image_labels_test.csv")
    return {
        "train.csv": Expected(40, 40, means(train.astype(int), VINDR)),
        "test.csv": Expected(20, 20, means(test, VINDR)),
    }


PADCHEST = ["normal", "pulmonary fibrosis", "chronic changes", "kyphosis"]


def write_padchest(root: Path, random: np.random.Generator) -> None:
    drawn = random.random((60, 4)) < 0.4
    drawn[:4] = np.eye(4, dtype=bool)
    lists = [str([name for name, here in zip(PADCHEST, row) if here] or ["normal"]) for row in drawn]
    lists[50] = ""
    numbers = np.arange(60)
    table = pd.DataFrame(
        {"ImageID": [f"2168401_{i}_02-094.png" for i in numbers], "StudyID": [f"s{i // 2}" for i in numbers]}
    )
    table["PatientID"], table["PatientSex_DICOM"], table["Projection"] = numbers // 4, "F", "PA"
    table["MethodLabel"], table["Report"], table["Labels"] = "Physician", "cambio pulmon cronic", lists
    again = table[:12].assign(Labels=lists[12:24])  # twelve images have a second reader
    table = pd.concat([table, again], ignore_index=True)
    table.insert(0, "", np.arange(len(table)))
    save(table, root / "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv.gz")


def expect_padchest(root: Path) -> dict[str, Expected]:
    table = pd.read_csv(root / "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv.gz")
    known = table["Labels"].dropna()
    lists = known.str.strip("[]").str.replace("'", "").str.get_dummies(", ")
    votes = lists.groupby(table["ImageID"]).mean()
    read = votes.round().where(votes != 0.5)  # two readers who differ: unknown
    return {"train.csv": Expected(table["ImageID"].nunique(), table["PatientID"].nunique(), means(read, PADCHEST))}


def write_cvpr26(root: Path, random: np.random.Generator) -> None:
    names = [f"amos_{i:04d}" for i in range(60)]
    splits = ["train"] * 30 + ["val"] * 15 + ["test"] * 15
    for disease, key, target, rows in (("ascites", "case_id", "ascites", 60), ("gallstone", "id", "label", 55)):
        table = pd.DataFrame({key: names[-rows:], "split": splits[-rows:]})
        save(table.assign(**{target: random.permutation(np.arange(rows) % 2)}), root / f"labels/{disease}.csv")
    save(pd.DataFrame({"case_id": names, "age": 60}), root / "demographics.csv")


def expect_cvpr26(root: Path) -> dict[str, Expected]:
    first = pd.read_csv(root / "labels/ascites.csv")
    second = pd.read_csv(root / "labels/gallstone.csv").rename(columns={"id": "case_id", "label": "gallstone"})
    rows = first.merge(second.drop(columns="split"), on="case_id", how="outer")
    files = {"train": "train.csv", "val": "valid.csv", "test": "test.csv"}
    return {
        files[split]: Expected(len(part), len(part), means(part, ["ascites", "gallstone"]))
        for split, part in rows.groupby("split")
    }


CASES = {
    "ct-rate": Case(
        write_ctrate,
        expect_ctrate,
        unmatched={
            "in no_chest_train.txt: left out": 2,
            "without metadata (valid) (validation_metadata.csv): kept, blank": 1,
        },
    ),
    "rad-chestct": Case(write_radchestct, expect_radchestct),
    "merlin": Case(write_merlin, expect_merlin, unmatched={"with labels but without a split: left out": 2}),
    "inspect": Case(
        write_inspect,
        expect_inspect,
        unmatched={"with labels but not in study_mapping_20250611.tsv (mapping to scans): left out": 3},
    ),
    "chexpert": Case(write_chexpert, expect_chexpert),
    "mimic-cxr": Case(write_mimic, expect_mimic),
    "nih14": Case(write_nih, expect_nih),
    "vindr": Case(write_vindr, expect_vindr),
    "padchest": Case(write_padchest, expect_padchest, keys=("data.kfold.folds=3",)),
    "cvpr26-ct": Case(write_cvpr26, expect_cvpr26),
}
