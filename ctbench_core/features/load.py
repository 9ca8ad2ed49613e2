"""Load feature files as one matrix: each distinct file is read once and kept in the packed store.

Shape suffixes: N samples, M vectors, D features.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ctbench_core.config import is_url
from ctbench_core.declared import table_suffixes
from ctbench_core.errors import FeatureError, Fix, first_rows
from ctbench_core.features.contents import reading_fixes
from ctbench_core.features.gather import Failure, FileProgress, GatherResult, gather
from ctbench_core.features.index import Index, Pack, fingerprints
from ctbench_core.features.pack import pack_folder
from ctbench_core.features.paths import check_allowed, check_url, find_file
from ctbench_core.features.reader import FileReader, missing_message
from ctbench_core.features.remote import Copies, copy_features
from ctbench_core.features.tables import match_samples, read_vector_table
from ctbench_core.formatting import plural

_NO_FILES = GatherResult(Pack(Index.of([], 0), np.empty((0, 0))), {})


@dataclass(frozen=True)
class Problem:
    """An unusable feature file: what is wrong, the path as written in the manifest, and the samples that use it."""

    kind: str  # missing, unreadable, wrong_dim, non_finite
    path: str
    message: str
    samples: tuple[int, ...] = ()


@dataclass(frozen=True)
class FeatureMatrix:
    """M distinct vectors and the N samples that use them.

    Attributes:
        matrix: float32, shape (M, D), one row a distinct usable file; a memory map when packed.
        rows: int64, shape (N,): sample n has vector ``matrix[rows[n]]``; -1 where unusable.
        problems: the unusable files.
        notes: paths of unusual but usable files, by kind: zero_norm.
        names: the M paths (or ids of a table) as written.
        prints: uint64 (M,), the fingerprints.
        files, files_read: distinct files in use, and those of them that were read now instead of from the pack.
        seconds: of opening the pack, verifying that no file changed, and reading.
        path: the pack or the table; None without either.
    """

    matrix: np.ndarray
    rows: np.ndarray
    problems: list[Problem]
    notes: dict[str, list[str]] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    prints: np.ndarray = field(default_factory=lambda: np.empty(0, np.uint64))
    files: int = 0
    files_read: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    path: Path | None = None

    @property
    def dim(self) -> int:
        """Return the width D of the vectors."""
        return int(self.matrix.shape[1])

    @property
    def sample_prints(self) -> np.ndarray:
        """The fingerprint of each sample's vector, uint64 (N,); 0 where unusable."""
        return np.where(self.rows >= 0, self.prints[self.rows], np.uint64(0))


def load_features(
    root: Path | str,
    paths: Sequence[str],
    *,
    ids: Sequence[str] = (),
    key: str | None = None,
    pool: str = "flatten",
    workers: int = 0,
    cache: Path | str | None = None,
    name: str = "features",
    mode: str = "auto",
    progress: FileProgress | None = None,
) -> FeatureMatrix:
    """Load the feature files of N samples, from the packed store where they are unchanged.

    Unusable files are listed in ``problems``, not raised: the caller decides whether to stop (`require_usable`) or to
    skip their rows.

    Args:
        root: the feature root, a folder or a URL of fsspec, to which ``paths`` are relative; or one table for all samples.
        paths: the feature path of each sample, as written in the manifest.
        ids: the samples' names, which find their rows in a table.
        key: array of a file with several, or list column of a table.
        workers: threads that read; 0 chooses by how long the first files take.
        cache: folder of the packed stores and of copies of URLs; None packs nothing.
        name: packs of different names are kept apart, as of the visual and the text vectors of one root.
        mode: auto packs when that saves time, always packs, read uses a pack but writes none.
        progress: what it raises stops the work and leaves nothing behind.

    Raises:
        FeatureError: the root is neither folder nor table, or no file is usable.
        PathError: a path points outside the root or outside CTBENCH_ROOTS.
        RunError: the pack cannot be written.
    """
    paths = [str(path) for path in paths]
    if is_url(root):
        if cache is None:
            raise FeatureError(f"{root} is copied before it is read: name a cache folder.")
        copies = copy_features(check_url(str(root)), paths, check_allowed(cache), progress)
        options: dict[str, Any] = {"key": key, "pool": pool, "workers": workers, "mode": mode, "progress": progress}
        return _load_copies(copies, ids=ids, cache=cache, name=name, **options)
    root = check_allowed(root)
    samples = _Samples(paths, ids)
    if root.is_file():
        part = _read_table(root, samples, np.arange(len(samples.paths)), key, pool)
        return _join_parts(root, samples, [part], (key, pool), {"files": 1, "files_read": 1, "path": root})
    if not root.is_dir():
        raise FeatureError(
            f"Feature root {root} is not a folder. Set paths.data_root to the folder that the manifest's paths are "
            "relative to, or to one table of all vectors."
        )
    folder = None if cache is None else pack_folder(Path(cache), root, name, key, pool)
    return _load_folder(FileReader(root, key, pool), samples, folder, mode, workers, progress)


