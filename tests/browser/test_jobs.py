"""Jobs survive a reload, a second browser, a cleared cache, a killed server, and a second server."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from pathlib import Path

from ctbench_core.config import Config
from ctbench_core.runs import open_run, read_history, read_status
from tests.browser.app_server import AppServer
from tests.browser.browser_user import BrowserUser

NewUser = Callable[[AppServer], BrowserUser]
Serve = Callable[..., AppServer]
LIMIT_S = 60.0
ENDLESS = 100_000


def wait_until(condition: Callable[[], bool]) -> None:
    deadline, pause = time.monotonic() + LIMIT_S, threading.Event()
    while not condition():
        assert time.monotonic() < deadline
        pause.wait(0.05)


def start_run(user: BrowserUser, store: Path) -> Path:
    """Press Start, and return the run's directory once it trains."""
    before = set(store.glob("train/*/status.json"))
    user.press("start")
    user.button("stop").wait_for()
    wait_until(lambda: len(set(store.glob("train/*/status.json")) - before) == 1)
    (status,) = set(store.glob("train/*/status.json")) - before
    wait_until(lambda: epochs_of(status.parent) > 3)
    return status.parent


def epochs_of(run_dir: Path) -> int:
    return len(read_history(run_dir / "metrics.jsonl"))


def wait_for_state(run_dir: Path, state: str) -> None:
    wait_until(lambda: state_of(run_dir) == state)


def state_of(run_dir: Path) -> str:
    return read_status(run_dir / "status.json").state


def wait_for_end(user: BrowserUser, run_dir: Path) -> None:
    """Wait for the notification that a run has ended after its last epoch."""
    epoch = read_status(run_dir / "status.json").epoch
    user.wait_for_toast(re.compile(rf"\b({epoch}|{epoch:,})\b"))
    assert user.controls_under_toasts() == []


def shown_epoch(user: BrowserUser) -> int:
    """Return the epoch that the live view shows."""
    text = user.page.get_by_test_id("stMetricValue").filter(has_text=f"{ENDLESS:,}").first.inner_text()
    return int(text.split("/")[0].replace(",", ""))


def test_a_reload_shows_the_complete_curve(server: AppServer, user: BrowserUser) -> None:
    user.use_demo(ENDLESS)
    run_dir = start_run(user, server.store)
    user.page.reload()
    user.wait_for_text(run_dir.name)
    at_reload = epochs_of(run_dir)
    user.page.goto("about:blank")  # like a closed tab
    wait_until(lambda: epochs_of(run_dir) > at_reload + 5)
    user.go("runs")
    user.button("stop").wait_for()
    assert shown_epoch(user) >= at_reload
    user.press("stop")
    wait_for_state(run_dir, "cancelled")
    wait_for_end(user, run_dir)
    run = open_run(run_dir)
    assert [line["epoch"] for line in run.history()] == list(range(1, run.status.epoch + 1))
    assert run.paths.final_model.is_file()
    # Stop keeps the best epoch, and the run's card shows the complete curve.
    user.select_row(0, "run-card")
    user.open_tab("run card", "curves")
    panel = user.widget("run-card", ".panel")
    panel.wait_for()
    assert (panel.get_attribute("data-from"), panel.get_attribute("data-to")) == ("1", str(run.status.epoch))


def test_clearing_the_cache_loses_no_job(serve: Serve, new_user: NewUser) -> None:
    server = serve("--client.toolbarMode=developer")  # in other modes the key C does nothing
    user = new_user(server)
    user.use_demo(ENDLESS)
    run_dir = start_run(user, server.store)
    user.page.locator("h1").first.click()
    user.page.keyboard.press("c")
    user.page.get_by_role("dialog").get_by_role("button", name="Clear caches").click()  # Streamlit's own text
    user.page.get_by_role("dialog").wait_for(state="detached")
    user.go("runs")
    user.press("stop")
    wait_for_state(run_dir, "cancelled")


