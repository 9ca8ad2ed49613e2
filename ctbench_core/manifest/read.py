"""Read a CSV or Parquet file as a validated Manifest, or raise one message that says what to fix."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ctbench_core.config import CohortConfig, ColumnsConfig
from ctbench_core.errors import ManifestError, first_rows
from ctbench_core.manifest.cohort import apply_cohort
from ctbench_core.manifest.manifest import VOLUME, Identities, Manifest, clean_names, parse_identities
from ctbench_core.tables import read_table

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
_KNOWN_METADATA = frozenset(_CTRATE_METADATA.split())
_BLANK = frozenset({"", "nan", "na", "none", "null"})

# Runs of a study share their test manifests: the last few are kept while their files stay the same.
_CACHE_SIZE = 8
_cache: dict[tuple[str, int, int, int], Manifest] = {}


def read_cohort(path: Path, columns: ColumnsConfig, cohort: CohortConfig, labels: list[str] | None) -> Manifest:
    """Read a manifest and apply the cohort; callers share the result, so treat it as read-only.

    Raises:
        ManifestError: it is missing, breaks the contract, or the cohort leaves no row.
    """
    if cohort.exclude is not None or not path.is_file():  # the exclusion list may change while the manifest does not
        return apply_cohort(read_manifest(path, columns, labels), cohort)
    status = path.stat()
    key = (repr((str(path), columns, cohort, labels)), status.st_mtime_ns, status.st_size, status.st_ino)
    if key in _cache:
        return _cache[key]
    manifest = apply_cohort(read_manifest(path, columns, labels), cohort)
    if len(_cache) >= _CACHE_SIZE:
        _cache.clear()
    _cache[key] = manifest
    return manifest


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
        labels: label columns; empty means ``columns.labels``, then every 0/1/blank column that is no id, path or
            metadata.
        require_labels: refuse a manifest without any label column.

    Raises:
        ManifestError: the file is missing or empty, a column is missing, a volume is duplicate, or a label is not 0,
            1 or blank. The message names file, column and rows.
    """
    frame, digest = read_table(Path(path))
    return build_manifest(Path(path), frame, digest, columns or ColumnsConfig(), labels, require_labels)


def build_manifest(
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
    _check_volumes(path, volumes, lines)
    names = list(labels or columns.labels or infer_labels(frame, columns))
    if not names and require_labels:
        raise ManifestError(
            f"{path} has no label column: expected columns of 0, 1 or blank beside {VOLUME!r}. "
            "Add one, or name the label columns in training.target_labels."
        )
    _require_columns(path, frame, names)
    _check_labels(path, names)
    identities, warnings = _identities(path, frame, volumes, columns)
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
        visual_paths=_strip(frame[columns.visual_feature]),
        text_paths=None if text is None else _strip(text),
        frame=frame,
        lines=lines,
        warnings=warnings,
        notes=notes,
    )


def infer_labels(frame: pd.DataFrame, columns: ColumnsConfig) -> list[str]:
    """Name every column whose values are all 0, 1 or blank and that is no id, path or metadata."""
    return [column for column in label_candidates(frame, columns) if _is_label(_strip(frame[column]))]


def label_candidates(frame: pd.DataFrame, columns: ColumnsConfig) -> list[str]:
    """Name every column that is no id, path or metadata."""
    special = (VOLUME, columns.visual_feature, columns.text_feature, columns.grouping_col)
    others = _KNOWN_METADATA.union(columns.metadata, special)
    return [c for c in frame if c and c not in others and not c.endswith(("_id", "_path"))]


def _is_label(values: np.ndarray) -> bool:
    kinds = {str(value).lower() for value in pd.unique(values)} - _BLANK
    return bool(kinds) and kinds <= {"0", "1", "0.0", "1.0"}


def _targets(path: Path, frame: pd.DataFrame, labels: Sequence[str], lines: np.ndarray) -> np.ndarray:
    targets = np.empty((len(frame), len(labels)), dtype=np.float32)
    for c, label in enumerate(labels):
        values = pd.Series(_strip(frame[label]))
        blank = values.str.lower().isin(_BLANK).to_numpy()
        numbers = pd.to_numeric(values.mask(blank), errors="coerce").to_numpy(dtype=np.float64)
        bad = ~blank & ~np.isin(numbers, (0.0, 1.0))
        if bad.any():
            examples = ", ".join(repr(value) for value in pd.unique(values[bad])[:3])
            raise ManifestError(
                f"{path}: label column {label!r} has {examples} on line {first_rows(lines[bad])}; "
                "expected 0, 1 or blank (unknown). Correct the values, or name the column in data.columns.metadata."
            )
        targets[:, c] = numbers
    return targets


def _identities(
    path: Path, frame: pd.DataFrame, volumes: np.ndarray, columns: ColumnsConfig
) -> tuple[Identities, list[str]]:
    """Return the volumes' identities from id columns or names, and a warning about names that give no patient."""
    parsed = parse_identities(volumes)
    patient_column = columns.grouping_col if columns.grouping_col != VOLUME else "patient_id"
    if columns.grouping_col != VOLUME:
        _require_columns(path, frame, [columns.grouping_col])
    exams = _fill_ids(frame.get("exam_id"), parsed.exams)
    patients = _fill_ids(frame.get(patient_column), parsed.patients)
    unnamed = parsed.unnamed & (patients == parsed.patients)
    warnings = []
    if unnamed.any():
        warnings.append(
            f"{path.name}: no patient can be read from {first_rows(volumes[unnamed], 'volume')}; each volume "
            "counts as its own patient. Add patient_id and exam_id columns if volumes share patients."
        )
    return Identities(exams, patients, parsed.recons, unnamed), warnings


def _fill_ids(column: pd.Series | None, parsed: np.ndarray) -> np.ndarray:
    """Return an id column where it is filled, and the parsed identity elsewhere."""
    if column is None:
        return parsed
    ids = _strip(column)
    return np.where(ids == "", parsed, ids).astype(object)


def _strip(column: pd.Series) -> np.ndarray:
    return column.astype(str).str.strip().to_numpy(dtype=object)


def _require_columns(path: Path, frame: pd.DataFrame, names: Sequence[str]) -> None:
    absent = [name for name in names if name not in frame.columns]
    if absent:
        raise ManifestError(
            f"{path} has no column {', '.join(map(repr, absent))}. Its columns are: {', '.join(frame.columns)}. "
            "Rename the column, or name it in data.columns or training.target_labels."
        )


def _check_labels(path: Path, names: Sequence[str]) -> None:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ManifestError(f"{path}: duplicate label {', '.join(map(repr, repeated))}. Name each finding once.")


def _check_volumes(path: Path, volumes: np.ndarray, lines: np.ndarray) -> None:
    blank = volumes == ""
    if blank.any():
        raise ManifestError(
            f"{path}: {VOLUME} is blank on line {first_rows(lines[blank])}. Fill it in, or remove the row."
        )
    repeated = pd.Series(volumes).duplicated().to_numpy()
    if repeated.any():
        raise ManifestError(
            f"{path}: duplicate {VOLUME} {first_rows(volumes[repeated])}, "
            f"first on line {lines[repeated][0]}. Keep one row a volume."
        )
