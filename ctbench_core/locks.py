"""Lock a file against other processes, those of other hosts included.

The system's file lock is used where the file system has it: it ends with its process. Elsewhere a file names the
process that has the lock (`filelock.StrictSoftFileLock`). Such a claim is removed when its process was one of this host
and is gone. A claim of another host stays, since nobody here can know: two processes must never write the same files.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
from filelock import (
    AcquireReturnProxy,
    BaseFileLock,
    FileLock,
    SoftFileLockProtocolError,
    StrictSoftFileClaim,
    StrictSoftFileLock,
    Timeout,
)

from ctbench_core.atomic import temporary_path

# Of two that ask for a lock made of files at one moment, both may step back: each asks again for so long.
_DOORWAY_S, _POLL_S = 0.2, 0.01
_NOT_SUPPORTED = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}


def file_lock(path: Path) -> BaseFileLock:
    """Return the lock of a file in an existing folder; it is not acquired yet."""
    if has_file_locks(path.parent):
        return FileLock(path, fallback_to_soft=False)
    return _SoftLock(path)


@contextlib.contextmanager
def hold_across_hosts(path: Path, is_stale: Callable[[Path], bool]) -> Iterator[None]:
    """Hold a lock for the block that keeps other hosts out too, where the file system's locks end at the host.

    Beside the system's lock it takes one made of files. That of another host is removed when it is stale, since a host
    that is gone leaves it behind.

    Args:
        is_stale: whether the other host has shown no sign of life since a file was written.

    Raises:
        Timeout: another process has it.
    """
    with contextlib.ExitStack() as held:
        first = file_lock(path)
        if isinstance(first, _SoftLock):
            held.enter_context(first.at_doorway())
        else:
            held.enter_context(first.acquire(blocking=False))
            second = _SoftLock(path.with_suffix(".hosts"))
            with contextlib.suppress(SoftFileLockProtocolError):  # no hard links: the system's lock alone
                second.remove_stale(is_stale)
                held.enter_context(second.at_doorway())
        yield


def is_held(path: Path) -> bool:
    """Whether a process holds a lock. False where this process may not open the lock's file."""
    if not path.is_file():
        return False
    lock = file_lock(path)
    if isinstance(lock, _SoftLock):
        return bool(lock.living())
    try:
        with lock.acquire(blocking=False):
            return False
    except PermissionError:
        return False
    except (Timeout, OSError):
        return True


def describe_holder(path: Path) -> str:
    """Say who holds a lock, and how to release that of a host that is gone; empty where the file system knows best."""
    lock = file_lock(path)
    claims = lock.living() if isinstance(lock, _SoftLock) else []
    if not claims:
        return ""
    owner = f"process {claims[0].pid} on {claims[0].hostname.partition(_NAMESPACE)[0]}"
    return f"{owner} has it. If that process is certainly gone, delete {path}.filelock. "


def has_file_locks(folder: Path) -> bool:
    """Whether the file system of a folder has locks; True where nothing may be written, which needs none."""
    if sys.platform == "win32":
        return True
    with contextlib.suppress(OSError):
        return _has_file_locks(folder.stat().st_dev, folder)
    return True


_devices: dict[int, bool] = {}


def _has_file_locks(device: int, folder: Path) -> bool:
    if device not in _devices:
        import fcntl

        probe = temporary_path(folder / "locks")
        descriptor = os.open(probe, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _devices[device] = True
        except OSError as error:
            if error.errno not in _NOT_SUPPORTED:
                raise
            _devices[device] = False
        finally:
            os.close(descriptor)
            probe.unlink()
    return _devices[device]


class _SoftLock(StrictSoftFileLock):
    """A strict soft lock that removes the claims of processes of this host that are gone."""

    def _acquire(self) -> None:
        living = self.living()
        for claim in self.claims:
            if claim not in living and _is_gone(claim):
                with contextlib.suppress(FileNotFoundError):  # another process has removed it
                    self.force_break(claim.name)
        super()._acquire()

    def at_doorway(self) -> AcquireReturnProxy:
        """Acquire the lock unless another process has it.

        Raises:
            Timeout: another process has it.
        """
        return self.acquire(timeout=_DOORWAY_S, poll_interval=_POLL_S)

    def remove_stale(self, is_stale: Callable[[Path], bool]) -> None:
        """Remove the claims of hosts that are gone."""
        for claim in self.living():
            files = list(Path(f"{self.lock_file}.filelock").rglob(claim.name))
            if files and is_stale(files[0]):
                with contextlib.suppress(FileNotFoundError):
                    self.force_break(claim.name)

    def living(self) -> list[StrictSoftFileClaim]:
        """Return the claims of processes that are not known to be gone."""
        return [claim for claim in self.claims if not _is_gone(claim)]


_NAMESPACE = "?pidns-"  # ends a host's name in claims of a container, whose process numbers mean nothing elsewhere
_FIRST_NAMESPACE = 0xEFFFFFFC


def _is_gone(claim: StrictSoftFileClaim) -> bool:
    host, _, namespace = claim.hostname.partition(_NAMESPACE)
    if host != socket.gethostname() or int(namespace or f"{_FIRST_NAMESPACE:x}", 16) != _process_namespace():
        return False
    token = process_token(claim.pid)
    return token is None or (claim.start is not None and token != claim.start)


@functools.cache
def _process_namespace() -> int:
    try:
        return Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        return _FIRST_NAMESPACE


def process_token(pid: int) -> int | None:
    """Return a number that no other process of this host has had; None if there is no such process.

    On Linux the time since boot at which it started, with the boot's id: its time of day would move with the clock.
    """
    try:
        process = psutil.Process(pid)
        if sys.platform == "linux":
            after_name = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
            return _boot_id() << 64 | int(after_name[19])
        return int(process.create_time() * 1000)
    except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
        return None


@functools.cache
def _boot_id() -> int:
    try:
        return int(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip().replace("-", ""), 16)
    except (OSError, ValueError):
        return 0
