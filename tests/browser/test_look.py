"""Evaluate and Alignment in a browser: the slider moves stored counts, and every download holds the stored numbers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ctbench_core.alignment.job import run_alignment
from ctbench_core.config import Config
from ctbench_core.evaluate import ScoreOptions, score_table
from ctbench_core.runs import EvaluationPaths
from tests.browser.hands import Hands

LABELS = ["Emphysema", "Lung nodule", "Cardiomegaly"]
CELLS = ("tp", "fn", "fp", "tn")


@pytest.fixture
def bundle(server: Any, tmp_path: Path) -> EvaluationPaths:
    """Store predictions of 200 volumes and three findings in the run store of the running app."""
    rng = np.random.default_rng(2)
    frame = pd.DataFrame({"VolumeName": [f"test_{row // 2 + 1}_a_{row % 2 + 1}" for row in range(200)]})
    for label in LABELS:
        frame[f"target_{label}"] = rng.integers(0, 2, 200)
        frame[f"prob_{label}"] = 1 / (1 + np.exp(-rng.normal(size=200) - frame[f"target_{label}"]))
    frame.to_parquet(tmp_path / "predictions.parquet")
    config = Config()
    config.paths.outputs_root, config.job_name = str(server.store), "score"
    score_table(tmp_path / "predictions.parquet", ScoreOptions(name="external"), config)
    (folder,) = server.store.glob("score/*/evaluation/predictions")
    return EvaluationPaths(folder)


def _open(user: Hands, tab: str) -> None:
    user.go("evaluate")
    user.sees("Macro AUPRC")
    user.open_tab(tab)


def _counted(paths: EvaluationPaths, label: str, threshold: float) -> dict[str, int]:
    scores = pd.read_parquet(paths.scores)
    positive, called = scores[f"target_{label}"] == 1, scores[f"prob_{label}"] >= threshold
    masks = (positive & called, positive & ~called, ~positive & called, ~positive & ~called)
    return {cell: int(mask.sum()) for cell, mask in zip(CELLS, masks)}


def _stands(page: Any, counts: dict[str, int]) -> None:
    """Wait until the four cells show the counts."""
    for cell, count in counts.items():
        page.locator(f".st-key-cell-{cell} button strong").get_by_text(str(count), exact=True).wait_for()


def test_the_slider_moves_the_counts_as_stored(server: Any, user: Hands, bundle: EvaluationPaths) -> None:
    _open(user, "Threshold")
    label = LABELS[0]
    _stands(user.page, _counted(bundle, label, 0.5))
    slider = user.page.locator(".st-key-threshold input[type=range]")
    for key, threshold in (("ArrowRight", 0.501), ("ArrowRight", 0.502), ("Home", 0.0), ("End", 1.0)):
        slider.focus()
        slider.press(key)
        _stands(user.page, _counted(bundle, label, threshold))
    stored = pd.read_parquet(bundle.counts).query("label == @label")
    f1 = 2 * stored["tp"] / (stored["tp"] + stored["fp"] + stored["tp"].iloc[0])
    user.page.locator(".st-key-preset-F1 button").click()
    _stands(user.page, _counted(bundle, label, stored["threshold"][f1 == f1.max()].iloc[-1]))


def test_a_cell_leads_to_its_volumes(server: Any, user: Hands, bundle: EvaluationPaths) -> None:
    _open(user, "Threshold")
    user.page.locator(".st-key-cell-fp button").click()
    taken = _unmarked(user.frame("cell-csv"))
    scores = pd.read_parquet(bundle.scores)
    alarms = scores[(scores[f"target_{LABELS[0]}"] == 0) & (scores[f"prob_{LABELS[0]}"] >= 0.5)]
    expected = alarms.sort_values(f"prob_{LABELS[0]}", ascending=False)
    assert taken["volume"].tolist() == expected["volumename"].tolist()
    np.testing.assert_array_equal(taken["probability"], expected[f"prob_{LABELS[0]}"])
    assert taken["probability"].tolist() == taken["error"].tolist()


def test_every_download_of_evaluate_holds_the_stored_numbers(server: Any, user: Hands, bundle: EvaluationPaths) -> None:
    _open(user, "Findings")
    stored = pd.read_csv(bundle.per_class)
    for key in ("per-class-csv", "dots-csv"):
        pd.testing.assert_frame_equal(_unmarked(user.frame(key)), _unmarked(stored))
    curves = pd.read_parquet(bundle.curves)
    user.open_tab("Curves")
    parts = {"curves": curves, "pr": curves[curves["curve"] == "pr"], "roc": curves[curves["curve"] == "roc"]}
    for name, expected in parts.items():
        taken = _unmarked(user.frame(f"{name}-csv"))
        pd.testing.assert_frame_equal(taken, expected.reset_index(drop=True), check_dtype=False)
    marks = ("external on predictions", "200 volumes", "outside the ledger", "label origin: unknown")
    _is_whole(user.page, user.take("pr-html").decode(), *marks)
    user.open_tab("Threshold")
    bins = user.frame("threshold-csv")
    scores = pd.read_parquet(bundle.scores)
    for name, value in (("positives", 1), ("negatives", 0)):
        values = scores.loc[scores[f"target_{LABELS[0]}"] == value, f"prob_{LABELS[0]}"]
        assert bins[name].tolist() == np.histogram(values, bins=50, range=(0, 1))[0].tolist()
    user.open_tab("Volumes")
    pd.testing.assert_frame_equal(_unmarked(user.frame("scores-csv")), scores, check_dtype=False)
    taken = user.frame("volumes-csv").set_index("volume").loc[scores["volumename"]]
    np.testing.assert_array_equal(taken["probability"], scores[f"prob_{LABELS[0]}"])


def _unmarked(frame: pd.DataFrame, leaks: bool = True) -> pd.DataFrame:
    """Return a table without its marks, which must be there: predictions from a table, and alignment, have no ledger."""
    assert frame["test_openings"].isna().all()
    assert set(frame["label_origin"]) == {"unknown"}
    assert set(frame["leak_patients"]) == {0} if leaks else frame["leak_patients"].isna().all()
    return frame.drop(columns=["test_openings", "leak_patients", "label_origin", "warning"])


def _is_whole(page: Any, html: str, *texts: str) -> None:
    """Open a downloaded figure without a network: it is drawn, and says what it rests on."""
    alone = page.context.browser.new_context(offline=True)
    try:
        sheet = alone.new_page()
        sheet.set_content(html)
        sheet.locator(".scatterlayer .trace, .barlayer .trace").first.wait_for(state="attached")
        for text in texts:
            sheet.get_by_text(text).first.wait_for()
    finally:
        alone.close()


def test_every_download_of_alignment_holds_the_stored_numbers(
    server: Any, user: Hands, tiny_data: Path, make_config: Callable[..., Config]
) -> None:
    changes = {"paths.outputs_root": str(server.store), "data.train_manifest": "test.csv", "job_name": "align"}
    folder = Path(run_alignment(make_config(tiny_data, changes))["run_dir"]) / "alignment" / "test"
    user.go("data")
    user.fill("paths.data_root", str(tiny_data / "features"))
    user.fill("paths.manifest_dir", str(tiny_data / "manifests"))
    user.page.get_by_role("link", name="Alignment").click()
    user.page.locator(".st-key-similarity-semantic-csv").wait_for()
    recall, histogram = (pd.read_csv(folder / f"{name}.csv") for name in ("recall", "histogram"))
    pd.testing.assert_frame_equal(_unmarked(user.frame("recall-csv"), leaks=False), recall)
    pd.testing.assert_frame_equal(_unmarked(user.frame("histogram-csv"), leaks=False), histogram)
    for truth in ("instance", "semantic"):
        for name, stored in (("recall", recall), ("similarity", histogram)):
            expected = stored[stored["truth"] == truth].reset_index(drop=True)
            pd.testing.assert_frame_equal(_unmarked(user.frame(f"{name}-{truth}-csv"), leaks=False), expected)
            _is_whole(user.page, user.take(f"{name}-{truth}-html").decode(), "Alignment of test", "24 pairs")
    ranks = pd.read_parquet(folder / "ranks.parquet")
    pd.testing.assert_frame_equal(_unmarked(user.frame("ranks-csv"), leaks=False), ranks, check_dtype=False)
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    for name, value in user.frame("figures-csv").set_index("figure")["value"].items():
        assert value == pytest.approx(metrics[name], nan_ok=True)
