"""What axe-core reports on the page that a user sees, in the light and the dark theme, less what is Streamlit's own."""

from __future__ import annotations

from axe_playwright_python.base import AXE_FILE_PATH

from tests.browser.browser_user import BrowserUser

# Rules and elements of Streamlit's own that an app cannot change, as narrow as they go.
STREAMLIT = {
    # The navigation puts the headings of its groups between list and items.
    "list": "[data-testid=stSidebarNavItems]",
    "listitem": "[data-testid=stSidebarNavItems] li",
    # A code block with a height scrolls. Browsers reach it by keyboard themselves, where it holds nothing to focus.
    "scrollable-region-focusable": "[data-testid=stCode] pre",
    # A toast has no name; it is read aloud by its role.
    "aria-dialog-name": "[data-testid=stToast]",
}
_GROUND = {"light": "rgb(255, 255, 255)", "dark": "rgb(18, 24, 31)"}
_TEXT = {"light": "rgb(27, 37, 48)", "dark": "rgb(227, 233, 238)"}
# The page and its parts change one after another.
_HAS_CHANGED = """([ground, old]) => getComputedStyle(document.querySelector(".stApp")).backgroundColor === ground &&
  [...document.querySelectorAll("[data-testid=stMarkdownContainer]")].every(
    (one) => !one.checkVisibility() || getComputedStyle(one).color !== old)"""
_RUN = """([options, own]) => axe.run(document, {...options, resultTypes: ["violations"], elementRef: true}).then(
  ({ violations }) => violations.flatMap(({ id, nodes }) =>
    nodes.filter(({ element }) => !(own[id] && element.matches(own[id])))
         .map(({ html, any, all, none }) => `${id}: ${html.slice(0, 160)} ${[...any, ...all, ...none][0]?.message ?? ""}`)))"""


def violations(user: BrowserUser) -> list[str]:
    """Return every violation of the page as it is shown, then those of colour in the other theme, which is left on."""
    page = user.page
    if not page.evaluate("Boolean(window.axe)"):
        page.evaluate(AXE_FILE_PATH.read_text(encoding="utf-8"))
    found = list(page.evaluate(_RUN, [{}, STREAMLIT]))
    other = "light" if page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches") else "dark"
    _use_theme(user, other)
    contrast = [{"runOnly": ["color-contrast"]}, STREAMLIT]
    if wrong := page.evaluate(_RUN, contrast):  # a part of the page that was late
        page.evaluate("new Promise((then) => requestAnimationFrame(() => setTimeout(then, 500)))")
        wrong = page.evaluate(_RUN, contrast)
    return found + [f"{other}: {one}" for one in wrong]


def _use_theme(user: BrowserUser, theme: str) -> None:
    user.page.emulate_media(color_scheme=theme, reduced_motion="reduce")
    old = {"dark": "light", "light": "dark"}[theme]
    user.page.wait_for_function(_HAS_CHANGED, arg=[_GROUND[theme], _TEXT[old]])
    user.settle()
