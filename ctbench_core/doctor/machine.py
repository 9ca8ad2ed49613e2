"""Check the machine: Python, packages, device, threads, memory, disk space, writing, file locks and clocks.

The checks of folders work in a temporary folder of their own, which they remove.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import psutil
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from ctbench_core.atomic import temporary_path, write_text
from ctbench_core.config import Config
from ctbench_core.dataset import pack_cache
from ctbench_core.doctor.diagnosis import ERROR, OK, WARNING, CheckOutcome
from ctbench_core.errors import ConfigError, DamagedFile, refusal
from ctbench_core.features import check_allowed
from ctbench_core.file_limit import file_limit
from ctbench_core.formatting import format_bytes, format_time_span, plural
from ctbench_core.locks import file_lock, has_file_locks
from ctbench_core.names import LONGEST_BELOW_RUN
from ctbench_core.runs import HEARTBEAT_LIMIT_S, new_run_id, run_folders, stored_status

PROJECT = Path(__file__).resolve().parents[2]  # a clone, or where packages are installed
_LOW_MEMORY = 2 * 2**30
_LOW_DISK, _FULL_DISK = 5 * 2**30, 2**29
_SKEW_S = 5.0
_FEW_FILES = 1_024
_WINDOWS_LIMIT = 259  # and a zero byte
_TEMPORARY = 26  # characters that the temporary name of a file adds
_LOCKED = 3
# Run in another process, which must not get the lock that this process holds.
_TRY_LOCK = (
    "import sys\nfrom pathlib import Path\nfrom filelock import Timeout\nfrom ctbench_core.locks import file_lock\n"
    f"try:\n    file_lock(Path(sys.argv[1])).acquire(timeout=0)\nexcept Timeout:\n    sys.exit({_LOCKED})\n"
)


def python(config: Config) -> CheckOutcome:
    """Compare the Python version with the one that the project requires."""
    required, _ = _requirements()
    version = platform.python_version()
    if required and not SpecifierSet(required).contains(version, prereleases=True):
        advice = "Create a virtual environment with a suitable Python."
        return CheckOutcome(ERROR, f"Python {version}; expected {required}", advice)
    return CheckOutcome(OK, f"Python {version}")


def packages(config: Config) -> CheckOutcome:
    """Compare the installed packages with the required versions, and with the tested ones."""
    required, pins = [Requirement(line) for line in _requirements()[1]], _pins()
    problems = [f"{package.name} is missing" for package in required if _version(package.name) is None]
    problems += [
        f"{package.name} {version} (expected {package.specifier})"
        for package in required
        if (version := _version(package.name)) and not package.specifier.contains(version, prereleases=True)
    ]
    if problems:
        return CheckOutcome(ERROR, "; ".join(problems), _install())
    tested = {package.name: pin for package in required if (pin := pins.get(canonicalize_name(package.name)))}
    # A local part such as +cu128 or +cpu is another build of the same version.
    untested = [
        f"{name} {version} (tested with {pin})"
        for name, pin in tested.items()
        if (version := str(_version(name))).partition("+")[0] != pin
    ]
    if untested:
        return CheckOutcome(WARNING, "; ".join(untested), f"If something behaves oddly: {_install()}")
    kind = "tested" if tested else "compatible"
    return CheckOutcome(OK, f"{plural(len(required), 'package')} installed, {kind} versions")


def _requirements() -> tuple[str, list[str]]:
    """Return the required Python versions and packages; those of the app where they are installed, and in a clone."""
    file = PROJECT / "pyproject.toml"
    if file.is_file():
        project = tomllib.loads(file.read_text(encoding="utf-8")).get("project", {})
        if project.get("name") == "ctbench":
            app = project.get("optional-dependencies", {}).get("app", [])  # requirements.txt has them
            return project["requires-python"], [*project["dependencies"], *app]
    try:
        metadata = importlib.metadata.metadata("ctbench")
    except importlib.metadata.PackageNotFoundError:
        return "", []
    lines = [Requirement(line) for line in importlib.metadata.requires("ctbench") or []]
    core = [line for line in lines if line.marker is None]
    app = [line for line in lines if line.marker and line.marker.evaluate({"extra": "app"}) and _version(line.name)]
    return metadata["Requires-Python"] or "", [f"{line.name}{line.specifier}" for line in (*core, *app)]


def _install() -> str:
    """Return the command that installs the required packages."""
    from_clone = (PROJECT / "requirements.txt").is_file()
    return f"python -m pip install {'-r requirements.txt' if from_clone else '--upgrade ctbench'}"


def _pins() -> dict[str, str]:
    file = PROJECT / "requirements.txt"
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    parts = [line.strip().partition("==") for line in lines]
    return {canonicalize_name(name): version for name, equals, version in parts if equals}


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def device(config: Config) -> CheckOutcome:
    """Name the devices that torch can train on, and try each GPU with one matrix product."""
    import torch

    from ctbench_core.train.trainer import choose_device

    chosen = choose_device(config.utils.device)
    version = f"torch {torch.__version__}"
    if not torch.cuda.is_available():
        if shutil.which("nvidia-smi"):
            advice = "Install a torch build for this machine's CUDA driver. Until then heads train on the CPU."
            if torch.version.cuda is None:  # what pip installs on Windows
                advice = (
                    "This torch was built without CUDA, as pip installs it on Windows. Choose system, pip and CUDA version "
                    "on pytorch.org and run the line shown there with this Python. Until then heads train on the CPU."
                )
            return CheckOutcome(WARNING, f"{version} sees no GPU, though an NVIDIA driver is installed", advice)
        return CheckOutcome(OK, f"{version}, CPU")
    names = []
    for index in range(torch.cuda.device_count()):
        try:
            ones = torch.ones(8, 8, device=f"cuda:{index}")
            float((ones @ ones).sum())
            free, total = torch.cuda.mem_get_info(index)
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            advice = "Set utils.device=cpu, or repair the driver."
            return CheckOutcome(ERROR, f"cuda:{index} does not work: {reason}", advice)
        names.append(f"{torch.cuda.get_device_name(index)} ({format_bytes(free)} of {format_bytes(total)} free)")
    return CheckOutcome(OK, f"{version}, {', '.join(names)}; heads train on {chosen}")


def threads(config: Config) -> CheckOutcome:
    """Compare the threads of torch with the processors available to this process."""
    import torch

    used, available = torch.get_num_threads(), _processors()
    if used > available:
        observation = f"torch uses {used} threads, but this process may use {plural(available, 'processor')}"
        advice = f"Set OMP_NUM_THREADS={available}: more threads than processors slow each other down."
        return CheckOutcome(WARNING, observation, advice)
    return CheckOutcome(OK, f"torch uses {used} of {plural(available, 'processor')}")


def _processors() -> int:
    """Return how many processors this process may use: a scheduler often allows fewer than the machine has."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def memory(config: Config) -> CheckOutcome:
    """Report the free memory."""
    usage = psutil.virtual_memory()
    observation = f"{format_bytes(usage.available)} of {format_bytes(usage.total)} free"
    if usage.available < _LOW_MEMORY:
        advice = "Close other programs. Features are held in memory once: 50,000 vectors of 512 dimensions take .1 GiB."
        return CheckOutcome(WARNING, observation, advice)
    return CheckOutcome(OK, observation)


