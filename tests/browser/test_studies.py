"""A study in a browser: built, run, looked into from a point to its runs, and taken away as one file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.browser.hands import Hands, sync_api


def _point(user: Hands) -> None:
    """Click the last point of the scaling curves."""
    last = user.page.locator(".st-key-curves .scatterlayer .points path").last
    user.answered(lambda: last.click(force=True))  # plotly's own layer lies above it


def _report(browser: sync_api.Browser, file: Path) -> dict[str, Any]:
    """Open a report without server and network; return what it draws, asks for and complains of."""
    context = browser.new_context(offline=True)
    page, asked, said = context.new_page(), [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(file.as_uri())
    drawn = page.locator(".js-plotly-plot .main-svg:first-child").count()
    found = {
        "figures": drawn,
        "planned": page.content().count("Plotly.newPlot("),
        "titles": page.locator("h2").all_inner_texts(),
        "rows": [table.locator("tbody tr").count() for table in page.locator("table").all()],
        "wide": page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"),
    }
    context.close()
    return found | {"asked": asked, "said": said}


def test_a_study_from_the_first_click_to_its_report(user: Hands, browser: sync_api.Browser, tmp_path: Path) -> None:
    user.use_demo(epochs=3)
    user.turn("Studies")
    user.press("protocol-Label-budgets")
    user.fill("study.budget", "20, 60, all")
    user.fill("study.seeds", "2")
    user.sees("= 6 runs")
    user.press("study-start")
    user.sees("6 of 6 runs")
    user.sees("Select a point for its runs")
    _point(user)
    behind = user.page.locator("[class*=st-key-behind] [data-testid=stDataFrame]")
    behind.wait_for()
    for tab, words in {"Overview": "two parts", "Findings": "max-T", "Bottlenecks": "Weakest first"}.items():
        user.open_tab(tab)
        user.sees(words)
    user.open_tab("Runs")
    user.page.locator(".st-key-runs-budget input").first.click()
    user.click(user.page.get_by_role("option", name="60", exact=True))
    user.sees("2 of 6 runs")
    user.page.keyboard.press("Escape")
    user.open_tab("Export")
    runs = user.frame("export-runs")
    assert len(runs) == 6
    file = tmp_path / "report.html"
    file.write_bytes(user.take("export-html"))
    report = _report(browser, file)
    assert report["asked"] == [file.as_uri()]
    assert report["said"] == []
    assert report["figures"] == report["planned"] >= 4
    assert {"AUPRC by labels", "AUROC by labels", "AUPRC by finding", "Cells", "Bottlenecks", "Runs"} <= set(
        report["titles"]
    )
    assert report["rows"][-1] == 6
    assert all(report["rows"])
    assert not report["wide"]
