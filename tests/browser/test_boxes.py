"""A box that is opened can be used at once."""

from __future__ import annotations

from tests.browser.browser_user import BrowserUser, sync_api

# Whatever moves takes two seconds, as on a slow machine.
_SLOW = """
const animate = Element.prototype.animate;
Element.prototype.animate = function (frames, options) {
  return animate.call(this, frames, { ...options, duration: 2000 });
};
"""


def test_a_choice_typed_as_soon_as_its_box_opens_is_taken(user: BrowserUser) -> None:
    user.page.set_viewport_size({"width": 1280, "height": 800})
    user.page.add_init_script(f"(() => {{{_SLOW}}})()")
    user.use_demo()
    user.widget("train.advanced", "summary").click()
    optimizer = user.field("training.optimizer")
    optimizer.click()
    optimizer.press_sequentially("AdamW")
    user.page.wait_for_function("document.getAnimations().length === 0")
    user.page.keyboard.press("Enter")
    sync_api.expect(optimizer).to_have_value("AdamW")


def test_a_closed_box_is_closed_at_once(user: BrowserUser) -> None:
    user.page.add_init_script(f"(() => {{{_SLOW}}})()")
    user.use_demo()
    box = user.widget("train.advanced", "summary")
    user.click(box)
    user.field("training.optimizer").wait_for()
    box.click()
    sync_api.expect(user.field("training.optimizer")).to_be_hidden(timeout=1000)
