"""Start a Slurm of one node in a folder, as root, with its own keys, sockets and ports (Debian: slurm-wlm, munge)."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scancel", "squeue", "scontrol")


def is_possible() -> bool:
    """Whether this machine can run one: the programs are installed, and this is root."""
    return hasattr(os, "geteuid") and os.geteuid() == 0 and all(map(shutil.which, PROGRAMS))


@contextlib.contextmanager
def one_node(folder: Path, cores: int = 2) -> Iterator[dict[str, str]]:
    """Run the node; yield the environment in which Slurm's commands find it."""
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    environment = {"SLURM_CONF": str(folder / "slurm.conf")}
    (folder / "slurm.conf").write_text(_config(folder, cores), encoding="utf-8")
    (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n", encoding="utf-8")
    (folder / "key").write_bytes(secrets.token_bytes(128))
    (folder / "key").chmod(0o400)
    for name in ("state", "spool"):
        (folder / name).mkdir()
    socket_file = folder / "munge"
    files = ["--key-file", "key", "--pid-file", "munge.pid", "--seed-file", "seed", "--log-file", "munge.log"]
    files = [part if part.startswith("-") else str(folder / part) for part in files]
    commands = [
        ["munged", "--foreground", "--force", "--socket", str(socket_file), *files],
        ["slurmctld", "-D", "-i"],
        ["slurmd", "-D", "-N", "node"],
    ]
    started: list[subprocess.Popen[bytes]] = []
    try:
        for command in commands:
            with (folder / f"{command[0]}.out").open("wb") as output:
                started.append(subprocess.Popen(command, stdout=output, stderr=output, env=os.environ | environment))
            time.sleep(0.5)
        _wait_for_node(environment)
        yield environment
    finally:
        subprocess.run(["scancel", "--full", "-u", "root"], env=os.environ | environment, check=False)
        for process in reversed(started):
            process.terminate()
        for process in started:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()


def _wait_for_node(environment: dict[str, str]) -> None:
    for _ in range(100):
        nodes = subprocess.run(
            ["sinfo", "-h", "-o", "%T"], env=os.environ | environment, capture_output=True, text=True, check=False
        )
        if nodes.stdout.strip() == "idle":
            return
        time.sleep(0.2)
    raise RuntimeError(f"The node does not answer: {nodes.stdout}{nodes.stderr}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _config(folder: Path, cores: int) -> str:
    return f"""
ClusterName=test
SlurmctldHost={socket.gethostname()}(127.0.0.1)
SlurmUser=root
SlurmctldPort={_free_port()}
SlurmdPort={_free_port()}
AuthType=auth/munge
AuthInfo=socket={folder}/munge
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=2,bf_interval=2
JobRequeue=1
MpiDefault=none
KillWait=5
InactiveLimit=0
ReturnToService=2
NodeName=node NodeHostname={socket.gethostname()} NodeAddr=127.0.0.1 CPUs={cores} RealMemory=4000 State=UNKNOWN
PartitionName=short Nodes=node Default=YES MaxTime=INFINITE State=UP OverSubscribe=FORCE:4
"""
