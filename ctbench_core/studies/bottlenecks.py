"""Which findings hold a recipe back, and whether labels, seeds or test patients would help."""

from __future__ import annotations

import numpy as np
import pandas as pd


def bottlenecks(cells: pd.DataFrame, axes: list[str], metric: str) -> pd.DataFrame:
    """Return, weakest first, each finding's figure at the most labels of each recipe, and what the last step brought.

    Args:
        cells: `cells.cell_frame`.

    Returns:
        Columns: the axes without budget, finding, mean, lo, hi, sd, gain (to the budget before; NaN with one budget),
        patient_error, seed_error, limited_by (patients or seeds: the larger part of the error; empty if unknown).
    """
    rows = cells[(cells["metric"] == metric) & (cells["finding"] != "")]
    others = [axis for axis in axes if axis != "budget"]
    found = []
    for _, group in rows.groupby([*others, "finding"], sort=False):
        ordered = group.sort_values("n_patients", kind="stable")
        last = ordered.iloc[-1]
        gain = last["mean"] - ordered.iloc[-2]["mean"] if len(ordered) > 1 else np.nan
        parts = {"patients": last["patient_error"], "seeds": last["seed_error"]}
        known = {name: part for name, part in parts.items() if not np.isnan(part)}
        found.append(
            {
                **{axis: last[axis] for axis in others},
                "finding": last["finding"],
                "mean": last["mean"],
                "lo": last["lo"],
                "hi": last["hi"],
                "sd": last["std"],
                "gain": gain,
                "patient_error": last["patient_error"],
                "seed_error": last["seed_error"],
                "limited_by": max(known, key=lambda name: known[name]) if len(known) == 2 else "",
            }
        )
    return pd.DataFrame(found).sort_values("mean", kind="stable").reset_index(drop=True)
