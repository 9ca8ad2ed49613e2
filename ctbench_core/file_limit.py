"""How many files this process may have open at once: raised to what the system allows it (macOS starts with 256)."""

from __future__ import annotations

import contextlib

try:
    import resource
except ImportError:  # Windows has no such limit
    resource = None  # type: ignore[assignment]

_ENOUGH = 65_536  # where the hard limit is unlimited; macOS refuses an unlimited soft one


def file_limit() -> int | None:
    """Return how many files this process may have open; None without a limit."""
    if resource is None:
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


def raise_file_limit() -> None:
    """Raise the limit of open files to the largest that this process may have."""
    if resource is None:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _ENOUGH if hard == resource.RLIM_INFINITY else hard
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):  # the kernel's own limit may lie below
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
