"""Jobs survive what browsers and servers do: refresh, second browser, cleared cache, a killed server, a second server."""

from __future__ import annotations

import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ctbench_core.config import Config
from ctbench_core.demo import write_demo
from ctbench_core.experiment import run_experiment
from ctbench_core.runs import open_run, read_history, read_status
from tests.browser.hands import Hands

Meet = Callable[[Any], Hands]
Serve = Callable[..., Any]
LIMIT_S = 60.0
ENDLESS = 100_000


def started(user: Hands, store: Path) -> Path:
    """Press Start and return the folder of the run once it trains."""
    before = set(store.glob("train/*/status.json"))
    user.press("start")
    user.button("stop").wait_for()
    wait_until(lambda: len(set(store.glob("train/*/status.json")) - before) == 1)
    (status,) = set(store.glob("train/*/status.json")) - before
    wait_until(lambda: len(read_history(status.parent / "metrics.jsonl")) > 3)
    return status.parent


def wait_until(true: Callable[[], bool]) -> None:
    deadline, pause = time.monotonic() + LIMIT_S, threading.Event()
    while not true():
        assert time.monotonic() < deadline
        pause.wait(0.05)


def state(run_dir: Path) -> str:
    return read_status(run_dir / "status.json").state


def shown_epoch(page: Any) -> int:
    """Return the epoch that the live view shows."""
    text = page.locator("[data-testid=stMetric]").filter(has_text="Epoch").first.inner_text()
    return int(text.split("\n")[-1].split("/")[0].replace(",", ""))


def test_a_refresh_re_attaches_with_the_curve_complete(server: Any, user: Hands) -> None:
    user.use_demo(ENDLESS)
    run_dir = started(user, server.store)
    user.page.reload()
    user.sees(run_dir.name)
    at_reload = len(read_history(run_dir / "metrics.jsonl"))
    user.page.goto("about:blank")  # a closed tab
    wait_until(lambda: len(read_history(run_dir / "metrics.jsonl")) > at_reload + 5)
    user.go("runs")
    user.button("stop").wait_for()
    assert shown_epoch(user.page) >= at_reload
    user.press("stop")
    wait_until(lambda: state(run_dir) == "cancelled")
    user.sees("cancelled after")
    run = open_run(run_dir)
    assert [line["epoch"] for line in run.history()] == list(range(1, run.status.epoch + 1))
    assert run.paths.final_model.is_file()
    # Stop keeps the best epoch, and the table shows it with the whole curve in small.
    user.pick_row(0, "run-card")
    user.open_tab("Curves")
    panel = user.page.locator(".st-key-run-card .panel").first
    panel.wait_for()
    assert (panel.get_attribute("data-from"), panel.get_attribute("data-to")) == ("1", str(run.status.epoch))


def test_clearing_the_cache_loses_no_job(serve: Serve, meet: Meet) -> None:
    server = serve("--client.toolbarMode=developer")  # a viewer has no such key
    user = meet(server)
    user.use_demo(ENDLESS)
    run_dir = started(user, server.store)
    user.page.get_by_role("heading", name="Train", exact=True).click()
    user.page.keyboard.press("c")
    user.page.get_by_role("dialog").get_by_role("button", name="Clear caches").click()
    user.page.get_by_role("dialog").wait_for(state="detached")
    user.go("runs")
    user.press("stop")
    wait_until(lambda: state(run_dir) == "cancelled")


def test_two_browsers_see_the_same_jobs_and_keep_their_own_forms(server: Any, user: Hands, meet: Meet) -> None:
    user.use_demo(ENDLESS)
    other = meet(server)
    other.go("train")
    other.fill("training.batch_size", "77")
    run_dir = started(user, server.store)
    # The strip of the other browser notices by itself; its form keeps what was typed there, and only there.
    other.page.locator(".st-key-strip").get_by_text("epoch").wait_for()
    assert other.field("training.batch_size").input_value() == "77"
    assert user.field("training.batch_size").input_value() != "77"
    user.fill("training.batch_size", "33")
    other.turn("Runs")
    other.sees(run_dir.name)
    other.turn("Train")
    assert other.field("training.batch_size").input_value() == "77"
    other.turn("Runs")
    other.press("stop")
    user.sees("cancelled after")
    assert user.field("training.batch_size").input_value() == "33"
    assert state(run_dir) == "cancelled"
    assert open_run(run_dir).config.training.batch_size == Config().training.batch_size


