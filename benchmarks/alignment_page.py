"""The `align` verb with everything on, and its page in the browser, at 47,149 volumes.

Run it alone on the machine, from the project's root: ``python -m benchmarks.alignment_page <folder>``. The folder keeps
features, manifest and run store: what is there is used again; ``--measure`` only fills it. Times are from the press of
a button to the last change of the page, clocked in the page itself. It needs Chromium and Playwright.
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
from playwright.sync_api import sync_playwright

from benchmarks.alignment import synthetic
from ctbench_ui.shared.style import FINDINGS
from tests.browser.hands import Hands
from tests.browser.served import find_browser, serving

VOLUMES, LOOK_UPS, LOADS = 47_149, 30, 5
# Rises with every change inside the page's own part; the strip on top redraws itself all the time.
_CLOCK = """
window.ctbenchPressed = 0; window.ctbenchChanged = 0;
window.addEventListener("pointerdown", () => { window.ctbenchPressed = performance.now(); }, true);
new MutationObserver((changes) => {
  for (const { target } of changes) {
    const element = target instanceof Element ? target : target.parentElement;
    if (element && element.closest("[data-testid=stMain]") && !element.closest(".st-key-strip"))
      requestAnimationFrame(() => { window.ctbenchChanged = performance.now(); });
  }
}).observe(document, { subtree: true, childList: true, characterData: true });
"""
_QUIET = "window.ctbenchChanged > 0 && performance.now() - window.ctbenchChanged > 400"


def prepare(folder: Path, volumes: int) -> None:
    """Write one .npz a volume and one an exam's report, and a manifest with findings and reports' texts."""
    image, text, exams, codes = synthetic(volumes, "shared")
    draw = np.random.default_rng(1)
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
                report = " ".join(draw.choice(words, 120))
            findings = [codes[place] >> bit & 1 for bit in range(len(FINDINGS))]
            rows.writerow([name, f"image/{name}.npz", f"text/{exam}.npz", *findings, report])


def align(folder: Path) -> dict[str, Any]:
    """Run the verb in a process of its own: all directions, neighbours, findings, intervals and map."""
    words = [f"paths.data_root={folder}", f"paths.manifest_dir={folder / 'manifests'}", "data.train_manifest=train.csv"]
    words += [f"paths.outputs_root={folder / 'outputs'}", "analysis.within=true", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "ctbench_core", "align", *words], check=False, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def walk(folder: Path) -> None:
    """Serve the store, load the page, look up neighbours, and draw a lasso around everything."""
    with serving(folder) as server, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=["--no-sandbox"])
        sizes: list[int] = []

        def open_() -> Hands:
            user = Hands(browser.new_context(viewport={"width": 1440, "height": 1000}), server.url)
            user.page.add_init_script(_CLOCK)
            user.page.on("websocket", lambda ws: ws.on("framereceived", lambda frame: sizes.append(len(frame))))
            return user

        loads = [_load(open_()) for _ in range(LOADS)]
        print(f"page in a new browser, first of a server {loads[0]:,.0f} ms")
        _tell("page in a new browser", loads[1:])
        user = open_()
        _load(user)
        _tell("page opened again", [_load(user) for _ in range(LOADS)])
        _tell("neighbour look-up", [_look_up(user, place) for place in _begin(user)])
        for tab in ("Ranks and findings", "Map", "Figures"):
            print(f"tab {tab}: {_clocked(user, lambda tab=tab: user.open_tab(tab)):,.0f} ms")  # type: ignore[misc]
        _lasso(user)
        print(f"largest message {max(sizes) / 1e3:,.0f} kB")
        browser.close()


def _load(user: Hands) -> float:
    """Open the page; return milliseconds from the navigation's start to its last change, charts drawn."""
    user.page.goto("about:blank")
    user.go("alignment")
    user.page.locator("[data-testid=stPlotlyChart] .barlayer .bars").nth(1).wait_for()
    user.page.wait_for_function(_QUIET)
    return float(user.page.evaluate("window.ctbenchChanged"))


def _clocked(user: Hands, act: Callable[[], Any]) -> float:
    act()
    user.page.wait_for_function(f"window.ctbenchChanged > window.ctbenchPressed && {_QUIET}")
    return float(user.page.evaluate("window.ctbenchChanged - window.ctbenchPressed"))


def _begin(user: Hands) -> range:
    user.open_tab("Browse")
    user.button("browse-go-0").wait_for()
    return range(LOOK_UPS)


def _look_up(user: Hands, place: int) -> float:
    """Go from a neighbour back the other way."""
    asked = user.page.get_by_label("Volume, exam or patient").input_value()
    taken = _clocked(user, lambda: user.press(f"browse-go-{1 + place % 4}"))
    assert user.page.get_by_label("Volume, exam or patient").input_value() != asked
    return taken


def _lasso(user: Hands) -> None:
    user.open_tab("Map")
    plane = user.page.locator(".js-plotly-plot .nsewdrag").first
    plane.wait_for()
    user.page.wait_for_function(_QUIET)
    box = plane.bounding_box()
    assert box is not None
    left, right = box["x"] + 8, box["x"] + box["width"] - 8
    top, bottom = box["y"] + 8, box["y"] + box["height"] - 8

    def draw() -> None:
        user.page.mouse.move(left, top)
        user.page.mouse.down()
        for corner in ((right, top), (right, bottom), (left, bottom), (left, top)):
            user.page.mouse.move(*corner, steps=6)
        user.page.mouse.up()
        user.page.get_by_text("volumes selected").wait_for()

    taken = _clocked(user, draw)
    print(f"lasso: {user.page.get_by_text('volumes selected').inner_text()} in {taken:,.0f} ms, the drawing included")
    print(f"its CSV has {len(user.frame('map-csv')):,} rows")


def _tell(name: str, times: list[float]) -> None:
    p95 = statistics.quantiles(times, n=20, method="inclusive")[-1]
    print(f"{name}: p95 {p95:,.0f} ms, median {statistics.median(times):,.0f}, n = {len(times)}", flush=True)


def main() -> None:
    """Fill the folder where it is empty, then walk through the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--volumes", type=int, default=VOLUMES)
    parser.add_argument("--measure", action="store_true", help="run the verb again, and stop there")
    given = parser.parse_args()
    if not (given.folder / "manifests").is_dir():
        prepare(given.folder, given.volumes)
    if given.measure or not (given.folder / "outputs").is_dir():
        found = align(given.folder)
        told = ", ".join(f"{name} {value:.1f}" for name, value in found["seconds"].items())
        print(f"align, {found['samples_analyzed']:,} pairs: {told} s, peak {found['peak_gib']:.2f} GiB", flush=True)
    if not given.measure:
        walk(given.folder)


if __name__ == "__main__":
    main()
