"""A user's first day: the folder browser, and tables that change under the page."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from tests.browser.browser_user import BrowserUser

_LIMIT_S = 60


def _choose_folders(user: BrowserUser, data: Path) -> None:
    user.go("data")
    user.fill("paths.data_root", str(data / "features"))
    user.fill("paths.manifest_dir", str(data / "manifests"))


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
