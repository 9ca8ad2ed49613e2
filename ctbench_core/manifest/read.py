"""Read a CSV or Parquet file as a validated Manifest, or raise one message that says what to fix."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ctbench_core.config import ColumnsConfig, Config, LabelsConfig
from ctbench_core.declared import vector_suffixes
from ctbench_core.errors import CtbenchError, Fix, ManifestError, first_rows, joined
from ctbench_core.formatting import plural
from ctbench_core.manifest.cohort import apply_cohort
from ctbench_core.manifest.columns import IdColumns, find_columns, missing_column, spelled_columns
from ctbench_core.manifest.label_maps import label_map
from ctbench_core.manifest.label_problems import no_findings
from ctbench_core.manifest.labels import configured_findings, read_labels
from ctbench_core.manifest.manifest import VOLUME, Manifest, clean_names, fill_ids, parse_identities
from ctbench_core.manifest.prepared import apply_record, read_record
from ctbench_core.tables import read_table

# Runs of a study share their test manifests: the last few are kept while their files stay the same.
_CACHE_SIZE = 8
_cache: dict[tuple[str, int, int, int, int], Manifest] = {}


def read_cohort(path: Path, config: Config, labels: Sequence[str] | None = None) -> Manifest:
    """Read a manifest as a config says and apply its cohort; callers share the result, so treat it as read-only.

    Args:
        labels: the findings; by default those of the config, or inferred.

    Raises:
        ManifestError: it is missing, breaks the contract, or the cohort leaves no row.
    """
    data, findings = config.data, labels or configured_findings(config)
    # An exclusion list or a label map may change while the manifest does not.
    if data.cohort.exclude is not None or isinstance(data.labels.rename, str) or not path.is_file():
        return apply_cohort(read_configured(path, config, findings), data.cohort)
    status = path.stat()
    settings = repr((str(path), data.columns, data.labels, data.cohort, findings))
    key = (settings, status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino)
    if (kept := _cache.get(key)) is not None:
        return kept
    manifest = apply_cohort(read_configured(path, config, findings), data.cohort)
    _cache[key] = manifest
    for oldest in list(_cache)[:-_CACHE_SIZE]:
        _cache.pop(oldest, None)
    return manifest


def read_configured(path: Path, config: Config, labels: Sequence[str] | None = None) -> Manifest:
    """Read a manifest with the columns, findings and label rules of a config, without its cohort; raises the same."""
    findings = labels or configured_findings(config)
    return read_manifest(path, config.data.columns, findings, rules=config.data.labels)


def read_manifest(
    path: Path | str,
    columns: ColumnsConfig | None = None,
    labels: Sequence[str] | None = None,
    require_labels: bool = True,
    rules: LabelsConfig | None = None,
) -> Manifest:
    """Read and validate one manifest.

    Args:
        path: a CSV or Parquet file; see `tables.read_table`.
        columns: names of the columns; the usual ones and their spellings by default.
        labels: the findings; empty means ``columns.labels``, then those that `prepare` recorded, then every column of
            labels that is no id, path or metadata.
        require_labels: refuse a manifest without any finding.
        rules: what the values of labels mean, as in ``data.labels``.

    Raises:
        ManifestError: the file is missing or empty, a column is missing, a volume is duplicate, or a label has no
            meaning. The message names file, column and lines.
    """
    path, columns = Path(path), columns or ColumnsConfig()
    frame, digest = read_table(path)
    record, stale = read_record(path, digest)
    findings = labels or columns.labels or _recorded_findings(record, frame, rules)
    manifest = build_manifest(path, frame, digest, columns, findings, require_labels, rules)
    return apply_record(dataclasses.replace(manifest, warnings=manifest.warnings + stale), record)


def _recorded_findings(record: dict[str, Any], frame: pd.DataFrame, rules: LabelsConfig | None) -> list[str] | None:
    """Return the findings that a prepared manifest's record names, under the names that the rules give them."""
    rules = rules or LabelsConfig()
    renames = label_map(rules.rename)
    names = [finding for name in record.get("findings", ()) if name in frame for finding in renames.findings_of(name)]
    return [name for name in dict.fromkeys(names) if rules.only is None or name in rules.only] or None