def _load_copies(copies: Copies, **options: Any) -> FeatureMatrix:
    """Load the copies of a URL's files; messages name the URL and the paths of the manifest."""
    try:
        found = load_features(copies.root, copies.paths, **options)
    except FeatureError as error:
        raise FeatureError(copies.named(str(error))) from error
    written = dict(zip(copies.paths, copies.written))
    problems = [
        dataclasses.replace(
            problem, path=written.get(problem.path, problem.path), message=copies.named(problem.message)
        )
        for problem in found.problems
    ]
    notes = {kind: [written.get(path, path) for path in paths] for kind, paths in found.notes.items()}
    return dataclasses.replace(
        found, problems=problems, notes=notes, names=[written.get(name, name) for name in found.names]
    )


@dataclass(frozen=True)
class _Samples:
    """N samples: their paths as written, and their names where known."""

    paths: list[str]
    ids: Sequence[str]

    def users(self, path: str) -> np.ndarray:
        """Return the samples that have this path."""
        return np.flatnonzero(np.asarray(self.paths, dtype=object) == path)


@dataclass
class _Part:
    """M vectors of one pack or table and their names, and the row that each of N samples uses, -1 for none."""

    matrix: np.ndarray
    names: list[str]
    rows: np.ndarray
    problems: list[Problem]
    prints: np.ndarray


def _load_folder(
    reader: FileReader, samples: _Samples, folder: Path | None, mode: str, workers: int, progress: FileProgress | None
) -> FeatureMatrix:
    """Load the samples' files and tables below one root."""
    distinct = list(dict.fromkeys(samples.paths))
    suffixes = table_suffixes()
    tables = [path for path in distinct if path.lower().endswith(suffixes)]
    files = [path for path in distinct if path not in tables] if tables else distinct
    result = gather(reader, files, folder, mode, workers, progress) if files else _NO_FILES
    failures = result.failures(files)
    tables += [path for path, (kind, _) in failures.items() if kind == "table"]
    parts = [_from_pack(result.pack, failures, samples)] if files else []
    parts += [_find_table(reader, path, samples) for path in tables]
    path = result.pack.path or (reader.root / tables[0] if tables else None)
    files_read = result.files_read + len(tables)
    counts = {"files": len(distinct), "files_read": files_read, "seconds": result.seconds, "path": path}
    return _join_parts(reader.root, samples, parts, (reader.key, reader.pool), counts)


def _from_pack(pack: Pack, failures: dict[str, Failure], samples: _Samples) -> _Part:
    index = pack.index
    # The pack may still have rows of deleted files.
    position = {**index.position, **dict.fromkeys(failures, -1)} if failures else index.position
    at = np.fromiter((position.get(path, -1) for path in samples.paths), np.int64, len(samples.paths))
    rows = np.where(at >= 0, index.rows[at] if len(index.rows) else -1, -1)
    used, inverse = np.unique(rows[rows >= 0], return_inverse=True)
    names = np.empty(len(index.prints), dtype=object)
    usable = np.flatnonzero(index.rows >= 0)
    names[index.rows[usable]] = np.asarray(index.names, dtype=object)[usable]
    rows[rows >= 0] = inverse
    problems = [
        Problem(kind, path, text, tuple(samples.users(path).tolist()))
        for path, (kind, text) in failures.items()
        if kind != "table"
    ]
    return _Part(_take(pack.matrix, used), names[used].tolist(), rows, problems, index.prints[used])