def test_two_browsers_share_jobs_but_not_forms(server: AppServer, user: BrowserUser, new_user: NewUser) -> None:
    user.use_demo(ENDLESS)
    other = new_user(server)
    other.go("train")
    other.fill("training.batch_size", "77")
    run_dir = start_run(user, server.store)
    # The status bar of the other browser shows the run by itself; its form keeps its own values.
    other.page.get_by_test_id("stPageLink").filter(has_text=f"{ENDLESS:,}").wait_for()
    assert other.field("training.batch_size").input_value() == "77"
    user.open_form()
    assert user.field("training.batch_size").input_value() != "77"
    user.fill("training.batch_size", "33")
    other.navigate("runs")
    other.wait_for_text(run_dir.name)
    other.navigate("train")
    assert other.field("training.batch_size").input_value() == "77"
    other.navigate("runs")
    other.press("stop")
    wait_for_state(run_dir, "cancelled")
    wait_for_end(user, run_dir)
    assert user.field("training.batch_size").input_value() == "33"
    assert state_of(run_dir) == "cancelled"
    assert open_run(run_dir).config.training.batch_size == Config().training.batch_size


def test_two_servers_share_one_store(serve: Serve, server: AppServer, user: BrowserUser, new_user: NewUser) -> None:
    second = serve()
    user.use_demo(ENDLESS)
    run_dir = start_run(user, server.store)
    other = new_user(second)
    other.go("runs")
    other.wait_for_text(re.compile(rf"\b{server.process.pid}\b"))
    assert state_of(run_dir) == "running"
    other.press(f"stop-{run_dir.name}")
    wait_for_state(run_dir, "cancelled")
    wait_for_end(user, run_dir)
    assert open_run(run_dir).paths.final_model.is_file()
    assert not (run_dir / "stop_request").exists()


def test_a_zoom_stays_while_epochs_are_added(server: AppServer, user: BrowserUser) -> None:
    user.use_demo(ENDLESS)
    run_dir = start_run(user, server.store)
    wait_until(lambda: epochs_of(run_dir) > 40)
    loss, validation = (user.page.locator(".panel").nth(place) for place in (0, 1))
    loss.scroll_into_view_if_needed()
    box = loss.locator(".u-over").bounding_box()
    mouse, middle = user.page.mouse, box["y"] + box["height"] / 2
    mouse.move(box["x"] + box["width"] * 0.3, middle)
    mouse.down()
    mouse.move(box["x"] + box["width"] * 0.6, middle, steps=4)
    mouse.up()
    user.page.locator(".panel[data-zoomed=true]").first.wait_for()
    zoom = [loss.get_attribute(f"data-{name}") for name in ("from", "to")]
    assert float(zoom[1]) < int(loss.get_attribute("data-last"))
    last = int(loss.get_attribute("data-last"))
    wait_until(lambda: int(loss.get_attribute("data-last")) > last + 1)
    # Both panels keep the zoom, also when the smoothing changes.
    for panel in (loss, validation):
        assert [panel.get_attribute(f"data-{name}") for name in ("from", "to")] == zoom
    user.slider("train-live-smoothing").press("ArrowRight")
    loss.locator(".u-legend .raw").first.wait_for(state="attached")
    assert [loss.get_attribute(f"data-{name}") for name in ("from", "to")] == zoom
    loss.get_by_role("button").click()  # resets the zoom
    assert loss.get_attribute("data-from") == "1"
    user.press("stop")
    wait_for_state(run_dir, "cancelled")


# Texts that charts draw on a canvas.
_WATCH_TEXTS = """
window.drawnTexts = new Set();
const fillText = CanvasRenderingContext2D.prototype.fillText;
CanvasRenderingContext2D.prototype.fillText = function (text, ...rest) {
  window.drawnTexts.add(text);
  return fillText.call(this, text, ...rest);
};
"""


def test_the_curves_are_in_sight_once_a_run_has_started(server: AppServer, user: BrowserUser) -> None:
    user.page.add_init_script(_WATCH_TEXTS)
    user.page.set_viewport_size({"width": 1280, "height": 800})
    user.use_demo(ENDLESS)
    run_dir = start_run(user, server.store)
    panel = user.page.locator(".panel").first
    panel.wait_for()
    assert panel.bounding_box()["y"] < 560
    texts = user.page.evaluate("[...window.drawnTexts]")
    assert ".6" in texts and "0.6" not in texts
    user.open_form()  # stays usable
    user.fill("utils.seed", "5")
    user.press("start")
    wait_until(lambda: len(list(server.store.glob("train/*/status.json"))) == 2)
    assert user.field("utils.seed").is_visible()
    user.press("stop")
    runs = {status.parent for status in server.store.glob("train/*/status.json")}
    wait_for_state(next(iter(runs - {run_dir})), "cancelled")
