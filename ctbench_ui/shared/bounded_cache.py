"""What pages read and compute, kept within a number of bytes.

Streamlit's own caches count entries, and 32 tables of 47,000 volumes and 18 findings take 300 MiB: three browsers doubled
a server's memory. Here all functions share one limit, and what was not used for the longest time goes first.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import inspect
import sys
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, ParamSpec, TypeVar

import numpy as np
import pandas as pd
import streamlit as st

P = ParamSpec("P")
T = TypeVar("T")

# From this version on a copy shares its cells until one of the two is changed.
_SHARES_CELLS = int(pd.__version__.partition(".")[0]) >= 3
MOST_BYTES = 256 * 2**20


class BoundedCache:
    """Values by function and arguments, within a number of bytes over all functions and of entries of each."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self.most_bytes = most_bytes
        self._values: OrderedDict[tuple[str, Hashable], tuple[Any, int]] = OrderedDict()
        self._counts: Counter[str] = Counter()
        self._turns: dict[tuple[str, Hashable], threading.Lock] = {}
        self._lock = threading.Lock()
        self.bytes = 0

    def get(self, name: str, arguments: Hashable, make: Callable[[], T], max_entries: int) -> T:
        """Return the value of a function for some arguments, made once also where two sessions ask at the same time."""
        key = (name, arguments)
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key][0]
            turn = self._turns.setdefault(key, threading.Lock())
        with turn:
            with self._lock:
                if key in self._values:
                    return self._values[key][0]
            try:
                value = make()
                with self._lock:
                    self._keep(key, value, max_entries)
            finally:
                with self._lock:
                    self._turns.pop(key, None)
        return value

    def clear(self) -> None:
        """Drop everything."""
        with self._lock:
            self._values.clear()
            self._counts.clear()
            self.bytes = 0

    def _keep(self, key: tuple[str, Hashable], value: Any, max_entries: int) -> None:
        size = size_of(value)
        if size > self.most_bytes:
            return
        self._values[key] = (value, size)
        self._counts[key[0]] += 1
        self.bytes += size
        if self._counts[key[0]] > max_entries:
            self._drop(next(known for known in self._values if known[0] == key[0]))
        while self.bytes > self.most_bytes:
            self._drop(next(iter(self._values)))

    def _drop(self, key: tuple[str, Hashable]) -> None:
        self.bytes -= self._values.pop(key)[1]
        self._counts[key[0]] -= 1


kept = BoundedCache()


def remember(max_entries: int, spinner: str = "") -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Keep what a function returns for its arguments, which are hashable; those named ``_...`` are not compared.

    Callers may change the table, list or dict that they get; treat what is inside a list or dict as read-only.

    Args:
        max_entries: of this function. spinner: what to show while it works.
    """

    def decorate(make: Callable[P, T]) -> Callable[P, T]:
        signature = inspect.signature(make)

        @functools.wraps(make)
        def remembered(*args: P.args, **kwargs: P.kwargs) -> T:
            given = signature.bind(*args, **kwargs).arguments
            arguments = tuple(value for name, value in given.items() if not name.startswith("_"))

            def work() -> T:
                with st.spinner(spinner) if spinner else contextlib.nullcontext():
                    return make(*args, **kwargs)

            return _handed_out(kept.get(f"{make.__module__}.{make.__qualname__}", arguments, work, max_entries))

        return remembered

    return decorate


def _handed_out(value: Any) -> Any:
    """Return a table, list or dict that a caller may change without changing the kept one."""
    if isinstance(value, pd.DataFrame):
        return value.copy(deep=not _SHARES_CELLS)
    return value.copy() if isinstance(value, (list, dict)) else value


def size_of(value: Any) -> int:
    """Return about how many bytes a value holds: its arrays and texts exactly, objects by their fields."""
    if isinstance(value, np.ndarray):
        return value.nbytes
    if isinstance(value, (pd.DataFrame, pd.Series)):
        return int(np.sum(value.memory_usage(deep=True)))
    if isinstance(value, dict):
        return sys.getsizeof(value) + sum(size_of(part) for pair in value.items() for part in pair)
    if isinstance(value, (list, tuple, set, frozenset)):
        return sys.getsizeof(value) + sum(map(size_of, value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return sys.getsizeof(value) + sum(map(size_of, vars(value).values() if hasattr(value, "__dict__") else ()))
    return sys.getsizeof(value)
