"""Many feature paths to one matrix: each distinct file is read once, whatever rows share it."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ctbench_core.errors import FeatureError, first_rows
from ctbench_core.features.paths import check_allowed, find_file
from ctbench_core.features.read import read_vector

Progress = Callable[[int, int], None]


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
        matrix: float32, shape (M, D); M counts distinct files.
        rows: int64, shape (N,): sample n has vector ``matrix[rows[n]]``; -1 where unusable.
        problems: the unusable files.
        notes: what is odd but usable, as {"zero_norm": paths}.
        digest: SHA-256 over the written paths and the vectors.
    """

    matrix: np.ndarray
    rows: np.ndarray
    problems: list[Problem]
    digest: str
    notes: dict[str, list[str]] = field(default_factory=dict)

    @property
    def dim(self) -> int:
        """Width D of the vectors."""
        return int(self.matrix.shape[1])


def load_features(
    root: Path | str,
    written: Sequence[str],
    *,
    key: str | None = None,
    pool: str = "flatten",
    workers: int = 0,
    progress: Progress | None = None,
) -> Features:
    """Read the feature files of N samples.

    Files that cannot be used are listed in ``problems``, not raised: the caller decides whether to
    stop (`require_usable`) or to leave their rows out.

    Args:
        root: the feature root; ``written`` paths are relative to it.
        workers: reader threads; 0 chooses by the machine.
        progress: called with (files done, files in all).

    Raises:
        FeatureError: the root is no folder, or not one file is usable.
        PathError: a path climbs out of the root or leaves CTBENCH_ROOTS.
    """
    root = check_allowed(root)
    if not root.is_dir():
        raise FeatureError(
            f"Feature root {root} is no folder. Set paths.data_root to the folder that the manifests' paths start from."
        )
    distinct, sample_of = np.unique(np.asarray(written, dtype=object).astype(str), return_inverse=True)
    files = [find_file(root, path) if path else None for path in distinct.tolist()]
    vectors, problems = _read_all(distinct.tolist(), files, key, pool, workers, progress)
    usable = _refuse_odd(distinct.tolist(), vectors, problems)
    if not usable:
        _raise_problems(root, problems)
    matrix = np.stack([vectors[i] for i in usable])  # type: ignore[misc]
    position = np.full(len(distinct), -1, dtype=np.int64)
    position[usable] = np.arange(len(usable))
    samples = {path: np.flatnonzero(sample_of == i) for i, path in enumerate(distinct) if position[i] < 0}
    problems = [Problem(p.kind, p.written, p.message, tuple(samples[p.written].tolist())) for p in problems]
    zero = [str(distinct[i]) for i in usable if not vectors[i].any()]  # type: ignore[union-attr]
    return Features(matrix, position[sample_of], problems, _digest(distinct[usable], matrix), {"zero_norm": zero})


def require_usable(features: Features, where: str, samples: Sequence[str] = ()) -> None:
    """Refuse features with problems, each named with its file and, given the samples' names, its rows.

    Raises:
        FeatureError: any file is missing, unreadable, of another width, or not finite.
    """
    if features.problems:
        _raise_problems(where, features.problems, samples)


def _raise_problems(where: object, problems: Sequence[Problem], samples: Sequence[str] = ()) -> None:
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


def _read_all(
    distinct: list[str],
    files: list[Path | None],
    key: str | None,
    pool: str,
    workers: int,
    progress: Progress | None,
) -> tuple[list[np.ndarray | None], list[Problem]]:
    problems: list[Problem] = []

    def read(index: int) -> np.ndarray | None:
        path = files[index]
        if path is None:
            what = f"{distinct[index]} is missing" if distinct[index] else "a feature path is blank"
            problems.append(Problem("missing", distinct[index], f"{what}: no such file below the feature root."))
            return None
        try:
            return read_vector(path, key, pool)
        except FeatureError as error:
            problems.append(Problem("unreadable", distinct[index], str(error)))
            return None

    vectors: list[np.ndarray | None] = []
    with ThreadPoolExecutor(workers or min(8, 2 * (os.cpu_count() or 1))) as pool_:
        for done, vector in enumerate(pool_.map(read, range(len(files)), chunksize=64), 1):
            vectors.append(vector)
            if progress is not None and (done % 256 == 0 or done == len(files)):
                progress(done, len(files))
    return vectors, problems


def _refuse_odd(distinct: list[str], vectors: list[np.ndarray | None], problems: list[Problem]) -> list[int]:
    """Return the positions of usable vectors; the commonest width is taken as the right one."""
    widths = Counter(len(vector) for vector in vectors if vector is not None)
    right = widths.most_common(1)[0][0] if widths else 0
    usable = []
    for index, vector in enumerate(vectors):
        if vector is None:
            continue
        if len(vector) != right:
            text = f"{distinct[index]} has {len(vector)} values where the others have {right}."
            problems.append(Problem("wrong_dim", distinct[index], text))
        elif not np.isfinite(vector).all():
            text = f"{distinct[index]} holds {int((~np.isfinite(vector)).sum())} values that are NaN or infinite."
            problems.append(Problem("non_finite", distinct[index], text))
        else:
            usable.append(index)
    return usable


def _digest(names: np.ndarray, matrix: np.ndarray) -> str:
    digest = hashlib.sha256("\n".join(names.tolist()).encode("utf-8"))
    digest.update(np.ascontiguousarray(matrix).data)
    return digest.hexdigest()
