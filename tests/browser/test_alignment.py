"""Alignment in a browser: measured in the queue, and downloads that hold the stored numbers."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from ctbench_core.alignment import run_alignment
from ctbench_core.config import Config
from tests.browser.app_server import AppServer
from tests.browser.browser_user import BrowserUser
from tests.browser.downloads import read_chart, without_disclosures


def _download(user: BrowserUser, key: str) -> pd.DataFrame:
    return without_disclosures(user.download_table(key), leaks=None)


def test_every_download_holds_the_stored_numbers(
    server: AppServer, user: BrowserUser, tiny_data: Path, make_config: Callable[..., Config]
) -> None:
    changes = {"paths.outputs_root": str(server.store), "data.train_manifest": "test.csv", "job_name": "align"}
    folder = Path(run_alignment(make_config(tiny_data, changes))["run_dir"]) / "alignment" / "test"
    user.go("data")
    user.fill("paths.data_root", str(tiny_data / "features"))
    user.fill("paths.manifest_dir", str(tiny_data / "manifests"))
    user.navigate("alignment")
    user.button("similarity-semantic-csv").wait_for()
    recall, histogram = (pd.read_csv(folder / f"{name}.csv") for name in ("recall", "histogram"))
    for truth in ("instance", "semantic"):
        for name, stored in (("recall", recall), ("similarity", histogram)):
            expected = stored[stored["truth"] == truth].reset_index(drop=True)
            downloaded = _download(user, f"{name}-{truth}-csv")
            expected = pd.read_csv(io.StringIO(expected.to_csv(index=False)))
            pd.testing.assert_frame_equal(downloaded, expected)
            note = read_chart(user, user.download(f"{name}-{truth}-html").decode())
            assert "24 pairs" in note
            assert "test" in note
    ranks = pd.read_parquet(folder / "ranks.parquet")
    pd.testing.assert_frame_equal(_download(user, "ranks-csv"), ranks, check_dtype=False)
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    for name, value in user.download_table("figures-csv").set_index("figure")["value"].items():
        assert value == pytest.approx(metrics[name], nan_ok=True)
