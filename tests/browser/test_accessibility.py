"""Pages for people who see little, use no mouse, or get ill from motion; tabs with results are also in `test_downloads`."""

from __future__ import annotations

from typing import Any

import pytest

from ctbench_ui.pages import PAGES
from tests.browser.axe import tab_violations, violations
from tests.browser.browser_user import TABS, BrowserUser

ADDRESSES = ["", *list(PAGES)[1:]]  # the first page is the address without a name
_FOCUS = "document.activeElement.closest('[class*=st-key-]')?.className.match(/st-key-(\\S+)/)[1] ?? 'nothing'"


def test_every_page_opens_from_its_address_and_is_accessible_while_empty(user: BrowserUser) -> None:
    titles = set()
    for address in ADDRESSES:
        user.go(address)
        title = user.page.locator("h1").first
        title.wait_for()
        titles.add(title.inner_text())
        assert user.nav_link(address).get_attribute("aria-current") == "page"
        assert user.page.locator("[data-testid=stException]").count() == 0
        assert violations(user) == [], address
    assert titles == {"ctbench", *(page.title for page in list(PAGES.values())[1:])}


@pytest.mark.parametrize("address", ["", "data", "train", "runs", "runs?runs.curves=true"])
def test_pages_with_runs_are_accessible(reader: BrowserUser, address: str) -> None:
    reader.go(address)
    assert violations(reader) == []
    if address == "runs":
        reader.select_row(0, "run-card")
    if place := {"data": "data", "runs": "run card"}.get(address):
        assert tab_violations(reader, place) == []


def _press(user: BrowserUser, target: Any, *keys: str) -> str:
    """Press keys on a control; return the key of the control that then has the focus."""
    target.focus()
    for key in keys:
        user.act(lambda key=key: user.page.keyboard.press(key))
    user.page.wait_for_timeout(100)  # a control that a redraw disables gets its focus back when it is enabled
    return str(user.page.evaluate(_FOCUS))


def test_the_focus_stays_after_a_key(reader: BrowserUser) -> None:
    reader.go("evaluate")
    reader.tabs("evaluate").first.wait_for()
    tabs, last = TABS["evaluate"][0], TABS["evaluate"][1][-1]
    for _ in TABS["evaluate"][1][1:]:
        assert _press(reader, reader.page.locator("[role=tab][aria-selected=true]").first, "ArrowRight") == tabs
    assert reader.current_tab("evaluate") == last
    tab = reader.page.locator("[role=tab][aria-selected=true]").first
    # What Streamlit does to tabs while a slow redraw runs.
    tab.evaluate("(tab) => { tab.removeAttribute('tabindex'); tab.setAttribute('aria-disabled', 'true'); }")
    reader.page.wait_for_function("document.activeElement === document.body")
    tab.evaluate("(tab) => { tab.setAttribute('tabindex', '0'); tab.removeAttribute('aria-disabled'); }")
    reader.page.wait_for_function("document.activeElement.matches('[role=tab]')")
    reader.open_tab("evaluate", "threshold")
    assert _press(reader, reader.slider("threshold"), "ArrowRight", "ArrowRight") == "threshold"
    for cell in ("cell-fp", "cell-tp"):  # it is drawn anew, as the chosen one
        assert _press(reader, reader.button(cell), "Enter") == cell
        assert "primary" in reader.button(cell).get_attribute("kind")


def test_the_icon_of_a_running_page_covers_nothing(reader: BrowserUser) -> None:
    reader.go("data")
    reader.page.evaluate("WebSocket.prototype.send = () => {}")  # the server does not hear the next request: it lasts
    reader.page.keyboard.press("r")
    icon = reader.page.get_by_test_id("stStatusWidget")
    icon.wait_for()
    for width in (1280, 1440):
        reader.page.set_viewport_size({"width": width, "height": 800})
        last = reader.widget("strip-job").bounding_box()  # a job's bar fills it
        assert last["x"] + last["width"] < icon.bounding_box()["x"], width


def test_nothing_moves_where_motion_is_reduced(reader: BrowserUser) -> None:
    reader.page.emulate_media(reduced_motion="reduce")
    reader.go()
    longest = reader.page.evaluate(
        "Math.max(...[...document.querySelectorAll('*')].flatMap((one) => { const style = getComputedStyle(one);"
        " return [style.transitionDuration, style.animationDuration].join().split(',').map(parseFloat); }))"
    )
    assert longest <= 0.001
