"""A user's first day: from nothing to results in five clicks, from their own folder to a training run in eight actions."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import numpy as np

from tests.browser.app_server import AppServer
from tests.browser.browser_user import BrowserUser

_LIMIT_S = 60


def _rename_manifests(data: Path) -> None:
    """Give the manifests names of the user's own."""
    for old, new in (("train", "chest_train"), ("valid", "chest_val"), ("test", "chest_test")):
        (data / "manifests" / f"{old}.csv").rename(data / "manifests" / f"{new}.csv")


def _choose_folders(user: BrowserUser, data: Path) -> None:
    user.go("data")
    user.fill("paths.data_root", str(data / "features"))
    user.fill("paths.manifest_dir", str(data / "manifests"))


def test_five_clicks_lead_from_home_to_curves(user: BrowserUser) -> None:
    user.go()
    begin = time.monotonic()
    user.press("demo")
    user.wait_for_page("train")
    user.press("start")
    user.button("to-evaluate").wait_for()
    user.press("to-evaluate")
    user.wait_for_page("evaluate**")
    user.press("evaluate")
    user.open_tab("evaluate", "curves")
    user.page.locator("[data-testid=stPlotlyChart] .legend .traces").nth(7).wait_for()  # four findings, two charts
    assert user.button("curves-csv").is_visible()
    assert user.actions == 5
    assert time.monotonic() - begin < _LIMIT_S


def test_eight_actions_lead_from_an_own_folder_to_a_training_run(
    server: AppServer, user: BrowserUser, data: Path
) -> None:
    _rename_manifests(data)
    _choose_folders(user, data)
    user.press("confirm-findings")
    user.press("check")
    user.press("save")
    user.press("to-train")
    user.wait_for_page("train")
    user.press("start")
    user.page.locator(".st-key-stop, .st-key-to-evaluate").first.wait_for()
    assert user.actions <= 8
    (status,) = server.store.glob("train/*/status.json")
    assert json.loads(status.read_text(encoding="utf-8"))["state"] in ("queued", "running", "finished")


def test_the_folder_browser_goes_down_and_up(user: BrowserUser, data: Path) -> None:
    user.go("data")
    user.fill("paths.manifest_dir", str(data / "features"))
    user.press("paths-manifest_dir-browse")
    user.press("paths-manifest_dir-up")
    user.press("paths-manifest_dir-into-manifests")
    user.wait_for_text("test.csv, train.csv, valid.csv")
    user.press("paths-manifest_dir-use")
    user.wait_for_text("3 findings")
    assert user.field("paths.manifest_dir").input_value() == str(data / "manifests")
    assert not user.button("paths-manifest_dir-use").is_visible()


def test_manifests_are_uploaded_and_checked(server: AppServer, user: BrowserUser, data: Path) -> None:
    _rename_manifests(data)
    user.go("data")
    user.fill("paths.data_root", str(data / "features"))
    user.press("data-upload-box")
    user.widget("data-upload", "input[type=file]").set_input_files(sorted((data / "manifests").iterdir()))
    user.wait_for_text("3 findings")
    user.page.keyboard.press("Escape")
    user.press("check")
    user.button("to-train").wait_for()  # the check found no error
    (folder,) = (server.store / ".uploads").iterdir()
    assert {path.name for path in folder.iterdir()} == {"chest_train.csv", "chest_val.csv", "chest_test.csv"}


def test_fields_survive_other_pages_and_a_reload(user: BrowserUser, data: Path) -> None:
    _choose_folders(user, data)
    user.navigate("train")
    user.fill("training.batch_size", "48")
    for address in ("runs", "train"):
        user.navigate(address)
    size = user.field("training.batch_size")
    size.wait_for()
    assert size.input_value() == "48"
    user.page.reload()
    user.settle()
    size.wait_for()
    assert size.input_value() == "48"


def test_one_changed_cell_of_a_large_table_shows(user: BrowserUser, data: Path) -> None:
    """Streamlit hashes only a sample of a large array; the app's caches go by file, so that one cell is enough."""
    rows = 60_000
    labels = np.random.default_rng(3).integers(0, 2, rows)
    path = data / "manifests" / "large.csv"
    lines = [f"large_{row}_a_1,image/train_3_a.npz,{value}" for row, value in enumerate(labels, start=1)]
    header = "volumename,visual_feature_path,Lung nodule"
    path.write_text("\n".join([header, *lines]), encoding="utf-8")
    _choose_folders(user, data)
    user.fill("data.train_manifest", "large.csv")
    user.wait_for_text(re.compile(r"60,000\D+60,000\D+60,000"))
    lines[rows // 2] = lines[rows // 2].replace(f"large_{rows // 2 + 1}_a", "large_1_b")
    path.write_text("\n".join([header, *lines]), encoding="utf-8")
    user.navigate("train")
    user.wait_for_text(re.compile(r"60,000\D+60,000\D+59,999"))
