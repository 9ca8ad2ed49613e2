"""The first day: from nothing to figures in five clicks, from a folder of one's own to a training in eight actions."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from tests.browser.hands import Hands

_WHOLE_S = 60


def _rename(data: Path) -> None:
    """Give the manifests names of a user's own."""
    for old, new in (("train", "chest_train"), ("valid", "chest_val"), ("test", "chest_test")):
        (data / "manifests" / f"{old}.csv").rename(data / "manifests" / f"{new}.csv")


def test_five_clicks_lead_from_home_to_curves(server: Any, user: Hands) -> None:
    user.go()
    begin = time.monotonic()
    user.press("demo")
    user.arrives("train")
    user.press("start")
    user.page.locator(".st-key-to-evaluate").wait_for()
    user.press("to-evaluate")
    user.arrives("evaluate**")
    user.press("evaluate")
    user.click(user.page.get_by_role("tab", name="Curves"))
    user.page.locator("[data-testid=stPlotlyChart] .legend .traces").nth(7).wait_for()  # four findings, two charts
    assert user.page.locator(".st-key-curves-csv").is_visible()
    assert user.actions == 5
    assert time.monotonic() - begin < _WHOLE_S


def test_eight_actions_lead_from_an_own_folder_to_a_training(server: Any, user: Hands, data: Path) -> None:
    _rename(data)
    user.go("data")
    user.fill("paths.data_root", str(data / "features"))
    user.fill("paths.manifest_dir", str(data / "manifests"))
    user.press("confirm-findings")
    user.press("check")
    user.sees("Ready")
    user.press("save")
    user.press("to-train")
    user.arrives("train")
    user.press("start")
    user.sees("Best epoch")
    assert user.actions <= 8
    (status,) = server.store.glob("train/*/status.json")
    assert json.loads(status.read_text(encoding="utf-8"))["state"] in ("queued", "running", "finished")


def test_the_folder_browser_is_clicked_down_and_up(server: Any, user: Hands, data: Path) -> None:
    user.go("data")
    user.fill("paths.manifest_dir", str(data / "features"))
    user.press("paths-manifest_dir-browse")
    user.press("paths-manifest_dir-up")
    user.press("paths-manifest_dir-into-manifests")
    user.sees("Manifests here: test.csv, train.csv, valid.csv")
    user.press("paths-manifest_dir-use")
    field = user.page.locator(".st-key-paths-manifest_dir input").first
    user.sees("3 findings")
    assert field.input_value() == str(data / "manifests")
    assert not user.page.locator(".st-key-paths-manifest_dir-use").is_visible()


def test_manifests_are_uploaded_and_checked(server: Any, user: Hands, data: Path) -> None:
    _rename(data)
    user.go("data")
    user.fill("paths.data_root", str(data / "features"))
    user.press("data-upload-box")
    user.page.locator(".st-key-data-upload input[type=file]").set_input_files(sorted((data / "manifests").iterdir()))
    user.sees("3 findings")
    user.page.keyboard.press("Escape")
    user.press("check")
    user.sees("Ready")
    (folder,) = (server.store / ".uploads").iterdir()
    assert {path.name for path in folder.iterdir()} == {"chest_train.csv", "chest_val.csv", "chest_test.csv"}


def test_fields_survive_pages_refresh_and_a_new_tab(user: Hands, data: Path) -> None:
    user.go("data")
    user.fill("paths.data_root", str(data / "features"))
    user.fill("paths.manifest_dir", str(data / "manifests"))
    user.click(user.page.get_by_role("link", name="Train"))
    user.fill("training.batch_size", "48")
    for leave in ("Runs", "Train"):
        user.click(user.page.get_by_test_id("stSidebarNav").get_by_role("link", name=leave, exact=True))
    size = ".st-key-training-batch_size input"
    user.page.locator(size).wait_for()
    assert user.page.locator(size).input_value() == "48"
    user.page.reload()
    user.settle()
    user.page.locator(size).wait_for()
    assert user.page.locator(size).input_value() == "48"


def test_one_changed_cell_of_a_stored_table_shows(server: Any, user: Hands, data: Path) -> None:
    """Streamlit hashes a sample of a large array: whatever is cached goes by file, so one cell is enough to show."""
    rows = 60_000
    draw = np.random.default_rng(3).integers(0, 2, rows)
    path = data / "manifests" / "large.csv"
    lines = [f"large_{row}_a_1,image/train_3_a.npz,{value}" for row, value in enumerate(draw, start=1)]
    header = "volumename,visual_feature_path,Lung nodule"
    path.write_text("\n".join([header, *lines]), encoding="utf-8")
    user.go("data")
    user.fill("paths.data_root", str(data / "features"))
    user.fill("paths.manifest_dir", str(data / "manifests"))
    user.fill("data.train_manifest", "large.csv")
    user.sees("60,000 volumes / 60,000 exams / 60,000 patients")
    lines[rows // 2] = lines[rows // 2].replace(f"large_{rows // 2 + 1}_a", "large_1_b")
    path.write_text("\n".join([header, *lines]), encoding="utf-8")
    user.page.get_by_role("link", name="Train").click()
    user.sees("60,000 volumes / 60,000 exams / 59,999 patients")
