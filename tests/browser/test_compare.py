"""Compare in a browser: two runs are compared, a point of the scatter plot selected, and files downloaded."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from ctbench_core.compare import compare_runs
from ctbench_core.formatting import format_metric
from ctbench_core.report.comparison import paper_frame
from tests.browser.app_server import AppServer
from tests.browser.browser_user import BrowserUser
from tests.browser.downloads import DEMO_EVALUATIONS, check_demo_disclosures, without_disclosures


def _download(user: BrowserUser, key: str) -> pd.DataFrame:
    return without_disclosures(user.download_table(key), DEMO_EVALUATIONS)


def test_two_runs_are_compared_and_exported(reader: BrowserUser, demo_runs: tuple[AppServer, dict[str, Path]]) -> None:
    runs = demo_runs[1]
    reader.go("compare")
    reader.choose("compare.baseline", runs["mlp 1"].name)
    reader.choose("compare.others", runs["linear 1"].name)
    reader.page.keyboard.press("Escape")
    tags = reader.page.locator(".st-key-compare-others [data-tag]")
    while tags.count() > 1:  # the page starts with the first run of the list
        reader.click(tags.filter(has_not_text=runs["linear 1"].name).get_by_role("button").first)
    reader.click(reader.widget("compare.by-recipe", "label"))
    reader.open_tab("compare", "paper")
    comparison = compare_runs([runs["mlp 1"], runs["linear 1"]], "test")
    pd.testing.assert_frame_equal(_download(reader, "paper-table-csv"), paper_frame(comparison), check_dtype=False)
    exported = json.loads(reader.download("paper-comparison-json"))
    assert exported["openings"] == DEMO_EVALUATIONS
    deltas = pd.DataFrame(exported["differences"])["delta"].to_numpy()
    np.testing.assert_allclose(deltas, comparison.differences["delta"], atol=1e-12)
    check_demo_disclosures(reader.download("paper-methods-txt").decode())
    reader.open_tab("compare", "differences")
    forest = _download(reader, "forest-auprc-csv")
    macro = forest[forest["finding"] == "macro"].iloc[0]
    # A table draws its cells on a canvas, with their texts in hidden elements behind it.
    cell = reader.page.get_by_text(format_metric(macro["delta"]))
    cell.first.wait_for(state="attached")


def test_a_click_on_the_scatter_plot_lists_its_volume(reader: BrowserUser) -> None:
    reader.go("compare")
    reader.open_tab("compare", "disagreements")
    volumes = _download(reader, "disagreements-csv")
    # The chart of the tab before may stay in the page for a while, hidden.
    plot = reader.page.locator("[data-testid=stPlotlyChart] .js-plotly-plot:visible").first
    plot.locator(".nsewdrag").first.wait_for()
    # The pixel at which the plot draws the volume with the largest disagreement.
    position = plot.evaluate(
        """(plot, values) => { const {xaxis, yaxis} = plot._fullLayout;
        const box = plot.getBoundingClientRect();
        return [box.x + xaxis._offset + xaxis.l2p(values[0]), box.y + yaxis._offset + yaxis.l2p(values[1])]; }""",
        [float(volumes["first"].iloc[0]), float(volumes["second"].iloc[0])],
    )
    reader.page.mouse.move(*position)
    plot.locator(".hoverlayer .hovertext").first.wait_for()  # Plotly selects what it has found under the pointer
    reader.act(lambda: reader.page.mouse.click(*position))
    selection = _download(reader, "disagreements-csv")
    assert 1 <= len(selection) < len(volumes)
    assert set(selection["volume"]) < set(volumes["volume"])
    # Dots may overlap: the selected one is where the click was.
    target = volumes.iloc[0]
    assert (selection[["first", "second"]] - target[["first", "second"]].astype(float)).abs().to_numpy().max() < 0.03
