"""Run designs in batches and store their tallies, one JSON line a batch: an interrupted run goes on where it stopped."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.coverage import folds, models, retrieval, truths
from benchmarks.coverage.designs import Design
from benchmarks.coverage.tally import Tally

BATCH = 50
FIRST, AGAIN = 0, 1  # streams of a first run, and of the run whose verdict counts for cells outside
PLAIN_EVERY = 10  # repeats of which one has the plain bootstrap beside


class Store:
    """The stored batches of a grid, of one or several files."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.entries = [
            json.loads(line)
            for path in paths
            if path.exists()
            for line in path.read_text(encoding="utf-8").splitlines()
            if line.endswith("}")  # a killed run may leave half a line
        ]

    def batches(self, cell: str, stream: int) -> set[int]:
        return {entry["batch"] for entry in self.entries if (entry["cell"], entry["stream"]) == (cell, stream)}

    def tally(self, cell: str, stream: int) -> tuple[Tally, int, float]:
        """Return the tally of a cell, its repeats and seconds; a batch that was stored twice counts once."""
        total, repeats, seconds, seen = Tally(), 0, 0.0, set()
        for entry in self.entries:
            if (entry["cell"], entry["stream"]) == (cell, stream) and entry["batch"] not in seen:
                seen.add(entry["batch"])
                total.merge(Tally(entry["tally"]))
                repeats, seconds = repeats + BATCH, seconds + entry["seconds"]
        return total, repeats, seconds


def run(
    path: Path,
    designs: Iterable[Design],
    repeats: int,
    stream: int = FIRST,
    shard: tuple[int, int] = (0, 1),
    seconds: float = np.inf,
    parts: Mapping[str, Collection[str]] | None = None,
) -> bool:
    """Simulate what is missing of every design; of shard (i, n) every n-th batch. Return False if time ran out.

    ``parts`` says by design which `models.PARTS` to count; by default all.
    """
    ends = time.monotonic() + seconds
    store = Store([path])
    for design in designs:
        done = store.batches(design.name, stream)
        missing = [k for k in range(-(-repeats // BATCH)) if k not in done and k % shard[1] == shard[0]]
        if not missing:
            continue
        simulate = prepare(design)
        for batch in missing:
            if time.monotonic() > ends:
                return False
            start = time.process_time()
            tally = simulate(stream, batch, parts=(parts or {}).get(design.name, models.PARTS))
            spent = round(time.process_time() - start, 3)
            entry = {"cell": design.name, "stream": stream, "batch": batch, "seconds": spent, "tally": tally.plain()}
            _append(path, json.dumps(entry))
        print(f"{design.name}: {len(missing) * BATCH} repeats", flush=True)
    return True


def _append(path: Path, line: str) -> None:
    """Append a line; half a line that a killed run left is ended first."""
    with path.open("a+b") as file:
        if file.tell():
            file.seek(-1, 2)
            line = line if file.read() == b"\n" else "\n" + line
        file.write((line + "\n").encode())


def prepare(design: Design) -> Callable[..., Tally]:
    """Find the truths of a design, and return the function (stream, batch) -> Tally."""
    truth = _TRUTHS[design.kind](design)

    def simulate(stream: int, batch: int, size: int = BATCH, parts: Collection[str] = models.PARTS) -> Tally:
        tally = Tally()
        for k in range(size):
            draw = np.random.default_rng([stream, truths.key_of(design), batch, k])
            if design.kind == "models":
                models.repeat(draw, design, truth, tally, has_plain=k % PLAIN_EVERY == 0, parts=parts)
            else:
                _REPEATS[design.kind](draw, design, truth, tally)
        return tally

    return simulate


_TRUTHS: dict[str, Callable] = {
    "models": truths.truth_of,
    "folds": folds.truth_of_folds,
    "retrieval": retrieval.truth_of_queries,
}
_REPEATS: dict[str, Callable] = {"folds": folds.repeat, "retrieval": retrieval.repeat}
