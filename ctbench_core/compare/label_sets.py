"""Score the same predictions against two label sets, to see the effect of label noise on the metrics.

Shapes: N volumes, C findings.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ctbench_core.compare.comparability import ModelScores, keep_common
from ctbench_core.config import Config
from ctbench_core.declared import compared_metrics
from ctbench_core.inference import (
    RESAMPLES,
    PatientCounts,
    count_patients,
    missing_interval_reasons,
    resampled,
    standard_error,
    t_quantile,
)
from ctbench_core.manifest import find_columns, find_volume, read_labels, read_rows
from ctbench_core.metrics import compared_metric_fn
from ctbench_core.runs import label_columns
from ctbench_core.tables import read_table


def read_label_set(path: Path, findings: Sequence[str], config: Config) -> pd.DataFrame:
    """Read another label table: a column volumename, and one of 0, 1 or NaN for each of these findings that it has.

    Raises:
        ManifestError: it is unreadable, lacks volume names, has a volume twice, or a label without a meaning.
    """
    frame, digest = read_table(path)
    lines, ids = frame.index.to_numpy() + 2, find_columns(path, list(frame), config.data.columns)
    volume, _ = find_volume(path, list(frame), config.data.columns.volume)
    rows = read_rows(path, frame, digest, lines, ids)
    known = [name for name in findings if name in frame and name != volume]
    labels = {"volumename": rows.volumes}
    if known:
        read = read_labels(path, frame, lines, config.data.columns, ids, known, config.data.labels)
        labels |= dict(zip(read.names, read.targets.T))
    return pd.DataFrame(labels)


def compare_label_sets(model: ModelScores, labels: pd.DataFrame, resamples: int = RESAMPLES) -> pd.DataFrame:
    """Score one model against its own labels and against others, paired by volume.

    ``labels`` has a column volumename and one column of 0, 1 or blank a finding. Returns a row a metric and finding:
    metric, label, own, other, delta (other - own), lo, hi, agreement, volumes, reason. Labels that are unknown in either
    set are left out of both. The interval resamples patients, the same for both sets. Raises InputError without common
    volumes or findings.
    """
    known = [label for label in model.labels if label in labels]
    renamed = labels[["volumename", *known]].rename(columns={label: f"target_{label}" for label in known})
    merged = model.frame.drop(columns=[f"target_{label}" for label in known]).merge(renamed, on="volumename")
    relabelled = merged[[name for name in merged if not name.startswith("prob_") or name[5:] in known]]
    common = keep_common([model, ModelScores("other labels", relabelled)])
    rows_of_common = relabelled.drop_duplicates("volumename").set_index("volumename").loc[common.volumes]
    own, other = common.targets, label_columns(rows_of_common, "target_", common.labels)
    unknown = np.isnan(own) | np.isnan(other)
    own, other = np.where(unknown, np.nan, own), np.where(unknown, np.nan, other)
    both, scores = np.concatenate([own, other], axis=1), np.concatenate([common.scores[0]] * 2, axis=1)
    draws = resampled(compared_metric_fn, both, scores, common.patients, resamples)
    values = compared_metric_fn(both, scores, None)
    first, second = (count_patients(targets, common.patients) for targets in (own, other))
    n_patients = PatientCounts(np.minimum(first.positive, second.positive), np.minimum(first.negative, second.negative))
    agreement = np.where(unknown, np.nan, own == other)
    count = len(common.labels)
    rows: list[dict[str, Any]] = []
    for metric in compared_metrics():
        delta_draws = draws[metric][:, count:] - draws[metric][:, :count]
        half_width = t_quantile(np.maximum(n_patients.scarcer - 1, 1)) * standard_error(delta_draws)
        for c, reason in enumerate(missing_interval_reasons(delta_draws, n_patients)):
            value, relabelled_value = values[metric][c], values[metric][count + c]
            delta, width = relabelled_value - value, half_width[c] if reason is None else np.nan
            volumes = int((~unknown[:, c]).sum())
            row = {"metric": metric, "label": common.labels[c], "own": value, "other": relabelled_value}
            row |= {"delta": delta, "lo": delta - width, "hi": delta + width}
            row |= {"agreement": float(np.nanmean(agreement[:, c])) if volumes else np.nan, "volumes": volumes}
            rows.append(row | {"reason": reason or ""})
    return pd.DataFrame(rows)
