"""Read-only links: opened from a page, shared, kept from page to page, and left."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.browser.app_server import AppServer
from tests.browser.browser_user import BrowserUser
from tests.browser.demo_runs import option_of


def test_a_shared_link_stays_read_only(
    demo_runs: tuple[AppServer, dict[str, Path]],
    reader: BrowserUser,
    new_user: Callable[[AppServer], BrowserUser],
) -> None:
    server, runs = demo_runs
    run = runs["mlp 2"].name
    reader.go(f"evaluate?run={run}")
    reader.button("evaluate-again").wait_for()
    reader.open_tab("evaluate", "calibration")
    link = reader.page.locator('a[href*="view=read"]')
    link.focus()
    other = new_user(server)
    other.go(str(link.get_attribute("href")).removeprefix(f"{server.url}/"))
    other.tabs("evaluate").first.wait_for()
    assert other.current_tab("evaluate") == "calibration"
    other.widget("readonly").wait_for()
    assert other.field("run").input_value() == option_of(runs["mlp 2"])
    assert other.button("evaluate-again").count() == 0
    pages = other.page.get_by_test_id("stSidebarNavLink")
    addresses = [page.get_attribute("href") for page in pages.all()]
    assert addresses == [
        f"{server.url}/{address}" for address in ("runs", "studies", "evaluate", "compare", "alignment")
    ]
    other.navigate("alignment")
    other.wait_for_page("alignment*")
    other.widget("readonly").wait_for()
    assert "view=read" in other.page.url
    assert other.button("measure").count() == 0
    other.press("readonly-leave")
    other.page.locator('[data-testid=stSidebarNavLink][href$="/train"]').wait_for()
    assert "view=read" not in other.page.url
    assert pages.count() > 3


def test_a_page_that_changes_things_is_closed(reader: BrowserUser) -> None:
    reader.go("train?view=read")
    reader.page.locator('[data-testid=stPageLink] a[href*="evaluate"]').wait_for()  # a page that the link shows
    assert reader.button("start").count() == 0
