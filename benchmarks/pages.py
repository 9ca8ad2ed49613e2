"""Time clicks in the browser with 5,000 runs in the store and an evaluation of 47,149 volumes x 18 findings.

Each time runs from the press to the first frame after the complete answer, measured in the page itself; the time to the
last change of the page is printed as well. Run it on an idle machine: `python -m benchmarks.pages`. It needs Chromium
and Playwright.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from ctbench_core.config import Config
from ctbench_core.demo import write_demo
from ctbench_core.palette import FINDINGS
from tests.browser.browser_user import open_app
from tests.browser.timings import measure, write_large_store

RUNS, VOLUMES = 5_000, 47_149


def prepare(folder: Path, runs: int) -> None:
    """Write runs on the demo data and predictions of 47,149 volumes into ``folder/outputs``."""
    demo = write_demo(folder / "demo")
    config = Config()
    config.paths.data_root, config.paths.manifest_dir = str(demo["data_root"]), str(demo["manifest_dir"])
    config.paths.outputs_root, config.training.max_epochs = str(folder / "outputs"), 60
    write_large_store(config, runs, VOLUMES, list(FINDINGS))


def main() -> None:
    """Print the 95th percentile of each kind of action, and the largest message."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="keep the store here, or use the existing one")
    parser.add_argument("--runs", type=int, default=RUNS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        if not (folder / "outputs").is_dir():
            prepare(folder, options.runs)
        with open_app(folder) as new_user:
            timings = measure(new_user(), options.rounds)
    print(timings.summary())
    for kind, values in timings.drawn.items():
        print(f"{kind:12} to the last change: median {statistics.median(values):4.0f} ms, at most {max(values):4.0f}")
    print(f"largest message {max(timings.sizes) / 1e3:,.0f} kB")


if __name__ == "__main__":
    main()
