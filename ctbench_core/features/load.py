"""Feature paths to one matrix: each distinct file is read once, and kept packed; whatever rows share it.

Shape suffixes: N samples, M vectors, D features.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from ctbench_core.errors import FeatureError, first_rows
from ctbench_core.features.files import Reader, missing
from ctbench_core.features.gather import Gathered, gather
from ctbench_core.features.index import Pack, fingerprints
from ctbench_core.features.pack import pack_folder
from ctbench_core.features.paths import TABLE_SUFFIXES, check_allowed, find_file
from ctbench_core.features.tables import read_table, rows_of

Progress = Callable[[int, int], None]

_NO_PRINTS = np.empty(0, np.uint64)


@dataclass(frozen=True)
class Problem:
    """One unusable feature file: what is wrong, the path as written, and the samples that use it."""

    kind: str  # missing, unreadable, wrong_dim, non_finite
    written: str
    message: str
    samples: tuple[int, ...] = ()


@dataclass(frozen=True)
class Features:
    """M distinct vectors and the N samples that use them.

    Attributes:
        matrix: float32, shape (M, D), one row a distinct usable file; a memory map where they are packed.
        rows: int64, shape (N,): sample n has vector ``matrix[rows[n]]``; -1 where unusable.
        problems: the unusable files.
        digest: SHA-256 over the written paths and a 64-bit fingerprint of each vector.
        notes: what is odd but usable, as {"zero_norm": paths}.
        names: the M paths (or ids of a table) as written.
        prints: uint64 (M,), the fingerprints.
        files, files_read: distinct files asked for, and those read now; the others were packed.
        seconds: of opening the pack, verifying that no file changed, and reading.
        path: the pack, or the table; None where neither is.
    """

    matrix: np.ndarray
    rows: np.ndarray
    problems: list[Problem]
    digest: str
    notes: dict[str, list[str]] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    prints: np.ndarray = field(default_factory=lambda: np.empty(0, np.uint64))
    files: int = 0
    files_read: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    path: Path | None = None

    @property
    def dim(self) -> int:
        """Width D of the vectors."""
        return int(self.matrix.shape[1])

    def digest_of(self, rows: np.ndarray) -> str:
        """Return the digest of some rows' vectors in the order of their first use, as if only they had been loaded."""
        return _digest(self.names, self.prints, rows)


def load_features(
    root: Path | str,
    written: Sequence[str],
    *,
    ids: Sequence[str] = (),
    key: str | None = None,
    pool: str = "flatten",
    workers: int = 0,
    cache: Path | str | None = None,
    name: str = "features",
    mode: str = "auto",
    progress: Progress | None = None,
) -> Features:
    """Read the feature files of N samples, or take them from the packed store.

    Files that cannot be used are listed in ``problems``, not raised: the caller decides whether to
    stop (`require_usable`) or to leave their rows out.

    Args:
        root: the feature root, to which ``written`` paths are relative; or one table for all samples.
        ids: the samples' names, by which a table's rows are found.
        key: array of an .npz, entry of a dict of tensors, or list column of a table.
        workers: readers; 0 chooses by the machine.
        cache: folder of the packed stores; None packs nothing.
        name: packs of different names are kept apart, as of the visual and the text vectors of one root.
        mode: auto packs what is worth it, always packs, read uses a pack but writes none.
        progress: called with (files done, files in all); what it raises ends the work in good order.

    Raises:
        FeatureError: the root is neither folder nor table, or not one file is usable.
        PathError: a path climbs out of the root or leaves CTBENCH_ROOTS.
        RunError: the pack cannot be written.
    """
    root = check_allowed(root)
    samples = _Samples([str(path) for path in written], ids)
    if root.is_file():
        sources = [_from_table(root, root, samples, np.arange(len(samples.written)), key)]
        return _features(root, samples, sources, {"files": 1, "files_read": 1, "path": root})
    if not root.is_dir():
        raise FeatureError(
            f"Feature root {root} is no folder. Set paths.data_root to the folder that the manifests' paths start from, "
            "or to the one table that holds all vectors."
        )
    folder = None if cache is None else pack_folder(Path(cache), root, name, key, pool)
    return _from_folder(Reader(root, key, pool), samples, folder, mode, workers, progress)


