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
from ctbench_core.inference import difference, macro_start, measure
from ctbench_core.manifest import find_columns, find_volume, read_labels, read_rows
from ctbench_core.metrics import divide
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


def compare_label_sets(model: ModelScores, labels: pd.DataFrame) -> pd.DataFrame:
    """Score one model against its own labels and against others, paired by volume.

    ``labels`` has a column volumename and one column of 0, 1 or blank a finding. Returns a row a metric and finding:
    metric, label, own, other, delta (other - own), lo, hi, p, agreement, volumes, reason. Labels that are unknown in
    either set are left out of both. Raises InputError without common volumes or findings.
    """
    known = [label for label in model.labels if label in labels]
    renamed = labels[["volumename", *known]].rename(columns={label: f"target_{label}" for label in known})
    merged = model.frame.drop(columns=[f"target_{label}" for label in known]).merge(renamed, on="volumename")
    relabelled = merged[[name for name in merged if not name.startswith("prob_") or name[5:] in known]]
    common = keep_common([model, ModelScores("other labels", relabelled)])
    rows_of_common = relabelled.drop_duplicates("volumename").set_index("volumename").loc[common.volumes]
    own, other = common.targets, label_columns(rows_of_common, "target_", common.labels)
    unknown = np.isnan(own) | np.isnan(other)
    sides = np.where(unknown, np.nan, np.stack([own, other]))
    figures = measure(sides, np.repeat(common.scores[:1], 2, axis=0), common.patients, common.labels)
    volumes = (~unknown).sum(axis=0)
    agreement = divide(((own == other) & ~unknown).sum(axis=0), volumes)
    rows: list[dict[str, Any]] = []
    for metric, one in figures.items():
        gap = difference(one, [1], [0])
        for c, label in enumerate(gap.columns[: macro_start(gap.columns)]):
            values = {"own": one.value[0, c], "other": one.value[1, c], "delta": gap.delta[c]}
            interval = {"lo": gap.bounds[c, 0], "hi": gap.bounds[c, 1], "p": gap.p[c]}
            counts = {"agreement": agreement[c], "volumes": int(volumes[c]), "reason": gap.reasons[c] or ""}
            rows.append({"metric": metric, "label": label, **values, **interval, **counts})
    return pd.DataFrame(rows)
