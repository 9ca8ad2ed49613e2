"""Measure the least that any program needs for the work of `benchmarks.scale`: bytes to move, and matrix products.

    python -m benchmarks.scale_limits [VOLUMES]

*Bytes*: read the float16 files of 1,000 rows, widen them, write the store, and flush it to the disk. *Rows*: read the
training rows of the store once, from the page cache, in batches of 256. *Products*: of one epoch of the linear head and
of an MLP with 256 units on batches of 256, forward and backward, on data in the cache. Two threads, the best of three.
"""

from __future__ import annotations

import argparse
import itertools
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from benchmarks.scale import FINDINGS, ROWS, WIDTH

BATCH, HIDDEN, TIMES = 256, 256, 3


def _best(work: Callable[[], object]) -> float:
    def once() -> float:
        started = time.perf_counter()
        work()
        return time.perf_counter() - started

    return min(once() for _ in range(TIMES))


def move_bytes(folder: Path, volumes: int) -> None:
    """Write the store from its files: read, widen, write, flush."""
    with (folder / "store").open("wb") as store:
        for start in range(0, volumes, ROWS):
            store.write(np.load(folder / f"{start}.npy").astype(np.float32))
        store.flush()
        os.fsync(store.fileno())


def read_rows(folder: Path, volumes: int) -> None:
    """Copy every row of the store once, a batch at a time, in another order."""
    store = np.memmap(folder / "store", np.float32, mode="r").reshape(volumes, WIDTH)
    order = np.random.default_rng(0).permutation(volumes // BATCH)
    for batch in order:
        store[batch * BATCH : (batch + 1) * BATCH].copy()


def products(widths: list[int], volumes: int) -> None:
    """Do the products of an epoch of a chain of linear layers: output, gradients of weights, gradients of inputs."""
    layers = [torch.randn(inner, out) for inner, out in itertools.pairwise(widths)]
    inputs = [torch.randn(BATCH, width) for width in widths]
    for _ in range(volumes // BATCH):
        for place, weights in enumerate(layers):
            inputs[place] @ weights
            inputs[place].T @ inputs[place + 1]
            if place:
                inputs[place + 1] @ weights.T


def main() -> None:
    """Print a row for each limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("volumes", type=int, nargs="?", default=1_000_000)
    volumes = parser.parse_args().volumes // ROWS * ROWS
    torch.set_num_threads(2)
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for start in range(0, volumes, ROWS):
            np.save(folder / f"{start}.npy", rng.standard_normal((ROWS, WIDTH), np.float32).astype(np.float16))
        limits = {
            "bytes of pack": _best(lambda: move_bytes(folder, volumes)),
            "rows of an epoch": _best(lambda: read_rows(folder, volumes)),
            "products of the linear head": _best(lambda: products([WIDTH, FINDINGS], volumes)),
            "products of the MLP": _best(lambda: products([WIDTH, HIDDEN, FINDINGS], volumes)),
        }
    for name, seconds in limits.items():
        print(f"{name}, {volumes:,} volumes: {seconds:.2f} s", flush=True)


if __name__ == "__main__":
    main()
