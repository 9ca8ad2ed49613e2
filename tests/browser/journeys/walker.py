"""Walk through the app as a user does: clicks and fields are counted, and every step is timed.

`Walker` uses the mouse, `KeyboardWalker` the keyboard alone; a journey is written once for both.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.browser.browser_user import BrowserUser, sync_api

_LIMIT_S = 60
_MOST_TABS = 160  # more presses of Tab than any page needs
_ROW, _BOX = 35, 15  # height of a table's row, and the middle of its check boxes, in pixels
_CELLS = "[role=grid] [role=row]"  # a table's texts, behind its canvas


class Walker(BrowserUser):
    """A user with a mouse.

    Attributes:
        clicks: presses on buttons, links, tabs, options and rows.
        fields: values typed or chosen in a field, with the click that opens the field.
        keys: presses of a key that move or activate; 0 with a mouse.
        steps: what was done, and the seconds until the page was drawn.
    """

    def __init__(self, context: Any, url: str) -> None:
        super().__init__(context, url)
        self.clicks, self.fields, self.keys = 0, 0, 0
        self.steps: list[tuple[str, float]] = []

    def _step(self, name: str, action: Callable[[], Any]) -> None:
        begin = time.perf_counter()
        action()
        self.steps.append((name, time.perf_counter() - begin))

    def click(self, target: Any) -> None:
        """Press something, and wait for the answer."""
        self.clicks += 1
        target.wait_for(state="attached")
        name = (target.inner_text() or target.get_attribute("aria-label") or "").strip().split("\n")[-1]
        self._step(name, lambda: self.act(lambda: self._activate(target)))

    def fill(self, key: str, value: str) -> None:
        """Type a value into a field, with Enter, and wait for the answer."""
        self.fields += 1

        def type_value() -> None:
            self._enter(self.field(key))
            self.page.keyboard.press("Control+a")
            self.page.keyboard.type(value)
            self.page.keyboard.press("Enter")

        name = re.split(r"[/\\]", value)[-1]  # of a path
        self._step(f"{key} {name}", lambda: self.act(type_value))

    def choose(self, key: str, text: str) -> None:
        """Choose the option of a select box that a typed text leaves at the top."""
        self.fields += 1

        def choose_option() -> None:
            self._enter(self.field(key))
            self.page.keyboard.type(text)
            option = self.page.get_by_role("option").first
            sync_api.expect(option).to_contain_text(text)
            self.page.keyboard.press("Enter")

        self._step(f"{key} {text}", lambda: self.act(choose_option))
        sync_api.expect(self.field(key)).to_have_value(re.compile(re.escape(text)))

    def navigate(self, address: str) -> None:
        """Go to another page through the navigation, and wait until it is there."""
        super().navigate(address)
        self.wait_for_page(f"{address}**")
        self.page.locator("h1").first.wait_for()

    def open_box(self, key: str) -> None:
        """Open or close a box that asks the server for nothing."""
        self.clicks += 1
        self._step(key, lambda: self._activate(self.button(key)))

    def upload(self, key: str, files: list[Path]) -> None:
        """Choose files to upload."""
        self.fields += 1
        chooser = self.widget(key, "input[type=file]")
        self._step(key, lambda: self.act(lambda: chooser.set_input_files(files)))

    def check(self, key: str) -> None:
        """Tick a check box or switch a toggle."""
        self.click(self.widget(key, "label"))

    def pick_rows(self, key: str, *texts: str) -> None:
        """Select the rows of a table that hold a text each, by their check boxes.

        Args:
            key: how the key of the table begins.
        """
        table = self._table(key)
        for text in texts:
            self.clicks += 1
            row = (
                table.locator(_CELLS)
                .filter(has=self.page.locator(f"[role=gridcell]:text-is({json.dumps(text, ensure_ascii=False)})"))
                .first
            )
            row.wait_for(state="attached")
            place = int(row.get_attribute("aria-rowindex")) - 1  # the first row has the headings
            self._step(f"row {text}", lambda place=place: self.act(lambda: self._pick(table, place)))

    def table_text(self, key: str = "") -> str:
        """Return the texts of a table: cells by tabs, rows by line ends.

        Args:
            key: how the key of the table, or of what is around it, begins; by default the page's first table.
        """
        table = self._table(key)
        table.locator(_CELLS).nth(1).wait_for(state="attached")
        return "\n".join(
            "\t".join(row.locator("[role=gridcell]").all_inner_texts()) for row in table.locator(_CELLS).all()
        )

    def _table(self, key: str) -> Any:
        place = f"[class*='st-key-{key}'] " if key else ""
        return self.page.locator(f"{place}[data-testid=stDataFrame]:visible").first

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition holds.

        Raises:
            AssertionError: it does not within a minute.
        """
        deadline = time.monotonic() + _LIMIT_S
        while not condition():
            assert time.monotonic() < deadline
            self.page.wait_for_timeout(50)

    def add(self, other: Walker) -> None:
        """Count what was done in another browser too."""
        self.clicks, self.fields, self.keys = (
            self.clicks + other.clicks,
            self.fields + other.fields,
            self.keys + other.keys,
        )
        self.steps += other.steps

    def _activate(self, target: Any) -> None:
        target.click()

    def _enter(self, target: Any) -> None:
        target.click()

    def _pick(self, table: Any, place: int) -> None:
        table.scroll_into_view_if_needed()
        box = table.locator("canvas").first.bounding_box()
        self.page.mouse.click(box["x"] + _BOX, box["y"] + _ROW * place + _ROW / 2)


