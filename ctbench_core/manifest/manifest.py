"""A validated manifest: N volumes with their exams, patients, labels and feature paths.

CT-RATE names read ``<split>_<patient>_<scan>_<reconstruction>``, as ``train_12_a_2``. Dropping the last part names
the exam, dropping the last two names the patient. The split stays in the patient's name because patient numbers
restart in each split. Tables with one row an exam leave the reconstruction out (``train_12_a``).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

VOLUME = "volumename"
# The fields with one entry a volume, beside text_paths (which may be None) and frame.
PER_ROW = ("volumes", "exams", "patients", "recons", "targets", "visual_paths", "lines", "files")

_NAME = r"^(?P<patient>.+_\d+)_(?P<scan>[A-Za-z]+)(?:_(?P<recon>\d{1,9}))?$"


@dataclass(frozen=True)
class Manifest:
    """N volumes and their C labels, aligned row by row.

    Attributes:
        name: file name, as shown beside metrics.
        path: the file it was read from.
        digest: SHA-256 of the file's bytes.
        volumes, exams, patients: strings, shape (N,).
        recons: reconstruction numbers, shape (N,).
        labels: names of the C findings.
        targets: float32 in {0, 1, NaN}, shape (N, C); NaN is unknown.
        visual_paths, text_paths: feature paths as written, shape (N,); None without a text column.
        frame: every column as text, N rows.
        lines: line numbers in the file, shape (N,).
        warnings: what may be wrong, one sentence each.
        notes: which defaults were applied, one sentence each.
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
        """Return the manifest of some rows (a mask or positions), order kept."""
        rows = np.flatnonzero(rows) if np.asarray(rows).dtype == bool else np.asarray(rows)
        changes: dict[str, Any] = {name: getattr(self, name)[rows] for name in PER_ROW}
        changes["frame"] = self.frame.iloc[rows].reset_index(drop=True)
        if self.text_paths is not None:
            changes["text_paths"] = self.text_paths[rows]
        return dataclasses.replace(self, **changes)

    def row_names(self) -> list[str]:
        """Name each row by file and line, for messages."""
        return [f"{Path(file).name} line {line}" for file, line in zip(self.files, self.lines)]

    def counts(self) -> dict[str, int]:
        """Count volumes, exams and patients."""
        return {"volumes": len(self), "exams": len(set(self.exams)), "patients": len(set(self.patients))}

    def prevalence(self) -> dict[str, float]:
        """Return each finding's share of positives among its known labels; NaN when none is known."""
        known = (~np.isnan(self.targets)).sum(axis=0)
        positive = np.nansum(self.targets, axis=0)
        share = np.divide(positive, known, out=np.full(len(self.labels), np.nan), where=known > 0)
        return dict(zip(self.labels, share.tolist()))

    def one_class_findings(self) -> list[str]:
        """Name the findings that lack a positive or a negative."""
        return [label for label, share in self.prevalence().items() if not 0 < share < 1]


def shared_patients(first: Manifest, others: Sequence[Manifest]) -> list[str]:
    """Name the patients of ``first`` that are also in any of ``others``, sorted."""
    other_patients = {patient for other in others for patient in other.patients}
    return sorted(set(first.patients) & other_patients)


@dataclass(frozen=True)
class Identities:
    """Exam, patient and reconstruction of N volumes; ``unnamed`` marks names that do not follow the pattern."""

    exams: np.ndarray
    patients: np.ndarray
    recons: np.ndarray
    unnamed: np.ndarray


def parse_identities(names: Sequence[str] | np.ndarray) -> Identities:
    """Read exam, patient and reconstruction number from volume names, each of shape (N,).

    A name that does not follow the pattern is its own exam and its own patient, reconstruction 0.
    """
    series = pd.Series(list(names), dtype=object).astype(str)
    parts = series.str.extract(_NAME)
    unnamed = parts["patient"].isna().to_numpy()
    exams = (parts["patient"] + "_" + parts["scan"]).where(~unnamed, series)
    patients = parts["patient"].where(~unnamed, series)
    recons = parts["recon"].fillna("0").astype(int)
    return Identities(
        exams.to_numpy(dtype=object), patients.to_numpy(dtype=object), recons.to_numpy(dtype=np.int64), unnamed
    )


def clean_names(names: Iterable[str]) -> np.ndarray:
    """Strip blanks and a trailing ``.nii.gz`` or ``.nii`` from volume names, shape (N,)."""
    series = pd.Series(list(names), dtype=object).astype(str).str.strip()
    return series.str.replace(r"\.nii(\.gz)?$", "", regex=True).to_numpy(dtype=object)
