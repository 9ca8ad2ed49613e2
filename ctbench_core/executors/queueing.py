"""Start workers as jobs of a queueing system, through dask-jobqueue: what a job asks for, and how long its worker lives.

What is not asked for comes from Dask's configuration of the site (``jobqueue.slurm`` and so on).
"""

from __future__ import annotations

import logging
import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import dask
import dask_jobqueue
from distributed import Security

from ctbench_core.errors import ConfigError, RunError
from ctbench_core.executors.options import ClusterOptions, walltime_seconds
from ctbench_core.executors.worker import SLOT

LOOPBACK = "127.0.0.1"
CREDENTIALS = ".cluster-"
CORES, MEMORY = 2, "8GB"
# A worker ends so many seconds before its job's walltime, a quarter of a short one: its bank has left before.
ENDS_S = 120
_CLASSES = {
    "slurm": "SLURMCluster",
    "pbs": "PBSCluster",
    "lsf": "LSFCluster",
    "sge": "SGECluster",
    "htcondor": "HTCondorCluster",
}


def start_jobs(options: ClusterOptions, folder: Path) -> Any:
    """Start a scheduler that the nodes of a queueing system reach by TLS; its jobs are asked for afterwards.

    Raises:
        ConfigError: a job cannot be described. RunError: no scheduler can listen there.
    """
    credentials = tempfile.mkdtemp(prefix=CREDENTIALS, dir=folder)  # readable by this user alone
    (folder / "logs").mkdir(exist_ok=True)
    kind = cluster_class(options)
    try:
        return kind(
            job_cls=_remembering(kind.job_cls),
            security=Security.temporary(),
            protocol="tls://",
            interface=options.requests.get("interface"),
            shared_temp_directory=credentials,
            scheduler_options={"dashboard_address": f"{LOOPBACK}:0"},
            silence_logs=logging.CRITICAL,
            **job_options(options, folder),
        )
    except (ValueError, TypeError) as error:
        raise ConfigError(f"The jobs of {options.cluster} cannot be described: {error}") from error
    except (OSError, RuntimeError) as error:
        raise RunError(f"No scheduler could start for the jobs of {options.cluster}: {error}") from error


def _remembering(job_class: Any) -> Any:
    """Return a class of jobs that keeps why the last one was refused: Dask writes it into a log alone."""

    class Job(job_class):
        refused = ""

        async def _submit_job(self, script_filename: str) -> Any:
            try:
                answer = await super()._submit_job(script_filename)
            except (RuntimeError, OSError) as error:
                Job.refused = " ".join(str(error).split())
                raise
            Job.refused = ""
            return answer

    return Job


def cluster_class(options: ClusterOptions) -> Any:
    """Return the class of dask-jobqueue for a queueing system."""
    return getattr(dask_jobqueue, _CLASSES[options.cluster])


