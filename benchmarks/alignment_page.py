"""Time the `align` verb with every analysis switched on, and its page in the browser, at 47,149 volumes.

Run it on an idle machine, from the project's root: ``python -m benchmarks.alignment_page <folder>``. The folder keeps
features, manifest and run store, which a later call uses again; ``--measure`` only runs the verb. Times run from the
press of a button to the last change of the page, measured in the page itself. It needs Chromium and Playwright.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.alignment import synthetic
from ctbench_core.palette import FINDINGS
from tests.browser.browser_user import BrowserUser, open_app
from tests.browser.timings import Timings, p95

VOLUMES, LOOK_UPS, LOADS = 47_149, 30, 5
QUERY = "browse.part"
# Notes every change in the page's own part; the status bar, which redraws itself all the time, does not count.
_WATCH = """
window.ctbenchPressed = 0; window.ctbenchChanged = 0;
window.addEventListener("pointerdown", () => { window.ctbenchPressed = performance.now(); }, true);
new MutationObserver((changes) => {
  for (const { target } of changes) {
    const element = target instanceof Element ? target : target.parentElement;
    if (element && element.closest("[data-testid=stMain]") && !element.closest(".st-key-top"))
      requestAnimationFrame(() => { window.ctbenchChanged = performance.now(); });
  }
}).observe(document, { subtree: true, childList: true, characterData: true });
"""
_QUIET = "window.ctbenchChanged > 0 && performance.now() - window.ctbenchChanged > 400"


def prepare(folder: Path, volumes: int) -> None:
    """Write one .npz per volume and per report, and a manifest with findings and report texts."""
    image, text, exams, codes = synthetic(volumes, "shared")
    rng = np.random.default_rng(1)
    words = np.array([f"{first}{last}" for first in "abcdefghij" for last in ("trium", "opacity", "nodule", "lung")])
    for kind in ("image", "text", "manifests"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    with (folder / "manifests" / "train.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["volumename", "visual_feature_path", "text_feature_path", *FINDINGS, "Findings_EN"])
        report = ""
        for place in range(volumes):
            exam = f"train_{exams[place] + 1}_a"
            name = f"{exam}_{place % 2 + 1}"
            np.savez(folder / "image" / f"{name}.npz", image[place])
            if place % 2 == 0:
                np.savez(folder / "text" / f"{exam}.npz", text[place])
                report = " ".join(rng.choice(words, 120))
            findings = [codes[place] >> bit & 1 for bit in range(len(FINDINGS))]
            rows.writerow([name, f"image/{name}.npz", f"text/{exam}.npz", *findings, report])


def align(folder: Path) -> dict[str, Any]:
    """Run the verb in a process of its own: all directions, neighbours, findings, intervals and map."""
    overrides = [f"paths.data_root={folder}", f"paths.manifest_dir={folder / 'manifests'}"]
    overrides += ["data.train_manifest=train.csv", f"paths.outputs_root={folder / 'outputs'}", "analysis.within=true"]
    process = subprocess.run(
        [sys.executable, "-m", "ctbench_core", "align", *overrides, "--json"],
        check=False,
        capture_output=True,
        text=True,
    )
    if process.returncode:
        raise RuntimeError(process.stderr)
    return json.loads(process.stdout.splitlines()[-1])


def walk(folder: Path) -> None:
    """Load the page, look up neighbours, open tabs, and draw a lasso around all points."""
    messages = Timings()
    with open_app(folder) as new_user:

        def open_browser() -> BrowserUser:
            user = new_user()
            user.page.add_init_script(_WATCH)
            messages.watch_messages(user)
            return user

        loads = [_load(open_browser()) for _ in range(LOADS)]
        print(f"page in a new browser, first of a server {loads[0]:,.0f} ms")
        _print("page in a new browser", loads[1:])
        user = open_browser()
        _load(user)
        _print("page opened again", [_load(user) for _ in range(LOADS)])
        user.open_tab("alignment", "browse")
        user.button("browse-go-0").wait_for()
        _print("neighbour look-up", [_look_up(user, place) for place in range(LOOK_UPS)])
        for tab in ("ranks and findings", "map", "metrics"):
            print(f"tab {tab}: {_time(user, lambda tab=tab: user.open_tab('alignment', tab)):,.0f} ms")  # type: ignore[misc]
        _lasso(user)
    print(f"largest message {max(messages.sizes) / 1e3:,.0f} kB")


def _load(user: BrowserUser) -> float:
    """Load the page; return the milliseconds from the start of the navigation to the last change, charts included."""
    user.page.goto("about:blank")
    user.go("alignment")
    user.page.locator("[data-testid=stPlotlyChart] .barlayer .bars").nth(1).wait_for()
    user.page.wait_for_function(_QUIET)
    return float(user.page.evaluate("window.ctbenchChanged"))


def _time(user: BrowserUser, action: Callable[[], Any]) -> float:
    action()
    user.page.wait_for_function(f"window.ctbenchChanged > window.ctbenchPressed && {_QUIET}")
    return float(user.page.evaluate("window.ctbenchChanged - window.ctbenchPressed"))


def _look_up(user: BrowserUser, place: int) -> float:
    """Search from one of the neighbours, in the other direction."""
    query = user.field(QUERY).input_value()
    milliseconds = _time(user, lambda: user.press(f"browse-go-{1 + place % 4}"))
    assert user.field(QUERY).input_value() != query
    return milliseconds


def _lasso(user: BrowserUser) -> None:
    user.open_tab("alignment", "map")
    plot = user.page.locator(".js-plotly-plot .nsewdrag").first
    plot.wait_for()
    user.page.wait_for_function(_QUIET)
    box = plot.bounding_box()
    assert box is not None
    left, right = box["x"] + 8, box["x"] + box["width"] - 8
    top, bottom = box["y"] + 8, box["y"] + box["height"] - 8

    def draw() -> None:
        user.page.mouse.move(left, top)
        user.page.mouse.down()
        for corner in ((right, top), (right, bottom), (left, bottom), (left, top)):
            user.page.mouse.move(*corner, steps=6)
        user.page.mouse.up()
        user.widget("map.table").wait_for()

    milliseconds = _time(user, draw)
    rows = len(user.download_table("selection-csv"))
    print(f"lasso: {rows:,} volumes in {milliseconds:,.0f} ms, including the drawing")


def _print(name: str, times: list[float]) -> None:
    median = statistics.median(times)
    print(f"{name}: p95 {p95(times):,.0f} ms, median {median:,.0f}, n = {len(times)}", flush=True)


def main() -> None:
    """Fill the folder where it is empty, then time the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--volumes", type=int, default=VOLUMES)
    parser.add_argument("--measure", action="store_true", help="only run the verb")
    options = parser.parse_args()
    if not (options.folder / "manifests").is_dir():
        prepare(options.folder, options.volumes)
    if options.measure or not (options.folder / "outputs").is_dir():
        result = align(options.folder)
        steps = ", ".join(f"{name} {seconds:.1f}" for name, seconds in result["seconds"].items())
        print(f"align, {result['samples_analyzed']:,} pairs: {steps} s, peak {result['peak_gib']:.2f} GiB", flush=True)
    if not options.measure:
        walk(options.folder)


if __name__ == "__main__":
    main()
