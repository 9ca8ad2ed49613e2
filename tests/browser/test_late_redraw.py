"""A part of a page that asks to be redrawn when the app has already opened another page changes nothing there."""

from __future__ import annotations

from tests.browser.browser_user import BrowserUser

# Keep a copy of the last request of a part that redraws itself: `isAutoRerun` ends the message before the hashes.
_KEEP = """
const Socket = window.WebSocket;
window.WebSocket = class extends Socket {
  send(data) {
    window.sendAgain = (request) => super.send(request);
    if (window.isIdle) window.kept = data.slice();
    super.send(data);
  }
};
"""


def test_a_late_redraw_of_another_page_does_not_empty_the_page(user: BrowserUser) -> None:
    user.page.add_init_script(f"(() => {{{_KEEP}}})()")
    user.go()
    user.page.evaluate("window.isIdle = true")  # from now on only the status bar asks
    user.page.wait_for_function("window.kept")
    user.page.evaluate("window.isIdle = false")
    user.press("demo")
    user.wait_for_page("train")
    user.button("start").wait_for()
    user.page.evaluate("window.sendAgain(window.kept)")
    user.fill("training.max_epochs", "7")  # the answer comes after that to the late request
    assert user.button("start").is_visible()
    assert user.field("training.max_epochs").input_value() == "7"
