"""Processes of two hosts on one run store: every run is trained once, and none is seen as interrupted in between."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks.hosts import Form, measure


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot stop a process by a signal")
def test_a_stopped_process_keeps_its_runs_without_file_locks(tmp_path: Path) -> None:
    """One process is stopped for longer than the limit of heartbeats; clocks are five minutes apart, one is set."""
    form = Form(minutes=0.03, locks="off", runs=4, scale=0.004, trains=False)
    assert measure(form, 0, tmp_path) == []
