"""The first visit to a page: an outline is shown until the page's first part appears, and then goes."""

from __future__ import annotations

from collections.abc import Callable

from tests.browser.app_server import AppServer
from tests.browser.browser_user import BrowserUser

# Record when an outline was visible, when the title appeared, and where both were. Messages after an outline are held
# back until the outline is visible: a page that answers before the browser has loaded its code would never show one.
_WATCH = """
window.seen = {};
const visible = new Promise((resolve) => { window.onOutline = resolve; });
const isOutline = (data) => new TextDecoder("latin1").decode(data).includes('class="ctbench-outline"');
window.WebSocket = class extends WebSocket {
  addEventListener(kind, listener, ...rest) {
    if (kind !== "message") return super.addEventListener(kind, listener, ...rest);
    let previous = Promise.resolve();
    super.addEventListener(kind, (event) => {
      previous = previous.then(() => { listener.call(this, event); return isOutline(event.data) ? visible : undefined; });
    }, ...rest);
  }
};
document.addEventListener("DOMContentLoaded", () => { const check = () => {
  const outline = document.querySelector(".ctbench-outline"), title = document.querySelector("h1");
  const shown = outline !== null && outline.getClientRects().length > 0;
  if (shown) { seen.outline = outline.getBoundingClientRect().top; onOutline(); }
  if (title && shown) { seen.both = true; }
  if (title) { (seen.titles ??= []).push(title.getBoundingClientRect().top); }
  requestAnimationFrame(check); }; check(); });
"""
_SHIFT = 8  # pixels


def test_an_outline_is_shown_where_the_page_appears(
    serve: Callable[..., AppServer], new_user: Callable[[AppServer], BrowserUser]
) -> None:
    user = new_user(serve())  # only a server's first visit shows one
    user.page.add_init_script(f"(() => {{{_WATCH}}})()")
    for address, is_first in (("evaluate", True), ("system", True), ("evaluate", False)):
        user.go(address)
        user.page.locator("h1").first.wait_for()
        user.page.wait_for_function("window.seen.titles")
        seen = user.page.evaluate("window.seen")
        assert "both" not in seen
        assert ("outline" in seen) == is_first
        if is_first:
            assert abs(seen["outline"] - seen["titles"][0]) < _SHIFT
        else:  # without an outline nothing moves the page
            assert max(seen["titles"]) - min(seen["titles"]) < _SHIFT
        assert user.page.locator(".ctbench-outline").is_hidden()
