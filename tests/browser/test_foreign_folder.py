"""A folder with another lab's names leads to metrics of each finding in eight actions, without a key typed."""

from __future__ import annotations

import time
from pathlib import Path

import pandas as pd

from tests.browser.app_server import AppServer
from tests.browser.browser_user import BrowserUser
from tests.other_lab import FINDINGS, write_lab

_ACTIONS, _LIMIT_S = 8, 300


def use_fix(user: BrowserUser, key: str) -> None:
    """Press a fix, and wait until its message has gone: what is below it moves up."""
    user.press(key)
    user.button(key).wait_for(state="detached")


def test_eight_actions_lead_from_a_foreign_folder_to_metrics_by_finding(
    server: AppServer, user: BrowserUser, tmp_path: Path
) -> None:
    lab, begin = write_lab(tmp_path / "lab", volumes=120), time.monotonic()
    user.go("data")
    user.fill("paths.data_root", str(lab / "embeddings"))
    use_fix(user, "fix-data.columns.visual_feature=AccessionNo")
    use_fix(user, "fix-data.labels.uncertain=unknown")
    use_fix(user, "fix-data.columns.split=split")
    user.train_and_evaluate()
    assert user.actions <= _ACTIONS
    assert time.monotonic() - begin < _LIMIT_S
    (path,) = server.store.glob("train/*/evaluation/test/per_class.csv")
    table, labels = pd.read_csv(path), pd.read_csv(lab / "labels.tsv.gz", sep="\t")
    tested = labels[labels["split"] == "test"][FINDINGS]
    assert table.iloc[:, 0].tolist() == FINDINGS
    assert table["support"].tolist() == (tested == 1).sum().tolist()
