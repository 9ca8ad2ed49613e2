"""With 500 runs in the store and a large evaluation: what a click costs, and how much the server sends for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from ctbench_ui.style import FINDINGS
from tests.browser.hands import Hands
from tests.browser.pace import crowd, measure

# The full walk, with 47,149 volumes, is `python -m benchmarks.pages`.
RUNS, VOLUMES, ROUNDS = 500, 5_000, 2
LIMITS_MS = {"first paint": 2000, "page change": 300, "filter": 300, "tab": 300, "slider": 300}
MESSAGE_BYTES = 2e6


def test_pages_stay_quick_beside_500_runs(
    server: Any, user: Hands, make_config: Callable[..., Any], data: Path
) -> None:
    settings = {"paths.outputs_root": str(server.store), "training.max_epochs": 40}
    crowd(make_config(data, settings), RUNS, VOLUMES, list(FINDINGS))
    pace = measure(user, ROUNDS)
    found = pace.p95()
    assert found.keys() == LIMITS_MS.keys()
    assert max(pace.sizes) < MESSAGE_BYTES
    busy, cores = psutil.getloadavg()[0], psutil.cpu_count() or 1
    if busy > cores or cores < 2:
        pytest.skip(f"load {busy:.1f} on {cores} cores: times are not judged beside other work, they were {found}")
    assert {kind: value for kind, value in found.items() if value >= LIMITS_MS[kind]} == {}, pace.times
