"""The Data page counts what is right, and names what is wrong with its file, column and rows."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from streamlit.testing.v1 import AppTest

from ctbench_core.config import KEYS
from ctbench_core.errors import PathError
from ctbench_ui.data import plots
from ctbench_ui.shared import folders
from tests.public_datasets import CASES

Rewrite = Callable[[Path, Callable[[list[list[str]]], None]], None]
Said = Callable[[AppTest], str]


def test_good_data_are_ready_and_counted(places: dict[str, str], open_page: Callable[..., AppTest]) -> None:
    app = open_page("data", places)
    app.button(key="check").click().run()
    assert not app.exception
    assert app.success[0].value.startswith("Ready")
    table = next(frame.value for frame in app.dataframe if "Patients" in frame.value)
    assert table.set_index("Split").loc["Training", ["Volumes", "Exams", "Patients"]].tolist() == [60, 30, 30]
    assert table.set_index("Split").loc["test.csv", "Volumes"] == 24


def test_the_fields_stand_before_the_verdict(places: dict[str, str], open_page: Callable[..., AppTest]) -> None:
    def keys(block: Any) -> Iterator[str]:
        for part in block.children.values():
            yield from keys(part) if hasattr(part, "children") else [getattr(part, "key", None) or part.type]

    order = list(keys(open_page("data", places).main))
    places_of = [order.index(key) for key in ("paths.data_root", "data.train_manifest", "success", "check", "to-train")]
    assert places_of == sorted(places_of)


def _no_column(data: Path, rewrite: Rewrite) -> str:
    rewrite(data / "manifests" / "train.csv", lambda rows: rows[0].__setitem__(1, "other"))
    return "visual_feature_path"


def _no_manifest(data: Path, rewrite: Rewrite) -> str:
    (data / "manifests" / "train.csv").unlink()
    return "train.csv"


def _no_file(data: Path, rewrite: Rewrite) -> str:
    (data / "features" / "image" / "train_3_a.npz").unlink()
    return "image/train_3_a.npz"


def _wrong_width(data: Path, rewrite: Rewrite) -> str:
    np.savez(data / "features" / "image" / "train_4_a.npz", np.ones((1, 5), np.float32))
    return "image/train_4_a.npz"


def _climbs_out(data: Path, rewrite: Rewrite) -> str:
    rewrite(data / "manifests" / "train.csv", lambda rows: rows[1].__setitem__(1, "../../secret.npz"))
    return "'../../secret.npz'"


def _pickled(data: Path, rewrite: Rewrite) -> str:
    torch.save({"a": Path("x")}, data / "features" / "image" / "train_5_a.pt")
    rewrite(data / "manifests" / "train.csv", lambda rows: rows[9].__setitem__(1, "image/train_5_a.pt"))
    return "train_5_a.pt"


def _bad_label(data: Path, rewrite: Rewrite) -> str:
    rewrite(data / "manifests" / "valid.csv", lambda rows: rows[3].__setitem__(4, "7"))
    return "line 4"


@pytest.mark.parametrize("spoil", [_no_column, _no_manifest, _no_file, _wrong_width, _climbs_out, _pickled, _bad_label])
def test_bad_data_are_named(
    spoil: Callable[[Path, Rewrite], str],
    data: Path,
    places: dict[str, str],
    rewrite: Rewrite,
    said: Said,
    open_page: Callable[..., AppTest],
) -> None:
    named = spoil(data, rewrite)
    app = open_page("data", places)
    app.button(key="check").click().run()
    assert not app.exception
    assert app.error
    assert named in said(app)
    assert "Traceback" not in said(app)


def test_a_leak_is_shown_and_does_not_stop(
    data: Path, places: dict[str, str], rewrite: Rewrite, said: Said, open_page: Callable[..., AppTest]
) -> None:
    rewrite(data / "manifests" / "test.csv", lambda rows: rows[1].__setitem__(0, "train_3_a_1"))
    app = open_page("data", places)
    app.button(key="check").click().run()
    assert not app.error
    assert "train_3" in said(app)
    table = next(frame.value for frame in app.dataframe if "Leak" in frame.value)
    assert table.set_index("Split").loc["test.csv", "Leak"] == "1 patient"


def test_a_saved_data_set_is_there_in_the_next_session(
    places: dict[str, str], store: Path, open_page: Callable[..., AppTest]
) -> None:
    app = open_page("data", places)
    app.button(key="check").click().run()
    app.text_input(key="data.name").set_value("tiny").run()
    app.button(key="save").click().run()
    assert not app.exception
    assert (store / ".datasets" / "tiny.yaml").is_file()
    later = open_page("data")
    assert later.session_state["paths.data_root"] == places["paths.data_root"]
    assert later.selectbox(key="data.open").value == "tiny"


def volumes_of(app: AppTest, split: str) -> int:
    table = next(frame.value for frame in app.dataframe if "Split" in frame.value)
    return int(table.set_index("Split").loc[split, "Volumes"])


def test_a_manifest_folder_that_is_none_is_named_by_its_field(
    places: dict[str, str], open_page: Callable[..., AppTest], said: Said, tmp_path: Path
) -> None:
    app = open_page("data", places | {"paths.manifest_dir": str(tmp_path / "nowhere")})
    assert "“Manifest folder” is" in said(app)
    assert "which is not a folder" in said(app)


def test_changed_fields_and_tables_are_checked_at_once(
    data: Path, places: dict[str, str], rewrite: Rewrite, open_page: Callable[..., AppTest]
) -> None:
    app = open_page("data", places)
    assert volumes_of(app, "Training") == 60
    app.session_state["data.cohort.recon"] = "first"
    assert volumes_of(app.run(), "Training") == 30
    rewrite(data / "manifests" / "train.csv", lambda rows: rows.__delitem__(slice(1, 3)))
    assert volumes_of(app.run(), "Training") == 29


def test_without_data_the_page_says_what_to_choose(open_page: Callable[..., AppTest], said: Said) -> None:
    app = open_page("data")
    assert not app.error
    assert "No data yet" in said(app)


def test_a_name_that_is_no_file_name_is_refused(
    places: dict[str, str], said: Said, store: Path, open_page: Callable[..., AppTest]
) -> None:
    app = open_page("data", places)
    app.button(key="check").click().run()
    app.text_input(key="data.name").set_value("../tiny").run()
    app.button(key="save").click().run()
    assert "cannot name a data set" in said(app)
    assert not list(store.parent.rglob("tiny.yaml"))


def test_demo_data_are_one_click(store: Path, open_page: Callable[..., AppTest]) -> None:
    app = open_page("home")
    app.button(key="demo").click().run()
    assert not app.exception
    assert app.title[0].value == "Train"
    assert (store / ".datasets" / "demo.yaml").is_file()
    assert app.metric[0].value == "150,546"  # 128 x 1024 + 1024 + 1024 x 18 + 18


def _roots(monkeypatch: pytest.MonkeyPatch, *folders: Path) -> None:
    monkeypatch.setenv("CTBENCH_ROOTS", os.pathsep.join(map(str, folders)))


def test_folders_are_clicked_through_and_manifests_found(
    data: Path, open_page: Callable[..., AppTest], monkeypatch: pytest.MonkeyPatch
) -> None:
    (data / "manifests" / "train.csv").rename(data / "manifests" / "my_training.csv")
    (data / "manifests" / "valid.csv").rename(data / "manifests" / "my_validation.csv")
    _roots(monkeypatch, data)
    key = "paths.manifest_dir"
    app = open_page("data", {"paths.data_root": str(data / "features"), key: str(data / "features" / "gone")})
    app.session_state[f"{key}-browse"] = True
    app.run()
    app.button(key=f"{key}-up").click().run()
    assert app.button(key=f"{key}-up").disabled  # above lies what CTBENCH_ROOTS forbids
    app.button(key=f"{key}-into-manifests").click().run()
    app.button(key=f"{key}-use").click().run()
    assert not app.exception
    assert app.session_state[key] == str(data / "manifests")
    assert app.session_state["data.train_manifest"] == "my_training.csv"
    assert app.session_state["data.val_manifest"] == "my_validation.csv"
    app.button(key="check").click().run()
    assert app.success[0].value.startswith("Ready")


def test_a_folder_outside_the_allowed_ones_is_neither_listed_nor_entered(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret" / "inner").mkdir(parents=True)
    (data / "out").symlink_to(tmp_path / "secret", target_is_directory=True)
    _roots(monkeypatch, data)
    assert folders.list_subfolders(data) == ["features", "manifests"]
    with pytest.raises(PathError, match="lies outside the allowed folders"):
        folders.list_subfolders(tmp_path / "secret")
    assert folders.nearest_folder(str(tmp_path / "secret")) == data.resolve()


@pytest.mark.parametrize(
    ("files", "train", "val", "tests"),
    [
        (["test.csv", "train.csv", "valid.csv"], "train.csv", "valid.csv", None),
        (["a_train.csv", "a_val.csv", "a_test.csv"], "a_train.csv", "a_val.csv", ["a_test.csv"]),
        (["everything.csv"], "everything.csv", "valid.csv", None),
    ],
)
def test_the_parts_of_manifests_are_guessed_from_their_names(
    files: list[str], train: str, val: str, tests: list[str] | None
) -> None:
    roles = folders.guess_roles(files)
    assert (roles["data.train_manifest"], roles["data.val_manifest"]) == (train, val)
    assert roles["data.test_manifests"] == tests


def test_detected_findings_are_confirmed_with_one_click(
    places: dict[str, str], open_page: Callable[..., AppTest], said: Said, labels: list[str]
) -> None:
    app = open_page("data", places)
    assert "3 findings" in said(app) and "detected" in said(app)
    app.button(key="confirm-findings").click().run()
    assert app.session_state["data.columns.labels"] == labels
    assert "confirmed" in said(app)
    app.multiselect(key="data.columns.labels").set_value(labels[:2]).run()
    app.button(key="check").click().run()
    assert "**2 findings**" in said(app)


def test_uploaded_manifests_are_kept_and_chosen(
    data: Path, store: Path, open_page: Callable[..., AppTest], said: Said
) -> None:
    files = [(path.name, path.read_bytes(), "text/csv") for path in sorted((data / "manifests").iterdir())]
    app = open_page("data", {"paths.data_root": str(data / "features")})
    app.file_uploader(key="data.upload").set_value(files).run()
    assert not app.exception
    (folder,) = (store / ".uploads").iterdir()
    assert app.session_state["paths.manifest_dir"] == str(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {name: content for name, content, _ in files}
    app.button(key="check").click().run()
    assert app.success[0].value.startswith("Ready")


def test_an_upload_that_is_no_manifest_is_refused_and_not_kept(
    store: Path, open_page: Callable[..., AppTest], said: Said
) -> None:
    app = open_page("data")
    app.file_uploader(key="data.upload").upload("train.csv", b"volumename,b\nx\n", "text/csv").run()
    assert not app.exception
    assert "line 2 has 1 values" in said(app)
    assert not list((store / ".uploads").iterdir())


def test_findings_together_are_counted(
    places: dict[str, str], data: Path, labels: list[str], open_page: Callable[..., AppTest]
) -> None:
    app = open_page("data", places)
    app.button(key="check").click().run()
    table = pd.read_csv(data / "manifests" / "train.csv")
    both = int(((table[labels[0]] == 1) & (table[labels[1]] == 1)).sum())
    together = app.session_state["data.result"]["together"]
    assert together[0][1] == together[1][0] == both
    assert together[2][2] == int(table[labels[2]].sum())


def test_the_co_occurrence_is_a_share_of_the_row() -> None:
    counts = pd.DataFrame([[10, 4, 0], [4, 8, 0], [0, 0, 0]], index=list("abc"), columns=list("abc"))
    drawn = np.asarray(plots.co_occurrence(counts).data[0].z)
    assert drawn[0, 1] == pytest.approx(0.4)
    assert drawn[1, 0] == pytest.approx(0.5)
    assert np.isnan(drawn[2]).all()


def test_a_manifest_is_prepared_from_tables_and_chosen(
    data: Path, tmp_path: Path, labels: list[str], open_page: Callable[..., AppTest], said: Said
) -> None:
    table = pd.read_csv(data / "manifests" / "train.csv")
    table[["volumename", *labels]].iloc[:-2].to_csv(tmp_path / "labels.csv", index=False)
    table[["volumename"]].to_csv(tmp_path / "split.csv", index=False)
    fields = {
        "data.tab": "Prepare manifests",
        "prepare.labels_csv": str(tmp_path / "labels.csv"),
        "prepare.split_csv": str(tmp_path / "split.csv"),
        "prepare.folder": str(tmp_path / "made"),
    }
    app = open_page("data", fields)
    app.button(key="preview").click().run()
    assert not app.exception
    assert "58 volumes" in app.success[0].value
    assert not (tmp_path / "made").exists()
    lost = next(frame.value for frame in app.dataframe if "what" in frame.value)
    assert lost["names"].tolist() == [2]
    app.button(key="write-manifest").click().run()
    assert not app.exception
    assert len(pd.read_csv(tmp_path / "made" / "train.csv")) == 58
    app.button(key="use-manifest").click().run()
    assert app.session_state["paths.manifest_dir"] == str(tmp_path / "made")


def test_a_public_data_set_is_prepared_from_its_folder_and_chosen(
    tmp_path: Path, open_page: Callable[..., AppTest], said: Said
) -> None:
    CASES["merlin"].write(tmp_path / "raw", np.random.default_rng(3))
    fields = {
        "prepare.dataset": "merlin",
        "prepare.root": str(tmp_path / "rwa"),
        "prepare.folder": str(tmp_path / "made"),
    }
    app = open_page("data", {"data.tab": "Prepare manifests", **fields})
    app.button(key="preview").click().run()
    assert "does not exist. Nearest: raw" in said(app)
    app.text_input(key="prepare.root").set_value(str(tmp_path / "raw")).run()
    app.button(key="preview").click().run()
    assert not app.exception and not app.error
    assert [box.value.split(":")[0] for box in app.success] == ["train.csv", "valid.csv", "test.csv"]
    text = said(app)
    assert "Label convention: uncertain=unknown" in text and "Stanford research use agreement" in text
    lost = next(frame.value for frame in app.dataframe if "what" in frame.value)
    assert lost["what"].tolist() == ["with labels but without a split: left out"]
    assert not (tmp_path / "made").exists()
    app.button(key="write-manifest").click().run()
    assert (
        len(pd.read_csv(tmp_path / "made" / "test.csv")) == CASES["merlin"].expect(tmp_path / "raw")["test.csv"].volumes
    )
    app.button(key="use-manifest").click().run()
    assert app.session_state["paths.manifest_dir"] == str(tmp_path / "made")


def test_a_feature_folder_becomes_a_table_of_its_volumes(
    data: Path, tmp_path: Path, open_page: Callable[..., AppTest]
) -> None:
    fields = {"prepare.split_csv": str(data / "features" / "image"), "prepare.folder": str(tmp_path / "made")}
    app = open_page("data", {"data.tab": "Prepare manifests", "prepare.name": "volumes.csv", **fields})
    app.button(key="preview").click().run()
    assert not app.exception and not app.error
    app.button(key="write-manifest").click().run()
    names = pd.read_csv(tmp_path / "made" / "volumes.csv")["volumename"]
    assert sorted(names) == sorted(path.stem for path in (data / "features" / "image").iterdir())


def test_labels_by_accession_number_reach_their_volumes(
    data: Path, tmp_path: Path, labels: list[str], open_page: Callable[..., AppTest], said: Said
) -> None:
    train = pd.read_csv(data / "manifests" / "train.csv")
    numbers = [f"A{row:04d}" for row in range(len(train))]
    train[labels].assign(AccessionNo=numbers).sample(frac=1, random_state=0).to_csv(
        tmp_path / "manual.csv", index=False
    )
    mapping = pd.DataFrame({"AccessionNo": numbers, "NameinCTRATE": train["volumename"] + ".nii.gz"})
    mapping.iloc[:-3].to_csv(tmp_path / "map.csv", index=False)
    fields = {
        "prepare.labels_csv": str(tmp_path / "manual.csv"),
        "prepare.mapping_csv": str(tmp_path / "map.csv"),
        "prepare.folder": str(tmp_path / "made"),
        "prepare.name": "manual_train.csv",
    }
    app = open_page("data", {"data.tab": "Prepare manifests", **fields})
    app.button(key="preview").click().run()
    assert not app.exception and not app.error
    assert "57 volumes" in app.success[0].value
    app.button(key="write-manifest").click().run()
    made = pd.read_csv(tmp_path / "made" / "manual_train.csv").set_index("volumename")
    expected = train.set_index("volumename").loc[made.index, labels]
    pd.testing.assert_frame_equal(made[labels], expected, check_dtype=False)


def test_tables_outside_the_allowed_folders_are_not_read(
    data: Path, tmp_path: Path, open_page: Callable[..., AppTest], said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "labels.csv").write_text("volumename,Secret\ntrain_1_a_1,1\n")
    _roots(monkeypatch, data)
    fields = {"data.tab": "Prepare manifests", "prepare.labels_csv": str(tmp_path / "labels.csv")}
    app = open_page("data", fields)
    app.button(key="preview").click().run()
    assert "lies outside the allowed folders" in said(app)
    assert not app.success


def test_what_most_data_sets_leave_alone_is_in_one_closed_box(
    places: dict[str, str], open_page: Callable[..., AppTest]
) -> None:
    app = open_page("data", places)
    assert "Columns" not in [box.label for box in app.expander]
    assert not [field for field in app.number_input if field.key == "data.budget"]
    assert not [text for text in app.caption if text.value.startswith("Set below")]


def test_what_is_set_in_the_closed_box_is_said_above_it(
    places: dict[str, str], open_page: Callable[..., AppTest]
) -> None:
    opened = dict.fromkeys(("data.box-more", "data.box-budget", "data.box-labels"), True)
    app = open_page("data", places | opened | {"data.budget": 20, "data.labels.rename": {"a": "b"}})
    app.run()  # the fields of open boxes are in the session now
    assert not app.exception
    (text,) = [text.value for text in app.caption if text.value.startswith("Set below")]
    names = [f"{KEYS['data.budget'].label} 20", KEYS["data.labels.rename"].label]
    assert set(text.removeprefix("Set below: ").removesuffix(".").split(", ")) == set(names)


def test_every_data_setting_has_a_field(places: dict[str, str], open_page: Callable[..., AppTest]) -> None:
    boxes = [f"data.box-{name}" for name in ("more", "columns", "labels", "cohort", "features", "budget", "origin")]
    app = open_page("data", places | dict.fromkeys(boxes, True))
    assert not app.exception
    kinds = ("selectbox", "multiselect", "text_input", "number_input", "toggle", "button_group")
    drawn = {widget.key for kind in kinds for widget in app.get(kind)}
    settings = {name for name, info in KEYS.items() if info.is_input and not info.command_line_only}
    by_parts = {"data.cohort.where": "where.column", "data.labels.values": "data.labels.values.text"}
    by_parts["data.labels.rename"] = "data.labels.rename.text"
    assert {by_parts.get(name, name) for name in settings} <= drawn
