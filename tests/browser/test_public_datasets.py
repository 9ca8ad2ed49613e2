"""A public data set from its own files to metrics of each finding, in one walk through the pages, against pandas alone.

One of the ten data sets is walked by default; ``CTBENCH_WALK=all`` walks all, and prints actions and seconds of each.
"""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import numpy as np
import pytest

from ctbench_core.declared import DATASETS
from ctbench_core.formatting import plural
from tests.browser.app_server import AppServer
from tests.browser.browser_user import BrowserUser
from tests.public_datasets import CASES, Expected, write_features

WALKED = list(CASES) if os.environ.get("CTBENCH_WALK") == "all" else ["inspect"]
_ACTIONS, _LIMIT_S = 16, 300


@pytest.mark.parametrize("name", WALKED)
def test_raw_files_lead_to_metrics_by_finding(
    name: str, server: AppServer, user: BrowserUser, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case, root, folder = CASES[name], tmp_path / "raw", tmp_path / "manifests"
    root.mkdir()
    case.write(root, np.random.default_rng(3))
    expected, begin = case.expect(root), time.monotonic()
    prepare(user, name, root, folder)
    write_features(folder, tmp_path / "features")
    user.fill("paths.data_root", str(tmp_path / "features"))
    if "test.csv" not in expected:
        split_in_folds(user)
    user.train_and_evaluate()
    took = time.monotonic() - begin
    with capsys.disabled():
        print(f"\n{name}: {user.actions} actions, {took:.0f} s")
    compare(user, expected["train.csv"], expected.get("test.csv"))
    assert user.actions <= _ACTIONS
    assert took < _LIMIT_S


def prepare(user: BrowserUser, name: str, root: Path, folder: Path) -> None:
    """Write the manifests of a data set, and choose them."""
    user.go("data")
    user.open_tab("data", "prepare manifests")
    user.choose("prepare.dataset", DATASETS[name].title)
    user.fill("prepare.root", str(root))
    user.fill("prepare.folder", str(folder))
    user.press("preview")
    user.press("write-manifest")
    user.press("use-manifest")


def split_in_folds(user: BrowserUser) -> None:
    """Ask for folds of patients, where a data set has no test split."""
    user.click(user.widget("data.box-more", "summary"))
    user.click(user.widget("data.box-budget", "summary"))
    user.fill("data.kfold.folds", "3")


def compare(user: BrowserUser, train: Expected, test: Expected | None) -> None:
    """Compare the table and the size that the page shows with those of pandas; folds are drawn, and have no size there."""
    table = user.download_table("per-class-csv").set_index("finding")
    assert set(table.index) == set(train.prevalence)
    if test is not None:
        assert table["prevalence"].to_dict() == pytest.approx(test.prevalence, nan_ok=True)
        user.wait_for_text(re.compile(rf"{test.volumes} volumes.*{plural(test.patients, 'patient')}"))
