"""Load feature files as one matrix: each distinct file is read once and kept in the packed store.

Shape suffixes: N samples, M vectors, D features.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ctbench_core.config import is_url
from ctbench_core.declared import ambiguous_suffixes, table_suffixes
from ctbench_core.errors import FeatureError, Fix, first_rows
from ctbench_core.features.contents import reading_fixes
from ctbench_core.features.gather import Failure, FileProgress, GatherResult, gather
from ctbench_core.features.index import Pack, fingerprints, is_row, row_name, shown_names, split_row_name
from ctbench_core.features.pack import pack_folder
from ctbench_core.features.paths import check_allowed, check_url
from ctbench_core.features.reader import FileReader, non_finite_message
from ctbench_core.features.remote import copy_features
from ctbench_core.features.shards import RunShards
from ctbench_core.features.tables import canonical_ids, match_samples, read_vector_table
from ctbench_core.formatting import plural

# Vectors of more bytes stay in the store's map as they lie, with those between them that no sample uses.
_COPIED_BYTES = 2**28


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
        matrix: float32 or float16, shape (M, D), one row a distinct usable file; a memory map when packed. That of a
            large store may have rows that no sample uses.
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
    dtype: str = "float32",
    progress: FileProgress | None = None,
    run_shards: RunShards | None = None,
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
        dtype: of the matrix: float32, or float16 in half the space.
        progress: what it raises stops the work and leaves nothing behind.
        run_shards: reads many files in other processes, which write them into the packed store.

    Raises:
        FeatureError: the root is neither folder nor table, or no file is usable.
        PathError: a path points outside the root or outside CTBENCH_ROOTS.
        RunError: the pack cannot be written.
    """
    paths = [str(path) for path in paths]
    if is_url(root):
        reading = {"key": key, "pool": pool, "dtype": dtype, "workers": workers, "mode": mode}
        return _load_url(
            str(root), paths, cache, ids=ids, name=name, run_shards=run_shards, progress=progress, **reading
        )
    root = check_allowed(root)
    reader, folder = FileReader(root, key, pool, dtype), None
    if cache is not None and root.is_dir():
        folder = pack_folder(Path(cache), root, name, key, pool, dtype)
    return _load_local(
        reader, _Samples(paths, ids), lambda names: gather(reader, names, folder, mode, workers, progress, run_shards)
    )


def _load_url(root: str, paths: list[str], cache: Path | str | None, **options: Any) -> FeatureMatrix:
    """Load the copies of a URL's files; messages name the URL and the paths of the manifest."""
    if cache is None:
        raise FeatureError(f"{root} is copied before it is read: name a cache folder.")
    copies = copy_features(check_url(root), paths, check_allowed(cache), options["progress"])
    try:
        found = load_features(copies.root, copies.paths, cache=cache, **options)
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
    """N samples: their paths as written, and their ids where known."""

    paths: list[str]
    ids: Sequence[str]

    def names(self, tables: set[str]) -> list[str]:
        """Return the name of each sample's vector: its path, or its row of a table."""
        if not tables:
            return self.paths
        ids = self.ids if len(self.ids) else [""] * len(self.paths)
        ids = canonical_ids(list(map(str, ids)))
        return [row_name(path, name) if path in tables else path for path, name in zip(self.paths, ids)]


@dataclass
class _Part:
    """M vectors of one pack or table and their names, and the row that each of N samples uses, -1 for none."""

    matrix: np.ndarray
    names: list[str]
    rows: np.ndarray
    problems: list[Problem]
    prints: np.ndarray


def _load_local(
    reader: FileReader, samples: _Samples, gather_names: Callable[[list[str]], GatherResult]
) -> FeatureMatrix:
    """Load the samples' vectors from the reader's root: one table of all, or files and tables in a folder."""
    root, reading = reader.root, (reader.key, reader.pool)
    if root.is_file():
        part = _read_table(root, samples, reader)
        return _finish(root, part, reading, {"files": 1, "files_read": 1, "path": root})
    if not root.is_dir():
        raise FeatureError(
            f"Feature root {root} is not a folder. Set paths.data_root to the folder that the manifest's paths are "
            "relative to, or to one table of all vectors."
        )
    distinct = list(dict.fromkeys(samples.paths))
    of_tables, of_either = table_suffixes(), ambiguous_suffixes()
    tables = {path for path in distinct if path.lower().endswith(of_tables)}
    either = [path for path in distinct if path.lower().endswith(of_either)]
    if either and reader.is_table(either[0]):
        tables.update(filter(reader.is_table, either))
    names = samples.names(tables)
    result, failures = _gather(names, gather_names)
    found = {path for path, (kind, _) in failures.items() if kind == "table"}
    files_read, seconds = result.files_read, result.seconds
    if found:  # among files of one vector
        tables |= found
        names = samples.names(tables)
        result, failures = _gather(names, gather_names)
        files_read = max(files_read, result.files_read)
        seconds = {step: seconds.get(step, 0.0) + result.seconds[step] for step in result.seconds}
    part = _from_pack(result.pack, failures, names)
    path = result.pack.path or next((root / path for path in distinct if path in tables), None)
    counts = {"files": len(distinct), "files_read": files_read, "seconds": seconds, "path": path}
    return _finish(root, part, reading, counts)


