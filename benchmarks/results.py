"""Time clicks on Evaluate and Compare, with the report embeddings of the CT-RATE test data: nine runs, 741 volumes.

``python -m benchmarks.results [--data ../shared/data/ctrate] [--folder F]`` trains on findings, impressions and clinical
information with three seeds each (kept in F and used again), opens the app on these runs, and times tabs, findings,
groups, metrics and the slider in the page itself. Run it on an idle machine. It needs Chromium and Playwright.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import pandas as pd

from ctbench_core.config import Config, set_key
from ctbench_core.evaluate import evaluate_run
from ctbench_core.experiment import run_bank
from tests.browser.browser_user import TABS, BrowserUser, open_app
from tests.browser.timings import Timings, p95, time_action, time_slider

VIEWS, SEEDS = ("findings", "impressions", "clinical"), (1, 2, 3)
METADATA = ("PatientSex", "PatientAge", "Manufacturer", "ManufacturerModelName", "ZSpacing")
SKIPPED = ("label noise",)  # a tab that asks for a table first
COLUMNS, FINDINGS = ("PatientAge", "Manufacturer", "PatientSex"), ("Emphysema", "Atelectasis")
METRICS = {"AUROC": 1, "AUPRC": 0}  # places in the choice of a metric


def prepare(data: Path, folder: Path, view: str) -> None:
    """Write manifests with metadata for one view, train its seeds, and evaluate them on test."""
    metadata = pd.read_csv(data / "metadata" / "validation_metadata.csv", dtype=str)
    metadata["volumename"] = metadata["VolumeName"].str.removesuffix(".nii.gz")
    manifests = folder / "manifests" / view
    manifests.mkdir(parents=True, exist_ok=True)
    for split in ("train", "valid", "test"):
        frame = pd.read_csv(data / "manifests" / f"{split}.csv")
        frame["visual_feature_path"] = frame["visual_feature_path"].str.replace("findings/", f"{view}/", regex=False)
        joined = frame.merge(metadata[["volumename", *METADATA]], on="volumename", how="left")
        joined.to_csv(manifests / f"{split}.csv", index=False)
    configs = []
    for seed in SEEDS:
        config = Config()
        for key, value in {
            "paths.data_root": str(data / "features" / "minilm"),
            "paths.manifest_dir": str(manifests),
            "paths.outputs_root": str(folder / "outputs"),
            "job_name": "encoders",
            "data.encoder.name": view,
            "data.label_origin": "report-derived",
            "training.learning_rate": 1e-3,
            "training.max_epochs": 200,
            "utils.seed": seed,
        }.items():
            set_key(config, key, value)
        configs.append(config)
    for result in run_bank(configs):
        evaluate_run(result["run_dir"])


def walk(user: BrowserUser, rounds: int) -> Timings:
    """Time every action on both pages; the first visit to a tab, which computes its results, is not counted."""
    timings = Timings()
    for page, time_widgets in (("evaluate", _time_evaluate), ("compare", _time_compare)):
        user.go(page)
        tabs = [tab for tab in TABS[page][1] if tab not in SKIPPED]
        tabs = [*tabs[1:], tabs[0]]
        for tab in tabs:
            user.open_tab(page, tab)
        for _ in range(rounds):
            for tab in tabs:
                time_action(user, timings, f"{page} tab", tab, lambda page=page, tab=tab: user.open_tab(page, tab))
        time_widgets(user, timings, rounds)
    return timings


def _time_evaluate(user: BrowserUser, timings: Timings, rounds: int) -> None:
    user.open_tab("evaluate", "subgroups")
    for column in COLUMNS:
        user.choose("subgroups.column", column)  # computed once
    for _ in range(rounds):
        _time_options(user, timings, "groups", "subgroups.column", COLUMNS)
        _time_metrics(user, timings, "groups' metric", "subgroups.metric")
    user.open_tab("evaluate", "calibration")
    for _ in range(rounds):
        _time_options(user, timings, "finding", "calibration.finding", FINDINGS)
    user.open_tab("evaluate", "threshold")
    for _ in range(rounds):
        time_slider(user, timings, ("ArrowRight", "ArrowLeft", "PageUp", "PageDown"))
        for cell in ("cell-fp", "cell-fn"):
            time_action(user, timings, "cell", cell, lambda cell=cell: user.press(cell))


def _time_compare(user: BrowserUser, timings: Timings, rounds: int) -> None:
    user.open_tab("compare", "differences")
    for _ in range(rounds):
        _time_metrics(user, timings, "differences' metric", "compare-metric")
    user.open_tab("compare", "disagreements")
    for _ in range(rounds):
        _time_options(user, timings, "scatter", "compare-scatter-finding", FINDINGS)


def _time_options(user: BrowserUser, timings: Timings, kind: str, key: str, options: tuple[str, ...]) -> None:
    for option in options:
        time_action(user, timings, kind, option, lambda option=option: user.choose(key, option))


def _time_metrics(user: BrowserUser, timings: Timings, kind: str, key: str) -> None:
    for metric, place in METRICS.items():
        time_action(user, timings, kind, metric, lambda place=place: user.click(user.segment(key, place)))


def main() -> None:
    """Print the 95th percentile of each kind of action."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/ctrate"))
    parser.add_argument("--folder", type=Path, help="keep the runs here, or use the existing ones")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--prepare", action="store_true", help="train only")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        if not (folder / "outputs").is_dir():
            for view in VIEWS:
                prepare(options.data, folder, view)
        if options.prepare:
            return
        with open_app(folder) as new_user:
            timings = walk(new_user(), options.rounds)
    print(timings.summary())
    times = timings.all_times()
    print(f"{'all':20} p95 {p95(times):4.0f} ms, {len(times)} actions")


if __name__ == "__main__":
    main()
