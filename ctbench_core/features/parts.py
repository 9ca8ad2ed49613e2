"""A batch of files on its way into a pack: read, or kept from the present one.

Shape suffixes: B files, D features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ctbench_core.features.pack import Index, Pack, fingerprints
from ctbench_core.features.reader import Reader


@dataclass
class Part:
    """B files of a pack in the making; ``usable`` have a row in ``vectors``."""

    names: list[str]
    vectors: np.ndarray
    prints: np.ndarray
    usable: np.ndarray
    widths: np.ndarray
    stamps: np.ndarray
    failures: dict[str, tuple[str, str]]
    moved: dict[str, str]


def take_part(reader: Reader, base: Pack | None, names: list[str], fresh: np.ndarray, width: int) -> Part:
    """Read the fresh files of a batch and take the others from the present pack."""
    read = _read(reader, names if fresh.all() else [n for n, new in zip(names, fresh.tolist()) if new], width)
    if base is None or fresh.all():
        return read
    kept = _kept(base, [n for n, new in zip(names, fresh.tolist()) if not new])
    if not fresh.any():
        return kept
    return _merged(read, kept, fresh)


def _read(reader: Reader, names: list[str], width: int) -> Part:
    batch = reader.read(names, width)
    usable = batch.widths == width
    usable[list(batch.failures)] = False
    vectors = batch.vectors if usable.all() else batch.vectors[usable]
    return Part(
        names,
        vectors,
        fingerprints(vectors),
        usable,
        batch.widths,
        batch.stamps,
        {names[i]: failure for i, failure in batch.failures.items()},
        {names[i]: path for i, path in batch.moved.items()},
    )


def _kept(base: Pack, names: list[str]) -> Part:
    index = base.index
    at = [index.position[name] for name in names]
    rows = index.rows[at]
    usable = rows >= 0
    return Part(
        names,
        base.matrix[rows[usable]],
        index.prints[rows[usable]],
        usable,
        index.widths[at],
        index.stamps[at],
        {name: index.failures[name] for name in names if name in index.failures},
        {name: index.moved[name] for name in names if name in index.moved},
    )


def _merged(read: Part, kept: Part, fresh: np.ndarray) -> Part:
    """Put read and kept files back into their common order."""
    order = np.argsort(np.concatenate([np.flatnonzero(fresh), np.flatnonzero(~fresh)]))

    def both(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        return np.concatenate([one, other])[order]

    usable = both(read.usable, kept.usable)
    # Row of each file among the rows of both parts laid end to end.
    row = np.cumsum(np.concatenate([read.usable, kept.usable]))[order][usable] - 1
    names = read.names + kept.names
    return Part(
        [names[i] for i in order.tolist()],
        np.concatenate([read.vectors, kept.vectors])[row],
        np.concatenate([read.prints, kept.prints])[row],
        usable,
        both(read.widths, kept.widths),
        both(read.stamps, kept.stamps),
        read.failures | kept.failures,
        read.moved | kept.moved,
    )


def join_parts(parts: list[Part], width: int) -> tuple[Index, dict[str, tuple[str, str]]]:
    """Return the index of all parts, without the files that could not be opened, and what befell those."""
    failures = {name: failure for part in parts for name, failure in part.failures.items()}
    # Without a stamp nothing would tell when such a file appears: it is looked for at every use.
    gone = {
        part.names[i]: part.failures[part.names[i]]
        for part in parts
        for i in np.flatnonzero(part.stamps[:, 0] < 0).tolist()
    }
    names = [name for part in parts for name in part.names]
    there = np.array([name not in gone for name in names], dtype=bool)
    usable = np.concatenate([part.usable for part in parts])[there]
    index = Index(
        width,
        [name for name in names if name not in gone],
        np.where(usable, np.cumsum(usable) - 1, -1),
        np.concatenate([part.widths for part in parts])[there],
        np.concatenate([part.stamps for part in parts])[there],
        np.concatenate([part.prints for part in parts]),
        {name: failure for name, failure in failures.items() if name not in gone},
        {name: path for part in parts for name, path in part.moved.items()},
    )
    return index, gone
