"""Some files to one block of vectors, what is wrong with the others, and the stamp of each.

Shape suffixes: B files, D features.
"""

from __future__ import annotations

import contextlib
import os
import re
from array import array
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ctbench_core.errors import FeatureError
from ctbench_core.features import courier
from ctbench_core.features.blocks import Template, make_template
from ctbench_core.features.formats import HoldsTable
from ctbench_core.features.paths import allowed_roots, find_file
from ctbench_core.features.read import parse_vector, read_whole, reason, stamp_of, suffix_of

Collect = Callable[[Sequence[str]], "tuple[array[int], bytes]"]

# Written paths that need more than the root put before them.
_ODD = re.compile(r"\0(?:/|\0)|[\\:]|\.\.|\0$")

_NAME_BYTES = 255

# A template is tried on this many files of a size before all of them go to the full parser.
_TEMPLATE_TRIES = 3


@dataclass
class Batch:
    """What reading B files gave.

    Attributes:
        vectors: float32 (B, D); rows of unusable files are meaningless.
        widths: int64 (B,), values of each file; 0 where it could not be read.
        stamps: int64 (B, 3), what tells a changed file; -1 where there is none.
        failures: by position, kind (missing, unreadable, non_finite, table) and message.
        moved: by position, the path of a file found elsewhere than written.
    """

    vectors: np.ndarray
    widths: np.ndarray
    stamps: np.ndarray
    failures: dict[int, tuple[str, str]] = field(default_factory=dict)
    moved: dict[int, str] = field(default_factory=dict)


