"""Say where a study runs: how many workers, on which cluster, and what each of its jobs asks for."""

from __future__ import annotations

import dataclasses
import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from ctbench_core.errors import ConfigError, unknown_name

SYSTEMS = ("slurm", "pbs", "lsf", "sge", "htcondor")
REQUESTS = {
    "queue": "queue or partition",
    "account": "account that is charged",
    "walltime": "time of a job, as 04:00:00",
    "gres": "what else a job gets, as gpu:1",
    "mem": "memory of a job, as 8GB",
    "cores": "cores of a job",
    "threads": "threads of a worker's arithmetic",
    "interface": "network interface that reaches the nodes, as ib0",
    "insecure": "yes: accept a tcp:// scheduler that other machines reach",
}
_SHAPES = {
    "walltime": (r"(\d+-)?\d+:\d\d(:\d\d)?", "hours, minutes and seconds, such as 04:00:00"),
    "gres": r"",
    "mem": (r"\d+(\.\d+)?\s*[kKMGT]i?B?", "a size, such as 8GB"),
    "cores": (r"[1-9]\d*", "a whole number"),
    "threads": (r"[1-9]\d*", "a whole number"),
    "insecure": (r"yes|no", "yes or no"),
}
_ADDRESS = re.compile(r"(tcp|tls)://(\[[0-9a-fA-F:]+\]|[^\s:/]+):\d+")
_SAFE = re.compile(r"[\w.:@+/=-]*")


@dataclass(frozen=True)
class ClusterOptions:
    """Where the tasks of a study run.

    Attributes:
        workers: processes that train, each one bank; 0 for this process alone.
        cluster: empty for this machine, a queueing system, or the address of a Dask scheduler.
        requests: what a job of a queueing system asks for; see `REQUESTS`.
    """

    workers: int = 0
    cluster: str = ""
    requests: dict[str, str] = field(default_factory=dict)

    @property
    def is_here(self) -> bool:
        """Whether this process does the work."""
        return not self.workers and not self.cluster

    @property
    def is_address(self) -> bool:
        """Whether the cluster is a scheduler that runs already."""
        return "://" in self.cluster

    def number(self, name: str) -> int | None:
        """Return a request that is a number."""
        return int(self.requests[name]) if name in self.requests else None


HERE = ClusterOptions()


def parse_options(workers: int | None, cluster: str | None, requests: Iterable[str] = ()) -> ClusterOptions:
    """Build the options from ``--workers``, ``--cluster`` and ``--with`` (``queue=gpu,walltime=04:00:00``).

    Raises:
        ConfigError: a part is unknown or has another form.
    """
    pairs: dict[str, str] = {}
    for text in ",".join(requests).split(","):
        if not text.strip():
            continue
        name, equals, value = text.strip().partition("=")
        if not equals or not value:
            raise ConfigError(f"--with holds {text!r}; expected name=value, such as queue=gpu,walltime=04:00:00.")
        pairs[name] = value
    return check_options(ClusterOptions(workers or 0, cluster or "", pairs))


def check_options(options: ClusterOptions) -> ClusterOptions:
    """Return options that can be used: a cluster has at least one worker.

    Raises:
        ConfigError: a part is unknown or has another form.
    """
    if options.workers < 0:
        raise ConfigError(f"--workers is {options.workers}; expected how many processes train, or 0 for this process.")
    _check_requests(options.requests)
    if options.is_address:
        _check_address(options)
    elif options.cluster and options.cluster not in SYSTEMS:
        raise ConfigError(
            f"--cluster is {options.cluster!r}; expected {', '.join(SYSTEMS)}, or the address of a Dask scheduler, "
            "such as tls://host:8786."
        )
    if options.cluster in SYSTEMS and not options.workers:
        options = dataclasses.replace(options, workers=1)
    return options


def _check_requests(requests: Mapping[str, str]) -> None:
    for name, value in requests.items():
        if name not in REQUESTS:
            raise unknown_name("part of --with", name, REQUESTS)
        shape = _SHAPES.get(name)
        if isinstance(shape, tuple) and not re.fullmatch(shape[0], value):
            raise ConfigError(f"--with {name} is {value!r}; expected {shape[1]}.")
        if not _SAFE.fullmatch(value):  # it becomes a line of a job's script
            raise ConfigError(f"--with {name} is {value!r}; expected letters, digits and . : @ + / = - _ only.")


def _check_address(options: ClusterOptions) -> None:
    if not _ADDRESS.fullmatch(options.cluster):
        raise ConfigError(f"--cluster is {options.cluster!r}; expected tcp://host:port or tls://host:port.")
    if options.cluster.startswith("tls://") or _is_loopback(options.cluster):
        return
    if options.requests.get("insecure") != "yes":
        raise ConfigError(
            f"{options.cluster} is neither on this machine nor encrypted: everybody who reaches that port can run "
            "commands as its workers do. Use tls:// (docs/clusters.md), or say --with insecure=yes where the network "
            "between the machines is closed to others."
        )


def _is_loopback(address: str) -> bool:
    host = urlsplit(address).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def walltime_seconds(text: str) -> int:
    """Return the seconds of ``days-hours:minutes:seconds``, ``hours:minutes:seconds`` or ``hours:minutes``."""
    days, _, clock = text.rpartition("-")
    parts = [int(part) for part in clock.split(":")]
    hours, minutes, seconds = [*parts, 0][:3]
    return int(days or 0) * 86_400 + hours * 3600 + minutes * 60 + seconds