def build_manifest(
    path: Path,
    frame: pd.DataFrame,
    digest: str,
    columns: ColumnsConfig,
    labels: Sequence[str] | None = None,
    require_labels: bool = True,
    rules: LabelsConfig | None = None,
) -> Manifest:
    """Validate a table of text, as `read_table` returns it, as a manifest.

    Raises:
        ManifestError: the table breaks the manifest contract.
    """
    names = list(frame)
    ids = find_columns(path, names, columns)
    lines = frame.index.to_numpy() + 2  # line 1 of the file is its header
    frame = frame.reset_index(drop=True)
    errors = _missing_columns(path, frame, columns, ids)
    try:
        read = read_labels(path, frame, lines, columns, ids, labels or columns.labels, rules)
    except ManifestError as error:
        raise joined([*errors, *error.parts]) from error
    if not read.names and require_labels:
        errors.append(no_findings(path, frame, columns, ids))
    if errors:
        raise joined(errors)
    text = frame.get(columns.text_feature)
    notes = (
        []
        if text is not None or columns.text_feature is None
        else [f"{path.name} has no column {columns.text_feature!r}: visual-only."]
    )
    manifest = read_rows(path, frame, digest, lines, ids)
    return dataclasses.replace(
        manifest,
        labels=read.names,
        targets=read.targets,
        visual_paths=_strip(frame[columns.visual_feature]),
        text_paths=None if text is None else _strip(text),
        warnings=manifest.warnings + read.warnings,
        notes=manifest.notes + read.notes + notes,
        label_mapping=read.mapping,
        reserved=manifest.reserved.union(
            read.columns, [columns.visual_feature], filter(None, [columns.text_feature, columns.split])
        ),
    )


def _missing_columns(path: Path, frame: pd.DataFrame, columns: ColumnsConfig, ids: IdColumns) -> list[CtbenchError]:
    names = list(frame)
    errors: list[CtbenchError] = [] if ids.volume is not None else [missing_column(path, names, "volume", VOLUME)]
    if columns.visual_feature not in names:
        first = {name: str(frame[name].iloc[0]).lower() for name in names if name != columns.text_feature}
        likely = [name for name, value in first.items() if value.endswith(vector_suffixes())]
        errors.append(missing_column(path, names, "visual", columns.visual_feature, ids.volume, likely))
    return errors


def read_rows(path: Path, frame: pd.DataFrame, digest: str, lines: np.ndarray, ids: IdColumns) -> Manifest:
    """Return the rows of a table with their identities, without labels and paths.

    Without a column of volume names, every name is blank and every row its own exam and patient.

    Raises:
        ManifestError: a volume's name is blank or duplicate.
    """
    if ids.volume is None:
        volumes = np.full(len(frame), "", dtype=object)
        parsed = parse_identities([f"line {line}" for line in lines])
    else:
        volumes = clean_names(frame[ids.volume])
        others = [name for name in spelled_columns("volume", list(frame)) if frame[name].is_unique]
        check_volumes(path, volumes, lines, ids.volume, unique=others)
        parsed = parse_identities(volumes)
    exams, _ = fill_ids(frame.get(ids.exam), parsed.exams, parsed.unnamed)
    patients, unknown = fill_ids(frame.get(ids.patient), parsed.patients, parsed.unnamed)
    warnings = []
    if unknown.any():
        rows = first_rows(volumes[unknown], "volume") if ids.volume else plural(int(unknown.sum()), "row")
        warnings.append(
            f"{path.name}: no patient is known for {rows}; each counts as its own patient, so intervals are too narrow "
            "where patients have several. Add a column patient_id, or name it with data.columns.patient."
        )
    return Manifest(
        name=path.name,
        path=path,
        digest=digest,
        volumes=volumes,
        exams=exams,
        patients=patients,
        recons=parsed.recons,
        labels=[],
        targets=np.empty((len(frame), 0), dtype=np.float32),
        visual_paths=np.full(len(frame), "", dtype=object),
        text_paths=None,
        frame=frame,
        lines=lines,
        warnings=warnings,
        notes=list(ids.notes.values()),
        unknown=unknown,
        reserved=frozenset(ids.names),
    )


def check_volumes(
    path: Path,
    volumes: np.ndarray,
    lines: np.ndarray,
    column: str,
    fix: str = "",
    unique: Sequence[str] = (),
    nameable: bool = True,
) -> None:
    """Refuse blank and duplicate names.

    Args:
        column: the name of their column. fix: what else can be done about duplicates.
        unique: columns that may be meant instead, whose values are filled and never repeat.
        nameable: whether data.columns.volume can name another column.

    Raises:
        ManifestError: there are any; the message has their lines.
    """
    blank = volumes == ""
    if blank.any():
        raise ManifestError(
            f"{path}: {column} is blank on line {first_rows(lines[blank])}. Fill it in, or remove the row."
        )
    repeated = pd.Series(volumes).duplicated().to_numpy()
    if repeated.any():
        other = ", or name the right column with data.columns.volume" if nameable and column != VOLUME else ""
        raise ManifestError(
            f"{path}: duplicate {column} {first_rows(volumes[repeated])}, on line "
            f"{', '.join(map(str, lines[repeated][:5]))}. Keep one row a volume{fix}{other}.",
            fixes=[Fix(f"Use {name} as volume column", {"data.columns.volume": name}, sure=True) for name in unique],
        )


def _strip(column: pd.Series) -> np.ndarray:
    return column.astype("str").str.strip().to_numpy(dtype=object)
