"""Drive one page of the app in a browser, and wait until the server has answered.

Widgets are found by their keys and pages by their addresses, so that a test does not depend on the wording of the screen.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from ctbench_ui.pages import tab_titles
from tests.browser.app_server import launch_browser, serve_app

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (requirements.txt names it)")

# Where tabs are shown: the key of the tabs, and their titles in small letters, in the order of the screen.
_PLACES = {
    "data": "data.tab",
    "check": "data.figures",
    "run card": "card-tabs",
    "evaluate": "tab",
    "compare": "compare-tabs",
    "alignment": "alignment.tab",
    "studies": "study-tabs",  # of a study with several budgets: others have no curves
}
TABS: dict[str, tuple[str, tuple[str, ...]]] = {
    place: (key, tuple(title.lower() for title in tab_titles(key))) for place, key in _PLACES.items()
}

_COVERED = """() => [...document.querySelectorAll("a, button, input, [role=slider], [role=tab]")].filter((control) => {
  const own = control.getBoundingClientRect();
  return own.width && !control.closest("[data-testid=stToast]") && [...document.querySelectorAll("[data-testid=stToast]")].some(
    (toast) => {
      const box = toast.getBoundingClientRect();
      return own.left < box.right && box.left < own.right && own.top < box.bottom && box.top < own.bottom;
    });
}).map((control) => control.ariaLabel || control.textContent)"""
_STEP_MS = 60_000
_REQUEST_MS = 2000
_POLL_MS = 20  # by default the page is drawn anew for every look
_TAGS = {
    "rerun": BackMsg(rerun_script={}).SerializeToString()[0],
    "finished": ForwardMsg(script_finished=0).SerializeToString()[0],
    "common": list(ForwardMsg(hash="h", metadata={}).SerializeToString()[::3]),
    "early": ForwardMsg.FINISHED_EARLY_FOR_RERUN,
}
_WATCH = f"const TAGS = {json.dumps(_TAGS)};\n{Path(__file__).with_name('watch.js').read_text(encoding='utf-8')}"


class BrowserUser:
    """A user of the app in a browser, whose clicks and typed fields are counted.

    Attributes:
        page: the page of Playwright.
        actions: clicks and typed fields so far.
        requests: every address that the page has requested.
        blocked: what the content policy of the app has kept the page from loading.
    """

    def __init__(self, context: Any, url: str) -> None:
        context.set_default_timeout(_STEP_MS)
        self.page, self.url, self.actions = context.new_page(), url, 0
        self.page.add_init_script(f"(() => {{{_WATCH}}})()")
        self.requests: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.blocked: list[str] = []
        self.page.on("console", self._note_if_blocked)

    def _note_if_blocked(self, message: Any) -> None:
        if "Content Security Policy" in message.text:
            self.blocked.append(message.text)

    def go(self, address: str = "") -> None:
        """Load an address of the app, and wait until the page is drawn."""
        self.page.goto(f"{self.url}/{address}")
        self.settle()

    def nav_link(self, address: str) -> Any:
        """Return the link to a page in the navigation."""
        return self.page.locator(f'[data-testid=stSidebarNavLink][href="{self.url}/{address}"]')

    def navigate(self, address: str) -> None:
        """Go to another page through the navigation."""
        self.click(self.nav_link(address))

    def settle(self) -> None:
        """Wait until the app has drawn the page."""
        self.page.wait_for_function("window.ctbench.isAnswered()", polling=_POLL_MS)
        self.page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]")

    def act(self, action: Callable[[], Any]) -> None:
        """Do something, and wait for the answer; an action without a request is given two seconds to send one."""
        before = self.page.evaluate("window.ctbench.requests")
        try:
            action()
        except sync_api.TimeoutError as error:
            shown = self.page.inner_text("body")[:2000]
            raise AssertionError(f"{error}\n\nThe page {self.page.url} shows:\n{shown}") from error
        with contextlib.suppress(sync_api.TimeoutError):
            self.page.wait_for_function(f"window.ctbench.requests > {before}", timeout=_REQUEST_MS, polling=_POLL_MS)
        self.settle()

    def click(self, target: Any) -> None:
        """Click something, and wait for the answer."""
        self.actions += 1
        self.act(target.click)

    def widget(self, key: str, part: str = "") -> Any:
        """Return the first widget with a key, or a part of it; a redraw shows the old and the new one for a moment."""
        return self.page.locator(f".st-key-{re.sub('[^A-Za-z0-9_-]', '-', key)} {part}".strip()).first

    def button(self, key: str) -> Any:
        """Return the button with a key."""
        return self.widget(key, "button")

    def press(self, key: str) -> None:
        """Press the button with a key, and wait for the answer."""
        self.click(self.button(key))

    def train_and_evaluate(self) -> None:
        """Train on the data set of the Data page, and evaluate the run on test."""
        self.press("to-train")
        self.wait_for_page("train**")
        self.press("start")
        self.button("to-evaluate").wait_for()
        self.press("to-evaluate")
        self.wait_for_page("evaluate**")
        self.press("evaluate")
        self.button("per-class-csv").wait_for()

    def field(self, key: str) -> Any:
        """Return the input of a field."""
        return self.widget(key, "input")

    def fill(self, key: str, value: str) -> None:
        """Type into a field, press Enter, and wait for the answer."""
        self.actions += 1

        def type_value() -> None:
            self.field(key).fill(value)
            self.field(key).press("Enter")

        self.act(type_value)

    def open_form(self) -> None:
        """Open the form of Train, which folds when a run starts."""
        self.click(self.widget("train.form", "summary"))

    def choose(self, key: str, text: str) -> None:
        """Choose the option of a select box that a typed text leaves at the top, once the list has moved there."""
        self.field(key).click()
        self.field(key).press_sequentially(text)
        option = self.page.get_by_role("option").first
        sync_api.expect(option).to_contain_text(text)  # a click while the list moves would hit nothing
        self.click(option)

    def segment(self, key: str, index: int) -> Any:
        """Return one option of a segmented control."""
        return self.widget(key, f"button >> nth={index}")

    def slider(self, key: str) -> Any:
        """Return the handle of a slider."""
        return self.widget(key, "input[type=range]")

    def tabs(self, place: str) -> Any:
        """Return the tabs of a place of `TABS`."""
        return self.widget(TABS[place][0], "[role=tablist]").get_by_role("tab")

    def open_tab(self, place: str, name: str) -> None:
        """Open a tab that `TABS` names, and wait for the answer."""
        self.click(self.tabs(place).nth(TABS[place][1].index(name)))

    def current_tab(self, place: str) -> str:
        """Return the name of the open tab."""
        selected = [tab.get_attribute("aria-selected") for tab in self.tabs(place).all()]
        return TABS[place][1][selected.index("true")]

    def wait_for_text(self, text: str | re.Pattern[str]) -> None:
        """Wait until the page shows a text, and until it is drawn."""
        self.page.get_by_text(text).first.wait_for()
        self.settle()

    def wait_for_toast(self, text: str | re.Pattern[str]) -> None:
        """Wait until a notification with a text appears, and until the page is drawn."""
        self.page.get_by_test_id("stToast").filter(has_text=text).first.wait_for()
        self.settle()

    def controls_under_toasts(self) -> list[str]:
        """Return the controls, by name, that a notification covers."""
        covered: list[str] = self.page.evaluate(_COVERED)
        return covered

    def wait_for_page(self, address: str) -> None:
        """Wait until the app has gone to another page; ``*`` and ``**`` match any text."""
        self.page.wait_for_url(f"**/{address}")
        self.settle()

    def download(self, key: str) -> bytes:
        """Press a download button and return the file's content."""
        with self.page.expect_download() as download:
            self.button(key).click()
        return Path(download.value.path()).read_bytes()

    def download_table(self, key: str) -> pd.DataFrame:
        """Press a download button and return the table in the file."""
        return pd.read_csv(io.BytesIO(self.download(key)))

    def select_row(self, row: int, result: str) -> None:
        """Select a row of the first table by its check box, and wait for the widget that shows the result."""
        box = self.page.locator("[data-testid=stDataFrame] canvas").first.bounding_box()
        self.page.mouse.click(box["x"] + 15, box["y"] + 35 * (row + 1) + 17)
        self.widget(result).wait_for()

    def use_demo(self, epochs: int | None = None) -> None:
        """Create the demo data on Home; with ``epochs``, set up Train for a run of exactly that length."""
        self.go()
        self.press("demo")
        self.wait_for_page("train")
        for key in ("training.max_epochs", "training.early_stopping_patience") if epochs else ():
            self.fill(key, str(epochs))


@contextmanager
def open_app(folder: Path) -> Iterator[Callable[..., BrowserUser]]:
    """Serve the app on the run store of a folder, for benchmarks and screenshots.

    Yields:
        A function that opens the app in a browser context of its own; it takes the options of the context.
    """
    with serve_app(folder) as server, sync_api.sync_playwright() as playwright:
        browser = launch_browser(playwright)
        yield lambda **options: BrowserUser(
            browser.new_context(**{"viewport": {"width": 1440, "height": 1000}} | options), server.url
        )
        browser.close()
