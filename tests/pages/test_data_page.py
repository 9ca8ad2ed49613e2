"""The Data page: what is right is counted, what is wrong is named with its file, column and rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest

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


def test_a_leak_is_told_and_does_not_stop(
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


def test_a_changed_choice_is_told_to_be_unchecked(places: dict[str, str], open_page: Callable[..., AppTest]) -> None:
    app = open_page("data", places)
    app.button(key="check").click().run()
    app.segmented_control(key="data.cohort.recon").set_value("first").run()
    assert any("changed since" in info.value for info in app.info)


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
