"""What a click costs in the browser with 500 runs in the store and an evaluation of 47,149 volumes x 18 findings.

Every figure is from the press to the frame that follows the whole answer, clocked in the page itself; beside it, to the
last change of the page. Run it alone on the machine: `python -m benchmarks.pages`. It needs Chromium and Playwright.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from ctbench_core.config import Config
from ctbench_core.demo import write_demo
from ctbench_ui.shared.style import FINDINGS
from tests.browser.hands import Hands
from tests.browser.pace import Pace, crowd, measure
from tests.browser.served import find_browser, serving

RUNS, VOLUMES = 500, 47_149


def prepare(folder: Path) -> None:
    """Fill ``folder/outputs``: 500 runs of the demo data, and predictions of 47,149 volumes."""
    made = write_demo(folder / "demo")
    config = Config()
    config.paths.data_root, config.paths.manifest_dir = str(made["data_root"]), str(made["manifest_dir"])
    config.paths.outputs_root, config.training.max_epochs = str(folder / "outputs"), 60
    crowd(config, RUNS, VOLUMES, list(FINDINGS))


def walk(folder: Path, rounds: int) -> Pace:
    """Serve the store of a folder, and walk through it."""
    with serving(folder) as server, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=["--no-sandbox"])
        context = browser.new_context(viewport={"width": 1440, "height": 1000})
        pace = measure(Hands(context, server.url), rounds)
        browser.close()
    return pace


def main() -> None:
    """Print the 95th percentile of every kind of action, and the largest message."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="keep the store here, or use the one that is there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        if not (folder / "outputs").is_dir():
            prepare(folder)
        pace = walk(folder, options.rounds)
    print(pace.told())
    for kind, values in pace.drawn.items():
        print(f"{kind:12} to the last change: median {statistics.median(values):4.0f} ms, at most {max(values):4.0f}")
    print(f"largest message {max(pace.sizes) / 1e3:,.0f} kB")


if __name__ == "__main__":
    main()
