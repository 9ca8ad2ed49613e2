"""Compare and Evaluate's tabs in a browser: two runs are compared, a disagreement clicked, and files taken away."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ctbench_core.compare import compare_runs
from ctbench_core.report.comparison import paper_frame
from ctbench_core.runs import RunPaths
from tests.browser.hands import Hands
from tests.browser.served import Server

MARKS = {"test_openings", "leak_patients", "label_origin", "warning"}
OPENINGS = 4  # what `fill` opens


def marked(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table without its marks, which must be there and count the openings."""
    assert set(frame) >= MARKS
    assert set(frame["test_openings"]) == {OPENINGS}
    return frame.drop(columns=list(MARKS))


def choose(user: Hands, key: str, text: str) -> None:
    """Choose an option of a select box by a part of its text."""
    box = user.field(key)
    box.click()
    box.press_sequentially(text)
    user.click(user.page.get_by_role("option").filter(has_text=text).first)


def test_two_runs_are_compared_and_the_paper_taken_away(reader: Hands, week: tuple[Server, dict[str, Path]]) -> None:
    runs = week[1]
    reader.go("compare")
    choose(reader, "compare.baseline", runs["mlp 1"].name)
    choose(reader, "compare.others", runs["linear 1"].name)
    reader.page.keyboard.press("Escape")
    shown = reader.page.locator(".st-key-compare-others [data-tag]")
    while shown.count() > 1:  # the first of the list was chosen for us
        reader.click(shown.filter(has_not_text=runs["linear 1"].name).get_by_role("button").first)
    reader.sees("Average over seeds")
    reader.click(reader.page.locator(".st-key-compare-by-recipe label").first)
    reader.open_tab("Paper")
    found = compare_runs([runs["mlp 1"], runs["linear 1"]], "test")
    table = marked(reader.frame("paper-table-csv"))
    pd.testing.assert_frame_equal(table, paper_frame(found), check_dtype=False)
    taken = json.loads(reader.take("paper-comparison-json"))
    assert taken["openings"] == OPENINGS
    stored = pd.DataFrame(taken["differences"])["delta"].to_numpy()
    np.testing.assert_allclose(stored, found.differences["delta"], atol=1e-12)
    assert f"{OPENINGS} openings" in reader.take("paper-methods-txt").decode()
    reader.open_tab("Differences")
    forest = marked(reader.frame("forest-auprc-csv"))
    macro = forest[forest["label"] == "macro"].iloc[0]
    # The cells of a table are drawn on a canvas; their texts lie behind it.
    cell = reader.page.get_by_text(f"{macro['delta']:.3f}".replace("0.", ".", 1))
    cell.first.wait_for(state="attached")


def test_a_click_on_a_disagreement_names_its_volume(reader: Hands, week: tuple[Server, dict[str, Path]]) -> None:
    reader.go("compare")
    reader.open_tab("Disagreements")
    every = marked(reader.frame("disagreements-csv"))
    plot = reader.page.locator("[data-testid=stPlotlyChart] .js-plotly-plot").first
    plot.locator(".nsewdrag").first.wait_for()
    # Where the plot draws the volume that is furthest apart.
    place = plot.evaluate(
        """(plot, at) => { const {xaxis, yaxis} = plot._fullLayout;
        const box = plot.getBoundingClientRect();
        return [box.x + xaxis._offset + xaxis.l2p(at[0]), box.y + yaxis._offset + yaxis.l2p(at[1])]; }""",
        [float(every["first"].iloc[0]), float(every["second"].iloc[0])],
    )
    reader.page.mouse.move(*place)
    reader.answered(lambda: reader.page.mouse.click(*place))
    reader.sees("selected")
    chosen = marked(reader.frame("disagreements-csv"))
    assert 1 <= len(chosen) < len(every)
    assert set(chosen["volume"]) < set(every["volume"])
    # Dots may lie on one another: the one that was hit is where the click was.
    aimed = every.iloc[0]
    assert (chosen[["first", "second"]] - aimed[["first", "second"]].astype(float)).abs().to_numpy().max() < 0.03