def _gather(
    names: list[str], gather_names: Callable[[list[str]], GatherResult]
) -> tuple[GatherResult, dict[str, Failure]]:
    """Gather the distinct names of the samples' vectors, files first; return the failures too."""
    distinct = list(dict.fromkeys(names))
    if not all(map(is_row, distinct)):
        distinct.sort(key=is_row)
    result = gather_names(distinct)
    return result, result.failures(distinct)


def _from_pack(pack: Pack, failures: dict[str, Failure], wanted: list[str]) -> _Part:
    """Find the vectors of N samples by name."""
    index = pack.index
    # The pack may still have rows of deleted files.
    at = index.find(wanted)
    if failures:
        at[[name in failures for name in wanted]] = -1
    rows = np.where(at >= 0, index.rows[at] if len(index.rows) else -1, -1)
    used = used_rows(rows, len(index.prints))
    if len(used) * pack.matrix[:1].nbytes > _COPIED_BYTES:
        used = np.arange(used[0], used[-1] + 1)
        rows[rows >= 0] -= used[0]
    else:
        rows[rows >= 0] = np.searchsorted(used, rows[rows >= 0])
    names = np.full(len(index.prints), "", dtype=object)
    usable = np.flatnonzero(index.rows >= 0)
    names[index.rows[usable]] = np.asarray(index.names, dtype=object)[usable]
    shown = shown_names(names[used].tolist())
    return _Part(_take(pack.matrix, used), shown, rows, _problems(failures, wanted), index.prints[used])


def used_rows(rows: np.ndarray, count: int) -> np.ndarray:
    """Return the distinct rows of a matrix of ``count`` rows that samples use, ascending; -1 uses none."""
    is_used = np.zeros(count, bool)
    is_used[rows[rows >= 0]] = True
    return np.flatnonzero(is_used)


def _problems(failures: dict[str, Failure], wanted: list[str]) -> list[Problem]:
    """Return the failures with the samples that they concern; one for all rows of a table that cannot be read."""
    users: dict[str, list[int]] = {name: [] for name in failures}
    for sample, name in enumerate(wanted) if failures else ():
        if name in users:
            users[name].append(sample)
    samples: dict[tuple[str, str, str], list[int]] = {}
    for name, (kind, text) in failures.items():
        samples.setdefault((kind, split_row_name(name)[0], text), []).extend(users[name])
    return [Problem(*failure, tuple(sorted(own))) for failure, own in samples.items()]


def _take(matrix: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return ascending rows of a matrix, without a copy where they are consecutive."""
    if len(rows) and rows[-1] - rows[0] + 1 == len(rows):
        return matrix[rows[0] : rows[-1] + 1]
    return matrix[rows]


def _read_table(path: Path, samples: _Samples, reader: FileReader) -> _Part:
    """Read the one table of all samples and find their rows."""
    table = read_vector_table(path, reader.key, reader.pool)
    table_rows, messages = match_samples(path, table, samples.ids, samples.paths)
    used, inverse = np.unique(table_rows[table_rows >= 0], return_inverse=True)
    with np.errstate(over="ignore"):
        matrix = _take(table.matrix, used).astype(reader.dtype, copy=False)
    by_row = {row: name for name, row in table.row_of.items()}
    names = [by_row[row] for row in used.tolist()]
    rows = np.full(len(samples.paths), -1, dtype=np.int64)
    rows[table_rows >= 0] = inverse
    problems = [Problem("missing", samples.paths[i], text, (i,)) for i, text in messages.items()]
    for bad in np.flatnonzero(~np.isfinite(matrix).all(axis=1)).tolist():
        text = non_finite_message(row_name(str(path), names[bad]), table.matrix[used[bad]])
        problems.append(Problem("non_finite", names[bad], text, tuple(np.flatnonzero(rows == bad).tolist())))
        rows[rows == bad] = -1
    return _Part(matrix, names, rows, problems, fingerprints(matrix))


def _finish(root: Path, part: _Part, reading: tuple[str | None, str], counts: dict[str, Any]) -> FeatureMatrix:
    """Refuse vectors that no sample can use; ``reading`` are the array and the pooling."""
    problems = part.problems
    if not (part.rows >= 0).any():
        advice = "No file can be used: check paths.data_root, the paths in the manifest and data.feature_key."
        fixes = reading_fixes(root, problems[0].path, *reading) if problems else []
        raise FeatureError(_describe_problems(root, problems, (), advice), fixes=fixes)
    notes = _notes(part.matrix, part.names, part.rows)
    return FeatureMatrix(part.matrix, part.rows, problems, notes, part.names, part.prints, **counts)


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
