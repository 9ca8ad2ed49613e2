"""A CSV or Parquet file to a validated Manifest, or one message that says what to mend.

MERGED: The last few manifests, read once while their files stay the same: hundreds of runs of a study share their test.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ctbench_core.config import CohortConfig, ColumnsConfig
from ctbench_core.errors import ManifestError, first_rows
from ctbench_core.manifest.cohort import apply_cohort
from ctbench_core.manifest.identity import Identities, clean_names, parse_identities
from ctbench_core.manifest.manifest import Manifest
from ctbench_core.tables import read_table

VOLUME = "volumename"
# The columns of CT-RATE's metadata tables: some hold 1 in every row, and none is a finding.
_CTRATE_METADATA = (
    "Manufacturer SeriesDescription ManufacturerModelName PatientSex PatientAge ReconstructionDiameter "
    "DistanceSourceToDetector DistanceSourceToPatient GantryDetectorTilt TableHeight RotationDirection ExposureTime "
    "XRayTubeCurrent Exposure FilterType GeneratorPower FocalSpots ConvolutionKernel PatientPosition RevolutionTime "
    "SingleCollimationWidth TotalCollimationWidth TableSpeed TableFeedPerRotation SpiralPitchFactor "
    "DataCollectionCenterPatient ReconstructionTargetCenterPatient ExposureModulationType CTDIvol "
    "ImagePositionPatient ImageOrientationPatient SliceLocation SamplesPerPixel PhotometricInterpretation Rows "
    "Columns XYSpacing RescaleIntercept RescaleSlope RescaleType NumberofSlices ZSpacing StudyDate"
)
KNOWN_METADATA = frozenset(_CTRATE_METADATA.split())
_BLANK = frozenset({"", "nan", "na", "none", "null"})


def read_manifest(
    path: Path | str,
    columns: ColumnsConfig | None = None,
    labels: Sequence[str] | None = None,
    require_labels: bool = True,
) -> Manifest:
    """Read and validate one manifest.

    Args:
        path: a CSV (comma, semicolon or tab; UTF-8 with or without BOM) or Parquet file.
        columns: names of the columns; the usual ones by default.
        labels: label columns; empty means ``columns.labels``, then every 0/1/blank column that is no
            id, path or metadata.
        require_labels: refuse a manifest without any label column.

    Raises:
        ManifestError: the file is missing or empty, a column is missing, a volume stands twice, or
            a label is not 0, 1 or blank. The message names file, column and rows.
    """
    frame, digest = read_table(Path(path))
    return manifest_of(Path(path), frame, digest, columns or ColumnsConfig(), labels, require_labels)


def manifest_of(
    path: Path,
    frame: pd.DataFrame,
    digest: str,
    columns: ColumnsConfig,
    labels: Sequence[str] | None = None,
    require_labels: bool = True,
) -> Manifest:
    """Validate a table of text, as `read_table` returns it, as a manifest.

    Raises:
        ManifestError: the table breaks the manifest contract.
    """
    _require_columns(path, frame, [VOLUME, columns.visual_feature])
    volumes = clean_names(frame[VOLUME])
    lines = frame.index.to_numpy() + 2  # line 1 of the file is its header
    frame = frame.reset_index(drop=True)
    _refuse_bad_names(path, volumes, lines)
    names = list(labels or columns.labels or infer_labels(frame, columns))
    if not names and require_labels:
        raise ManifestError(f"{path} has no label column: expected columns of 0, 1 or blank beside {VOLUME!r}.")
    _require_columns(path, frame, names)
    _refuse_repeated(path, names)
    identities, cautions = _identities(path, frame, volumes, columns)
    notes = [] if labels or columns.labels else [f"Findings inferred from {path.name}: {', '.join(names) or 'none'}."]
    text = frame.get(columns.text_feature)
    if text is None and columns.text_feature is not None:
        notes.append(f"{path.name} has no column {columns.text_feature!r}: visual-only.")
    return Manifest(
        name=path.name,
        path=path,
        digest=digest,
        volumes=volumes,
        exams=identities.exams,
        patients=identities.patients,
        recons=identities.recons,
        labels=names,
        targets=_targets(path, frame, names, lines),
        visual_paths=_stripped(frame[columns.visual_feature]),
        text_paths=None if text is None else _stripped(text),
        frame=frame,
        lines=lines,
        warnings=cautions,
        notes=notes,
    )


def infer_labels(frame: pd.DataFrame, columns: ColumnsConfig) -> list[str]:
    """Name every column whose values are all 0, 1 or blank and that is no id, path or metadata."""
    taken = {VOLUME, columns.visual_feature, columns.text_feature, columns.grouping_col}
    taken |= set(columns.metadata) | KNOWN_METADATA
    candidates = [c for c in frame.columns if c and c not in taken and not c.endswith(("_id", "_path"))]
    return [c for c in candidates if _is_label(_stripped(frame[c]))]


def _is_label(values: np.ndarray) -> bool:
    kinds = {str(value).lower() for value in pd.unique(values)} - _BLANK
    return bool(kinds) and kinds <= {"0", "1", "0.0", "1.0"}


def _targets(path: Path, frame: pd.DataFrame, labels: Sequence[str], lines: np.ndarray) -> np.ndarray:
    targets = np.empty((len(frame), len(labels)), dtype=np.float32)
    for c, label in enumerate(labels):
        values = pd.Series(_stripped(frame[label]))
        blank = values.str.lower().isin(_BLANK).to_numpy()
        numbers = pd.to_numeric(values.mask(blank), errors="coerce").to_numpy(dtype=np.float64)
        bad = ~blank & ~np.isin(numbers, (0.0, 1.0))
        if bad.any():
            seen = ", ".join(repr(value) for value in pd.unique(values[bad])[:3])
            raise ManifestError(
                f"{path}: label column {label!r} holds {seen} on line {first_rows(lines[bad], int(bad.sum()))}; "
                "labels are 0, 1 or blank (unknown). Correct the values, or name the column in data.columns.metadata."
            )
        targets[:, c] = numbers
    return targets


def _identities(
    path: Path, frame: pd.DataFrame, volumes: np.ndarray, columns: ColumnsConfig
) -> tuple[Identities, list[str]]:
    parsed = parse_identities(volumes)
    patient_column = columns.grouping_col if columns.grouping_col != VOLUME else "patient_id"
    if columns.grouping_col != VOLUME:
        _require_columns(path, frame, [columns.grouping_col])
    exams = _filled(frame.get("exam_id"), parsed.exams)
    patients = _filled(frame.get(patient_column), parsed.patients)
    unnamed = parsed.unnamed & (patients == parsed.patients)
    cautions = []
    if unnamed.any():
        cautions.append(
            f"{path.name}: {first_rows(volumes[unnamed], int(unnamed.sum()))} tell no patient; each is its own group. "
            "Add patient_id and exam_id columns if volumes share patients."
        )
    return Identities(exams, patients, parsed.recons, unnamed), cautions


def _filled(column: pd.Series | None, fallback: np.ndarray) -> np.ndarray:
    """Take an explicit id column where it is filled, and the parsed identity elsewhere."""
    if column is None:
        return fallback
    given = _stripped(column)
    return np.where(given == "", fallback, given).astype(object)


def _stripped(column: pd.Series) -> np.ndarray:
    return column.astype(str).str.strip().to_numpy(dtype=object)


def _require_columns(path: Path, frame: pd.DataFrame, names: Sequence[str]) -> None:
    absent = [name for name in names if name not in frame.columns]
    if absent:
        raise ManifestError(
            f"{path} has no column {', '.join(map(repr, absent))}. Its columns are: {', '.join(frame.columns)}. "
            "Rename the column, or name it in data.columns or training.target_labels."
        )


def _refuse_repeated(path: Path, names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ManifestError(f"{path}: label {', '.join(map(repr, twice))} is asked for twice. Name each finding once.")


def _refuse_bad_names(path: Path, volumes: np.ndarray, lines: np.ndarray) -> None:
    blank = volumes == ""
    if blank.any():
        raise ManifestError(f"{path}: {VOLUME} is blank on line {first_rows(lines[blank], int(blank.sum()))}.")
    repeated = pd.Series(volumes).duplicated().to_numpy()
    if repeated.any():
        raise ManifestError(
            f"{path}: {first_rows(volumes[repeated], int(repeated.sum()))} stand more than once in {VOLUME}, "
            f"first again on line {lines[repeated][0]}. Keep one row a volume."
        )


_LIMIT = 8
_recent: dict[tuple[str, int, int, int], Manifest] = {}


def read_cohort(path: Path, columns: ColumnsConfig, cohort: CohortConfig, labels: list[str] | None) -> Manifest:
    """Read a manifest and apply the cohort; the result is shared between callers, so treat it as read-only.

    Raises:
        ManifestError: it is missing, breaks the contract, or the cohort leaves no row.
    """
    if cohort.exclude is not None or not path.is_file():  # the file of excluded volumes may change by itself
        return apply_cohort(read_manifest(path, columns, labels), cohort)
    facts = path.stat()
    mark = (repr((str(path), columns, cohort, labels)), facts.st_mtime_ns, facts.st_size, facts.st_ino)
    if mark not in _recent:
        found = apply_cohort(read_manifest(path, columns, labels), cohort)
        if len(_recent) >= _LIMIT:
            _recent.clear()
        _recent[mark] = found
        return found
    return _recent[mark]
