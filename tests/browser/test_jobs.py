"""Jobs survive what browsers and servers do: refresh, second browser, cleared cache, a killed server, a second server."""

from __future__ import annotations

import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ctbench_core.config import Config
from ctbench_core.demo import write_demo
from ctbench_core.experiment import run_experiment
from ctbench_core.runs import open_run, read_history, read_status

Settle = Callable[[Any], None]
Serve = Callable[..., Any]
LIMIT_S = 60.0


def press(page: Any, key: str) -> None:
    page.locator(f".st-key-{key} button").first.click()


def fill(page: Any, key: str, value: str, settle: Settle) -> None:
    field = page.locator(f".st-key-{key.replace('.', '-')} input").first
    field.fill(value)
    field.press("Enter")
    page.wait_for_timeout(150)  # the browser sends the value a moment after the key
    settle(page)


def demo_form(page: Any, url: str, settle: Settle, epochs: int = 100_000) -> None:
    """Open the Train page on the demo data, set for a run of exactly so many epochs."""
    page.goto(url)
    press(page, "demo")
    page.wait_for_url("**/train")
    settle(page)
    for key in ("training.max_epochs", "training.early_stopping_patience"):
        fill(page, key, str(epochs), settle)


def started(page: Any, store: Path) -> Path:
    """Press Start and return the folder of the run once it trains."""
    before = set(store.glob("train/*/status.json"))
    press(page, "start")
    page.locator(".st-key-stop").wait_for()
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


def chosen_row(page: Any, row: int) -> None:
    """Select a row of the first table by its box."""
    box = page.locator("[data-testid=stDataFrame] canvas").first.bounding_box()
    page.mouse.click(box["x"] + 15, box["y"] + 35 * (row + 1) + 17)
    page.locator(".st-key-run-card").wait_for()


def shown_epoch(page: Any) -> int:
    """Return the epoch that the live view shows."""
    text = page.locator("[data-testid=stMetric]").filter(has_text="Epoch").first.inner_text()
    return int(text.split("\n")[-1].split("/")[0].replace(",", ""))


@pytest.fixture
def second(browser: Any) -> Iterator[Any]:
    """Open another browser, which shares nothing with the first."""
    context = browser.new_context(viewport={"width": 1440, "height": 1000})
    context.set_default_timeout(LIMIT_S * 1000)
    yield context.new_page()
    context.close()


def test_a_refresh_re_attaches_with_the_curve_complete(server: Any, tab: Any, settle: Settle) -> None:
    demo_form(tab, server.url, settle)
    run_dir = started(tab, server.store)
    tab.reload()
    tab.get_by_text(run_dir.name).wait_for()
    at_reload = len(read_history(run_dir / "metrics.jsonl"))
    tab.goto("about:blank")  # a closed tab
    wait_until(lambda: len(read_history(run_dir / "metrics.jsonl")) > at_reload + 5)
    tab.goto(f"{server.url}/runs")
    tab.locator(".st-key-stop").wait_for()
    assert shown_epoch(tab) >= at_reload
    press(tab, "stop")
    wait_until(lambda: state(run_dir) == "cancelled")
    tab.get_by_text("cancelled after").wait_for()
    run = open_run(run_dir)
    assert [line["epoch"] for line in run.history()] == list(range(1, run.status.epoch + 1))
    assert run.paths.final_model.is_file()
    # Stop keeps the best epoch, and the table shows it with the whole curve in small.
    chosen_row(tab, 0)
    tab.get_by_role("tab", name="Curves").click()
    tab.locator(".st-key-run-card [data-testid=stVegaLiteChart]").first.wait_for()


def test_clearing_the_cache_loses_no_job(serve: Serve, second: Any, settle: Settle) -> None:
    tab, server = second, serve("--client.toolbarMode=developer")  # a viewer has no such key
    demo_form(tab, server.url, settle)
    run_dir = started(tab, server.store)
    tab.get_by_role("heading", name="Train", exact=True).click()
    tab.keyboard.press("c")
    tab.get_by_role("dialog").get_by_role("button", name="Clear caches").click()
    tab.get_by_role("dialog").wait_for(state="detached")
    tab.goto(f"{server.url}/runs")
    press(tab, "stop")
    wait_until(lambda: state(run_dir) == "cancelled")