class Reader:
    """Reads files below one root, one way of choosing and pooling; may be used by several threads."""

    def __init__(self, root: Path, key: str | None, pool: str, collect: Collect = courier.collect) -> None:
        self.root, self.key, self.pool, self.collect = root, key, pool, collect
        self.limited = bool(allowed_roots())
        self._prefix = str(root) + "/"
        self._templates: dict[tuple[str, int], Template] = {}

    def likely_paths(self, written: Sequence[str]) -> list[str]:
        """Return the paths that written ones most likely mean, unverified; empty where one must be searched for."""
        if not self.limited and not _ODD.search("\0".join(["", *written])):
            return [self._prefix + name for name in written]
        odd = [self.limited or not name or bool(_ODD.search("\0" + name)) for name in written]
        return ["" if strange else self._prefix + name for strange, name in zip(odd, written)]

    def likely_path(self, written: str) -> str:
        """Return the path below the root that is exactly as written."""
        return self._prefix + written

    def find(self, written: str) -> str | None:
        """Return the path of the file that a written path means, None when there is none.

        Raises:
            PathError: it may not be followed.
        """
        found = find_file(self.root, written) if written else None
        return None if found is None else str(found)

    def read(self, written: Sequence[str], width: int) -> Batch:
        """Read B files; those of ``width`` values fill the batch's vectors.

        Raises:
            PathError: a path may not be followed.
        """
        paths = self.likely_paths(written)
        facts, joined = self.collect(paths)
        stamps = np.array(facts, dtype=np.int64).reshape(-1, 3)
        batch = Batch(np.empty((len(written), width), np.float32), np.zeros(len(written), np.int64), stamps)
        carried = stamps[:, 0] > 0
        for i in np.flatnonzero(~carried).tolist():
            self._read_closely(batch, i, written[i])
        self._parse_carried(batch, np.flatnonzero(carried), paths, joined)
        self._refuse_non_finite(batch, written)
        return batch

    def _read_closely(self, batch: Batch, i: int, written: str) -> None:
        """Read a file that was not carried: missing, elsewhere, large, or not readable at all."""
        path = None
        try:
            path = self.find(written)
            if path is None:
                batch.failures[i] = "missing", missing(written)
                return
            if path != self.likely_path(written):
                batch.moved[i] = path
            content, batch.stamps[i] = read_whole(path)
        except (OSError, ValueError) as error:  # ValueError: a name that no file system takes
            batch.failures[i] = "unreadable", f"{path or written} cannot be read: {reason(error)}"
            with contextlib.suppress(OSError, ValueError):
                batch.stamps[i] = stamp_of(Path(path or self.likely_path(written)).stat())
        else:
            self._parse(batch, i, path, content)

    def _parse(self, batch: Batch, i: int, path: str, content: bytes) -> None:
        try:
            vector = parse_vector(path, content, self.key, self.pool)
        except HoldsTable as error:
            batch.failures[i] = "table", str(error)
        except FeatureError as error:
            batch.failures[i] = "unreadable", str(error)
        else:
            batch.widths[i] = len(vector)
            if len(vector) == batch.vectors.shape[1]:
                batch.vectors[i] = vector

    def _parse_carried(self, batch: Batch, members: np.ndarray, paths: list[str], joined: bytes) -> None:
        """Parse files that lie end to end: those of one suffix and size together."""
        sizes = batch.stamps[members, 0]
        chosen = [paths[i] for i in members.tolist()]
        if not chosen:
            return
        suffix = suffix_of(chosen[0])
        if (sizes == sizes[0]).all() and all(path.endswith(suffix) for path in chosen):
            self._parse_alike(batch, (suffix, int(sizes[0])), members, chosen, joined)
            return
        ends = np.cumsum(sizes)
        alike: dict[tuple[str, int], list[int]] = defaultdict(list)
        for at, (path, size) in enumerate(zip(chosen, sizes.tolist())):
            alike[suffix_of(path), size].append(at)
        for kind, places in alike.items():
            part = b"".join([joined[ends[at] - kind[1] : ends[at]] for at in places])
            self._parse_alike(batch, kind, members[places], [chosen[at] for at in places], part)

    def _parse_alike(
        self, batch: Batch, kind: tuple[str, int], members: np.ndarray, paths: list[str], joined: bytes
    ) -> None:
        """Parse files of one suffix and size: through a template where one holds, each by itself elsewhere."""
        size = kind[1]
        contents = [joined[at : at + size] for at in range(0, size * min(len(paths), _TEMPLATE_TRIES), size)]
        if len(paths) > 1 and kind not in self._templates:
            self._find_template(kind, paths, contents)
        template, left = self._templates.get(kind), np.arange(len(paths))
        if template is not None:
            block = np.frombuffer(joined, np.uint8).reshape(-1, size)
            holds = template.match(block, joined)
            if holds.any():
                self._take(batch, members[holds], template.vectors(block if holds.all() else block[holds]))
            left = np.flatnonzero(~holds)
        for at in left.tolist():
            self._parse(batch, int(members[at]), paths[at], joined[at * size : (at + 1) * size])

    def _take(self, batch: Batch, members: np.ndarray, vectors: np.ndarray) -> None:
        size, width = batch.vectors.shape
        batch.widths[members] = vectors.shape[1]
        if vectors.shape[1] == width:
            with np.errstate(over="ignore", invalid="ignore"):
                # All of a batch at once is the usual case, and twice as fast to copy.
                batch.vectors[slice(None) if len(members) == size else members] = vectors

    def _find_template(self, kind: tuple[str, int], paths: list[str], contents: list[bytes]) -> None:
        for path, content in zip(paths, contents):
            template = make_template(path, content, self.key, self.pool)
            if template is not None:
                self._templates[kind] = template
                return

    def _refuse_non_finite(self, batch: Batch, written: Sequence[str]) -> None:
        right = batch.widths == batch.vectors.shape[1]
        for i in np.flatnonzero(right & ~np.isfinite(batch.vectors).all(axis=1)).tolist():
            count = int((~np.isfinite(batch.vectors[i])).sum())
            batch.failures[i] = (
                "non_finite",
                f"{written[i]} holds {count} values that are NaN or infinite. Export it again.",
            )


def missing(written: str) -> str:
    """Say that a file is missing."""
    if not written:
        return "a feature path is blank: no such file below the feature root. Fill it in, or drop the row."
    long = any(len(part.encode("utf-8", "replace")) > _NAME_BYTES for part in re.split(r"[/\\]", written))
    hint = f" A name in it is longer than {_NAME_BYTES} bytes, which no usual file system holds." if long else ""
    return (
        f"{written} is missing: no such file below the feature root.{hint or ' Correct the path, or export the file.'}"
    )


def width_of(reader: Reader, written: Sequence[str], tries: int = 9) -> int:
    """Return the commonest width of a few files spread over all; of the first readable one if none of them is.

    Returns 0 when no file can be read.
    """
    spread = [written[i] for i in np.unique(np.linspace(0, len(written) - 1, min(tries, len(written))).astype(int))]
    for sample in (spread, *([name] for name in written)):
        widths = reader.read(sample, 0).widths
        if widths.any():
            return int(np.bincount(widths[widths > 0]).argmax())
    return 0


def reader_threads(workers: int) -> int:
    """Return how many threads read: the asked number, else what the machine bears."""
    return workers or min(4, os.cpu_count() or 1)