@dataclass(frozen=True)
class _Samples:
    """N samples: their paths as written, and their names where these are known."""

    written: list[str]
    ids: Sequence[str]

    def users(self, path: str) -> np.ndarray:
        """Return the samples that a path is written for."""
        return np.flatnonzero(np.asarray(self.written, dtype=object) == path)


@dataclass
class _Source:
    """M vectors of one place and their names, and the row that each of N samples uses, -1 where it uses none."""

    matrix: np.ndarray
    names: list[str]
    rows: np.ndarray
    problems: list[Problem]
    prints: np.ndarray


def _from_folder(
    reader: Reader, samples: _Samples, folder: Path | None, mode: str, workers: int, progress: Progress | None
) -> Features:
    """Gather the samples' files and tables below one root."""
    distinct = list(dict.fromkeys(samples.written))
    tables = [path for path in distinct if path[-8:].lower().endswith(TABLE_SUFFIXES)]
    files = [path for path in distinct if path not in tables] if tables else distinct
    gathered = gather(reader, files, folder, mode, workers, progress) if files else Gathered.nothing()
    failures = gathered.failures(files)
    tables += [path for path, (kind, _) in failures.items() if kind == "table"]
    sources = [_from_pack(gathered.pack, failures, samples)] if files else []
    sources += [_from_written_table(reader.root, path, samples, reader.key) for path in tables]
    read = gathered.files_read + len(tables)
    path = gathered.pack.path or (reader.root / tables[0] if tables else None)
    took = {"files": len(distinct), "files_read": read, "seconds": gathered.seconds, "path": path}
    return _features(reader.root, samples, sources, took)


def _from_pack(pack: Pack, failures: dict[str, tuple[str, str]], samples: _Samples) -> _Source:
    index = pack.index
    # A deleted file may still stand in the pack.
    place = {**index.position, **dict.fromkeys(failures, -1)} if failures else index.position
    at = np.fromiter((place.get(path, -1) for path in samples.written), np.int64, len(samples.written))
    rows = np.where(at >= 0, index.rows[at] if len(index.rows) else -1, -1)
    used, inverse = np.unique(rows[rows >= 0], return_inverse=True)
    names = np.empty(len(index.prints), dtype=object)
    held = np.flatnonzero(index.rows >= 0)
    names[index.rows[held]] = np.asarray(index.names, dtype=object)[held]
    rows[rows >= 0] = inverse
    problems = [
        Problem(kind, path, text, tuple(samples.users(path).tolist()))
        for path, (kind, text) in failures.items()
        if kind != "table"
    ]
    return _Source(_picked(pack.matrix, used), names[used].tolist(), rows, problems, index.prints[used])


