"""Subgroups: every group of a metadata column against its complement, by finding and in the macro mean.

Shapes: N rows, C labels, R resamples.

MERGED: Subgroups of a stored evaluation, worked out once and kept beside its scores.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import stdtr

from ctbench_core.atomic import write_with
from ctbench_core.errors import ManifestError
from ctbench_core.evaluate.groups import UNKNOWN, groups_of, order_of, usable_columns
from ctbench_core.evaluate.scores import scored_arrays
from ctbench_core.features import check_allowed
from ctbench_core.inference import (
    LEVEL,
    Estimate,
    Evidence,
    benjamini_hochberg,
    dof_of,
    estimates,
    evidence,
    inflation,
    macro_draws,
    moderated_error,
    no_interval,
    patient_weights,
    quantile,
    satterthwaite,
    standard_error,
)
from ctbench_core.manifest import clean_names
from ctbench_core.metrics import Floats, divide, ranking_figures
from ctbench_core.progress import Progress
from ctbench_core.runs import EvaluationPaths
from ctbench_core.tables import read_table

METRICS = ("auprc", "auroc")
MACRO = "macro"
# Enough for standard errors and, on the way to an interval of AUPRC, for percentiles.
RESAMPLES = 500


@dataclass(frozen=True)
class _Side:
    """One group, or its complement: figures (C,) and their draws (R, C) by name, and what they rest on."""

    value: dict[str, Floats]
    draws: dict[str, Floats]
    rests_on: Evidence
    found: dict[str, Estimate]


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
    gap_lo, gap_hi, p, p_adjusted, family, reason. Patients are resampled once for both sides; the gap's interval and p
    are those of t with the freedom of the side with fewer patients (AUPRC: half-way to the percentiles).
    p is adjusted over the table (two groups mirror each other and count once). AUPRC grows with
    prevalence: groups of other prevalence differ in it by that alone.
    """
    known = groups != UNKNOWN
    truth, values = np.asarray(targets, np.float64)[known], np.asarray(scores, np.float64)[known]
    people, at = patients[known], groups[known]
    names = order_of(at)
    rows: list[dict[str, Any]] = []
    for place, name in enumerate(names):
        if progress:
            progress("subgroups", place, len(names))
        rows += _group_rows(truth, values, people, at == name, name, labels, resamples)
    frame = pd.DataFrame(rows)
    if len(names) < 2:
        return frame.iloc[:0]
    tested = frame["group"] == names[0] if len(names) == 2 else pd.Series(True, frame.index)
    adjusted = benjamini_hochberg(frame.loc[tested, "p"].to_numpy(float))
    frame["p_adjusted"] = np.concatenate([adjusted, adjusted]) if len(names) == 2 else adjusted
    frame["family"] = int(frame.loc[tested, "p"].notna().sum())
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
    mine = targets[inside]
    positives = (mine == 1).sum(axis=0)
    prevalence = divide(positives, (~np.isnan(mine)).sum(axis=0))
    rows = []
    for metric in METRICS:
        gaps = _gaps(metric, own, other)
        for c, label in enumerate(labels):
            about = {"finding": label, "positives": int(positives[c]), "prevalence": float(prevalence[c])}
            rows.append(size | {"metric": metric} | about | gaps[c])
        nothing = {"finding": MACRO, "positives": int(positives.sum()), "prevalence": np.nan}
        rows.append(size | {"metric": metric} | nothing | _macro(metric, own, other, gaps))
    return rows


def _side(targets: Floats, scores: Floats, patients: np.ndarray, mask: np.ndarray, resamples: int) -> _Side:
    """Resample all patients, the same for every side, and judge the rows of one side."""
    truth, values = targets[mask], scores[mask]
    value = {name: np.asarray(v) for name, v in ranking_figures(truth, values, None).items()}
    parts = [ranking_figures(truth, values, weights[:, mask]) for weights in patient_weights(patients, resamples)]
    draws = {name: np.concatenate([part[name] for part in parts]) for name in METRICS}
    rests_on = evidence(truth, patients[mask])
    return _Side(value, draws, rests_on, estimates(value, draws, rests_on))


def _gaps(metric: str, own: _Side, other: _Side) -> list[dict[str, Any]]:
    """Return figure, complement and gap of every label; intervals and p only where both sides may have them."""
    reasons = [
        (first and f"group: {first}") or (second and f"complement: {second}") or ""
        for first, second in zip(*(no_interval(side.draws[metric], side.rests_on) for side in (own, other)))
    ]
    error, dof = _gap_error(metric, own, other), _freedom(metric, own, other)
    first, second, bounds = own.value[metric], other.value[metric], own.found[metric].bounds
    apart = own.draws[metric] - other.draws[metric]
    rows = []
    for c, reason in enumerate(reasons):
        row = {"value": float(first[c]), "lo": float(bounds[c, 0]), "hi": float(bounds[c, 1])}
        row |= {"complement": float(second[c]), "gap": float(first[c] - second[c])}
        tested = _tested(metric, row["gap"], apart[:, c], error[c], dof[c], not reason)
        rows.append(row | tested | {"reason": reason})
    return rows


def _gap_error(metric: str, own: _Side, other: _Side) -> Floats:
    """Return the error of a gap, (C,): its spread, for AUROC drawn towards the model as the errors of both sides are."""
    spread = standard_error(own.draws[metric] - other.draws[metric])
    if metric != "auroc":
        return spread
    spreads = [standard_error(side.draws[metric]) for side in (own, other)]
    errors = [moderated_error(side.value[metric], s, side.rests_on) for side, s in zip((own, other), spreads)]
    ratio = divide(sum(e**2 for e in errors), sum(s**2 for s in spreads))
    return np.asarray(spread * np.sqrt(np.where(np.isnan(ratio), 1.0, ratio)))


