"""Subgroups of a stored evaluation, worked out once and kept beside its scores."""

from __future__ import annotations

import contextlib
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from ctbench_core.atomic import write_with
from ctbench_core.errors import ManifestError
from ctbench_core.evaluate.groups import UNKNOWN, groups_of, usable_columns
from ctbench_core.evaluate.scores import scored_arrays
from ctbench_core.evaluate.subgroups import Progress, subgroup_frame
from ctbench_core.features import check_allowed
from ctbench_core.manifest import clean_names, read_table
from ctbench_core.runs import EvaluationPaths

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
