"""Write estimates and differences as rows of a comparison's tables, with p adjusted for many tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ctbench_core.compare.primary import Margin, Primary
from ctbench_core.declared import compared_metrics
from ctbench_core.inference import (
    ELIGIBLE,
    MACRO,
    Difference,
    Estimate,
    benjamini_hochberg,
    macro_start,
)

MACROS = (MACRO, ELIGIBLE)
MARGIN_COLUMNS = ("margin", "margin_origin", "non_inferior", "p_non_inferior", "equivalent", "p_equivalent")
ONE_SIDED, TWO_SIDED = 0.025, 0.05


def columns_in_order(names: Sequence[str]) -> list[int]:
    """Return the places of columns as tables list them: the macro means first, then the findings."""
    start = macro_start(names)
    return [*range(start, len(names)), *range(start)]


def metric_rows(name: str, estimate: Estimate) -> list[dict[str, Any]]:
    """Return the rows of one model's or recipe's metric: the macro means and every finding."""
    return [
        {
            "model": name,
            "metric": estimate.metric,
            "finding": estimate.columns[k],
            "value": float(estimate.value[k]),
            **_pair("lo", "hi", estimate.bounds[k]),
            "sd": float(estimate.sd[k]),
            "seeds": estimate.seeds,
            "patient_error": float(estimate.patient_error[k]),
            "seed_error": float(estimate.seed_error[k]),
            **_pair("range_lo", "range_hi", estimate.spread[k]),
            "findings": int(estimate.findings[k]),
            "reason": estimate.reasons[k] or "",
            "mark": estimate.marks[k],
        }
        for k in columns_in_order(estimate.columns)
    ]


def difference_rows(
    names: tuple[str, str],
    values: tuple[Mapping[str, float], Mapping[str, float]],
    one: Difference,
    margin: Margin | None = None,
    primary: Primary | None = None,
    p_swap: Sequence[float] | np.ndarray = (),
) -> list[dict[str, Any]]:
    """Return the rows of the difference of one metric: the macro means and every finding.

    Args:
        names: of the first and the second. values: of both, by column, over the seeds that are compared.
        p_swap: of each finding, where it was tested.
    """
    rows, margins = [], _margin_columns(one, margin)
    start = macro_start(one.columns)
    for k in columns_in_order(one.columns):
        label = one.columns[k]
        row: dict[str, Any] = {"a": names[0], "b": names[1], "metric": one.metric, "label": label}
        row |= {"a_value": values[0][label], "b_value": values[1][label], **one.row(k)}
        row |= {"p_swap": float(p_swap[k]) if k < min(start, len(p_swap)) else np.nan}
        row |= {"primary": bool(primary and primary.includes(one.metric, label))}
        rows.append(row | {name: values[k] for name, values in margins.items()})
    return rows


def _pair(low: str, high: str, bounds: Sequence[float] | np.ndarray) -> dict[str, float]:
    return {low: float(bounds[0]), high: float(bounds[1])}


def _margin_columns(one: Difference, margin: Margin | None) -> dict[str, list[Any]]:
    """Return by column the answers about a margin; None where there is no interval."""
    if margin is None:
        return {}
    non_inferior, equivalent = one.non_inferiority(margin.value), one.equivalence(margin.value)
    count = len(one.columns)
    columns: list[list[Any]] = [[margin.value] * count, [margin.origin] * count]
    columns += [_below(non_inferior, ONE_SIDED), non_inferior.tolist()]
    columns += [_below(equivalent, TWO_SIDED), equivalent.tolist()]
    return dict(zip(MARGIN_COLUMNS, columns))


def _below(p: np.ndarray, level: float) -> list[bool | None]:
    return [None if np.isnan(value) else bool(value < level) for value in p]


def adjusted(rows: Sequence[Mapping[str, Any]], models: int) -> pd.DataFrame:
    """Return rows of differences as a table, with p adjusted over all of them by Benjamini and Hochberg."""
    frame = pd.DataFrame(rows)
    place = list(frame).index("p") + 1
    tests = int(frame["p"].notna().sum())
    compared = f" of {models - 1} models against the baseline" if models > 2 else ""
    family = f"{tests} tests: {len(compared_metrics())} metrics{compared}, for each finding and the macro mean"
    frame.insert(place, "p_adjusted", benjamini_hochberg(frame["p"].to_numpy(float)))
    frame.insert(place + 1, "family", family)
    for name in {"margin_origin", "non_inferior", "equivalent"} & set(frame):  # a metric without a margin has none
        frame[name] = frame[name].astype(object).where(frame[name].notna(), None)
    return frame
