"""Subgroups of an evaluation: every group of a metadata column against all other volumes.

Shapes: N rows, C labels, R resamples.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ctbench_core.declared import compared_metrics
from ctbench_core.errors import ManifestError
from ctbench_core.evaluate.bundle_tables import write_parquet
from ctbench_core.evaluate.groups import UNKNOWN, comparable_columns, metadata_groups, sorted_groups
from ctbench_core.features import check_allowed
from ctbench_core.formatting import plural
from ctbench_core.inference import (
    LEVEL,
    Estimate,
    PatientCounts,
    benjamini_hochberg,
    count_patients,
    estimates,
    interval_rule,
    macro_error,
    macro_means,
    metric_dof,
    missing_interval_reasons,
    moderated_error,
    patient_weights,
    satterthwaite,
    standard_error,
    t_test,
)
from ctbench_core.manifest import clean_names, find_volume
from ctbench_core.metrics import Floats, compared_metric_fn, divide
from ctbench_core.progress import Progress
from ctbench_core.runs import EvaluationPaths, score_arrays
from ctbench_core.tables import read_table

MACRO = "macro"
# Enough for standard errors, and for percentiles where AUPRC averages them with a t interval.
RESAMPLES = 500


@dataclass(frozen=True)
class _Side:
    """One group or its complement: metrics (C,), their draws (R, C) and estimates by name, and its patients."""

    value: dict[str, Floats]
    draws: dict[str, Floats]
    n_patients: PatientCounts
    estimates: dict[str, Estimate]

    def dof(self, metric: str) -> Floats:
        return metric_dof(metric, self.n_patients)


def subgroup_frame(
    targets: np.ndarray,
    scores: np.ndarray,
    patients: np.ndarray,
    groups: np.ndarray,
    labels: list[str],
    resamples: int = RESAMPLES,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Compare each group with all other volumes of known group: a row a group, metric and finding (``macro`` too).

    targets (N, C) in {0, 1, NaN}; scores (N, C); patients, groups (N,), where `UNKNOWN` is left out. Columns group,
    metric, finding, volumes, patients, positives, prevalence, value, lo, hi, complement, gap (value - complement),
    gap_lo, gap_hi, p, p_adjusted, family, reason. Patients are resampled once for both sides. Interval and p of the gap
    use t with the degrees of freedom of the side with fewer patients (AUPRC: half-way to the percentiles). p is
    adjusted over the table; of two groups, whose gaps mirror each other, one counts. AUPRC grows with prevalence, so
    groups of different prevalence differ in AUPRC for that reason alone.
    """
    known = groups != UNKNOWN
    truth, values = np.asarray(targets, np.float64)[known], np.asarray(scores, np.float64)[known]
    known_patients, known_groups = patients[known], groups[known]
    names = sorted_groups(known_groups)
    rows: list[dict[str, Any]] = []
    for done, name in enumerate(names):
        if progress:
            progress("subgroups", done, len(names))
        rows += _group_rows(truth, values, known_patients, known_groups == name, name, labels, resamples)
    frame = pd.DataFrame(rows)
    if len(names) < 2:
        return frame.iloc[:0]
    in_family = frame["group"] == names[0] if len(names) == 2 else pd.Series(True, frame.index)
    adjusted = benjamini_hochberg(frame.loc[in_family, "p"].to_numpy(float))
    frame["p_adjusted"] = np.concatenate([adjusted, adjusted]) if len(names) == 2 else adjusted
    frame["family"] = int(frame.loc[in_family, "p"].notna().sum())
    return frame[[*(name for name in frame if name != "reason"), "reason"]]


