"""A folder with another lab's names leads to metrics of each finding in eight actions, without a key typed."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.browser.app_server import AppServer
from tests.browser.browser_user import BrowserUser

torch = pytest.importorskip("torch")

_ACTIONS, _LIMIT_S = 8, 300
_FINDINGS = ["Nodule", "Effusion", "Emphysema"]


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """Return ``embeddings/<AccessionNo>.pt`` with the entry ``emb``, and one ``labels.tsv.gz`` with -1 and all splits."""
    draw, folder = np.random.default_rng(11), tmp_path / "lab"
    (folder / "embeddings").mkdir(parents=True)
    rows = []
    for i in range(120):
        vector, name = draw.normal(size=12), f"RA{1000 + 7 * i}"
        torch.save({"emb": torch.tensor(vector)[None], "scanner": "A"}, folder / "embeddings" / f"{name}.pt")
        labels = [-1 if draw.random() < 0.05 else int(vector[k] > 0) for k in range(3)]
        rows.append([name, "train" if i < 72 else "val" if i < 96 else "test", *labels])
    table = pd.DataFrame(rows, columns=["AccessionNo", "split", *_FINDINGS])
    table.to_csv(folder / "labels.tsv.gz", sep="\t", index=False)
    return folder


def use_fix(user: BrowserUser, key: str) -> None:
    """Press a fix, and wait until its message has gone: what is below it moves up."""
    user.press(key)
    user.button(key).wait_for(state="detached")


def test_eight_actions_lead_from_a_foreign_folder_to_metrics_by_finding(
    server: AppServer, user: BrowserUser, lab: Path
) -> None:
    begin = time.monotonic()
    user.go("data")
    user.fill("paths.data_root", str(lab / "embeddings"))
    use_fix(user, "fix-data.columns.visual_feature=AccessionNo")
    use_fix(user, "fix-data.labels.uncertain=unknown")
    use_fix(user, "fix-data.columns.split=split")
    user.press("to-train")
    user.wait_for_page("train**")
    user.press("start")
    user.button("to-evaluate").wait_for()
    user.press("to-evaluate")
    user.wait_for_page("evaluate**")
    user.press("evaluate")
    user.button("per-class-csv").wait_for()
    assert user.actions <= _ACTIONS
    assert time.monotonic() - begin < _LIMIT_S
    (path,) = server.store.glob("train/*/evaluation/test/per_class.csv")
    table, labels = pd.read_csv(path), pd.read_csv(lab / "labels.tsv.gz", sep="\t")
    tested = labels[labels["split"] == "test"][_FINDINGS]
    assert table.iloc[:, 0].tolist() == _FINDINGS
    assert table["support"].tolist() == (tested == 1).sum().tolist()
