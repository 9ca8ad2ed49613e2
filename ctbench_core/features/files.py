"""Some files to their vectors, what is wrong with the others, and the stamp of each.

Shape suffixes: B files, D features.
"""

from __future__ import annotations

import contextlib
import re
from collections import defaultdict
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import numpy as np

from ctbench_core.errors import FeatureError
from ctbench_core.features.blocks import Template, make_template
from ctbench_core.features.formats import HoldsTable
from ctbench_core.features.index import Index, Pack, fingerprints
from ctbench_core.features.one_file import collect, parse_vector, read_whole, reason, stamp_of, suffix_of
from ctbench_core.features.paths import allowed_roots, find_file

# Written paths that need more than the root put before them.
_ODD = re.compile(r"\0(?:/|\0)|[\\:]|\.\.|\0$")

_NAME_BYTES = 255

# A template is tried on this many files of a size before all of them go to the full parser.
_TEMPLATE_TRIES = 3


class Reader:
    """Reads files below one root, one way of choosing and pooling; may be used by several threads."""

    def __init__(self, root: Path, key: str | None, pool: str) -> None:
        self.root, self.key, self.pool = root, key, pool
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

    def read(self, written: Sequence[str], width: int) -> Pack:
        """Read B files; those of ``width`` finite values have a row in the matrix.

        Raises:
            PathError: a path may not be followed.
        """
        paths = self.likely_paths(written)
        stamps, joined = collect(paths)
        found = Pack(Index.of(written, width, stamps), np.empty((len(written), width), np.float32))
        carried = stamps[:, 0] > 0
        for i in np.flatnonzero(~carried).tolist():
            self._read_closely(found, i, written[i])
        self._parse_carried(found, np.flatnonzero(carried), paths, joined)
        return _only_usable(found)

    def _read_closely(self, found: Pack, i: int, written: str) -> None:
        """Read a file that was not carried: missing, elsewhere, large, or not readable at all."""
        path, index = None, found.index
        try:
            path = self.find(written)
            if path is None:
                index.failures[written] = "missing", missing(written)
                return
            if path != self.likely_path(written):
                index.moved[written] = path
            content, index.stamps[i] = read_whole(path)
        except (OSError, ValueError) as error:  # ValueError: a name that no file system takes
            index.failures[written] = "unreadable", f"{path or written} cannot be read: {reason(error)}"
            with contextlib.suppress(OSError, ValueError):
                index.stamps[i] = stamp_of(Path(path or self.likely_path(written)).stat())
        else:
            self._parse(found, i, path, content)

    def _parse(self, found: Pack, i: int, path: str, content: bytes) -> None:
        index, name = found.index, found.index.names[i]
        try:
            vector = parse_vector(path, content, self.key, self.pool)
        except HoldsTable as error:
            index.failures[name] = "table", str(error)
        except FeatureError as error:
            index.failures[name] = "unreadable", str(error)
        else:
            index.widths[i] = len(vector)
            if len(vector) == index.width:
                found.matrix[i] = vector

    def _parse_carried(self, found: Pack, members: np.ndarray, paths: list[str], joined: bytes) -> None:
        """Parse files that lie end to end: those of one suffix and size together."""
        sizes = found.index.stamps[members, 0]
        chosen = [paths[i] for i in members.tolist()]
        if not chosen:
            return
        suffix = suffix_of(chosen[0])
        if (sizes == sizes[0]).all() and all(path.endswith(suffix) for path in chosen):
            self._parse_alike(found, (suffix, int(sizes[0])), members, chosen, joined)
            return
        ends = np.cumsum(sizes)
        alike: dict[tuple[str, int], list[int]] = defaultdict(list)
        for at, (path, size) in enumerate(zip(chosen, sizes.tolist())):
            alike[suffix_of(path), size].append(at)
        for kind, places in alike.items():
            part = b"".join([joined[ends[at] - kind[1] : ends[at]] for at in places])
            self._parse_alike(found, kind, members[places], [chosen[at] for at in places], part)

    def _parse_alike(
        self, found: Pack, kind: tuple[str, int], members: np.ndarray, paths: list[str], joined: bytes
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
                self._take(found, members[holds], template.vectors(block if holds.all() else block[holds]))
            left = np.flatnonzero(~holds)
        for at in left.tolist():
            self._parse(found, int(members[at]), paths[at], joined[at * size : (at + 1) * size])

    def _take(self, found: Pack, members: np.ndarray, vectors: np.ndarray) -> None:
        size, width = found.matrix.shape
        found.index.widths[members] = vectors.shape[1]
        if vectors.shape[1] == width:
            with np.errstate(over="ignore", invalid="ignore"):
                # All of a batch at once is the usual case, and twice as fast to copy.
                found.matrix[slice(None) if len(members) == size else members] = vectors

    def _find_template(self, kind: tuple[str, int], paths: list[str], contents: list[bytes]) -> None:
        for path, content in zip(paths, contents):
            template = make_template(path, content, self.key, self.pool)
            if template is not None:
                self._templates[kind] = template
                return


def _only_usable(found: Pack) -> Pack:
    """Keep the rows of right width and finite values."""
    index, matrix = found.index, found.matrix
    usable = (index.widths == index.width) & (index.width > 0)
    for i in np.flatnonzero(usable & ~np.isfinite(matrix).all(axis=1)).tolist():
        count, name = int((~np.isfinite(matrix[i])).sum()), index.names[i]
        index.failures[name] = "non_finite", f"{name} holds {count} values that are NaN or infinite. Export it again."
        usable[i] = False
    vectors = matrix if usable.all() else matrix[usable]
    index.rows = np.where(usable, np.cumsum(usable) - 1, -1)
    index.prints = fingerprints(vectors)
    return Pack(index, vectors)


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
    for sample in chain([spread], ([name] for name in written)):
        widths = reader.read(sample, 0).index.widths
        if widths.any():
            return int(np.bincount(widths[widths > 0]).argmax())
    return 0