def _picked(matrix: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return ascending rows of a matrix, without a copy where they follow each other."""
    if len(rows) and rows[-1] - rows[0] + 1 == len(rows):
        return matrix[rows[0] : rows[-1] + 1]
    return matrix[rows]


def _from_written_table(root: Path, written: str, samples: _Samples, key: str | None) -> _Source:
    """Read the table that some samples' path leads to."""
    users, path = samples.users(written), find_file(root, written)
    if path is None:
        problem = Problem("missing", written, missing(written), tuple(users.tolist()))
        return _Source(np.empty((0, 0), np.float32), [], np.full(len(samples.written), -1), [problem], _NO_PRINTS)
    return _from_table(root, path, samples, users, key)


def _from_table(root: Path, path: Path, samples: _Samples, users: np.ndarray, key: str | None) -> _Source:
    """Read a table and find the rows of the samples that use it."""
    table = read_table(path, key)
    written = [samples.written[i] for i in users.tolist()]
    ids = [samples.ids[i] for i in users.tolist()] if len(samples.ids) else []
    found, messages = rows_of(path, table, ids, written)
    used, inverse = np.unique(found[found >= 0], return_inverse=True)
    matrix = _picked(table.matrix, used)
    by_row = {row: name for name, row in table.row_of.items()}
    names = [by_row[row] for row in used.tolist()]
    rows = np.full(len(samples.written), -1, dtype=np.int64)
    rows[users[found >= 0]] = inverse
    problems = [Problem("missing", written[i], text, (int(users[i]),)) for i, text in messages.items()]
    for bad in np.flatnonzero(~np.isfinite(matrix).all(axis=1)).tolist():
        text = f"{path}: the vector of {names[bad]} holds values that are NaN or infinite."
        problems.append(Problem("non_finite", names[bad], text, tuple(np.flatnonzero(rows == bad).tolist())))
        rows[rows == bad] = -1
    return _Source(matrix, names, rows, problems, fingerprints(matrix))


def _features(root: Path, samples: _Samples, sources: list[_Source], took: dict[str, Any]) -> Features:
    """Lay the sources end to end."""
    problems = [problem for source in sources for problem in source.problems]
    filled = [source for source in sources if (source.rows >= 0).any()]
    if not filled:
        _raise_problems(root, problems, ())
    widths = {source.matrix.shape[1] for source in filled}
    if len(widths) > 1:
        raise FeatureError(f"{root}: its tables and files hold vectors of {sorted(widths)} values; expected one width.")
    rows, start = np.full(len(samples.written), -1, dtype=np.int64), 0
    for source in filled:
        used = source.rows >= 0
        rows[used] = source.rows[used] + start
        start += len(source.matrix)
    alone = len(filled) == 1
    matrix = filled[0].matrix if alone else np.concatenate([source.matrix for source in filled])
    prints = np.concatenate([source.prints for source in filled])
    names = [name for source in filled for name in source.names]
    return Features(
        matrix,
        rows,
        problems,
        _digest(names, prints, rows),
        _notes(matrix, names, rows),
        names=names,
        prints=prints,
        **took,
    )


def _notes(matrix: np.ndarray, names: list[str], rows: np.ndarray) -> dict[str, list[str]]:
    candidates = np.flatnonzero(matrix[:, 0] == 0)
    zero = candidates[~matrix[candidates].any(axis=1)]
    return {"zero_norm": [names[i] for i in np.intersect1d(zero, rows).tolist()]}


def require_usable(features: Features, where: str, samples: Sequence[str] = ()) -> None:
    """Refuse features with problems, each named with its file and, given the samples' names, its rows.

    Raises:
        FeatureError: any file is missing, unreadable, of another width, or not finite.
    """
    if features.problems:
        _raise_problems(where, features.problems, samples)


def _raise_problems(where: object, problems: Sequence[Problem], samples: Sequence[str]) -> NoReturn:
    kinds = Counter(problem.kind for problem in problems)
    summary = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in kinds.items())
    shown = "\n".join(f"  {problem.message}{_users(problem, samples)}" for problem in problems[:5])
    more = f"\n  ... and {len(problems) - 5} more" if len(problems) > 5 else ""
    raise FeatureError(
        f"{where}: {len(problems)} feature files cannot be used ({summary}):\n{shown}{more}\n"
        "Mend the files or the paths, or run without their rows: data.on_bad_feature=drop."
    )


def _users(problem: Problem, samples: Sequence[str]) -> str:
    names = [samples[i] for i in problem.samples] if samples else []
    return f" Used by {first_rows(names, len(names))}." if names else ""


def _digest(names: list[str], prints: np.ndarray, rows: np.ndarray) -> str:
    """Return a digest of the vectors in the order of their first use, whatever order a pack keeps them in."""
    used, first = np.unique(rows[rows >= 0], return_index=True)
    order = used[np.argsort(first)]
    digest = hashlib.sha256("\n".join([names[i] for i in order.tolist()]).encode("utf-8", "surrogatepass"))
    digest.update(prints[order].tobytes())
    return digest.hexdigest()
