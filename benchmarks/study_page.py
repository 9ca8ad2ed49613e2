"""Time clicks on the Studies page with a study of 1,000 runs, in the browser as `pages.py` does.

The study has 2 encoders, 2 heads, 5 budgets and 50 seeds. One run is trained; the others are copies of it with scores
and metrics of their own, and every cell has intervals. Run it on an idle machine: `python -m benchmarks.study_page`.
It needs Chromium and Playwright. ``--folder`` keeps the store, or uses the existing one.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ctbench_core.config import Config
from ctbench_core.demo import write_demo
from ctbench_core.evaluate import sigmoid
from ctbench_core.experiment import bank_key, run_experiment
from ctbench_core.runs import write_config
from ctbench_core.studies import Plan, Study, StudyPaths, read_plan, study_paths
from ctbench_core.studies.cells import cell_frame
from ctbench_core.studies.plan import make_plan
from ctbench_core.studies.results import read_results
from tests.browser.browser_user import BrowserUser, open_app
from tests.browser.timings import Timings, p95

BUDGETS = {
    "20": 0.0,
    "50": 0.4,
    "100": 0.8,
    "200": 1.2,
    "all": 1.6,
}  # with the distance between the scores of the classes
SEEDS = 50
COPIED = ("status.json", "provenance.json", "best_metrics.json", "metrics.jsonl")
TABS = ("overview", "findings", "bottlenecks", "runs", "export", "curves")
METRICS = {"AUROC": 1, "AUPRC": 0}  # places in the choice of a metric
FILTERS = {"model": "linear_probe", "budget": "50", "seed": "7"}


def prepare(folder: Path) -> None:
    """Write the study ``thousand`` into ``folder/outputs``."""
    demo = write_demo(folder / "demo")
    roots = {"one": demo["data_root"], "other": str(folder / "other")}
    shutil.copytree(demo["data_root"], roots["other"])
    base = {
        "paths.data_root": demo["data_root"],
        "paths.manifest_dir": demo["manifest_dir"],
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
    original = folder / "original"
    first.paths.run_dir = str(original)
    run_experiment(first)
    _write_copies(paths, plan, original)
    cell_frame(paths, plan, read_results(paths, plan))


def _write_copies(paths: StudyPaths, plan: Plan, original: Path) -> None:
    configs, rng = plan.configs(), np.random.default_rng(0)
    scores = pd.read_parquet(original / "evaluation" / "test" / "scores.parquet")
    metrics = json.loads((original / "evaluation" / "test" / "metrics.json").read_text(encoding="utf-8"))
    for run in plan.runs:
        folder = paths.run(run.id)
        evaluation = folder / "evaluation" / "test"
        evaluation.mkdir(parents=True)
        for name in COPIED:
            shutil.copy(original / name, folder / name)
        write_config(folder / "config.yaml", configs[run.id])
        distance = BUDGETS[run.labels["budget"]] + 0.3 * (run.labels["encoder"] == "one") + rng.normal(0, 0.05)
        _write_evaluation(evaluation, scores, metrics, distance, rng)
        provenance = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
        manifests, size = provenance["manifests"], 300 if run.labels["budget"] == "all" else int(run.labels["budget"])
        manifests["train"]["patients"], manifests["val"]["patients"] = size - size // 5, size // 5
        (folder / "provenance.json").write_text(json.dumps(provenance), encoding="utf-8")


def _write_evaluation(
    folder: Path, scores: pd.DataFrame, metrics: dict[str, Any], distance: float, rng: np.random.Generator
) -> None:
    """Write scores with a distance between the classes, and metrics that fit them."""
    for name in metrics["per_class"]:
        truth = scores[f"target_{name}"].astype(float).to_numpy()
        logits = rng.normal(size=len(truth)) + distance * np.nan_to_num(truth)
        scores[f"logit_{name}"], scores[f"prob_{name}"] = logits, sigmoid(logits)
        values = metrics["per_class"][name]
        values["auprc"] = values["auroc"] = float(np.clip(0.45 + 0.25 * distance + rng.normal(0, 0.03), 0.05, 0.99))
    metrics["auprc"] = metrics["auroc"] = float(np.mean([one["auprc"] for one in metrics["per_class"].values()]))
    scores.to_parquet(folder / "scores.parquet", index=False)
    (folder / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")


def measure(user: BrowserUser, rounds: int) -> Timings:
    """Time opening the study, its tabs, the choice of a metric, a click on a point, and the filters of its runs.

    The first visit, which reads every run, is printed by itself.
    """
    timings = Timings()
    timings.watch_messages(user)
    start = time.perf_counter()
    user.go("studies?study=thousand")
    user.page.wait_for_function("window.ctbench.isAtRest()")
    print(f"first visit: {time.perf_counter() - start:.1f} s", flush=True)
    for number in range(rounds + 1):
        _walk(user, timings if number else Timings())  # the first round fills caches
    return timings


def _walk(user: BrowserUser, timings: Timings) -> None:
    user.navigate("")
    _time(user, timings, "open", "study", lambda: user.navigate("studies"))
    for tab in TABS:
        _time(user, timings, "tab", tab, lambda tab=tab: user.open_tab("studies", tab))
    for metric, place in METRICS.items():
        segment = user.segment("curves-metric", place)
        _time(user, timings, "metric", metric, lambda segment=segment: user.click(segment))
    # Plotly's own layer covers the point.
    point = user.widget("curves", ".scatterlayer .points path >> nth=-1")
    _time(user, timings, "drill down", "point", lambda: user.act(lambda: point.click(force=True)))
    user.open_tab("studies", "runs")
    for axis, value in FILTERS.items():
        user.field(f"runs-{axis}").click()
        option = user.page.get_by_role("option", name=value, exact=True)
        _time(user, timings, "filter", f"{axis} {value}", lambda option=option: user.click(option))
        user.page.keyboard.press("Escape")
    for axis in FILTERS:
        field = user.field(f"runs-{axis}")
        field.click()
        _time(user, timings, "filter", f"{axis} all", lambda field=field: user.act(lambda: field.press("Backspace")))
        user.page.keyboard.press("Escape")
    user.open_tab("studies", "curves")


def _time(user: BrowserUser, timings: Timings, kind: str, target: str, action: Callable[[], Any]) -> None:
    """Add the milliseconds from a press to the last change of the page."""
    action()
    user.page.wait_for_function("window.ctbench.isAtRest()")
    timings.add(kind, target, user.page.evaluate("window.ctbench.drawnAt() - window.ctbench.pressedAt"))


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
        with open_app(folder) as new_user:
            timings = measure(new_user(), options.rounds)
    times = timings.all_times()
    print(timings.summary())
    print(f"all {len(times)}: p95 {p95(times):.0f} ms")
    print(f"largest message {max(timings.sizes) / 1e3:,.0f} kB")


if __name__ == "__main__":
    main()