def _freedom(metric: str, own: _Side, other: _Side) -> Floats:
    return np.minimum(dof_of(metric, own.rests_on), dof_of(metric, other.rests_on))


def _tested(metric: str, gap: float, draws: Floats, error: float, dof: float, given: bool) -> dict[str, float]:
    if not given or not error > 0:
        return {"gap_lo": np.nan, "gap_hi": np.nan, "p": np.nan}
    reach = float(quantile(dof)) * error
    low, high = gap - reach, gap + reach
    if metric == "auprc":
        edges = np.nanquantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        low, high = (low + edges[0]) / 2, (high + edges[1]) / 2
    return {"gap_lo": float(low), "gap_hi": float(high), "p": float(2 * stdtr(dof, -abs(gap) / error))}


def _macro(metric: str, own: _Side, other: _Side, gaps: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the macro row, over the labels that both sides can judge."""
    usable = np.array([not gap["reason"] for gap in gaps], bool)
    if not usable.any():
        names = ("value", "lo", "hi", "complement", "gap", "gap_lo", "gap_hi", "p")
        return dict.fromkeys(names, np.nan) | {"reason": "no finding can be judged on both sides"}
    first, second = (float(side.value[metric][usable].mean()) for side in (own, other))
    rests_on = Evidence(own.rests_on.positive[usable], own.rests_on.negative[usable])
    alone = estimates({metric: own.value[metric][usable]}, {metric: own.draws[metric][:, usable]}, rests_on)[metric]
    apart = macro_draws(own.draws[metric][:, usable])[:, 0] - macro_draws(other.draws[metric][:, usable])[:, 0]
    error, spread = _gap_error(metric, own, other), standard_error(own.draws[metric] - other.draws[metric])
    total = float(standard_error(apart[:, None])[0]) * inflation(error[usable], spread[usable])
    dof = satterthwaite(error[usable] ** 2, _freedom(metric, own, other)[usable])
    row = {"value": first, "lo": float(alone.macro_bounds[0]), "hi": float(alone.macro_bounds[1])}
    row |= {"complement": second, "gap": first - second}
    left = len(usable) - int(usable.sum())
    row |= _tested(metric, first - second, apart, total, dof, True)
    return row | {"reason": f"over the {usable.sum()} findings that both sides can judge" if left else ""}


_NAMES = ("volumename", "volume", "name", "id")


def metadata_of(paths: EvaluationPaths, table: Path | str | None = None) -> pd.DataFrame:
    """Return the metadata of an evaluation's volumes in the order of its scores, (N rows).

    Args:
        table: a CSV or Parquet of metadata with one row a volume, in place of the manifest's own columns.

    Raises:
        ManifestError: the table is unreadable, has no column of volume names, or none of the volumes.
    """
    volumes = pd.read_parquet(paths.scores, columns=["volumename"])["volumename"]
    if table is None:
        if not paths.metadata.is_file():
            return pd.DataFrame(index=range(len(volumes)))
        frame = pd.read_parquet(paths.metadata).set_index("volumename")
        return frame.loc[volumes].reset_index(drop=True)
    frame = read_table(check_allowed(table), "Table")[0]
    name = next((column for column in frame if str(column).lower() in _NAMES), None)
    if name is None:
        raise ManifestError(f"{table} has no column of volume names: expected one of {', '.join(_NAMES)}.")
    found = frame.assign(**{name: clean_names(frame[name])}).drop_duplicates(name).set_index(name)
    if not volumes.isin(found.index).any():
        raise ManifestError(f"None of the volumes is in {table}: it has {found.index[0]}, the scores {volumes[0]}.")
    return found.reindex(volumes).reset_index(drop=True)


def columns_of(paths: EvaluationPaths, table: Path | str | None = None) -> list[str]:
    """Name the metadata columns whose groups can be compared; arguments as `metadata_of`."""
    patients = pd.read_parquet(paths.scores, columns=["patient"])["patient"].to_numpy(str)
    return usable_columns(metadata_of(paths, table), patients)


def known_subgroups(paths: EvaluationPaths, column: str) -> pd.DataFrame | None:
    """Return the stored table of a column; None where there is none, or the scores are newer."""
    stored = paths.subgroups(column)
    with contextlib.suppress(OSError):
        if stored.stat().st_mtime_ns >= paths.scores.stat().st_mtime_ns:
            return pd.read_parquet(stored)
    return None


def subgroups_of(
    paths: EvaluationPaths, column: str, table: Path | str | None = None, progress: Progress | None = None
) -> pd.DataFrame:
    """Compare the groups of a metadata column (`subgroup_frame`); arguments as `metadata_of`.

    What rests on the manifest's own columns is kept beside the scores and read again while they stay as they are.
    """
    if table is None and (known := known_subgroups(paths, column)) is not None:
        return known
    scores = pd.read_parquet(paths.scores)
    labels, targets, probabilities = scored_arrays(scores)
    groups = groups_of(metadata_of(paths, table)[column])
    patients = scores["patient"].to_numpy(str)
    found = subgroup_frame(targets, probabilities, patients, groups, labels, progress=progress)
    found["unknown"] = int(np.sum(groups == UNKNOWN))
    if table is None:
        with contextlib.suppress(OSError):  # a store that may only be read still shows the figures
            write_with(paths.subgroups(column), partial(found.to_parquet, index=False))
    return found
