"""What axe-core reports on the page that a user sees, in the light and the dark theme, less what is Streamlit's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from axe_playwright_python.base import AXE_FILE_PATH

from tests.browser.browser_user import TABS, BrowserUser

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
    found, theme = _violations(user), _use_other_theme(user)
    return found + [f"{theme}: {one}" for one in _colours(user)]


def tab_violations(
    user: BrowserUser, place: str, names: Sequence[str] = (), look: Callable[[str], object] = lambda name: None
) -> list[str]:
    """Return what `violations` does for each tab of a place: the tabs in this theme, then in the other.

    A tab that is opened is drawn once; a tab whose theme changes is drawn again and again.

    Args:
        names: of the tabs, all by default.
        look: called at each open tab.
    """
    found, names = [], names or TABS[place][1]
    for name in names:
        user.open_tab(place, name)
        look(name)
        found += [f"{name}: {one}" for one in _violations(user)]
    theme = _use_other_theme(user)
    for name in reversed(names):
        user.open_tab(place, name)
        found += [f"{name}, {theme}: {one}" for one in _colours(user)]
    return found


def _violations(user: BrowserUser) -> list[str]:
    if not user.page.evaluate("Boolean(window.axe)"):
        user.page.evaluate(AXE_FILE_PATH.read_text(encoding="utf-8"))
    return list(user.page.evaluate(_RUN, [{}, STREAMLIT]))


def _colours(user: BrowserUser) -> list[str]:
    contrast = [{"runOnly": ["color-contrast"]}, STREAMLIT]
    if wrong := list(user.page.evaluate(_RUN, contrast)):  # a part of the page that was late
        user.page.evaluate("new Promise((then) => requestAnimationFrame(() => setTimeout(then, 500)))")
        wrong = list(user.page.evaluate(_RUN, contrast))
    return wrong


def _use_other_theme(user: BrowserUser) -> str:
    """Change the theme, and return its name."""
    old = "dark" if user.page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches") else "light"
    theme = {"dark": "light", "light": "dark"}[old]
    user.page.emulate_media(color_scheme=theme, reduced_motion="reduce")
    user.page.wait_for_function(_HAS_CHANGED, arg=[_GROUND[theme], _TEXT[old]])
    user.settle()
    return theme
