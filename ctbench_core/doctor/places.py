"""The folders that are written to: free space, writing with rename, locks between processes, and clocks.

Each check makes a folder of its own where it looks, and removes it.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock

from ctbench_core.atomic import write_text
from ctbench_core.config import Config
from ctbench_core.dataset import pack_cache
from ctbench_core.doctor.diagnosis import ERROR, OK, WARNING, Finding
from ctbench_core.errors import ConfigError
from ctbench_core.features import check_allowed
from ctbench_core.runs import HEARTBEAT_LIMIT_S, read_json, run_folders

_SCARCE, _FULL = 5 * 2**30, 2**29
_SKEW_S = 5.0
_HELD = 3
# Another process must not get the lock that this one holds.
_OTHER = (
    "import sys\nfrom filelock import FileLock, Timeout\n"
    f"try:\n    FileLock(sys.argv[1]).acquire(timeout=0)\nexcept Timeout:\n    sys.exit({_HELD})\n"
)


def _folders(config: Config) -> list[Path]:
    """Return the run store and, where it lies elsewhere, the folder of packed features; or what there is of their path."""
    named = [check_allowed(config.paths.outputs_root), check_allowed(pack_cache(config))]
    return list(dict.fromkeys(_existing(path.resolve()) for path in named))


def _existing(path: Path) -> Path:
    found = next(folder for folder in (path, *path.parents) if folder.exists())
    if not found.is_dir():
        raise ConfigError(
            f"{found} is a file; expected a folder. Choose another paths.outputs_root or paths.cache_dir."
        )
    return found


@contextlib.contextmanager
def _trial(folder: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix=".doctor-", dir=folder, ignore_cleanup_errors=True) as place:
        yield Path(place)


def disk(config: Config) -> Finding:
    """Tell how much space is free where runs and packed features go."""
    free = {folder: shutil.disk_usage(folder).free for folder in _folders(config)}
    folder, least = min(free.items(), key=lambda item: item[1])
    found = f"{least / 2**30:.1f} GiB free at {folder}"
    advice = (
        "Empty the trash and remove unused packed features on the System page, or set paths.outputs_root elsewhere."
    )
    if least < _FULL:
        return Finding(ERROR, found, advice)
    return Finding(WARNING, found, advice) if least < _SCARCE else Finding(OK, found)


def writing(config: Config) -> Finding:
    """Write a file and replace it, as every result is written."""
    folders = _folders(config)
    for folder in folders:
        try:
            with _trial(folder) as place:
                file = place / "file"
                for text in ("first", "second"):
                    write_text(file, text)
                if file.read_text(encoding="utf-8") != "second":
                    return Finding(ERROR, f"{folder}: a replaced file still reads as before", "Use a local disk.")
        except OSError as error:
            return Finding(
                ERROR,
                f"{folder} cannot be written: {error.strerror or error}",
                "Mend the rights there, or set paths.outputs_root (CTBENCH_OUTPUTS for the app) to another folder.",
            )
    missing = (
        "" if Path(config.paths.outputs_root).exists() else f"; {config.paths.outputs_root} is made by the first run"
    )
    return Finding(OK, f"files are replaced in one step at {', '.join(map(str, folders))}{missing}")


def locks(config: Config) -> Finding:
    """Hold a file lock and let another process try to take it: some network disks let both have it."""
    elsewhere = "Set paths.outputs_root and paths.cache_dir to a local disk, or let one process at a time work there."
    for folder in _folders(config):
        try:
            with _trial(folder) as place, FileLock(place / "lock").acquire(timeout=1):
                command = [sys.executable, "-c", _OTHER, str(place / "lock")]
                ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        except (OSError, NotImplementedError, subprocess.TimeoutExpired) as error:
            return Finding(ERROR, f"{folder}: file locks do not work ({error})", elsewhere)
        if ended.returncode == 0:
            return Finding(WARNING, f"{folder}: two processes got the same file lock", elsewhere)
        if ended.returncode != _HELD:
            reason = (ended.stderr.strip().splitlines() or ["no message"])[-1]
            return Finding(WARNING, f"{folder}: the lock could not be tried from another process ({reason})", elsewhere)
    return Finding(OK, "a lock keeps other processes out")


def clock(config: Config) -> Finding:
    """Compare this machine's clock with that of the disk and with what runs wrote: heartbeats are judged by it."""
    (folder, *_) = _folders(config)
    try:
        with _trial(folder) as place:
            write_text(place / "now", "")
            skew = (place / "now").stat().st_mtime - time.time()
    except OSError:
        skew = 0.0  # said under Writing
    ahead = _newest(config) - time.time()
    advice = (
        "Set the clocks by a time server: runs of other machines are called interrupted by the age of their heartbeat."
    )
    if abs(skew) > _SKEW_S:
        way = "ahead of" if skew > 0 else "behind"
        return Finding(WARNING, f"the disk's clock is {abs(skew):.0f} s {way} this machine's", advice)
    if ahead > HEARTBEAT_LIMIT_S:
        return Finding(WARNING, f"a run was written {_span(ahead)} in the future", advice)
    return Finding(OK, "this machine, the disk and the runs agree on the time")


def _newest(config: Config) -> float:
    """Return the newest heartbeat in the store, seconds since 1970; 0 without a run."""
    from datetime import datetime

    found = [0.0]
    for folder in run_folders(config.paths.outputs_root):
        content = read_json(Path(folder) / "status.json")
        with contextlib.suppress(ValueError, TypeError, AttributeError):
            found.append(datetime.fromisoformat(content["heartbeat"]).timestamp())
    return max(found)


def _span(seconds: float) -> str:
    days, hours, minutes = seconds / 86400, seconds / 3600, seconds / 60
    return f"{days:.0f} days" if days >= 2 else f"{hours:.0f} hours" if hours >= 2 else f"{minutes:.0f} minutes"
