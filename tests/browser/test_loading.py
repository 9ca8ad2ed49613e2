"""A page on its first visit to a server: an outline until the page's first part comes, and nothing of it afterwards."""

from __future__ import annotations

from tests.browser.hands import Hands

# Note when an outline was in sight, when the title came, and where both stood. What the server says after an outline
# is heard once that was in sight: a page that comes sooner than the browser has loaded what draws it shows none.
_WATCH = """
window.seen = {};
const inSight = new Promise((resolve) => { window.outlineSeen = resolve; });
const shows = (data) => new TextDecoder("latin1").decode(data).includes('class="ctbench-outline"');
window.WebSocket = class extends WebSocket {
  addEventListener(kind, listener, ...rest) {
    if (kind !== "message") return super.addEventListener(kind, listener, ...rest);
    let before = Promise.resolve();
    super.addEventListener(kind, (event) => {
      before = before.then(() => { listener.call(this, event); return shows(event.data) ? inSight : undefined; });
    }, ...rest);
  }
};
document.addEventListener("DOMContentLoaded", () => { const look = () => {
  const outline = document.querySelector(".ctbench-outline"), title = document.querySelector("h1");
  const shown = outline !== null && outline.getClientRects().length > 0;
  if (shown) { seen.at = outline.getBoundingClientRect().top; outlineSeen(); }
  if (title && shown) { seen.both = true; }
  if (title) { (seen.places ??= []).push(title.getBoundingClientRect().top); }
  requestAnimationFrame(look); }; look(); });
"""


def test_an_outline_stands_where_the_page_comes(user: Hands) -> None:
    user.page.add_init_script(f"(() => {{{_WATCH}}})()")
    for address, outlined in (("evaluate", True), ("system", True), ("evaluate", False)):
        user.go(address)
        user.page.locator("h1").first.wait_for()
        user.page.wait_for_function("window.seen.places")
        seen = user.page.evaluate("window.seen")
        assert "both" not in seen
        assert ("at" in seen) == outlined
        if outlined:
            assert abs(seen["at"] - seen["places"][0]) < 8  # pixels that the page moves when it comes
        else:  # seen before: nothing stands in its place, and nothing pushes it
            assert max(seen["places"]) - min(seen["places"]) < 8
        assert user.page.locator(".ctbench-outline").is_hidden()
