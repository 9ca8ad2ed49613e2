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
  requestAnimationFrame(look); }; look(); })()"""


def test_an_outline_stands_where_the_page_comes(user: Hands) -> None:
    user.page.add_init_script(f"document.addEventListener('DOMContentLoaded', () => {_WATCH})")
    for visit, address in enumerate(("evaluate", "system", "evaluate")):
        user.go(address)
        user.page.locator("h1").first.wait_for()
        seen = user.page.evaluate("window.seen")
        if visit == 0:  # later ones may be there at once
            assert seen["outline"] < seen["title"]
            assert abs(seen["at"] - seen["titleAt"]) < 24  # pixels that the page moves when it comes
        assert "both" not in seen
        assert user.page.locator(".ctbench-outline").is_hidden()
