"""Starts that fail or are given up, and those that outlive their terminal."""

from __future__ import annotations

import os
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
    paths = StudyPaths(folder)
    assert study_status(paths, read_plan(paths)).counts["finished"] == 2
    assert "2 finished" in Path(started.json["log"]).read_text(encoding="utf-8")


@pytest.mark.skipif(os.name == "nt", reason="a shell script stands for sbatch")
@pytest.mark.filterwarnings("ignore")
def test_a_job_that_the_queue_refuses_is_an_error_and_a_stop_ends_the_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("dask_jobqueue", reason="pip install 'ctbench[cluster]'")
    from ctbench_core.executors.dask_executor import open_dask

    sbatch = tmp_path / "sbatch"
    sbatch.write_text("#!/bin/sh\necho 'invalid account' >&2; exit 1\n", encoding="utf-8")
    sbatch.chmod(0o755)
    (tmp_path / "scancel").symlink_to("/bin/true")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    options = parse_options(2, "slurm", ["interface=lo"])
    with pytest.raises(RunError, match=r"slurm refuses the job: .*invalid account"), open_dask(options, tmp_path):
        pass
    sbatch.write_text("#!/bin/sh\necho Submitted batch job 7\n", encoding="utf-8")
    cancel = threading.Event()
    threading.Timer(1.0, cancel.set).start()
    started = time.monotonic()
    with open_dask(options, tmp_path, cancel=cancel) as executor:
        assert executor.pending == 0
    assert time.monotonic() - started < 60
    assert not list(tmp_path.glob(".cluster*"))  # the key is gone
