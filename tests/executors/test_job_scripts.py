"""The scripts of jobs of all five queueing systems, and of the job array, against those that were read and approved."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from ctbench_core.errors import ConfigError
from ctbench_core.executors import SYSTEMS, parse_options
from ctbench_core.studies import StudyPaths, write_sbatch

GOLDENS = Path(__file__).parent / "job_scripts"
ASKED = "account=lab,walltime=04:00:00,gres=gpu:2,mem=16GiB,cores=4"


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_script_of_a_job(system: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    dask = pytest.importorskip("dask", reason="pip install 'ctbench[cluster]'")
    pytest.importorskip("dask_jobqueue")
    from ctbench_core.executors.queueing import cluster_class, job_options

    monkeypatch.chdir(tmp_path)
    queue = "" if system == "htcondor" else ",queue=gpu"
    options = parse_options(2, system, [ASKED + queue])
    with dask.config.set({f"jobqueue.{system}.job-script-prologue": ["module load python"]}):
        wanted = job_options(options, tmp_path)
    job = cluster_class(options).job_cls(scheduler="tls://login:8786", name="ctbench-0", python="python", **wanted)
    script = job.job_script().replace(str(tmp_path), "/study")
    assert script == (GOLDENS / f"{system}.txt").read_text(encoding="utf-8")


def test_a_request_that_a_system_lacks_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("dask_jobqueue", reason="pip install 'ctbench[cluster]'")
    from ctbench_core.executors.queueing import job_options

    for system, asked in (("htcondor", "queue=gpu"), ("pbs", "gres=license:1"), ("lsf", "gres=gpu:a100:2")):
        with pytest.raises(ConfigError, match="--with"):
            job_options(parse_options(1, system, [asked]), tmp_path)


@pytest.mark.skipif(os.name == "nt", reason="Slurm does not run on Windows")
def test_the_job_array_asks_for_what_is_given(tmp_path: Path) -> None:
    paths = StudyPaths(tmp_path)
    asked = {"queue": "gpu", "account": "lab", "gres": "gpu:1", "walltime": "01:00:00", "mem": "4G", "cores": "3"}
    text = write_sbatch(paths, 5, asked).read_text(encoding="utf-8")
    for line in (
        "partition=gpu",
        "account=lab",
        "gres=gpu:1",
        "time=01:00:00",
        "mem=4G",
        "cpus-per-task=3",
        "array=1-5",
    ):
        assert f"#SBATCH --{line}\n" in text
    assert "#SBATCH --requeue\n" in text
    subprocess.run(["bash", "-n", str(paths.sbatch)], check=True)
    plain = write_sbatch(paths, 5).read_text(encoding="utf-8")
    assert "#SBATCH --time=04:00:00\n" in plain
    assert "partition" not in plain


@pytest.mark.skipif(os.name == "nt", reason="Slurm does not run on Windows")
def test_a_shard_that_is_stopped_by_its_time_goes_back_into_the_queue(tmp_path: Path) -> None:
    script = write_sbatch(StudyPaths(tmp_path), 1)
    program = tmp_path / "python"  # stands for the shard: it saves its state on TERM
    program.write_text("#!/bin/bash\ntrap 'echo saved >> saved; exit 130' TERM\ntouch ready\nsleep 20 & wait $!\n")
    requeue = tmp_path / "scontrol"
    requeue.write_text('#!/bin/bash\necho "$@" > requeued\n')
    for file in (program, requeue):
        file.chmod(0o755)
    text = script.read_text().replace(f"cd {Path.cwd()}", f"cd {tmp_path}")
    script.write_text(
        "\n".join(
            f"{program} {line[line.index('-m') :]}" if "-m ctbench_core" in line else line for line in text.splitlines()
        )
    )
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "7"}
    with subprocess.Popen(["bash", str(script)], cwd=tmp_path, env=environment) as job:
        while not (tmp_path / "ready").exists():
            assert job.poll() is None
        job.terminate()
        assert job.wait(10) == 143
    assert (tmp_path / "saved").read_text() == "saved\n"
    assert (tmp_path / "requeued").read_text() == "requeue 7\n"
