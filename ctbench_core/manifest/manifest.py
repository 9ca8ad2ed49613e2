"""A validated manifest: N volumes with their identities, labels and feature paths."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

# The fields that have one entry a volume, beside text_paths (which may be None) and frame.
PER_ROW = ("volumes", "exams", "patients", "recons", "targets", "visual_paths", "lines", "files")


@dataclass(frozen=True)
class Manifest:
    """N volumes and their C labels, aligned row by row.

    Attributes:
        name: file name, as shown beside figures.
        path: where it was read.
        digest: SHA-256 of the file's bytes.
        volumes, exams, patients: strings, shape (N,).
        recons: reconstruction numbers, shape (N,).
        labels: names of the C findings.
        targets: float32 in {0, 1, NaN}, shape (N, C); NaN is unknown.
        visual_paths, text_paths: feature paths as written, shape (N,); no text column gives None.
        frame: every column as text, N rows.
        lines: line numbers in the file, shape (N,).
        warnings: what may be wrong, one sentence each.
        notes: what was decided for the user, one sentence each.
        files: the file of each row, shape (N,): ``path``, or several where manifests were joined.
    """

    name: str
    path: Path
    digest: str
    volumes: np.ndarray
    exams: np.ndarray
    patients: np.ndarray
    recons: np.ndarray
    labels: list[str]
    targets: np.ndarray
    visual_paths: np.ndarray
    text_paths: np.ndarray | None
    frame: pd.DataFrame
    lines: np.ndarray
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    files: np.ndarray = field(default_factory=lambda: np.empty(0, object))

    def __post_init__(self) -> None:
        if len(self.files) != len(self.volumes):
            object.__setattr__(self, "files", np.full(len(self.volumes), str(self.path), dtype=object))

    def __len__(self) -> int:
        return len(self.volumes)

    def select(self, rows: np.ndarray) -> Manifest:
        """Return the manifest of the given rows (a mask or positions), order kept."""
        rows = np.flatnonzero(rows) if np.asarray(rows).dtype == bool else np.asarray(rows)
        changes: dict[str, Any] = {"frame": self.frame.iloc[rows].reset_index(drop=True)}
        for name in PER_ROW:
            changes[name] = getattr(self, name)[rows]
        if self.text_paths is not None:
            changes["text_paths"] = self.text_paths[rows]
        return dataclasses.replace(self, **changes)

    def places(self) -> list[str]:
        """Name each row by file and line, for messages."""
        return [f"{Path(file).name} line {line}" for file, line in zip(self.files, self.lines)]

    def counts(self) -> dict[str, int]:
        """Count volumes, exams and patients."""
        return {"volumes": len(self), "exams": _distinct(self.exams), "patients": _distinct(self.patients)}

    def prevalence(self) -> dict[str, float]:
        """Return each finding's share of positives among its known labels; NaN when none is known."""
        known = (~np.isnan(self.targets)).sum(axis=0)
        positive = np.nansum(self.targets, axis=0)
        share = np.divide(positive, known, out=np.full(len(self.labels), np.nan), where=known > 0)
        return dict(zip(self.labels, share.tolist()))


def _distinct(values: np.ndarray) -> int:
    return len(set(values.tolist()))


def shared_patients(first: Manifest, others: Sequence[Manifest]) -> list[str]:
    """Name the patients of ``first`` that also stand in any of ``others``, sorted."""
    elsewhere = {patient for other in others for patient in other.patients.tolist()}
    return sorted(set(first.patients.tolist()) & elsewhere)
