"""What only a browser shows: cold links, a refresh in mid-training, live curves, downloads."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

PAGES = {
    "": "ctbench",
    "data": "Data",
    "train": "Train",
    "runs": "Runs",
    "evaluate": "Evaluate",
    "alignment": "Alignment",
    "system": "System",
}
Settle = Callable[[Any], None]


def _press(page: Any, key: str) -> None:
    # While a fragment redraws, its old button may stand beside the new one for a moment.
    page.locator(f".st-key-{key} button").first.click()


def _fill(page: Any, key: str, value: str, settle: Settle) -> None:
    field = page.locator(f".st-key-{key.replace('.', '-')} input").first
    field.fill(value)
    field.press("Enter")
    page.wait_for_timeout(150)  # the browser sends the value a moment after the key
    settle(page)


def _download(page: Any, key: str) -> pd.DataFrame:
    with page.expect_download() as waiting:
        _press(page, key)
    return pd.read_csv(io.BytesIO(Path(waiting.value.path()).read_bytes()))


def test_every_page_opens_from_its_address(server: Any, tab: Any, settle: Settle) -> None:
    for address, title in PAGES.items():
        tab.goto(f"{server.url}/{address}")
        tab.get_by_role("heading", name=title, exact=True, level=1).wait_for()
        settle(tab)
        assert tab.locator("[data-testid=stException]").count() == 0


def test_from_demo_data_to_figures(server: Any, tab: Any, settle: Settle) -> None:
    """Five clicks: demo data, Start, Evaluate, Open, Download."""
    tab.goto(server.url)
    _press(tab, "demo")
    tab.wait_for_url("**/train")
    settle(tab)
    _press(tab, "start")
    tab.locator("[data-testid=stVegaLiteChart] canvas, [data-testid=stVegaLiteChart] svg").nth(1).wait_for()
    _press(tab, "to-evaluate")
    tab.wait_for_url("**/evaluate**")
    _press(tab, "evaluate")
    tab.get_by_text("Macro AUPRC").wait_for()
    (folder,) = server.store.glob("train/*/evaluation/test")
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    table = _download(tab, "per-class-csv").set_index("finding")
    assert len(table) == 18
    for label, values in metrics["per_class"].items():
        for name in ("auprc", "auroc", "precision", "recall", "f1"):
            assert table.loc[label, name] == pytest.approx(values[name], abs=1e-12, nan_ok=True)
    tab.get_by_role("tab", name="Curves").click()
    tab.locator("[data-testid=stPlotlyChart] .scatterlayer .trace").nth(7).wait_for()
    curves = _download(tab, "curves-csv")
    assert set(curves["curve"]) == {"pr", "roc"}


def test_a_refresh_finds_the_running_job_and_stop_ends_it(server: Any, tab: Any, settle: Settle) -> None:
    tab.goto(server.url)
    _press(tab, "demo")
    tab.wait_for_url("**/train")
    settle(tab)
    for key in ("training.max_epochs", "training.early_stopping_patience"):
        _fill(tab, key, "100000", settle)
    _press(tab, "start")
    tab.get_by_text("/ 100,000").wait_for()
    tab.locator("[data-testid=stVegaLiteChart]").first.wait_for()
    (status,) = server.store.glob("train/*/status.json")
    tab.reload()
    tab.locator(".st-key-stop").wait_for()
    tab.get_by_text(status.parent.name).wait_for()
    tab.goto(f"{server.url}/runs")
    tab.locator(".st-key-stop").wait_for()
    _press(tab, "stop")
    tab.get_by_text("cancelled after").wait_for()  # the toast
    assert json.loads(status.read_text(encoding="utf-8"))["state"] == "cancelled"
    assert (status.parent / "checkpoints" / "final_model.pt").is_file()


def test_alignment_is_measured_and_taken_away(server: Any, tab: Any, settle: Settle) -> None:
    tab.goto(server.url)
    _press(tab, "demo")
    tab.wait_for_url("**/train")
    settle(tab)
    tab.get_by_role("link", name="Alignment").click()
    _press(tab, "measure")
    tab.locator("[data-testid=stPlotlyChart] .barlayer .bars").nth(1).wait_for()
    (folder,) = server.store.glob("align/*/alignment/test")
    pd.testing.assert_frame_equal(_download(tab, "recall-csv"), pd.read_csv(folder / "recall.csv"))
    pd.testing.assert_frame_equal(_download(tab, "histogram-csv"), pd.read_csv(folder / "histogram.csv"))


def test_real_data_are_checked_trained_and_evaluated(
    server: Any, tab: Any, settle: Settle, real_data: Callable[[str], Path]
) -> None:
    root = real_data("ctrate")
    tab.goto(f"{server.url}/data")
    settle(tab)
    _fill(tab, "paths.data_root", str(root / "features" / "minilm"), settle)
    _fill(tab, "paths.manifest_dir", str(root / "manifests"), settle)
    _press(tab, "check")
    tab.get_by_text("18 findings").wait_for()
    tab.get_by_text("1,819 volumes / 934 exams / 782 patients").wait_for()
    _press(tab, "to-train")
    tab.wait_for_url("**/train")
    settle(tab)
    _fill(tab, "training.max_epochs", "2", settle)
    _press(tab, "start")
    _press(tab, "to-evaluate")
    tab.wait_for_url("**/evaluate**")
    _press(tab, "evaluate")
    tab.get_by_text("741 volumes / 389 exams / 326 patients").first.wait_for()


def test_a_folder_without_manifests_is_named(server: Any, tab: Any, settle: Settle, tmp_path: Path) -> None:
    tab.goto(f"{server.url}/data")
    settle(tab)
    _fill(tab, "paths.manifest_dir", str(tmp_path / "nowhere"), settle)
    _press(tab, "check")
    alert = tab.locator("[data-testid=stAlert]").filter(has_text="train.csv does not exist")
    alert.wait_for()
    assert "nowhere" in alert.inner_text()
