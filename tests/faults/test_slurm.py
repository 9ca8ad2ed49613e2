"""A study as jobs of a real Slurm of one node: two jobs start, train, end, and start again until the study has finished.

Runs where CTBENCH_TEST_SLURM names a number of epochs, and `slurm-wlm` and `munge` are installed. With 3 no job reaches
its walltime, which is a minute at least (30 s in all); with 6000 there are several generations of jobs.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.executors import slurm_node

pytest.importorskip("dask_jobqueue", reason="pip install 'ctbench[cluster]'")
EPOCHS = int(os.environ.get("CTBENCH_TEST_SLURM", "0"))
pytestmark = pytest.mark.skipif(
    not (EPOCHS and slurm_node.is_possible()),
    reason="CTBENCH_TEST_SLURM=3 runs it, with Slurm: apt-get install slurm-wlm munge, as root",
)


def test_a_study_as_jobs_of_slurm(
    start_cli: Callable[..., Any], make_overrides: Callable[[Path], list[str]], tiny_data: Path, tmp_path: Path
) -> None:
    words = [*make_overrides(tiny_data), "utils.seed=1,2", "model=mlp_visual,linear_probe", "job_name=grid"]
    words += [f"training.max_epochs={EPOCHS}", f"training.early_stopping_patience={EPOCHS}", "training.threads=1"]
    jobs = "walltime=00:01:00,cores=1,mem=1500MB,interface=lo"
    with slurm_node.one_node(tmp_path / "slurm") as environment:
        there = start_cli(
            *["train", "-m", *words, "--json", "--cluster", "slurm", "--workers", "2", "--with", jobs], **environment
        )
        out, err = there.communicate(timeout=900)
    assert there.returncode == 0, err
    result = json.loads(out.splitlines()[-1])
    assert (result["finished"], result["failed"]) == (4, 0)
    assert result["executor"] == {"kind": "dask", "workers": 2}
    folder = Path(result["study_dir"])
    logs = list((folder / "logs").glob("ctbench-*.err"))
    assert len(logs) == 2 if EPOCHS < 10 else len(logs) > 2
    assert not list(folder.glob(".cluster*"))  # the key is gone
    here = start_cli("train", "-m", *words, f"paths.outputs_root={tmp_path / 'here'}", "--json")
    out, err = here.communicate(timeout=900)
    assert here.returncode == 0, err
    table = Path(json.loads(out.splitlines()[-1])["table"])
    assert table.read_text(encoding="utf-8") == Path(result["table"]).read_text(encoding="utf-8")
