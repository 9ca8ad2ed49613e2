"""With 500 runs in the store and a large evaluation: what a click costs, and how much the server sends for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from ctbench_ui.shared.style import FINDINGS
from tests.browser.hands import Hands
from tests.browser.pace import Pace, begin, crowd, walk

# The full walk, with 47,149 volumes, is `python -m benchmarks.pages`.
RUNS, VOLUMES, ROUNDS = 500, 5_000, 6
LIMITS_MS = {"first paint": 2000, "page change": 300, "filter": 300, "tab": 300, "slider": 300}
MESSAGE_BYTES = 2e6


def _missed(pace: Pace) -> dict[str, float]:
    return {kind: value for kind, value in pace.undisturbed().items() if value >= LIMITS_MS[kind]}


def test_pages_stay_quick_beside_500_runs(
    server: Any, user: Hands, make_config: Callable[..., Any], data: Path
) -> None:
    """Two walks, and more while a limit is missed, since other work on the machine may be why."""
    settings = {"paths.outputs_root": str(server.store), "training.max_epochs": 40}
    crowd(make_config(data, settings), RUNS, VOLUMES, list(FINDINGS))
    pace, busy = Pace(), 0.0
    begin(user, pace)
    for round_ in range(1, ROUNDS + 1):
        walk(user, pace)
        busy = max(busy, psutil.getloadavg()[0])
        if round_ > 1 and not _missed(pace):
            break
    assert pace.undisturbed().keys() == LIMITS_MS.keys()
    assert max(pace.sizes) < MESSAGE_BYTES
    cores = psutil.cpu_count() or 1
    if _missed(pace) and (busy > cores or cores < 2):
        pytest.skip(f"load {busy:.1f} on {cores} cores: not judged beside other work, times were {pace.undisturbed()}")
    assert _missed(pace) == {}, pace.times