def job_options(options: ClusterOptions, folder: Path) -> dict[str, Any]:
    """Return what one job asks for, as dask-jobqueue takes it.

    Raises:
        ConfigError: the system has no such request.
    """
    site = f"jobqueue.{options.cluster}"
    cores = options.number("cores") or dask.config.get(f"{site}.cores") or CORES
    memory = options.requests.get("mem") or dask.config.get(f"{site}.memory") or MEMORY
    walltime = options.requests.get("walltime") or dask.config.get(f"{site}.walltime", None)
    threads = options.number("threads") or max(1, cores // processes(options))
    exports = [f"export {name}={threads}" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")]
    exports += ["export DASK_DISTRIBUTED__WORKER__MEMORY__TERMINATE=False"]
    return {
        "cores": cores,
        "memory": memory,
        "processes": processes(options),
        "log_directory": str((folder / "logs").absolute()),
        "job_name": "ctbench",
        "job_script_prologue": [*dask.config.get(f"{site}.job-script-prologue", []), *exports],
        "worker_extra_args": [*dask.config.get(f"{site}.worker-extra-args", []), *_worker_arguments(walltime)],
        **_SYSTEMS[options.cluster](options.requests, cores, memory),
    }


def _worker_arguments(walltime: str | None) -> list[str]:
    arguments = ["--resources", f"{SLOT}=1", "--no-dashboard", "--dashboard-address", f"{LOOPBACK}:0"]
    if walltime:
        seconds = walltime_seconds(str(walltime))
        arguments += ["--lifetime", f"{seconds - min(ENDS_S, seconds // 4)}s"]
    return arguments


def processes(options: ClusterOptions) -> int:
    """Return how many workers a job has: one for each of its GPUs."""
    match = re.search(r"gpu(?::[A-Za-z]\w*)?[:=](\d+)", options.requests.get("gres", ""))
    return int(match[1]) if match else 1


def _gpus(requests: Mapping[str, str]) -> int:
    """Return the GPUs of a job, for systems that count them.

    Raises:
        ConfigError: the request is none of a number of GPUs.
    """
    gres = requests.get("gres", "")
    match = re.fullmatch(r"gpu[:=](\d+)", gres)
    if gres and not match:
        raise ConfigError(
            f"--with gres is {gres!r}; expected gpu:N here. Other resources go into Dask's configuration "
            "(job-extra-directives)."
        )
    return int(match[1]) if match else 0


def _slurm(requests: Mapping[str, str], cores: int, memory: str) -> dict[str, Any]:
    extra = [f"--gres={requests['gres']}"] if "gres" in requests else []
    return _named(requests, account="account") | _extra("slurm", extra)


def _pbs(requests: Mapping[str, str], cores: int, memory: str) -> dict[str, Any]:
    gpus = _gpus(requests)
    spec = {"resource_spec": f"select=1:ncpus={cores}:mem={_whole_mib(memory)}MB:ngpus={gpus}"} if gpus else {}
    return _named(requests, account="account") | spec


def _lsf(requests: Mapping[str, str], cores: int, memory: str) -> dict[str, Any]:
    gpus = _gpus(requests)
    named = _named(requests, account="project")
    if "walltime" in named:  # LSF counts hours and minutes
        minutes = -(-walltime_seconds(named["walltime"]) // 60)
        named["walltime"] = f"{minutes // 60}:{minutes % 60:02d}"
    return named | _extra("lsf", [f"-gpu num={gpus}"] if gpus else [])


def _sge(requests: Mapping[str, str], cores: int, memory: str) -> dict[str, Any]:
    gpus = _gpus(requests)
    return _named(requests, account="project") | _extra("sge", [f"-l gpu={gpus}"] if gpus else [])


def _htcondor(requests: Mapping[str, str], cores: int, memory: str) -> dict[str, Any]:
    if "queue" in requests:
        raise ConfigError("--with queue: HTCondor has no queues. Leave it out.")
    extra: dict[str, Any] = {}
    extra |= {"accounting_group": requests["account"]} if "account" in requests else {}
    extra |= {"request_gpus": gpus} if (gpus := _gpus(requests)) else {}
    extra |= {"allowed_job_duration": walltime_seconds(requests["walltime"])} if "walltime" in requests else {}
    site = dask.config.get("jobqueue.htcondor.job-extra-directives", {}) or {}
    disk = dask.config.get("jobqueue.htcondor.disk", None) or "2GB"
    return {"disk": disk, "job_extra_directives": {**site, **extra}}


_SYSTEMS: dict[str, Callable[[Mapping[str, str], int, str], dict[str, Any]]] = {
    "slurm": _slurm,
    "pbs": _pbs,
    "lsf": _lsf,
    "sge": _sge,
    "htcondor": _htcondor,
}


def _named(requests: Mapping[str, str], account: str) -> dict[str, Any]:
    """Return queue, account and walltime under the names of the system's class."""
    names = {"queue": "queue", "account": account, "walltime": "walltime"}
    return {names[name]: requests[name] for name in names if name in requests}


def _extra(system: str, directives: list[str]) -> dict[str, Any]:
    site = dask.config.get(f"jobqueue.{system}.job-extra-directives", []) or []
    return {"job_extra_directives": [*site, *directives]}


def _whole_mib(memory: str) -> int:
    return -(-dask.utils.parse_bytes(memory) // 2**20)
