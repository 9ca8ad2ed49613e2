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


def test_both_links_are_copied_by_keyboard_and_shown_to_copy_where_the_browser_refuses(
    demo_runs: tuple[AppServer, dict[str, Path]], reader: BrowserUser
) -> None:
    _, runs = demo_runs
    page = reader.page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    reader.go(f"evaluate?run={runs['mlp 2'].name}")
    for selector, is_read_only in (("#copy", False), ("#copy-read-only", True)):
        page.locator(selector).press("Enter")
        page.locator("output").get_by_text("Copied").wait_for(state="attached")
        copied = page.evaluate("navigator.clipboard.readText()")
        assert copied.startswith(page.url)
        assert copied.removeprefix(page.url) == ("&view=read" if is_read_only else "")
    page.locator("#copy i").get_by_text("link", exact=True).wait_for()
    page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")  # as without https
    page.locator("#copy").press("Enter")
    page.locator("#copy i").get_by_text("check").wait_for()
    assert page.locator("label[hidden] input[readonly]").count() == 1
    page.evaluate("document.execCommand = () => false")
    page.locator("#copy-read-only").press("Enter")
    field = page.get_by_label("Copy this address")
    field.wait_for()
    assert field.input_value() == f"{page.url}&view=read"
    assert field.evaluate("one => one.selectionEnd - one.selectionStart === one.value.length")
    field.press("Escape")
    field.wait_for(state="hidden")
    assert page.locator("#copy-read-only").evaluate("one => one.getRootNode().activeElement === one")
