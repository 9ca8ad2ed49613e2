"""Evaluate in a browser: the threshold's slider, the tabs, their addresses, and downloads that hold the stored numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ctbench_core.config import Config
from ctbench_core.evaluate import ScoreOptions, score_table
from ctbench_core.formatting import format_metric
from ctbench_core.metrics import choose_thresholds
from ctbench_core.runs import EvaluationPaths, RunPaths
from tests.browser.app_server import AppServer
from tests.browser.browser_user import BrowserUser
from tests.browser.downloads import (
    DEMO_EVALUATIONS,
    DISCLOSURES,
    check_demo_disclosures,
    check_unknown_origin,
    read_chart,
    without_disclosures,
)

LABELS = ["Emphysema", "Lung nodule", "Cardiomegaly"]
CELLS = ("tp", "fn", "fp", "tn")


@pytest.fixture
def bundle(server: AppServer, tmp_path: Path) -> EvaluationPaths:
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


def _open(user: BrowserUser, tab: str) -> None:
    user.go("evaluate")
    user.tabs("evaluate").first.wait_for()
    user.open_tab("evaluate", tab)


def _count_cells(paths: EvaluationPaths, label: str, threshold: float) -> dict[str, int]:
    scores = pd.read_parquet(paths.scores)
    positive, called = scores[f"target_{label}"] == 1, scores[f"prob_{label}"] >= threshold
    masks = (positive & called, positive & ~called, ~positive & called, ~positive & ~called)
    return {cell: int(mask.sum()) for cell, mask in zip(CELLS, masks)}


def _wait_for_cells(user: BrowserUser, counts: dict[str, int]) -> None:
    """Wait until the four cells show the counts."""
    for cell, count in counts.items():
        shown = user.page.locator(f".st-key-cell-{cell} button strong:visible")  # a replaced one may stay, unseen
        shown.get_by_text(str(count), exact=True).first.wait_for()


def test_ticks_read_as_metrics_do_and_still_when_zoomed(reader: BrowserUser) -> None:
    reader.go("evaluate?tab=Curves")
    chart = reader.widget("chart-pr", ".js-plotly-plot")
    chart.locator(".xtitle").wait_for()
    read = "(chart) => [...chart.querySelectorAll('.xtick text, .ytick text')].map((tick) => tick.textContent)"
    ticks = chart.evaluate(read)
    assert ".2" in ticks and not [tick for tick in ticks if tick.startswith("0.")]
    box = chart.locator(".nsewdrag").bounding_box()
    mouse, y = reader.page.mouse, box["y"] + box["height"] / 2
    mouse.move(box["x"] + box["width"] * 0.5, y)
    mouse.down()
    mouse.move(box["x"] + box["width"] * 0.56, y + 20, steps=4)
    mouse.up()
    reader.page.wait_for_function(
        f"(before) => ({read})(document.querySelector('.st-key-chart-pr .js-plotly-plot')).join() !== before",
        arg=",".join(ticks),
    )
    ticks = chart.evaluate(read)
    assert ticks and not [tick for tick in ticks if tick.startswith("0.")]


def test_the_slider_moves_the_counts_as_stored(user: BrowserUser, bundle: EvaluationPaths) -> None:
    _open(user, "threshold")
    label = LABELS[0]
    _wait_for_cells(user, _count_cells(bundle, label, 0.5))
    slider = user.slider("threshold")
    for key, threshold in (("ArrowRight", 0.501), ("ArrowRight", 0.502), ("Home", 0.0), ("End", 1.0)):
        slider.focus()
        slider.press(key)
        _wait_for_cells(user, _count_cells(bundle, label, threshold))
    stored = pd.read_parquet(bundle.counts).query("label == @label")
    f1 = 2 * stored["tp"] / (stored["tp"] + stored["fp"] + stored["tp"].iloc[0])
    user.button("preset-f1").click()
    _wait_for_cells(user, _count_cells(bundle, label, stored["threshold"][f1 == f1.max()].iloc[-1]))


def test_a_chosen_threshold_has_one_answer_also_after_a_reload_and_among_the_volumes(
    reader: BrowserUser, demo_runs: tuple[AppServer, dict[str, Path]]
) -> None:
    run = RunPaths(demo_runs[1]["mlp 1"])
    scores = pd.read_parquet(run.evaluation("test").scores)
    label = next(name.removeprefix("prob_") for name in scores if name.startswith("prob_"))
    validation = pd.read_parquet(run.validation_scores)
    columns = (validation[[f"{part}_{label}"]].to_numpy(float) for part in ("target", "prob"))
    chosen = float(choose_thresholds(*columns, "sensitivity=.95").values[0])
    cells = _count_cells(run.evaluation("test"), label, chosen)
    reader.go(f"evaluate?run={run.root.name}&tab=Threshold")
    reader.press("use-sensitivity")
    _wait_for_cells(reader, cells)
    named = reader.widget("threshold", "[data-testid=stSliderThumbValue]").inner_text()
    assert (scores[f"prob_{label}"] >= float(named)).equals(scores[f"prob_{label}"] >= chosen)
    assert f"threshold={float(named)}" in reader.page.url
    reader.page.reload()
    reader.settle()
    _wait_for_cells(reader, cells)
    assert reader.widget("threshold", "[data-testid=stSliderThumbValue]").inner_text() == named
    for tab in ("volumes", "findings", "volumes"):
        reader.open_tab("evaluate", tab)
        reader.page.wait_for_url(f"**threshold={float(named)}**")
    reader.wait_for_text(f"Volumes at threshold {named[1:]}")
    reader.page.reload()
    reader.settle()
    reader.wait_for_text(f"Volumes at threshold {named[1:]}")
    reader.open_tab("evaluate", "threshold")
    _wait_for_cells(reader, cells)
    assert f"threshold={float(named)}" in reader.page.url
    reader.go(f"evaluate?run={run.root.name}&tab=Volumes&threshold={named}")
    reader.wait_for_text(f"Volumes at threshold {named[1:]}")
    reader.press("volumes-reset")
    reader.wait_for_text("Volumes at threshold .500")


def test_every_download_holds_the_stored_numbers(user: BrowserUser, bundle: EvaluationPaths) -> None:
    _open(user, "findings")
    stored = pd.read_csv(bundle.per_class)
    for key in ("per-class-csv", "dots-csv"):
        pd.testing.assert_frame_equal(without_disclosures(user.download_table(key)), without_disclosures(stored))
    curves = pd.read_parquet(bundle.curves).rename(columns={"label": "finding"})
    user.open_tab("evaluate", "curves")
    for name in ("pr", "roc"):
        table, expected = without_disclosures(user.download_table(f"{name}-csv")), curves[curves["curve"] == name]
        pd.testing.assert_frame_equal(table, expected.reset_index(drop=True), check_dtype=False)
    assert user.button("curves-csv").count() == 0  # one file a chart
    note = read_chart(user, user.download("pr-html").decode())
    for fact in ("external on predictions", "200 volumes", "ledger"):
        assert fact in note
    check_unknown_origin(note)
    user.open_tab("evaluate", "threshold")
    bins = user.download_table("threshold-csv")
    scores = pd.read_parquet(bundle.scores)
    for name, value in (("positives", 1), ("negatives", 0)):
        values = scores.loc[scores[f"target_{LABELS[0]}"] == value, f"prob_{LABELS[0]}"]
        assert bins[name].tolist() == np.histogram(values, bins=50, range=(0, 1))[0].tolist()
    user.open_tab("evaluate", "volumes")
    table = without_disclosures(user.download_table("scores-csv"))
    pd.testing.assert_frame_equal(table, scores, check_dtype=False)
    volumes = user.download_table("volumes-csv").set_index("volume").loc[scores["volumename"]]
    np.testing.assert_array_equal(volumes["probability"], scores[f"prob_{LABELS[0]}"])


def _download_demo_table(user: BrowserUser, key: str) -> pd.DataFrame:
    return without_disclosures(user.download_table(key), DEMO_EVALUATIONS)


def test_the_tabs_show_what_is_stored(reader: BrowserUser, demo_runs: tuple[AppServer, dict[str, Path]]) -> None:
    run = RunPaths(demo_runs[1]["mlp 1"])
    bundle = run.evaluation("test")
    reader.go(f"evaluate?run={run.root.name}")
    reader.open_tab("evaluate", "calibration")
    stored = pd.read_csv(bundle.calibration).drop(columns=DISCLOSURES)
    pd.testing.assert_frame_equal(_download_demo_table(reader, "calibration-csv"), stored)
    bins = _download_demo_table(reader, "reliability-csv")
    assert set(bins["stage"]) == {"before", "platt"}
    check_demo_disclosures(reader.download("reliability-html").decode())
    reader.open_tab("evaluate", "subgroups")
    reader.button("subgroups-csv").wait_for()
    groups = _download_demo_table(reader, "subgroups-csv")
    assert set(groups["group"]) == {"F", "M"}
    np.testing.assert_allclose(groups["gap"], pd.read_parquet(bundle.subgroups("PatientSex"))["gap"], atol=1e-12)
    reader.open_tab("evaluate", "threshold")
    thresholds = _download_demo_table(reader, "thresholds-csv").set_index("rule")
    tuning = json.loads(run.tuning.read_text(encoding="utf-8"))
    assert thresholds.loc["f1", "threshold"] == tuning["thresholds"]["f1"][tuning["labels"][0]]
    reader.press("use-f1")
    reader.press("cell-fp")
    volumes = _download_demo_table(reader, "cell-csv")
    assert (volumes["label"] == 0).all()
    assert volumes["error"].is_monotonic_decreasing
    reader.open_tab("evaluate", "paper")
    assert _download_demo_table(reader, "paper-table-csv")["finding"].tolist()[-1] == "macro"


def test_curves_are_about_as_wide_as_high_on_a_wide_window_too(reader: BrowserUser) -> None:
    read = "(chart) => [chart._fullLayout._size.w, chart._fullLayout._size.h]"
    for width in (1280, 1920):
        reader.page.set_viewport_size({"width": width, "height": 1080})
        for address, charts in (
            ("evaluate?tab=Curves", ("pr", "roc")),
            ("compare?compare-tabs=Curves", ("overlaid-pr",)),
        ):
            reader.go(address)
            for name in charts:
                chart = reader.widget(f"chart-{name}", ".js-plotly-plot")
                chart.locator(".xtitle").wait_for()
                across, up = chart.evaluate(read)
                assert 0.8 < across / up < 1.25, (width, name)
                labels = chart.evaluate(
                    "(chart) => { const edge = chart.querySelector('.nsewdrag').getBoundingClientRect().right;"
                    " return [...chart.querySelectorAll('.textpoint text')].map((text) => text.getBoundingClientRect())"
                    ".map((box) => [box.left - edge, chart.getBoundingClientRect().right - box.right]) }"
                )
                assert len(labels) == (4 if name == "pr" else 0)
                assert all(left >= 0 and right >= 0 for left, right in labels), labels  # beside the axes, uncut


def test_curves_mark_the_tuned_threshold(reader: BrowserUser, demo_runs: tuple[AppServer, dict[str, Path]]) -> None:
    run = RunPaths(demo_runs[1]["mlp 1"])
    per_class = pd.read_csv(run.evaluation("test").per_class).set_index("finding")
    reader.go(f"evaluate?run={run.root.name}&tab=Curves")
    for chart, x, y in (("pr", "recall", "precision"), ("roc", "specificity", "recall")):
        plot = reader.widget(f"chart-{chart}", ".js-plotly-plot")
        plot.locator(".scatterlayer path.point").first.wait_for(state="attached")
        marks = plot.evaluate(
            "(plot) => plot.calcdata.filter((data) => data[0].trace.marker?.symbol === 'diamond')[0]"
            ".map((point) => [point.x, point.y, point.tx])"
        )
        assert len(marks) == 4
        for mark_x, mark_y, text in marks:
            finding, _, note = text.partition("<br>")
            rates = per_class.loc[finding, [f"{x}_tuned", f"{y}_tuned"]].to_numpy(float)
            assert mark_x == pytest.approx(1 - rates[0] if x == "specificity" else rates[0], abs=1e-6)
            assert mark_y == pytest.approx(rates[1], abs=1e-6)
            assert format_metric(per_class.loc[finding, "threshold_tuned"]) in note
