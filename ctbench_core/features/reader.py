"""Read the vectors of some files or rows of tables, with what is wrong with the others, and the stamp of each.

Shape suffixes: B files or rows, D features.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections import defaultdict
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd

from ctbench_core.declared import suffix_of
from ctbench_core.errors import FeatureError
from ctbench_core.features.blocks import Template, make_template
from ctbench_core.features.formats import TableFileError
from ctbench_core.features.index import Index, Pack, fingerprints, is_row, join_indexes, paths_of, split_row_name
from ctbench_core.features.paths import allowed_roots, check_allowed, find_file
from ctbench_core.features.tables import VectorTable, is_table, match_samples, read_vector_table
from ctbench_core.features.vector import explain, parse_vector, read_file, read_small_files, stamp_of

# Names that need more than the root in front of them.
_ODD_NAME = re.compile(r"\0(?:/|\0)|[\\:]|\.\.|\0$")

_NAME_BYTES = 255

# So many files of one size may fail to give a template before all of them go to the full parser.
_TEMPLATE_TRIES = 3


class FileReader:
    """Reads files below one root with one key and pooling; several threads may use it.

    A *name* is a file's path as written in a manifest, or that of a row of a table; its *path* is where the file is on
    this machine.
    """

    def __init__(self, root: Path, key: str | None, pool: str, dtype: str = "float32") -> None:
        self.root, self.key, self.pool, self.dtype = root, key, pool, dtype
        self.limited = bool(allowed_roots())
        self._prefix = str(root) + "/"
        self._templates: dict[tuple[str, int], Template] = {}
        self._last_table: tuple[str, VectorTable] | None = None  # the next batch has more of its rows

    def find(self, name: str) -> str | None:
        """Return the path of the file that a name means, None when there is none."""
        path = find_file(self.root, name) if name else None
        return None if path is None else str(path)

    def is_table(self, name: str) -> bool:
        """Whether a name means a file with the vectors of many volumes."""
        try:
            path = self.find(name)
        except (OSError, ValueError):  # a name that no file system accepts
            return False
        return path is not None and is_table(Path(path), self.key)

    def stamps(self, index: Index, names: Sequence[str]) -> np.ndarray:
        """Return the present stamps of N files, int64 (N, 3), at the paths of an index; -1 where there is no file."""
        plain = not index.moved and not any(map(is_row, names))  # 50,000 files, each with a path of its own
        if plain or not index.moved:
            paths = [self._prefix + path for path in (names if plain else paths_of(names))]
        else:
            paths = [self._place(index, name) for name in names]
        if self.limited:
            _check_all_allowed(list(dict.fromkeys(path for path, name in zip(paths, names) if name in index.position)))
        if plain:
            return np.array(list(map(_stamp, paths)), dtype=np.int64).reshape(-1, 3)
        codes, distinct = pd.factorize(np.array(paths, dtype=object))
        return np.array(list(map(_stamp, distinct)), dtype=np.int64).reshape(-1, 3)[codes]

    def _place(self, index: Index, name: str) -> str:
        return index.moved.get(name) or self._prefix + split_row_name(name)[0]

    def read(self, names: Sequence[str], width: int) -> Pack:
        """Read B files or rows of tables, files first; those of ``width`` finite values have a row in the matrix."""
        rows: dict[str, list[str]] = {}
        files = []
        for name in names:
            if is_row(name):
                rows.setdefault(split_row_name(name)[0], []).append(name)
            else:
                files.append(name)
        packs = [self._read_files(files, width)] if files or not rows else []
        packs += [self._read_rows(table, own, width) for table, own in rows.items()]
        if len(packs) == 1:
            return packs[0]
        return Pack(
            join_indexes([pack.index for pack in packs], width), np.concatenate([pack.matrix for pack in packs])
        )

    def _read_rows(self, table: str, names: list[str], width: int) -> Pack:
        """Read rows of one table."""
        pack = Pack(Index.of(names, width), np.empty((len(names), width), np.float32))
        index, path = pack.index, None
        try:
            path = self.find(table)
            if path is None:
                index.failures |= dict.fromkeys(names, ("missing", missing_message(table)))
                return _keep_usable(pack, self.dtype)
            index.stamps[:] = stamp_of(Path(path).stat())
            vectors = self._table(path)
        except (FeatureError, OSError, ValueError) as error:  # ValueError: a name that no file system accepts
            text = (
                str(error) if isinstance(error, FeatureError) else f"{path or table} cannot be read: {explain(error)}"
            )
            index.failures |= dict.fromkeys(names, ("unreadable", text))
            return _keep_usable(pack, self.dtype)
        if path != self._prefix + table:
            index.moved |= dict.fromkeys(names, path)
        ids = [split_row_name(name)[1] for name in names]
        found, messages = match_samples(Path(path), vectors, ids if any(ids) else (), [table] * len(names))
        index.failures |= {names[i]: ("missing", text) for i, text in messages.items()}
        index.widths[found >= 0] = vectors.matrix.shape[1]
        if vectors.matrix.shape[1] == width:
            if found[0] >= 0 and (np.diff(found) == 1).all():  # as in most tables
                pack.matrix[:] = vectors.matrix[found[0] : found[-1] + 1]
            else:
                pack.matrix[found >= 0] = vectors.matrix[found[found >= 0]]
        return _keep_usable(pack, self.dtype)

    def _table(self, path: str) -> VectorTable:
        if self._last_table is None or self._last_table[0] != path:
            self._last_table = path, read_vector_table(Path(path), self.key, self.pool)
        return self._last_table[1]

    def _read_files(self, names: Sequence[str], width: int) -> Pack:
        paths = self._likely_paths(names)
        stamps, joined = read_small_files(paths)
        pack = Pack(Index.of(names, width, stamps), np.empty((len(names), width), np.float32))
        was_read = stamps[:, 0] > 0
        for i in np.flatnonzero(~was_read).tolist():
            self._read_one(pack, i, names[i])
        self._parse_small_files(pack, np.flatnonzero(was_read), paths, joined)
        return _keep_usable(pack, self.dtype)

    def _likely_paths(self, names: Sequence[str]) -> list[str]:
        """Return the paths that names most likely mean, unverified; empty where the file must be searched."""
        if not self.limited and not _ODD_NAME.search("\0".join(["", *names])):
            return [self._prefix + name for name in names]
        odd = [self.limited or not name or bool(_ODD_NAME.search("\0" + name)) for name in names]
        return ["" if search else self._prefix + name for search, name in zip(odd, names)]

    def _read_one(self, pack: Pack, i: int, name: str) -> None:
        """Read a file that is missing, elsewhere, large, or unreadable."""
        path, index = None, pack.index
        try:
            path = self.find(name)
            if path is None:
                index.failures[name] = "missing", missing_message(name)
                return
            if path != self._prefix + name:
                index.moved[name] = path
            content, index.stamps[i] = read_file(path)
        except (OSError, ValueError) as error:  # ValueError: a name that no file system accepts
            index.failures[name] = "unreadable", f"{path or name} cannot be read: {explain(error)}"
            with contextlib.suppress(OSError, ValueError):
                index.stamps[i] = stamp_of(Path(path or self._prefix + name).stat())
        else:
            self._parse(pack, i, path, content)

    def _parse(self, pack: Pack, i: int, path: str, content: bytes) -> None:
        index, name = pack.index, pack.index.names[i]
        try:
            vector = parse_vector(path, content, self.key, self.pool)
        except TableFileError as error:
            index.failures[name] = "table", str(error)
        except FeatureError as error:
            index.failures[name] = "unreadable", str(error)
        else:
            index.widths[i] = len(vector)
            if len(vector) == index.width:
                pack.matrix[i] = vector

    def _parse_small_files(self, pack: Pack, members: np.ndarray, paths: list[str], joined: bytes) -> None:
        """Parse files whose contents are joined end to end: those of one suffix and size together."""
        sizes = pack.index.stamps[members, 0]
        paths = [paths[i] for i in members.tolist()]
        if not paths:
            return
        suffix = suffix_of(paths[0])
        if (sizes == sizes[0]).all() and all(path.endswith(suffix) for path in paths):
            self._parse_alike(pack, (suffix, int(sizes[0])), members, paths, joined)
            return
        ends = np.cumsum(sizes)
        groups: dict[tuple[str, int], list[int]] = defaultdict(list)
        for at, (path, size) in enumerate(zip(paths, sizes.tolist())):
            groups[suffix_of(path), size].append(at)
        for kind, group in groups.items():
            part = b"".join([joined[ends[at] - kind[1] : ends[at]] for at in group])
            self._parse_alike(pack, kind, members[group], [paths[at] for at in group], part)

    def _parse_alike(
        self, pack: Pack, kind: tuple[str, int], members: np.ndarray, paths: list[str], joined: bytes
    ) -> None:
        """Parse files of one suffix and size: with a template where it matches, the others one by one."""
        size = kind[1]
        contents = [joined[at : at + size] for at in range(0, size * min(len(paths), _TEMPLATE_TRIES), size)]
        template, others = self._templates.get(kind), np.arange(len(paths))
        if template is None and len(paths) > 1:
            tries = (make_template(path, content, self.key, self.pool) for path, content in zip(paths, contents))
            template = next((template for template in tries if template is not None), None)
        if template is not None:
            self._templates[kind] = template
            block = np.frombuffer(joined, np.uint8).reshape(-1, size)
            matches = template.match(block, joined)
            if matches.any():
                _store(pack, members[matches], template.vectors(block if matches.all() else block[matches]))
            others = np.flatnonzero(~matches)
        for at in others.tolist():
            self._parse(pack, int(members[at]), paths[at], joined[at * size : (at + 1) * size])


def _stamp(path: str) -> tuple[int, int, int]:
    try:
        return stamp_of(os.stat(path))  # noqa: PTH116 - strings, 50,000 of them
    except (OSError, ValueError):
        return -1, -1, -1


def _check_all_allowed(paths: list[str]) -> None:
    """Refuse files outside CTBENCH_ROOTS, links followed; each folder is checked once."""
    for folder in {os.path.dirname(path) for path in paths}:  # noqa: PTH120 - strings, 50,000 of them
        check_allowed(folder)
    for path in paths:
        if os.path.islink(path):  # noqa: PTH114
            check_allowed(path)


def _store(pack: Pack, members: np.ndarray, vectors: np.ndarray) -> None:
    size, width = pack.matrix.shape
    pack.index.widths[members] = vectors.shape[1]
    if vectors.shape[1] == width:
        with np.errstate(over="ignore", invalid="ignore"):
            # Usually the vectors are the whole batch, and a slice is copied twice as fast as an index.
            pack.matrix[slice(None) if len(members) == size else members] = vectors


def _keep_usable(pack: Pack, dtype: str) -> Pack:
    """Return the rows of the expected width and finite values, as numbers of a type."""
    index = pack.index
    usable = (index.widths == index.width) & (index.width > 0)
    with np.errstate(over="ignore", invalid="ignore"):
        matrix = pack.matrix.astype(dtype, copy=False)
    for i in np.flatnonzero(usable & ~np.isfinite(matrix).all(axis=1)).tolist():
        index.failures[index.names[i]] = "non_finite", non_finite_message(index.names[i], pack.matrix[i])
        usable[i] = False
    vectors = matrix if usable.all() else matrix[usable]
    index.rows = np.where(usable, np.cumsum(usable) - 1, -1)
    index.prints = fingerprints(vectors)
    return Pack(index, vectors)


def non_finite_message(name: str, vector: np.ndarray) -> str:
    """Say which values of a vector, float32 (D,), cannot be used, and what to do."""
    path, row = split_row_name(name)
    place, count = f"{path}: the vector of {row}" if row else path, int((~np.isfinite(vector)).sum())
    if not count:
        return f"{place} has values beyond 65,504, the largest of float16. Set data.store_dtype=float32."
    return f"{place} has NaN or infinite values ({count} of {len(vector)}). Re-export it."


def missing_message(name: str) -> str:
    """Say that a file is missing and what to do."""
    if not name:
        return "A feature path is blank: no such file below the feature root. Fill it in, or drop the row."
    too_long = any(len(part.encode("utf-8", "replace")) > _NAME_BYTES for part in re.split(r"[/\\]", name))
    hint = f"A name in it is longer than {_NAME_BYTES} bytes, the limit of most file systems." if too_long else ""
    return f"{name} is missing: no such file below the feature root. {hint or 'Correct the path, or export the file.'}"


def common_width(reader: FileReader, names: Sequence[str], tries: int = 9) -> int:
    """Return the most frequent width of a few files spread over all, or else of the first readable file.

    Returns 0 when no file can be read.
    """
    spread = [names[i] for i in np.unique(np.linspace(0, len(names) - 1, min(tries, len(names))).astype(int))]
    for sample in chain([spread], ([name] for name in names)):
        widths = reader.read(sample, 0).index.widths
        if widths.any():
            return int(np.bincount(widths[widths > 0]).argmax())
    return 0
