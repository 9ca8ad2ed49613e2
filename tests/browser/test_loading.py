"""A page on its first visit to a server: an outline until the page's first part comes, and nothing of it afterwards."""

from __future__ import annotations

from tests.browser.hands import Hands

# Note when an outline was in sight, when the title came, and where both stood.
_WATCH = """(() => { window.seen = {}; const look = () => {
  const outline = document.querySelector('.ctbench-outline'), title = document.querySelector('h1');
  const shown = outline !== null && outline.getClientRects().length > 0;
  if (shown && !seen.outline) { seen.outline = performance.now(); }
  if (shown) { seen.at = outline.getBoundingClientRect().top; }
  if (title && !seen.title) { seen.title = performance.now(); seen.titleAt = title.getBoundingClientRect().top; }
  if (title && shown) { seen.both = true; }
  if (title) { (seen.places ??= []).push(title.getBoundingClientRect().top); }
  requestAnimationFrame(look); }; look(); })()"""


def test_an_outline_stands_where_the_page_comes(user: Hands) -> None:
    user.page.add_init_script(f"document.addEventListener('DOMContentLoaded', () => {_WATCH})")
    for visit, address in enumerate(("evaluate", "system", "evaluate")):
        user.go(address)
        user.page.locator("h1").first.wait_for()
        seen = user.page.evaluate("window.seen")
        if visit == 0:  # what the next page needs is there by then, and it may come at once
            assert seen["outline"] < seen["title"]
            assert abs(seen["at"] - seen["titleAt"]) < 24  # pixels that the page moves when it comes
        if visit == 2:  # seen before: nothing stands in its place, and nothing pushes it
            assert max(seen["places"]) - min(seen["places"]) < 8
        assert "both" not in seen
        assert user.page.locator(".ctbench-outline").is_hidden()
