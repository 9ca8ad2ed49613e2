"""Compare two alignment results query by query: the difference of each metric with its paired interval."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ctbench_core.errors import InputError
from ctbench_core.inference import mean_difference
from ctbench_core.runs import read_frame
from ctbench_core.stored import is_there

_STORED = {"mrr": "reciprocal_rank", "map": "average_precision"}
_RECALL = "recall_at_"


def compare_alignments(first: Path, second: Path, truth: str) -> pd.DataFrame:
    """Return the differences first - second of two results over the queries that both have scored.

    Args:
        first, second: the folders of the results. truth: of the hits, as in their ``ranks.parquet``.

    Returns:
        A row for each direction and metric (``recall_at_<k>`` of common depths, ``mrr``, ``map``): direction, metric,
        first, second, delta, lower, upper, queries, patients, no_interval.

    Raises:
        InputError: a result has no names of volumes, or the two are of different volumes.
    """
    one, other = _ranks(first, truth), _ranks(second, truth)
    names = [set(frame["volumename"]) for frame in (one, other)]
    if names[0] != names[1]:
        raise InputError(
            f"The results are of different volumes: {len(names[0]):,} and {len(names[1]):,}, {len(names[0] & names[1]):,} "
            "of them in both. Recall depends on the gallery, so that a paired difference needs the same volumes. Measure "
            "both on one manifest and cohort."
        )
    patients = read_frame(first / "samples.parquet", columns=["volumename", "patient"]).set_index("volumename")[
        "patient"
    ]
    return pd.DataFrame(list(_rows(one, other, patients)))


def _rows(first: pd.DataFrame, second: pd.DataFrame, patients: pd.Series) -> Iterator[dict[str, Any]]:
    for direction in [way for way in first["direction"].unique() if way in set(second["direction"])]:
        one, other = (frame[frame["direction"] == direction].set_index("volumename") for frame in (first, second))
        other = other.reindex(one.index)
        depths = sorted(int(name.removeprefix(_RECALL)) for name in one if name.startswith(_RECALL) and name in other)
        for metric in [*(f"{_RECALL}{k}" for k in depths), *_STORED]:
            left, right = (frame[_STORED.get(metric, metric)].to_numpy(np.float64) for frame in (one, other))
            both = ~np.isnan(left - right)
            change = mean_difference(left, right, patients.reindex(one.index).to_numpy())
            yield {
                "direction": direction,
                "metric": metric,
                "first": _mean(left[both]),
                "second": _mean(right[both]),
                "delta": change.value,
                "lower": change.lo,
                "upper": change.hi,
                "queries": int(both.sum()),
                "patients": change.patients,
                "no_interval": change.reason or "",
            }


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _ranks(folder: Path, truth: str) -> pd.DataFrame:
    """Return a row for each query and direction, with recall at each depth.

    Results of earlier releases do not store recall; without a tie it follows from the rank of the first hit.
    """
    if not is_there(folder / "samples.parquet"):
        raise InputError(
            f"{folder.name} has no names of volumes: it was measured from arrays. Measure manifests instead."
        )
    ranks: pd.DataFrame = read_frame(folder / "ranks.parquet", filters=[("truth", "==", truth)])
    if any(name.startswith(_RECALL) for name in ranks):
        return ranks
    if ranks["tied"].any():
        return ranks
    depths = read_frame(folder / "recall.csv")["k"].unique()
    rank = ranks["first_rank"]
    return ranks.assign(**{f"{_RECALL}{k}": np.where(rank.isna(), np.nan, rank <= k) for k in depths})
