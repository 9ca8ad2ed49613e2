"""With 500 runs in the store and a large evaluation: what a click costs, and how much the server sends for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from ctbench_ui.style import FINDINGS
from tests.browser.hands import Hands
from tests.browser.pace import crowd, measure

RUNS, VOLUMES, ROUNDS = 500, 47_149, 2
CLICK_MS, PAINT_MS, MESSAGE_BYTES = 300, 2000, 2e6
# The limits hold on an idle machine of two cores; beside other work a click waits for its turn.
CROWDED = 3


def test_pages_stay_quick_beside_500_runs(
    server: Any, user: Hands, make_config: Callable[..., Any], data: Path
) -> None:
    settings = {"paths.outputs_root": str(server.store), "training.max_epochs": 40}
    crowd(make_config(data, settings), RUNS, VOLUMES, list(FINDINGS))
    pace = measure(user, ROUNDS)
    share = CROWDED if psutil.getloadavg()[0] > psutil.cpu_count() or psutil.cpu_count() < 2 else 1
    limits = dict.fromkeys(("page change", "filter", "tab", "slider"), CLICK_MS * share)
    limits["first paint"] = PAINT_MS * share
    found = pace.p95()
    assert found.keys() == limits.keys()
    assert {kind: value for kind, value in found.items() if value >= limits[kind]} == {}, pace.times
    assert max(pace.sizes) < MESSAGE_BYTES
