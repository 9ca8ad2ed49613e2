"""What a click costs on the Studies page with a study of 1,000 runs, clocked in the browser as `pages.py` does.

The study has 2 encoders, 2 heads, 5 budgets and 50 seeds. One run is trained; the others are its copies with scores and
figures of their own, and every cell has its intervals. Run it alone on the machine: `python -m benchmarks.study_page`.
It needs Chromium and Playwright. ``--folder`` keeps the store, or uses the one that is there.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from playwright.sync_api import sync_playwright

from ctbench_core.config import Config
from ctbench_core.demo import write_demo
from ctbench_core.evaluate.bundle import sigmoid
from ctbench_core.experiment import bank_key, run_experiment
from ctbench_core.runs import write_config
from ctbench_core.studies import Plan, Study, StudyPaths, read_plan, study_paths
from ctbench_core.studies.cells import cell_frame
from ctbench_core.studies.plan import make_plan
from ctbench_core.studies.results import read_results
from tests.browser.hands import Hands
from tests.browser.pace import Pace
from tests.browser.served import find_browser, serving

BUDGETS = {"20": 0.0, "50": 0.4, "100": 0.8, "200": 1.2, "all": 1.6}  # and how far apart the scores of both classes lie
SEEDS = 50
COPIED = ("status.json", "provenance.json", "best_metrics.json", "metrics.jsonl")
TABS = ("Overview", "Findings", "Bottlenecks", "Runs", "Export", "Curves")


def prepare(folder: Path) -> None:
    """Fill ``folder/outputs`` with the study ``thousand``."""
    made = write_demo(folder / "demo")
    roots = {"one": made["data_root"], "other": str(folder / "other")}
    shutil.copytree(made["data_root"], roots["other"])
    base = {
        "paths.data_root": made["data_root"],
        "paths.manifest_dir": made["manifest_dir"],
        "paths.outputs_root": str(folder / "outputs"),
        "data.test_manifests": ["test.csv"],
        "training.max_epochs": 20,
    }
    grid = {
        "encoder": roots,
        "model": ["mlp_visual", "linear_probe"],
        "budget": [*map(int, list(BUDGETS)[:-1]), "all"],
        "utils.seed": list(range(SEEDS)),
    }
    study = Study("thousand", base, grid)
    first: Config = next(config for _, config in study.configs())
    paths = study_paths(first)
    make_plan(study, paths, bank_key)
    plan = read_plan(paths)
    pattern = folder / "pattern"
    first.paths.run_dir = str(pattern)
    run_experiment(first)
    _copies(paths, plan, pattern)
    cell_frame(paths, plan, read_results(paths, plan))


def _copies(paths: StudyPaths, plan: Plan, pattern: Path) -> None:
    configs, draw = plan.configs(), np.random.default_rng(0)
    scores = pd.read_parquet(pattern / "evaluation" / "test" / "scores.parquet")
    metrics = json.loads((pattern / "evaluation" / "test" / "metrics.json").read_text(encoding="utf-8"))
    for run in plan.runs:
        folder = paths.run(run.id)
        files = folder / "evaluation" / "test"
        files.mkdir(parents=True)
        for name in COPIED:
            shutil.copy(pattern / name, folder / name)
        write_config(folder / "config.yaml", configs[run.id])
        apart = BUDGETS[run.labels["budget"]] + 0.3 * (run.labels["encoder"] == "one") + draw.normal(0, 0.05)
        _scored(files, scores, metrics, apart, draw)
        used = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
        size = 300 if run.labels["budget"] == "all" else int(run.labels["budget"])
        used["manifests"]["train"]["patients"], used["manifests"]["val"]["patients"] = size - size // 5, size // 5
        (folder / "provenance.json").write_text(json.dumps(used), encoding="utf-8")


def _scored(
    files: Path, scores: pd.DataFrame, metrics: dict[str, Any], apart: float, draw: np.random.Generator
) -> None:
    """Write scores whose classes lie so far apart, and figures to match."""
    for name in metrics["per_class"]:
        truth = scores[f"target_{name}"].astype(float).to_numpy()
        logits = draw.normal(size=len(truth)) + apart * np.nan_to_num(truth)
        scores[f"logit_{name}"], scores[f"prob_{name}"] = logits, sigmoid(logits)
        values = metrics["per_class"][name]
        values["auprc"] = values["auroc"] = float(np.clip(0.45 + 0.25 * apart + draw.normal(0, 0.03), 0.05, 0.99))
    metrics["auprc"] = metrics["auroc"] = float(np.mean([one["auprc"] for one in metrics["per_class"].values()]))
    scores.to_parquet(files / "scores.parquet", index=False)
    (files / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")


def measure(user: Hands, rounds: int) -> Pace:
    """Open the study, walk its tabs, choose metrics, filter runs, and go from a point to its runs.

    The first visit, which reads every run, is told apart.
    """
    pace = Pace()
    user.page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: pace.sizes.append(len(frame))))
    started = time.perf_counter()
    user.go("studies?study=thousand")
    user.page.wait_for_function("window.ctbench.isAtRest()")
    print(f"first visit: {time.perf_counter() - started:.1f} s", flush=True)
    for number in range(rounds + 1):
        told = pace if number else Pace()  # the first round fills what later ones find
        user.turn("Home")
        clock(user, told, "open", "study", lambda: user.turn("Studies"))
        for tab in TABS:
            clock(user, told, "tab", tab, lambda tab=tab: user.open_tab(tab))
        for metric in ("AUROC", "AUPRC"):
            clock(user, told, "metric", metric, lambda metric=metric: user.click(pill(user, metric)))
        clock(user, told, "drill down", "point", lambda: user.answered(lambda: point(user)))
        user.open_tab("Runs")
        _filters(user, told)
        user.open_tab("Curves")
    return pace


def _filters(user: Hands, pace: Pace) -> None:
    for axis, value in (("model", "linear_probe"), ("budget", "50"), ("seed", "7")):
        user.page.locator(f".st-key-runs-{axis} input").first.click()
        option = user.page.get_by_role("option", name=value, exact=True)
        clock(user, pace, "filter", f"{axis} {value}", lambda option=option: user.click(option))
        user.page.keyboard.press("Escape")
    for axis in ("model", "budget", "seed"):
        field = user.page.locator(f".st-key-runs-{axis} input").first
        field.click()
        clock(user, pace, "filter", f"{axis} all", lambda field=field: user.answered(lambda: field.press("Backspace")))
        user.page.keyboard.press("Escape")


def pill(user: Hands, metric: str) -> Any:
    """Return the button of a metric above the curves."""
    return user.page.locator(".st-key-curves-metric").get_by_text(metric, exact=True)


def point(user: Hands) -> None:
    """Click the last point of the first curve."""
    user.page.locator(".st-key-curves .scatterlayer .points path").last.click(
        force=True
    )  # plotly's own layer lies above


def clock(user: Hands, pace: Pace, kind: str, target: str, act: Callable[[], Any]) -> None:
    """Act, and note the milliseconds from the press to the picture at rest."""
    act()
    user.page.wait_for_function("window.ctbench.isAtRest()")
    pace.add(kind, target, user.page.evaluate("window.ctbench.drawnAt() - window.ctbench.pressedAt"))


def main() -> None:
    """Print the 95th percentile of every kind of action."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--folder", type=Path, help="keep the store here, or use the one that is there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        if not (folder / "outputs").is_dir():
            prepare(folder)
        with serving(folder) as server, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=find_browser(), args=["--no-sandbox"])
            pace = measure(
                Hands(browser.new_context(viewport={"width": 1440, "height": 1000}), server.url), options.rounds
            )
            browser.close()
    every = [value for kind in pace.p95() for value in pace.of(kind)]
    print(pace.told())
    print(f"all {len(every)}: p95 {statistics.quantiles(every, n=20, method='inclusive')[-1]:.0f} ms")
    print(f"largest message {max(pace.sizes) / 1e3:,.0f} kB")


if __name__ == "__main__":
    main()