def _take(matrix: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return ascending rows of a matrix, without a copy where they are consecutive."""
    if len(rows) and rows[-1] - rows[0] + 1 == len(rows):
        return matrix[rows[0] : rows[-1] + 1]
    return matrix[rows]


def _find_table(reader: FileReader, written: str, samples: _Samples) -> _Part:
    """Read the table that some samples have as their path."""
    users, path = samples.users(written), find_file(reader.root, written)
    if path is None:
        problem = Problem("missing", written, missing_message(written), tuple(users.tolist()))
        return _Part(
            np.empty((0, 0), np.float32), [], np.full(len(samples.paths), -1), [problem], np.empty(0, np.uint64)
        )
    return _read_table(path, samples, users, reader.key, reader.pool)


def _read_table(path: Path, samples: _Samples, users: np.ndarray, key: str | None, pool: str) -> _Part:
    """Read a table and find the rows of the samples that use it."""
    table = read_vector_table(path, key, pool)
    paths = [samples.paths[i] for i in users.tolist()]
    ids = [samples.ids[i] for i in users.tolist()] if len(samples.ids) else []
    table_rows, messages = match_samples(path, table, ids, paths)
    used, inverse = np.unique(table_rows[table_rows >= 0], return_inverse=True)
    matrix = _take(table.matrix, used)
    by_row = {row: name for name, row in table.row_of.items()}
    names = [by_row[row] for row in used.tolist()]
    rows = np.full(len(samples.paths), -1, dtype=np.int64)
    rows[users[table_rows >= 0]] = inverse
    problems = [Problem("missing", paths[i], text, (int(users[i]),)) for i, text in messages.items()]
    for bad in np.flatnonzero(~np.isfinite(matrix).all(axis=1)).tolist():
        text = f"{path}: the vector of {names[bad]} has NaN or infinite values. Re-export it."
        problems.append(Problem("non_finite", names[bad], text, tuple(np.flatnonzero(rows == bad).tolist())))
        rows[rows == bad] = -1
    return _Part(matrix, names, rows, problems, fingerprints(matrix))


def _join_parts(
    root: Path, samples: _Samples, parts: list[_Part], reading: tuple[str | None, str], counts: dict[str, Any]
) -> FeatureMatrix:
    """Concatenate the vectors of packs and tables; ``reading`` are the array and the pooling."""
    problems = [problem for part in parts for problem in part.problems]
    usable = [part for part in parts if (part.rows >= 0).any()]
    if not usable:
        advice = "No file can be used: check paths.data_root, the paths in the manifest and data.feature_key."
        fixes = reading_fixes(root, problems[0].path, *reading) if problems else []
        raise FeatureError(_describe_problems(root, problems, (), advice), fixes=fixes)
    widths = {part.matrix.shape[1] for part in usable}
    if len(widths) > 1:
        raise FeatureError(
            f"{root}: its tables and files have vectors of {sorted(widths)} dimensions; expected one number. "
            "Use a separate feature root for each encoder."
        )
    rows, start = np.full(len(samples.paths), -1, dtype=np.int64), 0
    for part in usable:
        used = part.rows >= 0
        rows[used] = part.rows[used] + start
        start += len(part.matrix)
    matrix = usable[0].matrix if len(usable) == 1 else np.concatenate([part.matrix for part in usable])
    prints = np.concatenate([part.prints for part in usable])
    names = [name for part in usable for name in part.names]
    return FeatureMatrix(matrix, rows, problems, _notes(matrix, names, rows), names, prints, **counts)


def _notes(matrix: np.ndarray, names: list[str], rows: np.ndarray) -> dict[str, list[str]]:
    candidates = np.flatnonzero(matrix[:, 0] == 0)
    zero = candidates[~matrix[candidates].any(axis=1)]
    used = np.intersect1d(zero, rows) if len(zero) else zero  # sorts all rows
    return {"zero_norm": [names[i] for i in used.tolist()]}


def require_usable(
    features: FeatureMatrix, source: str, samples: Sequence[str] = (), fixes: Sequence[Fix] = ()
) -> None:
    """Refuse features with problems; the error names each file and, given the samples' names, its rows.

    Args:
        fixes: changes of settings that may solve them, beside skipping the rows.

    Raises:
        FeatureError: any file is missing, unreadable, of another width, or not finite.
    """
    if features.problems:
        advice = "Fix the files or the paths, or skip their rows with data.on_bad_feature=drop."
        skip = Fix("Leave these rows out", {"data.on_bad_feature": "drop"})
        raise FeatureError(_describe_problems(source, features.problems, samples, advice), fixes=[*fixes, skip])


def _describe_problems(source: object, problems: Sequence[Problem], samples: Sequence[str], advice: str) -> str:
    kinds = Counter(problem.kind for problem in problems)
    summary = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in kinds.items())
    lines = "\n".join(f"  {problem.message}{_users(problem, samples)}" for problem in problems[:5])
    more = f"\n  ... and {len(problems) - 5} more" if len(problems) > 5 else ""
    return f"{source}: {plural(len(problems), 'feature file')} cannot be used ({summary}):\n{lines}{more}\n{advice}"


def _users(problem: Problem, samples: Sequence[str]) -> str:
    names = [samples[i] for i in problem.samples] if samples else []
    return f" Used by {first_rows(names)}." if names else ""