def test_a_killed_server_leaves_a_run_that_resume_finishes(serve: Serve, meet: Meet) -> None:
    first = serve()
    user = meet(first)
    user.use_demo(3000)
    run_dir = started(user, first.store)
    user.page.goto("about:blank")
    first.process.kill()
    first.process.wait()
    assert state(run_dir) == "interrupted"
    done = len(read_history(run_dir / "metrics.jsonl"))
    assert done < 3000
    config = run_dir / "config.yaml"
    config.write_text(config.read_text().replace("max_epochs: 3000", f"max_epochs: {done + 20}"))
    user = meet(serve())
    user.go("runs")
    user.pick_row(0, "run-card")
    user.press("card-resume")
    wait_until(lambda: state(run_dir) == "finished")
    user.sees(f"finished after {done + 20}")
    assert [line["epoch"] for line in open_run(run_dir).history()] == list(range(1, done + 21))


def test_two_servers_on_one_store_do_not_fight(serve: Serve, server: Any, user: Hands, meet: Meet) -> None:
    theirs = serve()
    user.use_demo(ENDLESS)
    run_dir = started(user, server.store)
    other = meet(theirs)
    other.go("runs")
    other.sees(f"process {server.process.pid} on")
    assert state(run_dir) == "running"
    other.press(f"stop-{run_dir.name}")
    wait_until(lambda: state(run_dir) == "cancelled")
    user.sees("cancelled after")
    assert open_run(run_dir).paths.final_model.is_file()
    assert not (run_dir / "stop_request").exists()


def test_a_zoom_stays_while_new_epochs_come_in(server: Any, user: Hands) -> None:
    user.use_demo(ENDLESS)
    run_dir = started(user, server.store)
    wait_until(lambda: len(read_history(run_dir / "metrics.jsonl")) > 40)
    loss, validation = (user.page.locator(".panel").nth(place) for place in (0, 1))
    box = loss.locator(".u-over").bounding_box()
    mouse, middle = user.page.mouse, box["y"] + box["height"] / 2
    mouse.move(box["x"] + box["width"] * 0.3, middle)
    mouse.down()
    mouse.move(box["x"] + box["width"] * 0.6, middle, steps=4)
    mouse.up()
    user.page.locator(".panel[data-zoomed=true]").first.wait_for()
    shown = [loss.get_attribute(f"data-{name}") for name in ("from", "to")]
    assert float(shown[1]) < int(loss.get_attribute("data-last"))
    last = int(loss.get_attribute("data-last"))
    wait_until(lambda: int(loss.get_attribute("data-last")) > last + 1)
    # The zoom stands where it stood, in the panel beside it too, and a new smoothing keeps it as well.
    for panel in (loss, validation):
        assert [panel.get_attribute(f"data-{name}") for name in ("from", "to")] == shown
    user.page.locator(".st-key-train-live-smoothing input[type=range]").press("ArrowRight")
    loss.locator(".u-legend .raw").first.wait_for(state="attached")
    assert [loss.get_attribute(f"data-{name}") for name in ("from", "to")] == shown
    loss.get_by_role("button", name="Reset zoom").click()
    assert loss.get_attribute("data-from") == "1"
    user.press("stop")
    wait_until(lambda: state(run_dir) == "cancelled")


def test_repeats_are_grouped_with_mean_and_spread(server: Any, user: Hands, tmp_path: Path) -> None:
    made = write_demo(tmp_path / "demo")
    values = []
    for seed in (1, 2, 3):
        config = Config()
        config.paths.data_root, config.paths.manifest_dir = str(made["data_root"]), str(made["manifest_dir"])
        config.paths.outputs_root, config.training.max_epochs, config.utils.seed = str(server.store), 2, seed
        values.append(run_experiment(config)["best_val"]["auprc"])
    user.go("runs")
    user.click(user.page.get_by_text("By recipe", exact=True))
    user.sees("Select a recipe")
    (row,) = user.frame("runs-csv").to_dict("records")
    mean = sum(values) / 3
    assert row["n"] == 3
    assert row["val_auprc"] == pytest.approx(mean, abs=1e-12)
    assert row["val_auprc_sd"] == pytest.approx((sum((v - mean) ** 2 for v in values) / 2) ** 0.5, abs=1e-12)


def test_the_zip_and_the_deleted_run_come_back_whole(server: Any, user: Hands) -> None:
    user.use_demo(epochs=2)
    user.press("start")
    user.button("to-evaluate").wait_for()
    (status,) = server.store.glob("train/*/status.json")
    run_dir = status.parent
    user.go("runs")
    user.pick_row(0, "run-card")
    with user.page.expect_download() as waiting:
        user.button("card-zip").click()
    with zipfile.ZipFile(waiting.value.path()) as archive:
        for file in ("config.yaml", "metrics.jsonl", "best_metrics.json", "checkpoints/final_model.pt"):
            assert archive.read(f"{run_dir.name}/{file}") == (run_dir / file).read_bytes()
        assert archive.read(f"{run_dir.name}/command.txt").startswith(b"python -m ctbench_core train")
    user.press("card-delete")
    user.button("undo").wait_for()
    assert not run_dir.exists()
    user.press("undo")
    user.button("undo").wait_for(state="detached")
    assert state(run_dir) == "finished"
