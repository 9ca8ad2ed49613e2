"""Processes of two hosts on one run store: every run is trained once, and none is seen as interrupted in between."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks import claims
from benchmarks.hosts import Form, measure


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot stop a process by a signal")
def test_a_stopped_process_keeps_its_runs_without_file_locks(tmp_path: Path) -> None:
    """One process is stopped for longer than the limit of heartbeats; clocks are five minutes apart, one is set."""
    form = Form(minutes=0.03, locks="off", runs=4, scale=0.004, trains=False)
    assert measure(form, 0, tmp_path) == []


@pytest.mark.skipif(os.name == "nt", reason="the locks of Windows reach other hosts")
@pytest.mark.parametrize("locks", ["off", "local"])
def test_two_hosts_never_claim_one_bank(locks: str, tmp_path: Path) -> None:
    """Both try at the same moment; without the lock of files beside the system's, they had it in four of five tries."""
    assert claims.measure(8, locks, tmp_path) == {"one": 8, "both": 0, "none": 0}
