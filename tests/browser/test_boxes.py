"""A box that is opened can be used at once."""

from __future__ import annotations

from tests.browser.browser_user import BrowserUser, sync_api

# Whatever moves takes long, as on a slow machine; Streamlit ends it after 1.5 s.
_SLOW = """
const animate = Element.prototype.animate;
Element.prototype.animate = function (frames, options) {
  return animate.call(this, frames, { ...options, duration: 3000 });
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
    user.go("data")
    box = user.page.locator("[data-testid=stExpander]").filter(has_text="Defaults applied")
    summary, content = box.locator("summary"), box.get_by_test_id("stExpanderDetails")
    summary.click()
    content.wait_for()
    summary.click()
    sync_api.expect(content).to_be_hidden(timeout=800)
    assert box.bounding_box()["height"] < summary.bounding_box()["height"] + 5
