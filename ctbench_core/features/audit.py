"""Audit the vectors of a data set: unusable files, zero norms, duplicates, constant dimensions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from ctbench_core.features.load import FeatureMatrix, Problem, used_rows
from ctbench_core.formatting import plural

_KINDS = ("missing", "unreadable", "wrong_dim", "non_finite")
_FIXES = {
    "missing": "Correct the path, export the file, or leave the row out.",
    "unreadable": "Re-export the file, or leave the row out.",
    "wrong dim": "Re-export it with the encoder of the other files, or leave the row out.",
    "non finite": "Check the export for an overflow and re-export, or leave the row out.",
    "zero norm": "Usable, but without information: check the volume, or exclude it.",
    "duplicate": "Usable, but one file may be a copy of the other: check the export, or exclude one.",
}
_CHUNK_ROWS = 512  # as float64 they stay in the cache
_NORM_BINS = 61


@dataclass(frozen=True)
class Audit:
    """The result of one audit.

    Attributes:
        files: distinct files, or rows of a table, in use.
        dim: length of a vector.
        problems: unusable files, each with its samples.
        zero_norm: files whose vector is all zero.
        duplicates: files with bit-identical vectors that belong to different patients, a tuple a vector.
        constant_dims: dimensions with one value in all vectors.
        norms: min, p1, median, p99 and max of the vectors' Euclidean norms.
        norm_counts, norm_edges: histogram of the norms, B counts and B + 1 edges.
    """

    files: int
    dim: int
    problems: list[Problem] = field(default_factory=list)
    zero_norm: list[str] = field(default_factory=list)
    duplicates: list[tuple[str, ...]] = field(default_factory=list)
    constant_dims: list[int] = field(default_factory=list)
    norms: dict[str, float] = field(default_factory=dict)
    norm_counts: list[int] = field(default_factory=list)
    norm_edges: list[float] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return counts by kind, constant dimensions and norms, as in the `pack` JSON of the contracts."""
        kinds = Counter(problem.kind for problem in self.problems)
        counts = {kind: kinds.get(kind, 0) for kind in _KINDS}
        counts |= {"zero_norm": len(self.zero_norm), "duplicates": len(self.duplicates)}
        return counts | {"constant_dims": len(self.constant_dims), "norms": self.norms}

    def frame(self) -> pd.DataFrame:
        """Return one row a problem: kind, file, what is wrong, how to fix it, number of samples that use it."""
        rows = [(p.kind.replace("_", " "), p.path, p.message, len(p.samples)) for p in self.problems]
        rows += [("zero norm", name, "Every value is 0.", 0) for name in self.zero_norm]
        rows += [
            ("duplicate", group[0], f"Same vector for other patients: {', '.join(group[1:6])}", len(group))
            for group in self.duplicates
        ]
        frame = pd.DataFrame(rows, columns=["kind", "file", "what", "samples"])
        frame.insert(3, "fix", frame["kind"].map(_FIXES))
        return frame

    def warnings(self) -> list[str]:
        """Return one sentence for each kind of problem that does not stop a run."""
        texts = []
        if self.zero_norm:
            count = plural(len(self.zero_norm), "feature file")
            texts.append(f"All-zero vectors in {count}, e.g. {self.zero_norm[0]}.")
        if self.duplicates:
            texts.append(
                f"Different patients share {plural(len(self.duplicates), 'feature vector')} bit for bit, "
                f"e.g. {' and '.join(self.duplicates[0][:2])}."
            )
        if self.constant_dims:
            texts.append(f"Constant values in {len(self.constant_dims)} of {plural(self.dim, 'feature dimension')}.")
        return texts


def audit(features: FeatureMatrix, patients: Sequence[str] | np.ndarray | None = None) -> Audit:
    """Audit the vectors that samples use.

    Args:
        patients: one name a sample; without them every file counts as its own patient.
    """
    used = used_rows(features.rows, len(features.matrix))
    norms, constant = _norms_and_constants(features.matrix, used)
    # Unit vectors differ only by rounding, which must not fill the whole histogram.
    middle = float(np.mean(norms)) if len(norms) else 0.0
    half_width = max(float(np.abs(norms - middle).max(initial=0.0)), 0.01 * middle, 1e-9)
    counts, edges = np.histogram(norms, bins=_NORM_BINS, range=(middle - half_width, middle + half_width))
    quantiles = np.quantile(norms, [0, 0.01, 0.5, 0.99, 1]).tolist() if len(norms) else []
    zero, duplicates = features.notes["zero_norm"], _duplicates(features, used, patients)
    dims, summary = np.flatnonzero(constant).tolist(), dict(zip(("min", "p1", "median", "p99", "max"), quantiles))
    histogram = counts.tolist(), edges.tolist()
    return Audit(features.files, features.dim, features.problems, zero, duplicates, dims, summary, *histogram)


def _norms_and_constants(matrix_MD: np.ndarray, used: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return float64 norms of U rows, and bool (D,) where all of them, two at least, have the same value."""
    norms = np.empty(len(used))
    constant = np.full(matrix_MD.shape[1], len(used) > 1)
    for start in range(0, len(used), _CHUNK_ROWS):
        part = matrix_MD[used[start : start + _CHUNK_ROWS]]
        wide = part.astype(np.float64)
        norms[start : start + len(part)] = np.sqrt(np.einsum("ij,ij->i", wide, wide))
        if constant.any():
            constant &= (part == matrix_MD[used[0]]).all(axis=0)
    return norms, constant


def _duplicates(
    features: FeatureMatrix, used: np.ndarray, patients: Sequence[str] | np.ndarray | None
) -> list[tuple[str, ...]]:
    """Return groups of files with equal bits and several patients, without zero vectors."""
    order = used[np.argsort(features.prints[used], kind="stable")]
    same = np.diff(features.prints[order]) == 0
    if not same.any():
        return []
    users = _patients_by_row(features, patients)
    zero = set(features.notes["zero_norm"])
    groups = []
    # Equal fingerprints do not prove equal vectors, so the bits are compared as well.
    for run in np.split(order, np.flatnonzero(~same) + 1):
        if len(run) > 1:
            by_bits: dict[bytes, list[int]] = {}
            for row in run.tolist():
                by_bits.setdefault(features.matrix[row].tobytes(), []).append(row)
            groups += [rows for rows in by_bits.values() if len(set().union(*(users[row] for row in rows))) > 1]
    names = (tuple(features.names[row] for row in rows) for rows in groups)
    return [group for group in names if group[0] not in zero]


def _patients_by_row(features: FeatureMatrix, patients: Sequence[str] | np.ndarray | None) -> list[set[str]]:
    if patients is None:
        return [{name} for name in features.names]
    users: list[set[str]] = [set() for _ in features.names]
    for row, patient in zip(features.rows.tolist(), patients):
        if row >= 0:
            users[row].add(str(patient))
    return users
