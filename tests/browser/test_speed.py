"""Limit the time of a click, and the size of its answer, with 500 runs in the store and a large evaluation."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from ctbench_ui.shared import FINDINGS
from tests.browser.app_server import AppServer
from tests.browser.browser_user import BrowserUser, sync_api
from tests.browser.contexts import Contexts
from tests.browser.timings import Timings, visit_pages, walk, write_large_store

# The complete walk, with 47,149 volumes, is `python -m benchmarks.pages`.
RUNS, VOLUMES, ROUNDS = 500, 5_000, 10
LIMITS_MS = {"first paint": 2000, "page change": 300, "filter": 300, "tab": 300, "slider": 300}
MESSAGE_BYTES = 2e6


@pytest.fixture
def contexts(browser: sync_api.Browser) -> Contexts:
    """Return a browser that has loaded nothing yet."""
    return Contexts(browser)


def _too_slow(timings: Timings) -> dict[str, float]:
    return {kind: value for kind, value in timings.best_p95().items() if value >= LIMITS_MS[kind]}


@pytest.mark.skipif(
    "PYTEST_XDIST_WORKER" in os.environ, reason="times are measured alone: python -m pytest tests/browser/test_speed.py"
)
def test_pages_stay_quick_with_500_runs(
    server: AppServer, user: BrowserUser, make_config: Callable[..., Any], data: Path
) -> None:
    """Two walks, and more while one is too slow, since other work on the machine may be the reason."""
    settings = {"paths.outputs_root": str(server.store), "training.max_epochs": 40}
    write_large_store(make_config(data, settings), RUNS, VOLUMES, list(FINDINGS))
    timings, load = Timings(), 0.0
    visit_pages(user, timings)
    for round_ in range(1, ROUNDS + 1):
        walk(user, timings)
        load = max(load, psutil.getloadavg()[0])
        if round_ > 1 and not _too_slow(timings):
            break
    assert timings.best_p95().keys() == LIMITS_MS.keys()
    assert max(timings.sizes) < MESSAGE_BYTES
    cores = psutil.cpu_count() or 1
    if _too_slow(timings) and (load > cores or cores < 2):
        pytest.skip(f"load {load:.1f} on {cores} cores: too busy to judge, times were {timings.best_p95()}")
    assert _too_slow(timings) == {}, timings.times
