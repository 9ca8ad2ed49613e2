"""A study in a browser: set up, run, explored from a point to its runs, and exported as one file."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from tests.browser.axe import tab_violations, violations
from tests.browser.browser_user import BrowserUser, sync_api

CLICKS = 4


def _click_last_point(user: BrowserUser) -> None:
    """Click the last point of the scaling curves, until its runs are shown: a redraw of the chart can take a click."""
    point = user.widget("chart-curves", ".scatterlayer .points path >> nth=-1")
    runs = user.page.locator("[class*=st-key-behind] [data-testid=stDataFrame]")
    for _ in range(CLICKS):
        user.act(lambda: point.click(force=True))  # Plotly's own layer covers it
        with contextlib.suppress(sync_api.TimeoutError):
            runs.wait_for(timeout=10_000)
            return
    runs.wait_for()


def _read_report(browser: sync_api.Browser, file: Path) -> dict[str, Any]:
    """Open a report without a server or network; return what it shows, its requests and its errors."""
    context = browser.new_context(offline=True)
    page, requests, errors = context.new_page(), [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(file.as_uri())
    report = {
        "charts": page.locator(".js-plotly-plot .main-svg:first-child").count(),
        "planned": page.content().count("Plotly.newPlot("),
        "titles": page.locator("h2").all_inner_texts(),
        "rows": [table.locator("tbody tr").count() for table in page.locator("table").all()],
        "wide": page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"),
    }
    context.close()
    return report | {"requests": requests, "errors": errors}


def test_a_study_from_setup_to_report(user: BrowserUser, browser: sync_api.Browser, tmp_path: Path) -> None:
    user.use_demo(epochs=3)
    user.navigate("studies")
    user.click(user.widget("study-protocols", "button"))  # the first one: label budgets
    user.fill("study.budget", "20, 60, all")
    user.fill("study.seeds", "2")
    user.wait_for_text("6 runs")
    user.press("study-start")
    user.wait_for_text("6 of 6 runs")
    user.widget("chart-curves", ".main-svg").wait_for()
    assert violations(user) == []
    _click_last_point(user)
    content = {"overview": "cells-csv", "findings": "chart-heat", "bottlenecks": "bottlenecks-csv"}
    tabs = (*content, "differences", "export", "runs")
    assert (
        tab_violations(user, "studies", tabs, lambda tab: user.widget(content.get(tab, "study-tabs")).wait_for()) == []
    )
    user.open_tab("studies", "runs")
    user.field("runs-budget").click()
    user.click(user.page.get_by_role("option", name="60", exact=True))
    user.wait_for_text("2 of 6 runs")
    user.page.keyboard.press("Escape")
    user.open_tab("studies", "export")
    assert len(user.download_table("export-runs")) == 6
    file = tmp_path / "report.html"
    file.write_bytes(user.download("export-html"))
    report = _read_report(browser, file)
    assert report["requests"] == [file.as_uri()]
    assert report["errors"] == []
    assert report["charts"] == report["planned"] >= 4
    # Curves and findings by each metric, then cells, bottlenecks, runs and the study's settings.
    for metric in ("AUPRC", "AUROC"):
        assert sum(metric in title for title in report["titles"]) >= 2
    assert len(set(report["titles"])) >= 8
    assert report["rows"][-1] == 6
    assert all(report["rows"])
    assert not report["wide"]
