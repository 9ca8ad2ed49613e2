"""Processes of two hosts on one run store: every run is trained once, and none is seen as interrupted in between."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks.hosts import Form, measure


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot stop a process by a signal")
@pytest.mark.parametrize("locks", ["on", "off", "local"])
def test_a_stopped_process_keeps_its_runs(tmp_path: Path, locks: str) -> None:
    """The limits of heartbeats and the stop are a hundredth of the benchmark's, the clocks five minutes apart."""
    form = Form(minutes=0.03, locks=locks, runs=4, scale=0.01, trains=False)
    assert measure(form, 0, tmp_path) == []
