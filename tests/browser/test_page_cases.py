"""What people met on the pages: values that are no labels, tables with other names, odd finding names, moved folders."""

from __future__ import annotations

import csv
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from filelock import FileLock, Timeout

from ctbench_core.config import Config, changed_keys
from ctbench_core.evaluate import ScoreOptions, score_table
from ctbench_core.experiment import run_experiment
from ctbench_core.runs import open_run
from ctbench_core.studies import parse_study, run_study
from tests.browser.app_server import PROJECT, AppServer
from tests.browser.browser_user import TABS, BrowserUser
from tests.browser.test_jobs import ENDLESS, start_run, state_of, wait_for_state, wait_until

Evaluated = Callable[..., Path]


def test_methods_count_every_evaluation_of_the_test_set(user: BrowserUser, evaluated_run: Evaluated) -> None:
    first = evaluated_run({"utils.seed": 1}, openings=3)
    evaluated_run({"utils.seed": 2, "job_name": "other"}, openings=2)
    user.go(f"evaluate?run={first.name}&tab=Paper")
    user.wait_for_text(re.compile("evaluated 5 times by 2 runs"))


def test_findings_named_like_missing_values_open_every_tab(
    server: AppServer, user: BrowserUser, tmp_path: Path
) -> None:
    rng, names = np.random.default_rng(4), ("None", "NA", "1", "01")
    frame = pd.DataFrame({"volumename": [f"test_{row}_a_1" for row in range(1, 81)]})
    for name in names:
        frame[f"target_{name}"] = rng.integers(0, 2, 80)
        frame[f"prob_{name}"] = rng.random(80)
    frame.to_csv(tmp_path / "predictions.csv", index=False)
    config = Config()
    config.paths.outputs_root, config.job_name = str(server.store), "score"
    score_table(tmp_path / "predictions.csv", ScoreOptions(name="odd names"), config)
    user.go("evaluate")
    for tab in TABS["evaluate"][1]:
        user.open_tab("evaluate", tab)
        assert user.page.locator("[data-testid=stException], [data-testid=stAlertContentError]").count() == 0
    user.open_tab("evaluate", "findings")
    rows = csv.DictReader(io.StringIO(user.download("per-class-csv").decode()))
    assert [row["finding"] for row in rows] == list(names)


def _bottom(box: dict[str, float]) -> float:
    return box["y"] + box["height"]


def test_the_table_of_many_runs_stays_below_its_controls_whatever_is_selected(
    server: AppServer, user: BrowserUser, make_config: Callable[..., Config], tiny_data: Path
) -> None:
    for seed in range(13):
        changes = {"utils.seed": seed, "training.max_epochs": 1, "paths.outputs_root": str(server.store)}
        run_experiment(make_config(tiny_data, changes))
    for width, height in ((390, 844), (1280, 620)):
        user.page.set_viewport_size({"width": width, "height": height})
        user.go("runs")
        user.settle()
        user.page.evaluate("document.fonts.ready.then(() => true)")  # a button is as wide as its icon's name until then
        table = user.page.locator(".st-key-runs-high [data-testid=stDataFrame]").first
        before, bar = table.bounding_box(), user.widget("runs-bar").bounding_box()
        assert _bottom(bar) - 13 <= before["y"] < 450  # the bar's margin is below it
        user.select_row(0, "run-card")
        assert table.bounding_box()["y"] == before["y"]
        if width == 390:  # on a phone the card is in sight
            rows = table.locator("canvas").first
            assert _bottom(rows.bounding_box()) < user.widget("run-card").bounding_box()["y"] < 700
        user.select_row(1, "compare-selected")
        assert table.bounding_box()["y"] == before["y"]
        user.widget("bulk-delete").wait_for()
        tools = user.page.locator(".st-key-runs-high [data-testid=stElementToolbar]").bounding_box()
        assert tools["y"] >= _bottom(table.bounding_box()) - 24  # off the controls above, and the rows
        user.click(user.widget("runs.all", "label"))
        assert table.bounding_box()["y"] == before["y"]
        user.click(user.widget("runs.all", "label"))


def test_the_command_of_a_study_run_works_as_pasted(
    server: AppServer, user: BrowserUser, make_config: Callable[..., Config], tiny_data: Path
) -> None:
    base = {key: value for key, value in changed_keys(make_config(tiny_data)).items() if key != "job_name"}
    study = {"name": "pasted", "base": base, "grid": {"utils.seed": [1, 2]}}
    run_study(parse_study(study))
    run = next(server.store.glob("pasted/*/status.json")).parent
    user.go(f"runs?run={run.name}")
    command = user.widget("run-card", "[data-testid=stCode] code").inner_text()
    words = shlex.split(command)
    assert words[:3] == ["python", "-m", "ctbench_core"]
    assert not [word for word in words if word.startswith("paths.run_dir")]
    before = set(server.store.glob("*/*/status.json"))
    subprocess.run([sys.executable, *words[1:]], cwd=PROJECT, check=True, capture_output=True)
    (made,) = set(server.store.glob("*/*/status.json")) - before
    assert state_of(made.parent) == "finished"
    assert open_run(made.parent).config.utils.seed == open_run(run).config.utils.seed


def _is_trained(run_dir: Path) -> bool:
    try:
        with FileLock(run_dir / ".lock").acquire(blocking=False):
            return False
    except Timeout:
        return True


def _set_written(run_dir: Path, moment: float) -> None:
    os.utime(run_dir / "status.json", (moment, moment))


def test_a_store_that_is_renamed_while_a_run_trains(server: AppServer, user: BrowserUser) -> None:
    user.use_demo(ENDLESS)
    run_dir = start_run(user, server.store)
    copy = server.store / "copy" / run_dir.name
    shutil.copytree(run_dir, copy)  # two runs of one name, both with a living process and a heartbeat
    _set_written(copy, time.time() + 3600)
    user.go("runs")
    user.button(f"stop-copy-{run_dir.name}").or_(user.button(f"stop-{run_dir.name}")).first.wait_for()
    shutil.rmtree(copy)
    moved = server.store.with_name("moved")
    server.store.rename(moved)
    away = moved / run_dir.relative_to(server.store)
    wait_until(lambda: not _is_trained(away))
    assert not run_dir.exists()
    user.go("runs")
    assert user.page.locator("[data-testid=stException]").count() == 0
    shutil.rmtree(server.store, ignore_errors=True)
    moved.rename(server.store)
    _set_written(run_dir, time.time() - 3600)  # time passes
    assert state_of(run_dir) == "interrupted"
    user.go(f"runs?run={run_dir.name}")
    user.press("card-resume")
    user.button("stop").wait_for()
    user.press("stop")
    wait_for_state(run_dir, "cancelled")
