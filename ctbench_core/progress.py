"""Callbacks through which long work reports its progress."""

from __future__ import annotations

from collections.abc import Callable

# (phase, done, total), called often; a total of 0 is an unknown one.
Progress = Callable[[str, int, int], None]


def silent(phase: str, done: int, total: int) -> None:
    """Report nothing."""
