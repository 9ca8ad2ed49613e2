"""Subgroups of an evaluation: every group of a metadata column against all other volumes.

Shapes: N rows, C labels.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ctbench_core.errors import ManifestError
from ctbench_core.evaluate.groups import UNKNOWN, comparable_columns, metadata_groups, sorted_groups
from ctbench_core.features import check_allowed
from ctbench_core.inference import benjamini_hochberg, difference, estimate, macro_start, measure
from ctbench_core.manifest import clean_names, find_volume
from ctbench_core.metrics import divide
from ctbench_core.progress import Progress
from ctbench_core.runs import EvaluationPaths, read_frame, score_arrays, write_parquet
from ctbench_core.stored import is_there, reading
from ctbench_core.tables import read_table


def subgroup_frame(
    targets: np.ndarray,
    scores: np.ndarray,
    patients: np.ndarray,
    groups: np.ndarray,
    labels: list[str],
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Compare each group with all other volumes of known group: a row a group, metric and finding (macro means too).

    targets (N, C) in {0, 1, NaN}; scores (N, C); patients, groups (N,), where `UNKNOWN` is left out. Columns group,
    metric, finding, volumes, patients, positives, prevalence, value, lo, hi, complement, gap (value - complement),
    gap_lo, gap_hi, p, p_adjusted, family, reason. Interval and p of the gap belong to one t (`difference`), over the
    patients of both sides. p is adjusted over the table; of two groups, whose gaps mirror each other, one counts. AUPRC
    grows with prevalence, so groups of different prevalence differ in AUPRC for that reason alone.
    """
    known = groups != UNKNOWN
    truth, values = np.asarray(targets, np.float64)[known], np.asarray(scores, np.float64)[known]
    known_patients, known_groups = patients[known], groups[known]
    names = sorted_groups(known_groups)
    rows: list[dict[str, Any]] = []
    for done, name in enumerate(names):
        if progress:
            progress("subgroups", done, len(names))
        rows += _group_rows(truth, values, known_patients, known_groups == name, name, labels)
    frame = pd.DataFrame(rows)
    if len(names) < 2:
        return frame.iloc[:0]
    in_family = frame["group"] == names[0] if len(names) == 2 else pd.Series(True, frame.index)
    adjusted = benjamini_hochberg(frame.loc[in_family, "p"].to_numpy(float))
    frame["p_adjusted"] = np.concatenate([adjusted, adjusted]) if len(names) == 2 else adjusted
    frame["family"] = int(frame.loc[in_family, "p"].notna().sum())
    return frame[[*(name for name in frame if name != "reason"), "reason"]]


def _group_rows(
    targets: np.ndarray,
    scores: np.ndarray,
    patients: np.ndarray,
    inside: np.ndarray,
    group: str,
    labels: list[str],
) -> list[dict[str, Any]]:
    sides = np.stack([np.where(mask[:, None], targets, np.nan) for mask in (inside, ~inside)])
    size = {"group": group, "volumes": int(inside.sum()), "patients": len(np.unique(patients[inside]))}
    positives = (sides[0] == 1).sum(axis=0)
    prevalence = divide(positives, (~np.isnan(sides[0])).sum(axis=0))
    counts = dict(zip(labels, zip(positives.tolist(), prevalence.tolist())))
    rows = []
    for metric, figures in measure(sides, np.stack([scores] * 2), patients, labels).items():
        own, gap = estimate(figures, [0]), difference(figures, [0], [1])
        for c, label in enumerate(gap.columns):
            is_macro = c >= macro_start(gap.columns)
            own_positives = positives[figures.averaged[c]].sum()
            number, share = (int(own_positives), np.nan) if is_macro else counts[label]
            low, high = map(float, gap.bounds[c])
            row = size | {"metric": metric, "finding": label, "positives": number, "prevalence": share}
            row |= {"value": float(own.value[c]), "lo": float(own.bounds[c, 0]), "hi": float(own.bounds[c, 1])}
            row |= {"complement": float(figures.value[1, c]), "gap": float(gap.delta[c])}
            row |= {"gap_lo": low, "gap_hi": high, "p": float(gap.p[c]), "reason": gap.reasons[c] or ""}
            rows.append(row)
    return rows


def read_metadata(paths: EvaluationPaths, table: Path | str | None = None) -> pd.DataFrame:
    """Return the metadata of an evaluation's volumes in the order of its scores, (N rows).

    Args:
        table: a CSV or Parquet of metadata with one row a volume, instead of the manifest's own columns.

    Raises:
        ManifestError: the table is unreadable, has no column of volume names, or none of the volumes.
    """
    volumes = read_frame(paths.scores, columns=["volumename"])["volumename"]
    if table is None:
        if not is_there(paths.metadata):
            return pd.DataFrame(index=range(len(volumes)))
        with reading(paths.metadata):
            return read_frame(paths.metadata).set_index("volumename").loc[volumes].reset_index(drop=True)
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
    patients = read_frame(paths.scores, columns=["patient"])["patient"].to_numpy(str)
    return comparable_columns(read_metadata(paths, table), patients)


def stored_subgroups(paths: EvaluationPaths, column: str) -> pd.DataFrame | None:
    """Return the stored table of a column; None if there is none or the scores are newer."""
    stored = paths.subgroups(column)
    with contextlib.suppress(OSError):
        if stored.stat().st_mtime_ns >= paths.scores.stat().st_mtime_ns:
            return read_frame(stored)
    return None


def evaluate_subgroups(
    paths: EvaluationPaths, column: str, table: Path | str | None = None, progress: Progress | None = None
) -> pd.DataFrame:
    """Compare the groups of a metadata column (`subgroup_frame`); arguments as `read_metadata`.

    Results for the manifest's own columns are stored beside the scores, and read again until the scores change.
    """
    if table is None and (stored := stored_subgroups(paths, column)) is not None:
        return stored
    scores = read_frame(paths.scores)
    labels, targets, probabilities = score_arrays(scores)
    groups = metadata_groups(read_metadata(paths, table)[column])
    patients = scores["patient"].to_numpy(str)
    frame = subgroup_frame(targets, probabilities, patients, groups, labels, progress=progress)
    frame["unknown"] = int(np.sum(groups == UNKNOWN))
    if table is None:
        with contextlib.suppress(OSError):  # a read-only store shows the result without storing it
            write_parquet(paths.subgroups(column), frame)
    return frame
