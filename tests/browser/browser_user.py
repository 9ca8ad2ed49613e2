"""What a person does on a page, and how one waits until the page has answered."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (requirements.txt names it)")

STEP_MS = 60_000
_BEGIN_MS = 2000
_TAGS = {
    "rerun": BackMsg(rerun_script={}).SerializeToString()[0],
    "finished": ForwardMsg(script_finished=0).SerializeToString()[0],
    "common": list(ForwardMsg(hash="h", metadata={}).SerializeToString()[::3]),
    "early": ForwardMsg.FINISHED_EARLY_FOR_RERUN,
}
_WATCH = f"const TAGS = {json.dumps(_TAGS)};\n{Path(__file__).with_name('watch.js').read_text(encoding='utf-8')}"


class Hands:
    """A person at a page of the app, who counts clicks and typed fields.

    Attributes:
        page: the page of Playwright.
        actions: clicks and typed fields so far.
        asked: every address that the page asked for.
    """

    def __init__(self, context: Any, url: str) -> None:
        context.set_default_timeout(STEP_MS)
        context.add_init_script(f"(() => {{{_WATCH}}})()")
        self.page, self.url, self.actions = context.new_page(), url, 0
        self.asked: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request.url))

    def go(self, address: str = "") -> None:
        """Open an address of the app, and wait until it is drawn."""
        self.page.goto(f"{self.url}/{address}")
        self.settle()

    def turn(self, title: str) -> None:
        """Go to another page by the navigation."""
        self.click(self.page.get_by_test_id("stSidebarNav").get_by_role("link", name=title, exact=True))

    def settle(self) -> None:
        """Wait until the app has drawn the page."""
        self.page.wait_for_function("window.ctbench.isAnswered()")
        self.page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]")

    def answered(self, act: Callable[[], Any]) -> None:
        """Act, and wait until the app has answered; what asks for no answer is given two seconds."""
        before = self.page.evaluate("window.ctbench.asked")
        act()
        with contextlib.suppress(sync_api.TimeoutError):
            self.page.wait_for_function(f"window.ctbench.asked > {before}", timeout=_BEGIN_MS)
        self.settle()

    def click(self, target: Any) -> None:
        """Click something, and wait for the answer."""
        self.actions += 1
        self.answered(target.click)

    def button(self, key: str) -> Any:
        """Return a button; while a fragment redraws, its old button may stand beside the new one for a moment."""
        return self.page.locator(f".st-key-{key} button").first

    def press(self, key: str) -> None:
        """Press the button of a key, and wait for the answer."""
        self.click(self.button(key))

    def field(self, key: str) -> Any:
        """Return the field of a config key."""
        return self.page.locator(f".st-key-{key.replace('.', '-')} input").first

    def fill(self, key: str, value: str) -> None:
        """Type into the field of a config key, and press Enter."""
        self.actions += 1

        def type_() -> None:
            self.field(key).fill(value)
            self.field(key).press("Enter")

        self.answered(type_)

    def open_tab(self, name: str) -> None:
        """Open a tab of the page, and wait for the answer."""
        self.click(self.page.get_by_role("tab", name=name))

    def sees(self, text: str) -> None:
        """Wait until a text stands on the page, and the page around it too."""
        self.page.get_by_text(text).first.wait_for()
        self.settle()

    def arrives(self, address: str) -> None:
        """Wait until the app has gone to another page."""
        self.page.wait_for_url(f"**/{address}")
        self.settle()

    def take(self, key: str) -> bytes:
        """Press a download button and return what comes."""
        with self.page.expect_download() as waiting:
            self.button(key).click()
        return Path(waiting.value.path()).read_bytes()

    def frame(self, key: str) -> pd.DataFrame:
        """Press a download button and return the table that comes."""
        return pd.read_csv(io.BytesIO(self.take(key)))

    def pick_row(self, row: int, then: str) -> None:
        """Select a row of the first table by its box, and wait for what stands below it."""
        box = self.page.locator("[data-testid=stDataFrame] canvas").first.bounding_box()
        self.page.mouse.click(box["x"] + 15, box["y"] + 35 * (row + 1) + 17)
        self.page.locator(f".st-key-{then}").first.wait_for()

    def use_demo(self, epochs: int | None = None) -> None:
        """Make the demo data from Home; with ``epochs``, set the Train page for a run of exactly so many."""
        self.go()
        self.press("demo")
        self.arrives("train")
        for key in ("training.max_epochs", "training.early_stopping_patience") if epochs else ():
            self.fill(key, str(epochs))