def open_files(config: Config) -> CheckOutcome:
    """Compare the limit of open files with what many features, runs and pages at once need."""
    limit = file_limit()
    if limit is not None and limit < _FEW_FILES:
        advice = f"Raise it before the program starts: ulimit -n {_FEW_FILES}, or more."
        return CheckOutcome(
            WARNING, f"this process may have {limit} files open, expected {_FEW_FILES:,} or more", advice
        )
    return CheckOutcome(OK, "no limit of open files" if limit is None else f"up to {limit:,} files open at once")


def _folders(config: Config) -> list[Path]:
    """Return the run store and the cache of packed features, or their nearest parents that exist."""
    folders = [check_allowed(config.paths.outputs_root), check_allowed(pack_cache(config))]
    return list(dict.fromkeys(_nearest_folder(path.resolve()) for path in folders))


def _nearest_folder(path: Path) -> Path:
    nearest = next(folder for folder in (path, *path.parents) if folder.exists())
    if not nearest.is_dir():
        raise ConfigError(
            f"{nearest} is a file; expected a folder. Set paths.outputs_root or paths.cache_dir to a folder."
        )
    return nearest


@contextlib.contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    scratch = temporary_path(folder / "doctor")
    try:
        scratch.mkdir()
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def disk(config: Config) -> CheckOutcome:
    """Report the free space where runs and packed features are written."""
    free = {folder: shutil.disk_usage(folder).free for folder in _folders(config)}
    folder, least = min(free.items(), key=lambda item: item[1])
    observation = f"{format_bytes(least)} free at {folder}"
    if least >= _LOW_DISK:
        return CheckOutcome(OK, observation)
    advice = (
        "Empty the trash and remove unused packed features on the System page, or set paths.outputs_root elsewhere."
    )
    return CheckOutcome(ERROR if least < _FULL_DISK else WARNING, observation, advice)


def long_paths(config: Config) -> CheckOutcome:
    """Compare the longest path of a run's files with what the system allows: 260 characters on Windows by default."""
    root = Path(config.paths.outputs_root).resolve()
    longest = len(str(root / config.job_name / new_run_id())) + LONGEST_BELOW_RUN + _TEMPORARY
    limit = _path_limit()
    if limit and longest > limit:
        advice = (
            "Set paths.outputs_root (CTBENCH_OUTPUTS for the app) to a folder nearer to the drive, such as C:/ctbench, or "
            "allow long paths: LongPathsEnabled=1 in the registry, under SYSTEM/CurrentControlSet/Control/FileSystem."
        )
        return CheckOutcome(
            WARNING, f"paths below {root} take up to {longest} characters; Windows allows {limit}", advice
        )
    return CheckOutcome(OK, f"paths of up to {longest} characters, {f'of {limit}' if limit else 'which are allowed'}")


