"""Wrong input of other labs: each with what its message names; the command line and the Data page show and solve the same."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

Change = Callable[[Path], object]


def edit_rows(path: Path, change: Callable[[list[list[str]]], object]) -> None:
    """Change the rows of a CSV file in place."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    change(rows)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)


def cells(column: int, value: str, rows: slice = slice(5, 6), name: str = "train.csv") -> Change:
    def change(table: list[list[str]]) -> None:
        for row in table[1:][rows]:
            row[column] = value

    return lambda data: edit_rows(data / "manifests" / name, change)


def header(column: int, value: str) -> Change:
    def change(data: Path) -> None:
        for path in (data / "manifests").iterdir():
            edit_rows(path, lambda rows: rows[0].__setitem__(column, value))

    return change


def files(change: Callable[[np.ndarray], dict[str, np.ndarray]]) -> Change:
    def rewrite(data: Path) -> None:
        for path in (data / "features" / "image").iterdir():
            np.savez(path, **change(np.load(path)["arr_0"]))

    return rewrite


def lists(separator: str) -> Change:
    def change(data: Path) -> None:
        for path in (data / "manifests").iterdir():
            table = pd.read_csv(path)
            named = table.iloc[:, 3:].apply(lambda row: separator.join(row.index[row == 1]) or "No Finding", axis=1)
            table.iloc[:, :3].assign(Findings=named).to_csv(path, index=False)

    return change


def split_column(values: list[str]) -> Change:
    def change(data: Path) -> None:
        table = pd.read_csv(data / "manifests" / "train.csv")
        table["split"] = (values * len(table))[: len(table)]
        table.to_csv(data / "manifests" / "train.csv", index=False)

    return change


def second_id(data: Path) -> None:
    for path in (data / "manifests").iterdir():
        table = pd.read_csv(path)
        table.insert(0, "AccessionNo", table["volumename"])
        table["volumename"] = table["volumename"].iloc[0]
        table.to_csv(path, index=False)


def by_name(data: Path) -> None:
    for path in list((data / "features" / "image").iterdir()):
        path.rename(data / "features" / path.name)
    for path in (data / "manifests").iterdir():
        table = pd.read_csv(path).drop(columns="visual_feature_path")
        table["volumename"] = table["text_feature_path"].str.extract(r"/(.+)\.npz")[0]
        table.drop(columns="text_feature_path").drop_duplicates("volumename").to_csv(path, index=False)


# What is wrong; settings; what the message names.
FIXED: dict[str, tuple[Change, dict[str, Any], list[str]]] = {
    "-1 in one column": (cells(3, "-1"), {}, ["train.csv", "'Lung nodule'", "'-1'", "line 7"]),
    "-1 in two columns": (lambda d: (cells(3, "-1")(d), cells(4, "-1")(d)), {}, ["(2 columns)", "line 7"]),
    "-1 in the test": (cells(3, "-1", name="test.csv"), {}, ["test.csv", "line 7"]),
    "uncertain in words": (cells(3, "uncertain"), {}, ["'uncertain'", "line 7"]),
    "maybe": (cells(4, "maybe"), {}, ["'Lung opacity'", "'maybe'", "line 7"]),
    "yes": (cells(4, "yes"), {}, ["'yes'", "line 7"]),
    "2": (cells(4, "2"), {}, ["'2'", "line 7"]),
    "two texts": (lambda d: (cells(4, "7")(d), cells(4, "9", slice(7, 8))(d)), {}, ["'7', '9'", "line 7, 9"]),
    "path column renamed": (header(1, "image_path"), {}, ["'visual_feature_path'", "image_path"]),
    "two path columns": (lambda d: (header(1, "image_path")(d), header(2, "path")(d)), {}, ["image_path", "path"]),
    "path column unknown": (header(1, "where"), {}, ["'visual_feature_path'", "where"]),
    "no path column": (by_name, {}, ["'visual_feature_path'", "named by volume"]),
    "volume column unknown": (header(0, "thing"), {}, ["'volumename'", "thing"]),
    "duplicate names, another id": (second_id, {}, ["duplicate volumename", "train_1_a_1", "line 3"]),
    "list with |": (lists("|"), {}, ["no label column", "'Findings'"]),
    "list with ;": (lists("; "), {}, ["no label column", "'Findings'"]),
    "list with ,": (lists(", "), {}, ["no label column", "'Findings'"]),
    "wrong volume key": (lambda d: None, {"data.columns.volume": "volume"}, ["'volume'", "data.columns.volume"]),
    "wrong patient key": (lambda d: None, {"data.columns.patient": "pid"}, ["'pid'", "data.columns.patient"]),
    "wrong finding": (lambda d: None, {"training.target_labels": ["Nodule"]}, ["'Nodule'", "Lung nodule"]),
    "wrong list column": (lambda d: None, {"data.labels.list_column": "L"}, ["'L'", "data.labels.list_column"]),
    "wrong split column": (lambda d: None, {"data.columns.split": "part"}, ["'part'", "data.columns.split"]),
    "split of other values": (
        split_column(["train", "a"]),
        {"data.columns.split": "split"},
        ["'split'", "'a'", "line 3"],
    ),
    "no training rows": (split_column(["test"]), {"data.columns.split": "split"}, ["no training row", "test"]),
    "two arrays": (files(lambda x: {"one": x, "two": x}), {}, ["one (1 x 16)", "two (1 x 16)"]),
    "wrong array": (files(lambda x: {"one": x}), {"data.feature_key": "two"}, ["'two'", "one"]),
    "tokens": (files(lambda x: {"one": np.repeat(x, 2000, 0)}), {}, ["(2000, 16)", "16,384"]),
    "missing file": (lambda d: (d / "features/image/train_9_a.npz").unlink(), {}, ["train_9_a.npz", "line 18"]),
    "NaN": (
        lambda d: np.savez(d / "features/image/train_9_a.npz", np.full((1, 16), np.nan)),
        {},
        ["train_9_a.npz", "NaN", "line 18"],
    ),
    "wrong width": (
        lambda d: np.savez(d / "features/image/train_9_a.npz", np.ones((1, 5))),
        {},
        ["train_9_a.npz", "5 dimensions", "line 18"],
    ),
    "torn file": (
        lambda d: (d / "features/image/train_9_a.npz").write_bytes(b"PK"),
        {},
        ["train_9_a.npz", "cannot be read", "line 18"],
    ),
    "shared patients": (
        cells(0, "train_3_z_1", slice(0, 1), "valid.csv"),
        {"data.on_leak": "refuse"},
        ["train_3", "valid.csv"],
    ),
}

WARNED: dict[str, tuple[Change, list[str]]] = {
    "partly labels": (cells(5, "3", slice(0, 24)), ["'Emphysema'", "left out", "24 of 60"]),
    "empty column": (cells(5, "", slice(0, 60)), ["'Emphysema'", "empty"]),
    "split column not used": (split_column(["train", "val"]), ["'split'", "not used"]),
    "no test set": (lambda d: (d / "manifests" / "test.csv").unlink(), ["No test set"]),
    "blanks for negatives": (
        lambda d: edit_rows(
            d / "manifests/train.csv", lambda rows: [row.__setitem__(3, row[3].replace("0", "")) for row in rows[1:]]
        ),
        ["Lung nodule has one class only", "data.labels.blank=negative"],
    ),
}
