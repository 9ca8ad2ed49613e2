"""Run tiles in parallel: on a CPU each thread works on a whole tile, a GPU takes one tile at a time.

Threads inside each small step would wait for each other longer than they compute, above all on a busy machine.
"""

from __future__ import annotations

import functools
import queue
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

Tile = TypeVar("Tile")
Result = TypeVar("Result")
Buffers = TypeVar("Buffers")


def map_tiles(
    work: Callable[[Buffers, Tile], Result], tiles: Iterable[Tile], make_buffers: Callable[[], Buffers], threads: int
) -> Iterator[Result]:
    """Yield work(buffers, tile) of each tile in order; buffers serve one tile at a time.

    An error of one tile cancels the tiles that have not begun.
    """
    idle: queue.SimpleQueue[Buffers] = queue.SimpleQueue()
    for _ in range(threads):
        idle.put(make_buffers())

    def work_on(tile: Tile) -> Result:
        buffers = idle.get()
        try:
            return work(buffers, tile)
        finally:
            idle.put(buffers)

    one_thread_products = _libraries().select(internal_api="openblas").limit(limits=1)  # those of NumPy
    with one_thread_products, ThreadPoolExecutor(threads, initializer=_one_thread_steps) as pool:
        futures = [pool.submit(work_on, tile) for tile in tiles]
        try:
            for future in futures:
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _one_thread_steps() -> None:
    """Limit Torch's operations to this thread; OpenMP keeps the number for each thread."""
    torch.get_num_threads()  # Torch sets a new thread's number on first use, so this must come before the limit
    _libraries().select(user_api="openmp").limit(limits=1)


@functools.cache
def _libraries() -> ThreadpoolController:
    """Return the libraries with threads; to find them takes as long as a small alignment."""
    return ThreadpoolController()
