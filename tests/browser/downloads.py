"""Check downloaded files: the disclosures that every result carries, and charts that need no network."""

from __future__ import annotations

import functools
import re
from typing import Any

import pandas as pd
from plotly.offline import get_plotlyjs

from tests.browser.browser_user import BrowserUser

DISCLOSURES = ["test_openings", "leak_patients", "label_origin", "warning"]
DEMO_EVALUATIONS = 4  # runs that `demo_runs.write_runs` evaluates on test, once each


def without_disclosures(table: pd.DataFrame, evaluations: int | None = None, leaks: int | None = 0) -> pd.DataFrame:
    """Check the columns with disclosures, and return the table without them.

    Args:
        evaluations: how often the test set was evaluated; None where no ledger counts it.
        leaks: patients in several splits; None where nobody counts them.
    """
    for column, value in (("test_openings", evaluations), ("leak_patients", leaks)):
        assert table[column].isna().all() if value is None else set(table[column]) == {value}
    assert set(table["label_origin"]) == {"unknown"}
    return table.drop(columns=DISCLOSURES)


def check_demo_disclosures(text: str) -> None:
    """Check that a text states how often the demo's test set was evaluated, and that the origin of its labels is unknown."""
    text = text.replace("<br>", " ")
    assert re.search(rf"\b{DEMO_EVALUATIONS}\b[^.;]* {DEMO_EVALUATIONS} runs\b", text)
    check_unknown_origin(text)


def check_unknown_origin(text: str) -> None:
    """Check that a text states that the origin of the labels is unknown."""
    assert re.search(r"label[^.;]{,30}\bunknown\b", text, re.IGNORECASE)


def read_chart(user: BrowserUser, html: str) -> str:
    """Draw a chart's page without a network, and return its visible text."""
    assert get_plotlyjs() in html
    page = _offline_page(user.page.context.browser)
    page.evaluate(_SHOW, html.replace(get_plotlyjs(), ""))  # the code is there already: reading it takes a second
    page.locator(".plotly .trace, .plotly .hm, .plotly image").first.wait_for(state="attached")
    return str(page.evaluate("[...document.querySelectorAll('text, p, h1, h2')].map((e) => e.textContent).join(' ')"))


# Scripts of a text that is set do not run; copies of them do.
_SHOW = """(html) => {
  document.body.innerHTML = html;
  for (const script of document.body.querySelectorAll("script")) {
    const copy = document.createElement("script");
    copy.text = script.text;
    script.replaceWith(copy);
  }
}"""


@functools.lru_cache(maxsize=1)
def _offline_page(browser: Any) -> Any:
    page = browser.new_context(offline=True).new_page()
    page.set_content(f"<!doctype html><script>{get_plotlyjs()}</script>")
    return page
