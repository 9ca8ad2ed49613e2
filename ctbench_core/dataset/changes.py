"""Keep what a run was trained on, and say later how its inputs have changed since.

Shapes: N volumes of training and validation.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from ctbench_core.atomic import write_with
from ctbench_core.dataset.digests import ROLES, compare_digests
from ctbench_core.dataset.load import Dataset
from ctbench_core.errors import DamagedFile
from ctbench_core.formatting import plural
from ctbench_core.manifest import label_codes
from ctbench_core.runs import RunPaths, read_frame, read_provenance


def input_changes(paths: RunPaths, dataset: Dataset) -> list[str]:
    """Compare a dataset with what a run was trained on, and return a sentence for each change, counted where possible."""
    stored = read_provenance(paths).inputs
    if not compare_digests(stored, dataset.digests):
        return []
    return compare_digests(stored, dataset.digests, _count_changes(paths.inputs, dataset))


def write_inputs(path: Path, dataset: Dataset) -> None:
    """Write the volumes of training and validation with their labels and fingerprints of their features.

    ``labels`` has a digit a finding, in the order of their names: 0, 1, or 2 for unknown.
    """
    table = _inputs(dataset)
    write_with(path, lambda file: parquet.write_table(table, file, compression="zstd", write_page_checksum=True))


def _inputs(dataset: Dataset) -> pa.Table:
    """Return a row a volume of training and validation: split, volumename, labels, and a fingerprint a kind of features."""
    parts = []
    for name in [name for name in ROLES if name in dataset.manifests]:
        manifest = dataset.manifests[name]
        order = sorted(range(len(manifest.labels)), key=manifest.labels.__getitem__)
        digits = np.ascontiguousarray(label_codes(manifest.targets)[:, order] + ord("0"))
        columns = {
            "split": pa.DictionaryArray.from_arrays(np.zeros(len(manifest), np.int32), [name]).cast(pa.string()),
            "volumename": pa.array(manifest.volumes, pa.string()),
            "labels": pa.array(digits.view(f"S{len(order)}").ravel()).cast(pa.string()),
            **{kind: pa.array(prints[name]) for kind, prints in dataset.prints.items()},
        }
        parts.append(pa.table(columns))
    return pa.concat_tables(parts)


def _count_changes(path: Path, dataset: Dataset) -> dict[str, str]:
    """Count by digest how many volumes have changed; nothing where the run has no readable table of its inputs."""
    try:
        before, now = read_frame(path), _inputs(dataset).to_pandas()
    except DamagedFile:
        return {}
    both = before.merge(now, on=["split", "volumename"], suffixes=("_before", "_now"))
    counts = {}
    for name in now["split"].unique():
        rows, kept = both[both["split"] == name], int((both["split"] == name).sum())
        new, gone = (int((frame["split"] == name).sum()) - kept for frame in (now, before))
        counts[f"{name}.volumes"] = f"{new} new, {gone} gone"
        counts |= _count(f"{name}.labels", rows, "labels")
    for kind in dataset.prints:
        counts |= _count(f"features.{kind}", both, kind) if kind in before else {}
    return counts


def _count(digest: str, rows: pd.DataFrame, column: str) -> dict[str, str]:
    """Count the volumes whose value of a column has changed; nothing where none has."""
    changed = rows[rows[f"{column}_before"] != rows[f"{column}_now"]]
    some = ", ".join(changed["volumename"][:3]) + (", ..." if len(changed) > 3 else "")
    return {digest: f"{len(changed):,} of {plural(len(rows), 'volume')} ({some})"} if len(changed) else {}
