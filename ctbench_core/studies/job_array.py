"""Share a study among processes without connections between nodes: parts of the plan, and the script of a job array."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

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
    """Write the script of a job array that runs a planned study, and return its path.

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
    text = _SBATCH.format(
        name=folder.name,
        shards=shards,
        logs=logs,
        working=shlex.quote(str(Path.cwd())),
        python=shlex.quote(sys.executable),
        folder=shlex.quote(str(folder)),
    )
    write_text(paths.sbatch, text)
    return paths.sbatch