def _group_rows(
    targets: Floats,
    scores: Floats,
    patients: np.ndarray,
    inside: np.ndarray,
    group: str,
    labels: list[str],
    resamples: int,
) -> list[dict[str, Any]]:
    own, other = (_side(targets, scores, patients, mask, resamples) for mask in (inside, ~inside))
    size = {"group": group, "volumes": int(inside.sum()), "patients": len(np.unique(patients[inside]))}
    group_targets = targets[inside]
    positives = (group_targets == 1).sum(axis=0)
    prevalence = divide(positives, (~np.isnan(group_targets)).sum(axis=0))
    rows = []
    for metric in compared_metrics():
        gaps = _gaps(metric, own, other)
        for c, label in enumerate(labels):
            counts = {"finding": label, "positives": int(positives[c]), "prevalence": float(prevalence[c])}
            rows.append(size | {"metric": metric} | counts | gaps[c])
        counts = {"finding": MACRO, "positives": int(positives.sum()), "prevalence": np.nan}
        rows.append(size | {"metric": metric} | counts | _macro(metric, own, other, gaps))
    return rows


def _side(targets: Floats, scores: Floats, patients: np.ndarray, mask: np.ndarray, resamples: int) -> _Side:
    """Resample all patients, the same for both sides, and estimate the metrics of one side."""
    truth, values = targets[mask], scores[mask]
    value = {name: np.asarray(v) for name, v in compared_metric_fn(truth, values, None).items()}
    parts = [compared_metric_fn(truth, values, weights[:, mask]) for weights in patient_weights(patients, resamples)]
    draws = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    n_patients = count_patients(truth, patients[mask])
    return _Side(value, draws, n_patients, estimates(value, draws, n_patients))


def _gaps(metric: str, own: _Side, other: _Side) -> list[dict[str, Any]]:
    """Return value, complement and gap of every label; interval and p only where both sides have enough patients."""
    own_reasons, other_reasons = (
        missing_interval_reasons(side.draws[metric], side.n_patients) for side in (own, other)
    )
    error, dof = _gap_error(metric, own, other), np.minimum(own.dof(metric), other.dof(metric))
    first, second, bounds = own.value[metric], other.value[metric], own.estimates[metric].bounds
    gap_draws = own.draws[metric] - other.draws[metric]
    rows = []
    for c, (own_reason, other_reason) in enumerate(zip(own_reasons, other_reasons)):
        reason = (own_reason and f"group: {own_reason}") or (other_reason and f"complement: {other_reason}") or ""
        row = {"value": float(first[c]), "lo": float(bounds[c, 0]), "hi": float(bounds[c, 1])}
        row |= {"complement": float(second[c]), "gap": float(first[c] - second[c])}
        test = _test(metric, row["gap"], gap_draws[:, c], np.nan if reason else error[c], dof[c])
        rows.append(row | test | {"reason": reason})
    return rows


def _gap_error(metric: str, own: _Side, other: _Side) -> Floats:
    """Return the error of a gap, (C,): its spread, for AUROC times the moderation of the errors of both sides."""
    spread = standard_error(own.draws[metric] - other.draws[metric])
    if interval_rule(metric) != "moderated":
        return spread
    spreads = [standard_error(side.draws[metric]) for side in (own, other)]
    errors = [moderated_error(side.value[metric], s, side.n_patients) for side, s in zip((own, other), spreads)]
    ratio = divide(sum(e**2 for e in errors), sum(s**2 for s in spreads))
    return np.asarray(spread * np.sqrt(np.where(np.isnan(ratio), 1.0, ratio)))


def _test(metric: str, gap: float, draws: Floats, error: float, dof: float) -> dict[str, float]:
    """Return interval and p of a gap; NaN without a positive error."""
    if not error > 0:
        return {"gap_lo": np.nan, "gap_hi": np.nan, "p": np.nan}
    low, high, p = t_test(gap, error, dof)
    if interval_rule(metric) == "percentile":
        edges = np.nanquantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        low, high = (low + edges[0]) / 2, (high + edges[1]) / 2
    return {"gap_lo": float(low), "gap_hi": float(high), "p": p}


