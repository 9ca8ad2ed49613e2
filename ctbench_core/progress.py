"""How long work reports how far it is: one kind of function for every room."""

from __future__ import annotations

from collections.abc import Callable

# (phase, done, total), called often; a total of 0 means that it is not known.
Progress = Callable[[str, int, int], None]


def silent(phase: str, done: int, total: int) -> None:
    """Report nothing."""
