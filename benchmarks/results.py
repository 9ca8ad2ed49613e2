"""What a click costs on Evaluate and Compare, on the report embeddings of the CT-RATE test data: nine runs, 741 volumes.

``python -m benchmarks.results [--data ../shared/data/ctrate] [--folder F]`` trains findings, impressions and clinical
with three seeds each (kept in F, and used again), opens the app on them, and clocks tabs, findings, methods, groups,
metrics and the slider in the page itself. Run it alone on the machine. It needs Chromium and Playwright.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

import pandas as pd
from playwright.sync_api import sync_playwright

from ctbench_core.config import Config, set_key
from ctbench_core.evaluate.opening import evaluate_run
from ctbench_core.experiment import run_bank
from tests.browser.hands import Hands
from tests.browser.pace import Pace, clock
from tests.browser.served import find_browser, serving

VIEWS, SEEDS = ("findings", "impressions", "clinical"), (1, 2, 3)
METADATA = ("PatientSex", "PatientAge", "Manufacturer", "ManufacturerModelName", "ZSpacing")
EVALUATE = ("Curves", "Threshold", "Calibration", "Subgroups", "Paper", "Volumes", "Findings")
COMPARE = ("Curves", "Disagreements", "Settings", "Published", "Paper", "Differences")


def prepare(data: Path, folder: Path, view: str) -> None:
    """Write manifests with metadata for one view, train its seeds, and open their test."""
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


def option(user: Hands, key: str, text: str) -> None:
    """Choose an option of a select box by its text."""
    user.field(key).click()
    user.answered(user.page.get_by_role("option").filter(has_text=text).first.click)


def walk(user: Hands, rounds: int) -> Pace:
    """Walk through both pages; the first visit of each tab, which works figures out, is not counted."""
    pace = Pace()
    for page, tabs in (("evaluate", EVALUATE), ("compare", COMPARE)):
        user.go(page)
        for tab in tabs:
            user.open_tab(tab)
        for _ in range(rounds):
            for tab in tabs:
                clock(user, pace, f"{page} tab", tab, user.open_tab)
        if page == "evaluate":
            _evaluate(user, pace, rounds)
        else:
            _compare(user, pace, rounds)
    return pace


def _evaluate(user: Hands, pace: Pace, rounds: int) -> None:
    user.open_tab("Subgroups")
    for column in ("PatientAge", "Manufacturer", "PatientSex"):
        option(user, "subgroups.column", column)  # worked out once
    for _ in range(rounds):
        for column in ("PatientAge", "Manufacturer", "PatientSex"):
            clock(user, pace, "groups", column, lambda column: option(user, "subgroups.column", column))
        for metric in ("AUROC", "AUPRC"):
            box = user.page.locator(".st-key-subgroups-metric").get_by_text(metric, exact=True)
            clock(user, pace, "groups' metric", metric, lambda _, box=box: user.click(box))
    user.open_tab("Calibration")
    for _ in range(rounds):
        for label in ("Emphysema", "Atelectasis"):
            clock(user, pace, "finding", label, lambda label: option(user, "calibration.finding", label))
    user.open_tab("Threshold")
    slider = user.page.locator(".st-key-threshold input[type=range]")
    for _ in range(rounds):
        for key in ("ArrowRight", "ArrowLeft", "PageUp", "PageDown"):
            clock(user, pace, "slider", key, lambda key=key: user.answered(lambda: slider.press(key)))
        for cell in ("cell-fp", "cell-fn"):
            clock(user, pace, "cell", cell, user.press)


def _compare(user: Hands, pace: Pace, rounds: int) -> None:
    user.open_tab("Differences")
    for _ in range(rounds):
        for metric in ("AUROC", "AUPRC"):
            box = user.page.locator(".st-key-compare-metric").get_by_text(metric, exact=True)
            clock(user, pace, "differences' metric", metric, lambda _, box=box: user.click(box))
    user.open_tab("Disagreements")
    for _ in range(rounds):
        for label in ("Emphysema", "Atelectasis"):
            clock(user, pace, "scatter", label, lambda label: option(user, "compare-scatter-finding", label))


def main() -> None:
    """Print the 95th percentile of every kind of action."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/ctrate"))
    parser.add_argument("--folder", type=Path, help="keep the runs here, or use those that are there")
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
        with serving(folder) as server, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=find_browser(), args=["--no-sandbox"])
            context = browser.new_context(viewport={"width": 1440, "height": 1000})
            pace = walk(Hands(context, server.url), options.rounds)
            browser.close()
    print(pace.told())
    every = [value for values in pace.times.values() for value in values]
    print(f"{'all':20} p95 {statistics.quantiles(every, n=20, method='inclusive')[-1]:4.0f} ms, {len(every)} actions")


if __name__ == "__main__":
    main()
