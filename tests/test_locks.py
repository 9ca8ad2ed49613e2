"""Locks where the file system has them, and claims that name their process where it has none."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock, StrictSoftFileLock, Timeout

from ctbench_core import locks
from ctbench_core.locks import describe_holder, file_lock, is_held

fcntl = pytest.importorskip("fcntl", reason="Windows has file locks everywhere")

HOLD = """
import errno, fcntl, os, socket, sys
from pathlib import Path
def refuse(*_): raise OSError(errno.ENOSYS, "no locks")
fcntl.flock = refuse
socket.gethostname = lambda: sys.argv[2]
from ctbench_core.locks import file_lock
lock = file_lock(Path(sys.argv[1]))
lock.acquire()
os._exit(0)  # as if killed
"""


@pytest.fixture
def no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse file locks, as some network file systems do."""

    def refuse(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr(locks, "_devices", {})


def leave_claim(path: Path, host: str) -> None:
    """Let a process of a host take the lock, and end without releasing it."""
    subprocess.run([sys.executable, "-c", HOLD, str(path), host], check=True)


def test_the_systems_lock_is_used_where_there_is_one(tmp_path: Path) -> None:
    assert isinstance(file_lock(tmp_path / "lock"), FileLock)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("no_locks")
def test_without_file_locks_one_process_has_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert isinstance(file_lock(path), StrictSoftFileLock)
    assert not is_held(path)
    with file_lock(path):
        assert is_held(path)
        with pytest.raises(Timeout):
            file_lock(path).acquire(timeout=0.1)
    assert not is_held(path)
    with file_lock(path):
        pass


@pytest.mark.usefixtures("no_locks")
def test_a_claim_of_a_process_that_is_gone_is_removed_if_it_was_of_this_host(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    leave_claim(ours, os.uname().nodename)
    assert not is_held(ours)
    with file_lock(ours).acquire(blocking=False):
        assert is_held(ours)
    leave_claim(theirs, "elsewhere")
    assert is_held(theirs)
    with pytest.raises(Timeout):
        file_lock(theirs).acquire(timeout=0.1)
    assert "on elsewhere has it. If that process is certainly gone, delete" in describe_holder(theirs)


def test_a_lock_that_may_not_be_opened_is_not_known_to_be_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lock").touch()

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(locks.FileLock, "acquire", refuse)
    assert not is_held(tmp_path / "lock")


def test_a_lock_of_files_is_asked_for_again_where_both_hosts_stepped_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt, back = StrictSoftFileLock._attempt_doorway, [1]
    monkeypatch.setattr(
        StrictSoftFileLock, "_attempt_doorway", lambda self, folder: not (back and back.pop()) and attempt(self, folder)
    )
    with locks.hold_across_hosts(tmp_path / "bank.lock", lambda _: False):
        assert back == []
