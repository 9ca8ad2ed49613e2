"""The same predictions scored against two label sets: what label noise alone does to a figure.

Shapes: N rows, C labels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ctbench_core.compare.tables import Scored, common_ground
from ctbench_core.inference import (
    METRICS,
    RESAMPLES,
    Evidence,
    evidence,
    no_interval,
    quantile,
    resampled,
    standard_error,
)
from ctbench_core.metrics import ranking_figures


def compare_label_sets(scored: Scored, labels: pd.DataFrame, resamples: int = RESAMPLES) -> pd.DataFrame:
    """Score one model against its own labels and against others, paired by volume.

    ``labels`` has a column volumename and one column 0, 1 or blank a finding. Returns a row a metric and finding:
    metric, label, own, other, delta (other - own), lo, hi, agreement, volumes, reason. Rows unknown in either set are
    left out of both. The interval resamples patients, the same for both sets. Raises InputError when nothing is common.
    """
    known = [label for label in scored.labels if label in labels]
    renamed = labels[["volumename", *known]].rename(columns={label: f"target_{label}" for label in known})
    merged = scored.frame.drop(columns=[f"target_{label}" for label in known]).merge(renamed, on="volumename")
    other_frame = merged[[name for name in merged if not name.startswith("prob_") or name[5:] in known]]
    common = common_ground([scored, Scored("other labels", other_frame)])
    own = common.targets
    columns = [f"target_{label}" for label in common.labels]
    other = (
        other_frame.drop_duplicates("volumename").set_index("volumename").loc[common.volumes, columns].astype("Float64")
    ).to_numpy(np.float64, na_value=np.nan)
    unknown = np.isnan(own) | np.isnan(other)
    own, other = np.where(unknown, np.nan, own), np.where(unknown, np.nan, other)
    count = len(common.labels)
    both = np.concatenate([own, other], axis=1)
    scores = np.concatenate([common.scores[0]] * 2, axis=1)
    draws = resampled(ranking_figures, both, scores, common.patients, resamples)
    values = ranking_figures(both, scores, None)
    sides = [evidence(targets, common.patients) for targets in (own, other)]
    least = Evidence(np.minimum(sides[0].positive, sides[1].positive), np.minimum(sides[0].negative, sides[1].negative))
    agreement = np.where(unknown, np.nan, own == other)
    rows: list[dict[str, Any]] = []
    for metric in METRICS:
        apart = draws[metric][:, count:] - draws[metric][:, :count]
        reach = quantile(np.maximum(least.scarcer - 1, 1)) * standard_error(apart)
        for c, reason in enumerate(no_interval(apart, least)):
            first, second = values[metric][c], values[metric][count + c]
            row = {"metric": metric, "label": common.labels[c], "own": first, "other": second, "delta": second - first}
            spread = reach[c] if reason is None else np.nan
            row |= {"lo": row["delta"] - spread, "hi": row["delta"] + spread, "error": spread}
            row |= {"agreement": float(np.nanmean(agreement[:, c])) if (~unknown[:, c]).any() else np.nan}
            rows.append(row | {"volumes": int((~unknown[:, c]).sum()), "reason": reason or ""})
    return pd.DataFrame(rows).drop(columns="error")