class KeyboardWalker(Walker):
    """A user without a mouse: Tab and the arrow keys lead to everything, Enter and Space activate it."""

    def _press(self, key: str) -> None:
        self.keys += 1
        self.page.keyboard.press(key)

    def reach(self, target: Any) -> None:
        """Move the focus to something by Tab, or back by Shift+Tab where it comes before.

        Raises:
            AssertionError: the keyboard does not lead there.
        """
        target.wait_for(state="attached")
        for _ in range(_MOST_TABS):
            where, in_table = target.evaluate(f"(element) => [({_WHERE})(element), {_IN_TABLE}]")
            if where == "here":
                return
            if in_table:
                self._press("Escape")  # in a table, Tab and Shift+Tab lead from cell to cell
            self._press("Shift+Tab" if where == "before" else "Tab")
        focused = self.page.evaluate("document.activeElement.outerHTML.slice(0, 300)")
        raise AssertionError(f"Tab does not lead to {target}. The focus is on:\n{focused}")

    def _activate(self, target: Any) -> None:
        if target.get_attribute("role") == "tab":
            self._arrow_to(target)
            return
        if target.get_attribute("role") == "radio":
            self._move_to(target)
        else:
            self.reach(target)
        self._press("Space" if target.evaluate("(element) => element.tagName") == "LABEL" else "Enter")

    def _move_to(self, option: Any) -> None:
        """Move to an option of a control: Tab leads to the chosen one, the arrow keys to the others."""
        self.reach(option.locator("xpath=.."))
        while (where := option.evaluate(_WHERE)) != "here":
            self._press("ArrowLeft" if where == "before" else "ArrowRight")

    def _arrow_to(self, tab: Any) -> None:
        """Open a tab: Tab leads to the open one, and an arrow key opens the one beside it."""
        tabs = tab.locator("xpath=..")
        wanted = tab.evaluate("(tab) => [...tab.parentElement.children].indexOf(tab)")
        while (place := tabs.evaluate(_OPEN_TAB)) != wanted:
            self.reach(tabs)
            self._press("ArrowRight" if place < wanted else "ArrowLeft")
            self.wait_until(lambda place=place: tabs.evaluate(_OPEN_TAB) != place)
            self.settle()

    def _enter(self, target: Any) -> None:
        self.reach(target)

    def _pick(self, table: Any, place: int) -> None:
        raise AssertionError("A journey that selects rows is walked with the mouse")

    def download(self, key: str) -> bytes:
        """Press a download button and return the file's content."""
        with self.page.expect_download() as download:
            self.reach(self.button(key))
            self._press("Enter")
        return Path(download.value.path()).read_bytes()


# Whether an element holds the focus, comes before what holds it, or after.
_WHERE = """(element) => {
  const focused = document.activeElement;
  if (element.contains(focused)) return "here";
  const place = element.compareDocumentPosition(focused);
  return focused !== document.body && place & Node.DOCUMENT_POSITION_FOLLOWING ? "before" : "after";
}"""
_IN_TABLE = "document.activeElement.closest('canvas') !== null"
_OPEN_TAB = "(tabs) => [...tabs.children].findIndex((tab) => tab.ariaSelected === 'true')"
