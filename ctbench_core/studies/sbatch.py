"""A job array for a cluster: any number of nodes work off one study in one shared folder."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from ctbench_core.atomic import write_text
from ctbench_core.errors import ConfigError
from ctbench_core.studies.layout import StudyPaths

_SCRIPT = """#!/bin/bash
# Works off the study {name} as {shards} shards that share one folder; submit it again to go on where it stopped.
#SBATCH --job-name={job}
#SBATCH --array=1-{shards}
#SBATCH --cpus-per-task=2
#SBATCH --mem=8G
#SBATCH --time=04:00:00
#SBATCH --output={logs}/%A_%a.log
# For a GPU, uncomment: #SBATCH --gres=gpu:1

cd {working}
export OMP_NUM_THREADS=${{SLURM_CPUS_PER_TASK:-1}}
exec {python} -m ctbench_core study {folder} --shard ${{SLURM_ARRAY_TASK_ID:-1}}/{shards}
"""


def write_sbatch(paths: StudyPaths, shards: int) -> Path:
    """Write the script into the study's folder and return where it lies.

    Raises:
        ConfigError: fewer than one shard.
    """
    if shards < 1:
        raise ConfigError(f"{shards} shards were asked for; at least 1 is needed.")
    folder = paths.root.resolve()
    logs = folder / "logs"
    logs.mkdir(exist_ok=True)
    text = _SCRIPT.format(
        name=folder.name,
        job=folder.name,
        shards=shards,
        logs=logs,
        working=shlex.quote(str(Path.cwd())),
        python=shlex.quote(sys.executable),
        folder=shlex.quote(str(folder)),
    )
    write_text(paths.sbatch, text)
    return paths.sbatch
