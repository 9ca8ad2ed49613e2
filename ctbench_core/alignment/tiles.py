"""Tiles side by side: on a CPU each thread carries a whole tile through, on another device one at a time.

Threads inside each small step would spend more time waiting for each other than computing, the more
so on a machine that is busy with something else.
"""

from __future__ import annotations

import contextlib
import ctypes
import queue
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

Work = TypeVar("Work")
Found = TypeVar("Found")
Room = TypeVar("Room")


def each_tile(
    work: Callable[[Room, Work], Found], tiles: Iterable[Work], room: Callable[[], Room], threads: int
) -> Iterator[Found]:
    """Yield work(room, tile) of each tile in order; a room (its buffers) serves one tile at a time.

    An error of one tile ends the others before they begin.
    """
    rooms: queue.SimpleQueue[Room] = queue.SimpleQueue()
    for _ in range(threads):
        rooms.put(room())

    def use_room(tile: Work) -> Found:
        mine = rooms.get()
        try:
            return work(mine, tile)
        finally:
            rooms.put(mine)

    with _one_thread_products(), ThreadPoolExecutor(threads, initializer=_one_thread_steps) as pool:
        futures = [pool.submit(use_room, tile) for tile in tiles]
        try:
            for future in futures:
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _one_thread_products() -> Iterator[None]:
    """Keep NumPy's own product to the thread that calls it."""
    with ThreadpoolController().select(internal_api="openblas").limit(limits=1):
        yield


def trim_heap() -> None:
    """Return freed memory to the system: glibc keeps what threads have freed, some hundred MiB a direction."""
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    trim = getattr(library, "malloc_trim", None)
    if trim is not None:
        trim(0)


def _one_thread_steps() -> None:
    """Keep Torch's steps to this thread; OpenMP holds the number for each thread apart."""
    torch.get_num_threads()  # Torch sets a new thread's number on first use: let it, then change it
    ThreadpoolController().select(user_api="openmp").limit(limits=1)
