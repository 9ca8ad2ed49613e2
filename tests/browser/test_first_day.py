"""The first day: from nothing to figures in five clicks, from a folder of one's own to a training in eight actions."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (requirements.txt names it)")

Settle = Callable[[Any], None]
_WHOLE_S, _BEGIN_MS = 60, 800
_RUNNING = "[data-testid=stApp][data-test-script-state=running]"


class _Hands:
    """A user who counts clicks and typed fields."""

    def __init__(self, page: Any, settle: Settle) -> None:
        self.page, self.settle, self.actions = page, settle, 0

    def press(self, key: str) -> None:
        self.click(self.page.locator(f".st-key-{key} button").first)

    def click(self, target: Any) -> None:
        target.click()
        self._after()

    def type(self, key: str, value: str) -> None:
        field = self.page.locator(f".st-key-{key.replace('.', '-')} input").first
        field.fill(value)
        field.press("Enter")
        self._after()

    def _after(self) -> None:
        self.actions += 1
        with contextlib.suppress(sync_api.TimeoutError):  # a quick answer is over before one looks
            self.page.wait_for_selector(_RUNNING, timeout=_BEGIN_MS)
        self.settle(self.page)


def _rename(data: Path) -> None:
    """Give the manifests names of a user's own."""
    for old, new in (("train", "chest_train"), ("valid", "chest_val"), ("test", "chest_test")):
        (data / "manifests" / f"{old}.csv").rename(data / "manifests" / f"{new}.csv")


def test_five_clicks_lead_from_home_to_curves(server: Any, tab: Any, settle: Settle) -> None:
    tab.goto(server.url)
    settle(tab)
    hands, begin = _Hands(tab, settle), time.monotonic()
    hands.press("demo")
    tab.wait_for_url("**/train")
    settle(tab)
    hands.press("start")
    tab.locator(".st-key-to-evaluate").wait_for()
    hands.press("to-evaluate")
    tab.wait_for_url("**/evaluate**")
    hands.press("evaluate")
    hands.click(tab.get_by_role("tab", name="Curves"))
    tab.locator("[data-testid=stPlotlyChart] .scatterlayer .trace").nth(7).wait_for()
    assert hands.actions == 5
    assert time.monotonic() - begin < _WHOLE_S


def test_eight_actions_lead_from_an_own_folder_to_a_training(server: Any, tab: Any, settle: Settle, data: Path) -> None:
    _rename(data)
    tab.goto(f"{server.url}/data")
    settle(tab)
    hands = _Hands(tab, settle)
    hands.type("paths.data_root", str(data / "features"))
    hands.type("paths.manifest_dir", str(data / "manifests"))
    hands.press("confirm-findings")
    hands.press("check")
    tab.get_by_text("Ready").wait_for()
    hands.press("save")
    hands.press("to-train")
    tab.wait_for_url("**/train")
    settle(tab)
    hands.press("start")
    tab.get_by_text("Best epoch").first.wait_for()
    assert hands.actions <= 8
    (status,) = server.store.glob("train/*/status.json")
    assert json.loads(status.read_text(encoding="utf-8"))["state"] in ("queued", "running", "finished")


def test_the_folder_browser_is_clicked_down_and_up(server: Any, tab: Any, settle: Settle, data: Path) -> None:
    tab.goto(f"{server.url}/data")
    settle(tab)
    hands = _Hands(tab, settle)
    hands.type("paths.manifest_dir", str(data / "features"))
    hands.press("paths-manifest_dir-browse")
    hands.press("paths-manifest_dir-up")
    hands.press("paths-manifest_dir-into-manifests")
    tab.get_by_text("Manifests here: test.csv, train.csv, valid.csv").wait_for()
    hands.press("paths-manifest_dir-use")
    field = tab.locator(".st-key-paths-manifest_dir input").first
    tab.get_by_text("3 findings").first.wait_for()
    assert field.input_value() == str(data / "manifests")
    assert not tab.locator(".st-key-paths-manifest_dir-use").is_visible()


def test_manifests_are_uploaded_and_checked(server: Any, tab: Any, settle: Settle, data: Path) -> None:
    _rename(data)
    tab.goto(f"{server.url}/data")
    settle(tab)
    hands = _Hands(tab, settle)
    hands.type("paths.data_root", str(data / "features"))
    hands.press("data-upload-box")
    tab.locator(".st-key-data-upload input[type=file]").set_input_files(sorted((data / "manifests").iterdir()))
    tab.get_by_text("3 findings").first.wait_for()
    tab.keyboard.press("Escape")
    hands.press("check")
    tab.get_by_text("Ready").wait_for()
    (folder,) = (server.store / ".uploads").iterdir()
    assert {path.name for path in folder.iterdir()} == {"chest_train.csv", "chest_val.csv", "chest_test.csv"}


def test_fields_survive_pages_refresh_and_a_new_tab(
    server: Any, tab: Any, browser: Any, settle: Settle, data: Path
) -> None:
    tab.goto(f"{server.url}/data")
    settle(tab)
    hands = _Hands(tab, settle)
    hands.type("paths.data_root", str(data / "features"))
    hands.type("paths.manifest_dir", str(data / "manifests"))
    hands.click(tab.get_by_role("link", name="Train"))
    hands.type("training.batch_size", "48")
    for leave in ("Runs", "Train"):
        hands.click(tab.get_by_test_id("stSidebarNav").get_by_role("link", name=leave, exact=True))
    size = ".st-key-training-batch_size input"
    tab.locator(size).wait_for()
    assert tab.locator(size).input_value() == "48"
    tab.reload()
    settle(tab)
    tab.locator(size).wait_for()
    assert tab.locator(size).input_value() == "48"


def test_one_changed_cell_of_a_stored_table_shows(server: Any, tab: Any, settle: Settle, data: Path) -> None:
    """Streamlit hashes a sample of a large array: whatever is cached goes by file, so one cell is enough to show."""
    rows = 60_000
    draw = np.random.default_rng(3).integers(0, 2, rows)
    path = data / "manifests" / "large.csv"
    lines = [f"large_{row}_a_1,image/train_3_a.npz,{value}" for row, value in enumerate(draw, start=1)]
    header = "volumename,visual_feature_path,Lung nodule"
    path.write_text("\n".join([header, *lines]), encoding="utf-8")
    tab.goto(f"{server.url}/data")
    settle(tab)
    hands = _Hands(tab, settle)
    hands.type("paths.data_root", str(data / "features"))
    hands.type("paths.manifest_dir", str(data / "manifests"))
    hands.type("data.train_manifest", "large.csv")
    tab.get_by_text("60,000 volumes / 60,000 exams / 60,000 patients").wait_for()
    lines[rows // 2] = lines[rows // 2].replace(f"large_{rows // 2 + 1}_a", "large_1_b")
    path.write_text("\n".join([header, *lines]), encoding="utf-8")
    tab.get_by_role("link", name="Train").click()
    tab.get_by_text("60,000 volumes / 60,000 exams / 59,999 patients").wait_for()