def _path_limit() -> int | None:
    """Return how many characters a path may have, or None where no limit matters."""
    if os.name != "nt":
        return None
    import winreg

    try:
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, r"SYSTEM\CurrentControlSet\Control\FileSystem") as key:  # type: ignore[attr-defined]
            enabled = winreg.QueryValueEx(key, "LongPathsEnabled")[0]  # type: ignore[attr-defined]
    except OSError:
        enabled = 0
    return None if enabled else _WINDOWS_LIMIT


def writing(config: Config) -> CheckOutcome:
    """Write a file and replace it, as every result is written."""
    folders = _folders(config)
    for folder in folders:
        try:
            with _scratch(folder) as scratch:
                file = scratch / "file"
                for text in ("first", "second"):
                    write_text(file, text)
                if file.read_text(encoding="utf-8") != "second":
                    return CheckOutcome(ERROR, f"{folder}: a replaced file keeps its old content", "Use a local disk.")
        except OSError as error:
            cause, advice = refusal(error)
            return CheckOutcome(ERROR, f"{folder} cannot be written: {cause}", advice)
    root = Path(config.paths.outputs_root)
    later = "" if root.exists() else f"; the first run creates {root}"
    return CheckOutcome(OK, f"files are replaced in one step at {', '.join(map(str, folders))}{later}")


def locks(config: Config) -> CheckOutcome:
    """Hold a file lock while another process tries to take it: some network disks let both have it."""
    advice = "Set paths.outputs_root and paths.cache_dir to a local disk, or let one process at a time work there."
    for folder in _folders(config):
        try:
            with _scratch(folder) as scratch, file_lock(scratch / "lock").acquire(timeout=1):
                command = [sys.executable, "-c", _TRY_LOCK, str(scratch.absolute() / "lock")]
                process = subprocess.run(
                    command,
                    capture_output=True,
                    encoding="utf-8",
                    errors="replace",
                    timeout=60,
                    check=False,
                    cwd=Path(__file__).parents[2],  # where ctbench_core is found
                )
        except (OSError, NotImplementedError, subprocess.TimeoutExpired) as error:
            return CheckOutcome(ERROR, f"{folder}: file locks do not work ({error})", advice)
        if process.returncode == 0:
            return CheckOutcome(WARNING, f"{folder}: two processes got the same file lock", advice)
        if process.returncode != _LOCKED:
            reason = (process.stderr.strip().splitlines() or ["no message"])[-1]
            return CheckOutcome(WARNING, f"{folder}: another process could not try the lock ({reason})", advice)
    if without := [str(folder) for folder in _folders(config) if not has_file_locks(folder)]:
        return CheckOutcome(
            WARNING,
            f"{', '.join(without)}: the file system has no locks, so files name the process that writes",
            "Runs of a host that has crashed stay locked: the message at Resume names the file to delete.",
        )
    return CheckOutcome(OK, "a lock keeps other processes out")


def clock(config: Config) -> CheckOutcome:
    """Compare this machine's clock with the disk's and with the runs' heartbeats."""
    folder = _folders(config)[0]
    try:
        with _scratch(folder) as scratch:
            write_text(scratch / "now", "")
            skew = (scratch / "now").stat().st_mtime - time.time()
    except OSError:
        skew = 0.0  # reported by the check of writing
    ahead = _newest_heartbeat(config) - time.time()
    advice = "Synchronise the clocks: times of runs, and their order, are wrong."
    if abs(skew) > _SKEW_S:
        direction = "ahead of" if skew > 0 else "behind"
        return CheckOutcome(WARNING, f"the disk's clock is {abs(skew):.0f} s {direction} this machine's", advice)
    if ahead > HEARTBEAT_LIMIT_S:
        return CheckOutcome(WARNING, f"a run was written {format_time_span(ahead)} in the future", advice)
    return CheckOutcome(OK, "this machine, the disk and the runs agree on the time")


def _newest_heartbeat(config: Config) -> float:
    """Return the newest heartbeat in the run store, in seconds since 1970; 0 without a run."""
    from datetime import datetime

    times = [0.0]
    for folder in run_folders(config.paths.outputs_root):
        with contextlib.suppress(DamagedFile, FileNotFoundError):
            heartbeat = stored_status(Path(folder) / "status.json").heartbeat
            times.append(datetime.fromisoformat(heartbeat).timestamp() if heartbeat else 0.0)
    return max(times)
