"""Starts that fail or are given up, and those that outlive their terminal."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from ctbench_core.errors import RunError
from ctbench_core.executors import parse_options
from ctbench_core.studies import StudyPaths, read_plan, study_status


def test_a_detached_study_is_a_process_of_its_own(cli: Any, overrides: list[str]) -> None:
    started = cli("train", "-m", *overrides, "utils.seed=1,2", "job_name=grid", "--detach")
    assert started.code == 0, started.err
    process, folder = psutil.Process(started.json["pid"]), Path(started.json["study_dir"])
    if os.name != "nt":
        assert os.getsid(process.pid) == process.pid != os.getsid(0)
    process.wait(60)
    paths, log = StudyPaths(folder), Path(started.json["log"]).read_text(encoding="utf-8")
    assert study_status(paths, read_plan(paths)).counts["finished"] == 2, log
    assert "2 finished" in log


def refused_then_stopped(folder: Path) -> None:
    """Ask a queue that refuses the job, then one whose job never starts."""
    from ctbench_core.executors.dask_executor import open_dask

    options = parse_options(2, "slurm", ["interface=lo"])
    with pytest.raises(RunError, match=r"slurm refuses the job: .*invalid account"), open_dask(options, folder):
        pass
    (folder / "sbatch").write_text("#!/bin/sh\necho Submitted batch job 7\n", encoding="utf-8")
    cancel = threading.Event()
    threading.Timer(1.0, cancel.set).start()
    started = time.monotonic()
    with open_dask(options, folder, cancel=cancel) as executor:
        assert executor.pending == 0
    assert time.monotonic() - started < 60
    assert not list(folder.glob(".cluster*"))  # the key is gone


@pytest.mark.skipif(os.name == "nt", reason="a shell script stands for sbatch")
def test_a_job_that_the_queue_refuses_is_an_error_and_a_stop_ends_the_wait(tmp_path: Path) -> None:
    """In a process of its own: dask-jobqueue leaves files to the collector, which would disturb another test."""
    pytest.importorskip("dask_jobqueue", reason="pip install 'ctbench[cluster]'")
    sbatch = tmp_path / "sbatch"
    sbatch.write_text("#!/bin/sh\necho 'invalid account' >&2; exit 1\n", encoding="utf-8")
    sbatch.chmod(0o755)
    (tmp_path / "scancel").symlink_to("/bin/true")
    project = Path(__file__).resolve().parents[2]
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.executors.test_starting", str(tmp_path)],
        cwd=project,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(project)},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr


if __name__ == "__main__":
    refused_then_stopped(Path(sys.argv[1]))