def _macro(metric: str, own: _Side, other: _Side, gaps: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the macro row, over the labels with enough patients on both sides."""
    usable = np.array([not gap["reason"] for gap in gaps], bool)
    if not usable.any():
        names = ("value", "lo", "hi", "complement", "gap", "gap_lo", "gap_hi", "p")
        return dict.fromkeys(names, np.nan) | {"reason": "no finding has enough patients on both sides"}
    first, second = (float(side.value[metric][usable].mean()) for side in (own, other))
    n_patients = PatientCounts(own.n_patients.positive[usable], own.n_patients.negative[usable])
    group = estimates({metric: own.value[metric][usable]}, {metric: own.draws[metric][:, usable]}, n_patients)[metric]
    gap_draws = macro_means(own.draws[metric][:, usable])[:, 0] - macro_means(other.draws[metric][:, usable])[:, 0]
    error, spread = _gap_error(metric, own, other), standard_error(own.draws[metric] - other.draws[metric])
    total_error = macro_error(gap_draws, error[usable], spread[usable])
    dof = satterthwaite(error[usable] ** 2, np.minimum(own.dof(metric), other.dof(metric))[usable])
    row = {"value": first, "lo": float(group.macro_bounds[0]), "hi": float(group.macro_bounds[1])}
    row |= {"complement": second, "gap": first - second}
    row |= _test(metric, first - second, gap_draws, total_error, dof)
    number = plural(int(usable.sum()), "finding")
    reason = "" if usable.all() else f"over {number} with enough patients on both sides"
    return row | {"reason": reason}


def read_metadata(paths: EvaluationPaths, table: Path | str | None = None) -> pd.DataFrame:
    """Return the metadata of an evaluation's volumes in the order of its scores, (N rows).

    Args:
        table: a CSV or Parquet of metadata with one row a volume, instead of the manifest's own columns.

    Raises:
        ManifestError: the table is unreadable, has no column of volume names, or none of the volumes.
    """
    volumes = pd.read_parquet(paths.scores, columns=["volumename"])["volumename"]
    if table is None:
        if not paths.metadata.is_file():
            return pd.DataFrame(index=range(len(volumes)))
        frame = pd.read_parquet(paths.metadata).set_index("volumename")
        return frame.loc[volumes].reset_index(drop=True)
    frame = read_table(check_allowed(table))[0]
    name, _ = find_volume(Path(table), list(frame), None)
    metadata = frame.assign(**{name: clean_names(frame[name])}).drop_duplicates(name).set_index(name)
    if not volumes.isin(metadata.index).any():
        raise ManifestError(
            f"None of the volumes is in {table}: it has, for example, {metadata.index[0]}, the scores {volumes[0]}."
        )
    return metadata.reindex(volumes).reset_index(drop=True)


def subgroup_columns(paths: EvaluationPaths, table: Path | str | None = None) -> list[str]:
    """Return the metadata columns whose groups can be compared; arguments as `read_metadata`."""
    patients = pd.read_parquet(paths.scores, columns=["patient"])["patient"].to_numpy(str)
    return comparable_columns(read_metadata(paths, table), patients)


def stored_subgroups(paths: EvaluationPaths, column: str) -> pd.DataFrame | None:
    """Return the stored table of a column; None if there is none or the scores are newer."""
    stored = paths.subgroups(column)
    with contextlib.suppress(OSError):
        if stored.stat().st_mtime_ns >= paths.scores.stat().st_mtime_ns:
            return pd.read_parquet(stored)
    return None


def evaluate_subgroups(
    paths: EvaluationPaths, column: str, table: Path | str | None = None, progress: Progress | None = None
) -> pd.DataFrame:
    """Compare the groups of a metadata column (`subgroup_frame`); arguments as `read_metadata`.

    Results for the manifest's own columns are stored beside the scores, and read again until the scores change.
    """
    if table is None and (stored := stored_subgroups(paths, column)) is not None:
        return stored
    scores = pd.read_parquet(paths.scores)
    labels, targets, probabilities = score_arrays(scores)
    groups = metadata_groups(read_metadata(paths, table)[column])
    patients = scores["patient"].to_numpy(str)
    frame = subgroup_frame(targets, probabilities, patients, groups, labels, progress=progress)
    frame["unknown"] = int(np.sum(groups == UNKNOWN))
    if table is None:
        with contextlib.suppress(OSError):  # a read-only store shows the result without storing it
            write_parquet(paths.subgroups(column), frame)
    return frame
