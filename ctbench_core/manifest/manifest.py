"""A validated manifest: N volumes with their exams, patients, labels and feature paths.

CT-RATE names read ``<split>_<patient>_<scan>_<reconstruction>``, as ``train_12_a_2``. Dropping the last part names
the exam, dropping the last two names the patient. The split stays in the patient's name because patient numbers
restart in each split. Tables with one row an exam leave the reconstruction out (``train_12_a``).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ctbench_core.manifest.identity import TableIdentity, identity_of

VOLUME = "volumename"
# The fields with one entry a volume, beside text_paths (which may be None) and frame.
PER_ROW = ("volumes", "exams", "patients", "recons", "targets", "visual_paths", "lines", "files", "unknown")
_OWN_GROUP = " "  # given ids are stripped, so no given id begins with a blank

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
        unknown: whether nobody knows the patient of a row, bool (N,): neither an id nor the name gives it, so the row
            counts as a patient of its own.
        label_mapping: what the rules of ``data.labels`` changed, for provenance and figures; empty when nothing.
        place: how messages and provenance name the file: its path, or the URL that it was copied from.
        reserved: the columns of ``frame`` that hold ids, paths or labels.
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
    unknown: np.ndarray = field(default_factory=lambda: np.empty(0, bool))
    label_mapping: dict[str, Any] = field(default_factory=dict)
    place: str = ""
    reserved: frozenset[str] = frozenset({VOLUME})

    def __post_init__(self) -> None:
        object.__setattr__(self, "place", self.place or str(self.path))
        for name, value in (("files", str(self.path)), ("unknown", False)):
            default = getattr(self, name)
            if len(default) != len(self.volumes):
                object.__setattr__(self, name, np.full(len(self.volumes), value, dtype=default.dtype))

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

    @cached_property
    def identity(self) -> TableIdentity:
        """Digests of the volumes, findings and labels, computed once."""
        return identity_of(self.volumes, self.labels, self.targets)

    @property
    def unknown_patients(self) -> int:
        """The number of rows that count as a patient of their own because nobody knows better."""
        return int(self.unknown.sum())

    @property
    def metadata_columns(self) -> list[str]:
        """The columns of ``frame`` that are no ids, paths or labels."""
        others = self.reserved.union(self.labels)
        return [name for name in self.frame if name not in others and not str(name).endswith(("_id", "_path"))]

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
    import pyarrow as pa
    import pyarrow.compute as pc

    plain = pa.array([str(name) for name in names], pa.large_string())
    parts = pc.extract_regex(plain, _NAME)
    patients, scans, recons = (pc.struct_field(parts, name) for name in ("patient", "scan", "recon"))
    exams = pc.coalesce(pc.binary_join_element_wise(patients, scans, pa.scalar("_", pa.large_string())), plain)
    numbers = pc.if_else(pc.equal(pc.coalesce(recons, ""), ""), "0", recons).cast(pa.int64())
    texts = (exams.to_numpy(zero_copy_only=False), pc.coalesce(patients, plain).to_numpy(zero_copy_only=False))
    return Identities(*texts, numbers.to_numpy(zero_copy_only=False, writable=True), np.asarray(parts.is_null()))


def fill_ids(given: pd.Series | None, parsed: np.ndarray, unnamed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the ids of N rows, and a mask of those that are groups of their own because nobody knows better.

    A filled id counts as written, a blank one is read from the volume's name. Where the filled ids are another
    numbering than the names, no id from a name equals a given one; the row of an ``unnamed`` volume is its own group,
    which no id equals.

    Args:
        given: the column of ids, if there is one. parsed: the ids in the names, or the names where ``unnamed``.
    """
    by_name = parsed.copy()
    by_name[unnamed] = _OWN_GROUP + by_name[unnamed]
    if given is None:
        return by_name, unnamed
    ids = given.astype("str").str.strip().to_numpy(dtype=object)
    filled = ids != ""
    if (filled & ~unnamed & (ids != parsed)).any():
        by_name[~unnamed] = 2 * _OWN_GROUP + by_name[~unnamed]
    return np.where(filled, ids, by_name), unnamed & ~filled


def is_in(names: np.ndarray, others: np.ndarray | Sequence[str]) -> np.ndarray:
    """Return which names are among others, bool of shape (N,); NumPy's own search is quadratic in texts."""
    return pd.Series(names, dtype="str").isin(others).to_numpy()


def clean_names(names: Iterable[str]) -> np.ndarray:
    """Strip blanks and a trailing ``.nii.gz`` or ``.nii`` from volume names, shape (N,)."""
    series = pd.Series(names if isinstance(names, pd.Series) else list(names), dtype="str").str.strip()
    return series.str.replace(r"\.nii(\.gz)?$", "", regex=True).to_numpy(dtype=object)
