"""Compare in a browser: two runs are compared, a point of the scatter plot selected, and files downloaded."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from tests.browser.app_server import AppServer
from tests.browser.browser_user import BrowserUser, sync_api
from tests.browser.downloads import DEMO_EVALUATIONS, without_disclosures

LAYOUT = Path(__file__).with_name("layout.js").read_text(encoding="utf-8")


def _download(user: BrowserUser, key: str) -> pd.DataFrame:
    return without_disclosures(user.download_table(key), DEMO_EVALUATIONS)


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


def test_a_recipe_is_named_by_its_seeds_however_it_is_chosen(
    reader: BrowserUser, demo_runs: tuple[AppServer, dict[str, Path]]
) -> None:
    runs = {name: folder.name for name, folder in demo_runs[1].items()}
    reader.go(f"compare?runs={runs['linear 1']},{runs['mlp 1']}&on=test")
    chip = reader.widget("compare.others", ".react-aria-ComboBox [data-tag]")
    sync_api.expect(chip).to_contain_text("mlp, seeds 1 to 3 · val. AUPRC")
    reader.choose("compare.baseline", "mlp · seed 2")  # an option is a run; what is chosen stands for its recipe
    sync_api.expect(chip).to_contain_text("mlp · seed 1 · val. AUPRC")
    reader.choose("compare.baseline", "linear · seed 1")
    sync_api.expect(chip).to_contain_text("mlp, seeds 1 to 3")
    reader.click(reader.widget("compare.by-recipe", "label"))
    sync_api.expect(chip).to_contain_text("mlp · seed 1 · val. AUPRC")
    sync_api.expect(reader.page).to_have_url(re.compile(f"{runs['linear 1']}(,|%2C){runs['mlp 1']}"))


def test_names_of_runs_are_whole_on_a_phone(reader: BrowserUser) -> None:
    reader.page.set_viewport_size({"width": 390, "height": 844})
    for address, part in (("", "recent-0"), ("compare", "compare-runs")):
        reader.go(address)
        reader.page.locator(f".st-key-{part}").wait_for()
        reader.settle()
        assert reader.page.evaluate(LAYOUT)["faults"] == [], address
    reader.go("evaluate")
    reader.tabs("evaluate").first.wait_for()
    assert reader.widget("run", "[data-testid=stSelectbox]").bounding_box()["width"] > 340  # a row of its own
