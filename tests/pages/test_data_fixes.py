"""Tables of another lab on the Data page: what is wrong is named, a click solves it, and the columns can be mapped."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from streamlit.testing.v1 import AppTest

from tests.other_lab import write_lab

Rewrite = Callable[[Path, Callable[[list[list[str]]], None]], None]
Open = Callable[..., AppTest]
Said = Callable[[AppTest], str]


def press(app: AppTest, key: str) -> AppTest:
    app.button(key=key).click().run()
    assert not app.exception
    return app


def table_with(app: AppTest, column: str) -> pd.DataFrame:
    return next(frame.value for frame in app.dataframe if column in frame.value)


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """Return a folder of another lab."""
    return write_lab(tmp_path / "lab")


@pytest.fixture
def open_lab(lab: Path, open_page: Open) -> AppTest:
    """Open the page and choose the feature root, as typed."""
    app = open_page("data")
    app.text_input(key="paths.data_root").set_value(str(lab / "embeddings")).run()
    assert not app.exception
    return app


def test_the_tables_of_a_feature_root_are_found_and_every_error_is_listed_at_once(lab: Path, open_lab: AppTest) -> None:
    assert open_lab.session_state["paths.manifest_dir"] == str(lab)
    assert open_lab.session_state["data.train_manifest"] == "labels.tsv.gz"
    assert [error.proto.title for error in open_lab.error] == ["Visual feature column", "Uncertain labels"]
    assert "'-1' on line 9, 19, 29, 39 (4 rows)" in open_lab.error[1].value
    assert not any("data." in error.value for error in open_lab.error)


def test_two_clicks_make_the_tables_ready(open_lab: AppTest, lab: Path, said: Said) -> None:
    press(open_lab, "fix-all")
    assert "errors 2 → 0" in said(open_lab)
    press(open_lab, "fix-data.columns.split=split")
    assert not open_lab.error
    table = pd.read_csv(lab / "labels.tsv.gz", sep="\t")
    sizes = table_with(open_lab, "Split").set_index("Split")["Volumes"]
    assert sizes.to_dict() == {"Training": 24, "Validation": 8, "Test": 8}
    report = open_lab.session_state["data.result"]
    for split, name in (("train", "train"), ("val", "val"), ("test", "test")):
        own = table[table["split"] == name]
        known = own["Effusion"].where(own["Effusion"] >= 0)
        assert report["prevalence"][split]["Effusion"] == pytest.approx(known.mean())
    press(open_lab, "undo-fix")
    assert not open_lab.session_state["data.columns.split"]
    assert volumes(open_lab) == 36  # a tenth of all 40 rows is for validation


def volumes(app: AppTest) -> int:
    return int(table_with(app, "Split")["Volumes"][0])


@pytest.mark.parametrize("meaning", ["unknown", "negative", "positive"])
def test_uncertain_labels_get_a_meaning_with_one_click(open_lab: AppTest, meaning: str) -> None:
    press(open_lab, "fix-data.columns.visual_feature=AccessionNo")
    press(open_lab, f"fix-data.labels.uncertain={meaning}")
    assert not open_lab.error
    assert open_lab.session_state["data.labels.uncertain"] == meaning


def test_a_split_column_is_offered_and_no_test_set_is_a_warning(open_lab: AppTest, said: Said) -> None:
    press(open_lab, "fix-all")
    assert not open_lab.error
    assert "train, val, test rows by column 'split', which is not used" in said(open_lab)
    assert "No test set" in said(open_lab)


def test_the_mapper_says_what_each_column_is_taken_for_and_changes_it(open_lab: AppTest, lab: Path) -> None:
    press(open_lab, "fix-all")
    role = "role-labels.tsv-{}-{}".format
    assert open_lab.selectbox(key=role("AccessionNo", "Volume and feature file"))
    assert open_lab.selectbox(key=role("sex", "Metadata"))
    open_lab.selectbox(key=role("split", "Metadata")).select("Split").run()
    assert open_lab.session_state["data.columns.split"] == "split"
    open_lab.selectbox(key=role("Nodule", "Finding")).select("Metadata").run()
    assert open_lab.session_state["data.result"]["labels"] == ["Effusion", "Emphysema"]
    open_lab.selectbox(key=role("Nodule", "Metadata")).select("Finding").run()
    assert open_lab.session_state["data.columns.labels"] == ["Effusion", "Emphysema", "Nodule"]
    open_lab.selectbox(key=role("split", "Split")).select("Patient").run()
    assert not open_lab.session_state["data.columns.split"]
    assert open_lab.session_state["data.columns.patient"] == "split"
    assert table_with(open_lab, "sex")["AccessionNo"].tolist() == ["RA100", "RA101", "RA102", "RA103"]


def test_an_uploaded_table_is_mapped_like_any_other(lab: Path, open_page: Open, store: Path) -> None:
    app = open_page("data", {"paths.data_root": str(lab / "embeddings")})
    content = (lab / "labels.tsv.gz").read_bytes()
    app.file_uploader(key="data.upload").upload("mine.tsv.gz", content, "application/gzip").run()
    assert app.session_state["paths.manifest_dir"] == str(next((store / ".uploads").iterdir()))
    press(app, "fix-all")
    assert app.selectbox(key="role-mine.tsv-AccessionNo-Volume and feature file")
    assert volumes(app) == 36


def _spoil(data: Path, rewrite: Rewrite, change: Callable[[list[list[str]]], None]) -> None:
    rewrite(data / "manifests" / "train.csv", change)


def _set(row: int, column: int, value: str) -> Callable[[list[list[str]]], None]:
    return lambda rows: rows[row].__setitem__(column, value)


@pytest.mark.parametrize(
    ("value", "key", "values"),
    [
        ("2", "data.labels.values={'2': 1}", {"2": 1}),
        ("absent", "data.labels.values={'absent': 0}", {"absent": 0}),
    ],
)
def test_a_value_that_is_no_label_gets_a_meaning_with_one_click(
    data: Path, places: dict[str, str], rewrite: Rewrite, open_page: Open, value: str, key: str, values: dict[str, Any]
) -> None:
    _spoil(data, rewrite, _set(6, 4, value))
    app = open_page("data", places)
    (error,) = app.error
    assert error.proto.title == "Label values"
    assert f"'{value}' on line 7 (1 row)" in error.value
    press(app, f"fix-{key}")
    assert not app.error
    assert app.session_state["data.labels.values"] == values
    assert app.success[0].value.startswith("Ready")


def test_a_column_of_other_values_becomes_metadata_with_one_click(
    data: Path, places: dict[str, str], labels: list[str], rewrite: Rewrite, open_page: Open
) -> None:
    _spoil(data, rewrite, _set(6, 4, "2"))
    app = press(open_page("data", places), f"fix-data.columns.metadata={[labels[1]]}")
    assert not app.error
    assert app.session_state["data.columns.metadata"] == [labels[1]]
    assert app.session_state["data.result"]["labels"] == [labels[0], labels[2]]


def test_columns_become_metadata_one_after_another(
    data: Path, places: dict[str, str], labels: list[str], rewrite: Rewrite, open_page: Open
) -> None:
    _spoil(data, rewrite, _set(6, 4, "2"))
    _spoil(data, rewrite, _set(6, 5, "3"))
    app = press(open_page("data", places), f"fix-data.columns.metadata={[labels[1]]}")
    press(app, f"fix-data.columns.metadata={[labels[2]]}")
    assert app.session_state["data.columns.metadata"] == labels[1:]
    app.selectbox(key=f"role-train-{labels[0]}-Finding").select("Metadata").run()
    assert app.session_state["data.columns.metadata"] == [*labels[1:], labels[0]]


def test_what_a_fix_changed_is_said_until_its_field_changes_again(
    data: Path, places: dict[str, str], rewrite: Rewrite, open_page: Open, said: Said
) -> None:
    _spoil(data, rewrite, _set(6, 4, "-1"))
    app = open_page("data", places)
    assert "fix-all" not in [button.key for button in app.button]  # one message needs no second button
    press(app, "fix-data.labels.uncertain=unknown")
    assert "Read -1 as unknown · errors 1 → 0" in said(app).replace("\\", "")
    app.session_state["data.labels.uncertain"] = "negative"
    app.run()
    assert "Read -1 as unknown" not in said(app).replace("\\", "")


def test_a_table_that_changes_on_disk_is_checked_again(
    data: Path, places: dict[str, str], rewrite: Rewrite, open_page: Open
) -> None:
    app = open_page("data", places)
    assert not app.error
    _spoil(data, rewrite, _set(6, 4, "maybe"))
    app.run()
    assert "'maybe' on line 7" in app.error[0].value


def _header(data: Path, rewrite: Rewrite, place: int, name: str) -> None:
    for path in (data / "manifests").iterdir():
        rewrite(path, lambda rows: rows[0].__setitem__(place, name))


def test_any_column_can_be_chosen_for_the_volumes(
    data: Path, places: dict[str, str], rewrite: Rewrite, open_page: Open
) -> None:
    _header(data, rewrite, 0, "thing")
    app = open_page("data", places)
    app.selectbox(key="role-train-thing-Metadata").select("Volume").run()
    assert not app.error
    assert app.session_state["data.columns.volume"] == "thing"


def test_a_list_of_findings_is_read_with_one_click(data: Path, places: dict[str, str], open_page: Open) -> None:
    for path in (data / "manifests").iterdir():
        table = pd.read_csv(path)
        lists = table.iloc[:, 3:].apply(lambda row: "; ".join(row.index[row == 1]) or "No Finding", axis=1)
        table.iloc[:, :3].assign(Findings=lists).to_csv(path, index=False)
    expected = pd.read_csv(data / "manifests" / "train.csv")["Findings"].str.contains("Emphysema").mean()
    app = open_page("data", places)
    press(app, "fix-data.labels.list_column=Findings,data.labels.separator=;")
    assert not app.error
    assert app.session_state["data.result"]["prevalence"]["train"]["Emphysema"] == pytest.approx(expected)


def test_blanks_become_negative_with_one_click(
    data: Path, places: dict[str, str], rewrite: Rewrite, open_page: Open
) -> None:
    def blank(rows: list[list[str]]) -> None:
        for row in rows[1:]:
            row[3] = "1" if row[3] == "1" else ""

    for path in (data / "manifests").iterdir():
        rewrite(path, blank)
    app = open_page("data", places)
    assert not app.error
    press(app, "fix-data.labels.blank=negative")
    expected = pd.read_csv(data / "manifests" / "train.csv").iloc[:, 3].fillna(0).mean()
    assert app.session_state["data.result"]["prevalence"]["train"]["Lung nodule"] == pytest.approx(expected)


def _two_arrays(data: Path) -> None:
    for path in (data / "features" / "image").iterdir():
        values = np.load(path)["arr_0"]
        np.savez(path, first=values, second=values[:, :6])


def test_one_of_several_arrays_is_chosen_with_one_click(data: Path, places: dict[str, str], open_page: Open) -> None:
    _two_arrays(data)
    app = open_page("data", places)
    assert app.error[0].proto.title == "Feature array"
    press(app, "fix-data.feature_key=second")
    assert not app.error
    assert app.session_state["data.result"]["dim"] == 6


def test_a_column_that_is_partly_labels_is_a_warning(
    data: Path, places: dict[str, str], rewrite: Rewrite, open_page: Open, said: Said
) -> None:
    def spoil(rows: list[list[str]]) -> None:
        for row in rows[1:25]:
            row[5] = "3"

    _spoil(data, rewrite, spoil)
    app = open_page("data", places)
    assert "column 'Emphysema' is left out of the findings: 24 of 60 filled cells" in said(app)
    press(app, "fix-data.columns.metadata=['Emphysema']")
    assert "left out" not in said(app)


def _write_npz(path: Path) -> Path:
    np.savez(path.with_suffix(".npz"), vector=np.ones(4, np.float32), label=np.ones(1, np.int64))
    return path.with_suffix(".npz")


def _write_pt(path: Path) -> Path:
    torch.save({"vector": torch.ones(4), "label": torch.ones(1, dtype=torch.int64)}, path.with_suffix(".pt"))
    return path.with_suffix(".pt")


def _write_h5(path: Path) -> Path:
    with h5py.File(path.with_suffix(".h5"), "w") as file:
        file["vector"], file["label"] = np.ones(4, np.float32), np.ones(1, np.int64)
    return path.with_suffix(".h5")


@pytest.mark.parametrize("write", [_write_npz, _write_pt, _write_h5])
def test_a_feature_file_is_previewed(
    tmp_path: Path, open_page: Open, write: Callable[[Path], Path], said: Said
) -> None:
    folder = tmp_path / "features"
    folder.mkdir()
    write(folder / "one")
    app = open_page("data", {"paths.data_root": str(folder), "data.box-preview": True})
    table = table_with(app, "shape").set_index("name")
    assert table.loc["vector", ["shape", "type", "use"]].tolist() == ["4", "float32", "may be the vector"]
    assert table.loc["label", ["type", "use"]].tolist() == ["int64", "not a vector"]
    assert "vector of 4 dimensions" in said(app)


def test_a_plain_text_table_is_read_too(lab: Path, open_page: Open) -> None:
    (lab / "labels.tsv").write_bytes(gzip.decompress((lab / "labels.tsv.gz").read_bytes()))
    (lab / "labels.tsv.gz").unlink()
    app = open_page("data")
    app.text_input(key="paths.data_root").set_value(str(lab / "embeddings")).run()
    assert app.session_state["data.train_manifest"] == "labels.tsv"
