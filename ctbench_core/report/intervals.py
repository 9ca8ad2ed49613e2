"""Write intervals in tables, and what is given in their place: the range over two seeds is never headed as an interval."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from ctbench_core.formatting import format_bounds, format_interval, format_metric
from ctbench_core.inference import MARK_NEAR_END, TWO_SEEDS

_CI = "95 % CI"
_NEAR_END = "near 1: the 95 % CI may cover only 93 %"
DETECTABLE_TITLE = "Detectable difference (80 % power)"


def interval_title(rows: pd.DataFrame, of: str = "") -> str:
    """Return the heading of a column of intervals, by what its rows have.

    Args:
        rows: columns lo, hi; where they have them, range_lo, range_hi (given where lo is NaN) and reason.
        of: what the intervals are of, as in ``Difference [95 % CI]``.
    """
    ranges = _has_range(rows)
    if not ranges.any():
        return f"{of} [{_CI}]" if of else _CI
    if rows["lo"].notna().any():
        return f"{of} [{_CI}] or (range)" if of else f"{_CI} or range"
    is_of_two = "reason" in rows and (rows.loc[ranges, "reason"] == TWO_SEEDS).all()
    title = "range of 2 seeds" if is_of_two else "range over repeats"
    return f"{of} ({title})" if of else title.capitalize()


def interval_texts(rows: pd.DataFrame) -> list[str]:
    """Write the interval of each row, ``[.829, .856]``, else its range, ``range .840 to .844``, else nothing."""
    texts = [format_bounds(pair) for pair in rows[["lo", "hi"]].to_numpy().tolist()]
    if "range_lo" not in rows:
        return texts
    ranges = rows[["range_lo", "range_hi"]].to_numpy(dtype=float).tolist()
    return [range_text(pair) if has else text for text, has, pair in zip(texts, _has_range(rows), ranges)]


def mark_text(mark: str) -> str:
    """Write a stored mark of an interval, or several with their metrics, in full: ``AUROC near 1: the 95 % CI may ...``."""
    return mark.replace(f": {MARK_NEAR_END}", f" {_NEAR_END}").replace(MARK_NEAR_END, _NEAR_END)


def difference_text(delta: float, bounds: Sequence[float], spread: Sequence[float]) -> str:
    """Write a value with its interval, else its range: ``.031 [.012, .050]``, ``.031 (range .028 to .034)``."""
    if math.isnan(bounds[0]) and not math.isnan(spread[0]):
        return f"{format_metric(delta)} ({range_text(spread)})"
    return format_interval(delta, bounds)


def estimate_text(value: float, bounds: Sequence[float], spread: Sequence[float], reason: str | None) -> str:
    """Write a value as `difference_text` does, with the reason where it has no interval; a range of two says so itself."""
    text = difference_text(value, bounds, spread)
    return text if reason in (None, TWO_SEEDS) else f"{text} ({reason})"


def range_text(spread: Sequence[float]) -> str:
    """Write a range over seeds or folds."""
    return f"range {' to '.join(map(format_metric, spread))}"


def _has_range(rows: pd.DataFrame) -> pd.Series:
    """Return which rows have a range in place of an interval."""
    if "range_lo" not in rows:
        return pd.Series(False, rows.index)
    return rows["lo"].isna() & rows["range_lo"].notna()