def test_two_browsers_see_the_same_jobs_and_keep_their_own_forms(
    server: Any, tab: Any, second: Any, settle: Settle
) -> None:
    demo_form(tab, server.url, settle)
    second.goto(f"{server.url}/train")
    settle(second)
    fill(second, "training.batch_size", "77", settle)
    run_dir = started(tab, server.store)
    # The strip of the other browser notices by itself; its form keeps what was typed there, and only there.
    second.locator(".st-key-strip").get_by_text("epoch").wait_for()
    assert second.locator(".st-key-training-batch_size input").input_value() == "77"
    assert tab.locator(".st-key-training-batch_size input").input_value() != "77"
    second.goto(f"{server.url}/runs")
    second.get_by_text(run_dir.name).first.wait_for()
    press(second, "stop")
    tab.get_by_text("cancelled after").wait_for()
    assert state(run_dir) == "cancelled"
    assert open_run(run_dir).config.training.batch_size != 77


def test_a_killed_server_leaves_a_run_that_resume_finishes(serve: Serve, second: Any, settle: Settle) -> None:
    tab, first = second, serve()
    demo_form(tab, first.url, settle, epochs=3000)
    run_dir = started(tab, first.store)
    tab.goto("about:blank")
    first.process.kill()
    first.process.wait()
    assert state(run_dir) == "interrupted"
    done = len(read_history(run_dir / "metrics.jsonl"))
    assert done < 3000
    config = run_dir / "config.yaml"
    config.write_text(config.read_text().replace("max_epochs: 3000", f"max_epochs: {done + 20}"))
    again = serve()
    tab.goto(f"{again.url}/runs")
    settle(tab)
    chosen_row(tab, 0)
    press(tab, "card-resume")
    wait_until(lambda: state(run_dir) == "finished")
    tab.get_by_text(f"finished after {done + 20}").wait_for()
    assert [line["epoch"] for line in open_run(run_dir).history()] == list(range(1, done + 21))


def test_two_servers_on_one_store_do_not_fight(
    serve: Serve, server: Any, tab: Any, second: Any, settle: Settle
) -> None:
    ours, theirs = server, serve()
    demo_form(tab, ours.url, settle)
    run_dir = started(tab, ours.store)
    second.goto(f"{theirs.url}/runs")
    second.get_by_text(f"process {ours.process.pid} on").first.wait_for()
    assert state(run_dir) == "running"
    press(second, f"stop-{run_dir.name}")
    wait_until(lambda: state(run_dir) == "cancelled")
    tab.get_by_text("cancelled after").wait_for()
    assert open_run(run_dir).paths.final_model.is_file()
    assert not (run_dir / "stop_request").exists()


def test_repeats_are_grouped_with_mean_and_spread(server: Any, tab: Any, settle: Settle, tmp_path: Path) -> None:
    made = write_demo(tmp_path / "demo")
    values = []
    for seed in (1, 2, 3):
        config = Config()
        config.paths.data_root, config.paths.manifest_dir = str(made["data_root"]), str(made["manifest_dir"])
        config.paths.outputs_root, config.training.max_epochs, config.utils.seed = str(server.store), 2, seed
        values.append(run_experiment(config)["best_val"]["auprc"])
    tab.goto(f"{server.url}/runs")
    settle(tab)
    tab.get_by_text("By recipe", exact=True).click()
    tab.get_by_text("Select a recipe").wait_for()
    with tab.expect_download() as waiting:
        press(tab, "runs-csv")
    (row,) = pd.read_csv(waiting.value.path()).to_dict("records")
    mean = sum(values) / 3
    assert row["n"] == 3
    assert row["val_auprc"] == pytest.approx(mean, abs=1e-12)
    assert row["val_auprc_sd"] == pytest.approx((sum((v - mean) ** 2 for v in values) / 2) ** 0.5, abs=1e-12)


def test_the_zip_and_the_deleted_run_come_back_whole(server: Any, tab: Any, settle: Settle, tmp_path: Path) -> None:
    demo_form(tab, server.url, settle, epochs=2)
    press(tab, "start")
    tab.locator(".st-key-to-evaluate").wait_for()
    (status,) = server.store.glob("train/*/status.json")
    run_dir = status.parent
    tab.goto(f"{server.url}/runs")
    settle(tab)
    chosen_row(tab, 0)
    with tab.expect_download() as waiting:
        press(tab, "card-zip")
    with zipfile.ZipFile(waiting.value.path()) as archive:
        for file in ("config.yaml", "metrics.jsonl", "best_metrics.json", "checkpoints/final_model.pt"):
            assert archive.read(f"{run_dir.name}/{file}") == (run_dir / file).read_bytes()
        assert archive.read(f"{run_dir.name}/command.txt").startswith(b"python -m ctbench_core train")
    press(tab, "card-delete")
    tab.locator(".st-key-undo").wait_for()
    assert not run_dir.exists()
    press(tab, "undo")
    tab.locator(".st-key-undo").wait_for(state="detached")
    assert state(run_dir) == "finished"