def test_the_tabs_of_evaluate_hold_what_is_stored(reader: Hands, week: tuple[Server, dict[str, Path]]) -> None:
    run = RunPaths(week[1]["mlp 1"])
    bundle = run.evaluation("test")
    reader.go(f"evaluate?run={run.root.name}")
    reader.open_tab("Calibration")
    stored = pd.read_csv(bundle.calibration).drop(columns=list(MARKS))
    pd.testing.assert_frame_equal(marked(reader.frame("calibration-csv")), stored)
    bins = marked(reader.frame("reliability-csv"))
    assert set(bins["stage"]) == {"before", "platt"}
    page = reader.take("reliability-html").decode()
    assert f"opened {OPENINGS} times by {OPENINGS} runs of this job" in page.replace("<br>", " ")
    reader.open_tab("Subgroups")
    reader.sees("each group against all others")
    groups = marked(reader.frame("subgroups-csv"))
    assert set(groups["group"]) == {"F", "M"}
    kept = pd.read_parquet(bundle.subgroups("PatientSex"))
    np.testing.assert_allclose(groups["gap"], kept["gap"], atol=1e-12)
    reader.open_tab("Threshold")
    chosen = marked(reader.frame("thresholds-csv")).set_index("rule")
    tuning = json.loads(run.tuning.read_text(encoding="utf-8"))
    label = tuning["labels"][0]
    assert chosen.loc["f1", "threshold"] == tuning["thresholds"]["f1"][label]
    reader.press("use-f1")
    reader.press("cell-fp")
    volumes = marked(reader.frame("cell-csv"))
    assert (volumes["label"] == 0).all()
    assert volumes["error"].is_monotonic_decreasing
    reader.open_tab("Paper")
    table = marked(pd.read_csv(io.BytesIO(reader.take("paper-table-csv"))))
    assert table["finding"].tolist()[-1] == "macro"


def _tab(user: Hands) -> str:
    return str(user.page.locator("[role=tab][aria-selected=true]").first.inner_text())


def test_a_link_opens_its_tab(meet: Callable[[Any], Hands], week: tuple[Server, dict[str, Path]]) -> None:
    run = week[1]["mlp 1"]
    for written, opened in (("curves", "Curves"), ("Volumes", "Volumes"), ("gone", "Findings")):
        user = meet(week[0])  # a browser that has never been here
        user.go(f"evaluate?run={run.name}&tab={written}")
        user.sees("Macro AUPRC")
        assert _tab(user) == opened
    user.open_tab("Threshold")
    user.page.wait_for_url("**tab=Threshold**")
    assert f"run={run.name}" in user.page.url
    user.page.reload()
    user.settle()
    assert _tab(user) == "Threshold"


def test_curves_mark_the_chosen_threshold_where_it_stands(reader: Hands, week: tuple[Server, dict[str, Path]]) -> None:
    run = RunPaths(week[1]["mlp 1"])
    known = pd.read_csv(run.evaluation("test").per_class).set_index("finding")
    reader.go(f"evaluate?run={run.root.name}&tab=Curves")
    for chart, x, y in (("pr", "recall", "precision"), ("roc", "specificity", "recall")):
        plot = reader.page.locator(f".st-key-chart-{chart} .js-plotly-plot")
        plot.locator(".scatterlayer path.point").first.wait_for(state="attached")
        marks = plot.evaluate(
            "(drawn) => drawn.calcdata.filter((of) => of[0].trace.marker?.symbol === 'diamond')[0]"
            ".map((point) => [point.x, point.y, point.tx])"
        )
        assert len(marks) == 4
        for across, up, text in marks:
            finding, _, told = text.partition("<br>")
            rates = known.loc[finding, [f"{x}_tuned", f"{y}_tuned"]].to_numpy(float)
            assert across == pytest.approx(1 - rates[0] if x == "specificity" else rates[0], abs=1e-6)
            assert up == pytest.approx(rates[1], abs=1e-6)
            threshold = f"{known.loc[finding, 'threshold_tuned']:.3f}".replace("0.", ".", 1)
            assert told == f"threshold {threshold}, chosen on validation"
