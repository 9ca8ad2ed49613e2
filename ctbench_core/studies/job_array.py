"""Share a study among processes without connections between nodes: parts of the plan, and the script of a job array."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from ctbench_core.atomic import write_text
from ctbench_core.errors import ConfigError
from ctbench_core.studies.layout import StudyPaths


def read_shard(text: str | None) -> tuple[int, int]:
    """Read ``i/n``, counted from 0 or from 1: each shard starts at another bank, and helps the others at its end.

    Raises:
        ConfigError: the text is not such a pair.
    """
    if not text:
        return 0, 1
    part, _, count = text.partition("/")
    if not (part.isdigit() and count.isdigit() and int(count) > 0 and int(part) <= int(count)):
        raise ConfigError(f"--shard is {text!r}; expected i/n, such as 1/3.")
    return int(part) % int(count), int(count)


_SBATCH = """#!/bin/bash
# Trains the study {name} as {shards} shards that share one folder; submit it again to continue where it stopped.
#SBATCH --job-name={name}
#SBATCH --array=1-{shards}
{requests}
#SBATCH --output={logs}/%A_%a.log
#SBATCH --requeue
#SBATCH --signal=B:TERM@120

cd {working}
export OMP_NUM_THREADS=${{SLURM_CPUS_PER_TASK:-1}}
# Two minutes before its time ends, Slurm sends TERM: the runs save their state, and the job goes back into the queue.
{python} -m ctbench_core study {folder} --shard ${{SLURM_ARRAY_TASK_ID:-1}}/{shards} &
trap 'ending=1; kill -TERM $!' TERM
wait $!; code=$?
if [ -n "$ending" ]; then wait $!; scontrol requeue "$SLURM_JOB_ID"; fi
exit $code
"""
_FLAGS = {
    "queue": "partition",
    "account": "account",
    "cores": "cpus-per-task",
    "mem": "mem",
    "walltime": "time",
    "gres": "gres",
}
_REQUESTS = {"cores": "2", "mem": "8G", "walltime": "04:00:00"}


def write_sbatch(paths: StudyPaths, shards: int, requests: Mapping[str, str] = MappingProxyType({})) -> Path:
    """Write the script of a job array that runs a planned study, and return its path.

    Args:
        requests: what a job asks for: queue, account, cores, mem, walltime, gres.

    Raises:
        ConfigError: fewer than one shard, or Windows, which no such cluster has.
    """
    if shards < 1:
        raise ConfigError(f"The number of shards is {shards}; expected at least 1.")
    if os.name == "nt":
        raise ConfigError(
            "--sbatch writes the script of a Slurm cluster with this machine's paths: use it on the cluster."
        )
    folder = paths.root.resolve()
    logs = folder / "logs"
    logs.mkdir(exist_ok=True)
    wanted = _REQUESTS | dict(requests)
    text = _SBATCH.format(
        name=folder.name,
        shards=shards,
        requests="\n".join(f"#SBATCH --{flag}={wanted[name]}" for name, flag in _FLAGS.items() if name in wanted),
        logs=logs,
        working=shlex.quote(str(Path.cwd())),
        python=shlex.quote(sys.executable),
        folder=shlex.quote(str(folder)),
    )
    write_text(paths.sbatch, text)
    return paths.sbatch
