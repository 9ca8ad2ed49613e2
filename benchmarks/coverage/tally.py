"""Count intervals of simulations: how many were given, contained the truth, rejected, carried a mark; and their widths."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

# rejected: p below the level. plain: percentiles of resamples of patients, in some repeats; beside: the width in these. minor: patients expected on the
# rarer side of the metric (hits or misses). truth, error and square: sums of the truth, of estimate - truth and of its square.
FIELDS = (
    *("requested", "given", "covered", "above", "rejected", "marked"),
    *("width", "beside_width", "plain_width", "plain_given", "plain_covered", "minor", "truth", "error", "square"),
)


class Tally:
    """Sums of `FIELDS` by figure."""

    def __init__(self, sums: Mapping[str, np.ndarray] | None = None) -> None:
        self.sums = {name: np.asarray(values, float) for name, values in (sums or {}).items()}

    def add(
        self,
        name: str,
        bounds: np.ndarray,
        truth: np.ndarray | float,
        *,
        value: np.ndarray | None = None,
        p: np.ndarray | None = None,
        marks: list[str] | None = None,
        plain: np.ndarray | None = None,
        minor: np.ndarray | float = np.nan,
    ) -> None:
        """Count intervals (K, 2) of a figure against their truths; `above` counts truths above the interval."""
        low, high = np.asarray(bounds, float).reshape(-1, 2).T
        given, true = ~np.isnan(low), np.broadcast_to(np.asarray(truth, float), low.shape)
        # Bounds of equal figures meet the truth but for rounding.
        covered = given & (low <= true + 1e-12) & (true - 1e-12 <= high)
        row = dict.fromkeys(FIELDS, 0.0)
        row |= {"requested": len(low), "given": given.sum(), "covered": covered.sum()}
        row |= {"above": (given & (high < true - 1e-12)).sum(), "width": (high - low)[given].sum()}
        if p is not None:
            row["rejected"] = float((np.asarray(p)[given] < 0.05).sum())
        if marks is not None:
            row["marked"] = sum(bool(mark) for mark, has in zip(marks, given) if has)
        if plain is not None:
            row |= {"plain_given": given.sum(), "beside_width": (high - low)[given].sum()}
            row["plain_width"] = (plain[:, 1] - plain[:, 0])[given].sum()
            row["plain_covered"] = (given & (plain[:, 0] <= true) & (true <= plain[:, 1])).sum()
        if value is not None:
            error = (np.asarray(value) - true)[given]
            row |= {"error": error.sum(), "square": (error**2).sum()}
        row["truth"] = true[given].sum()
        row["minor"] = np.broadcast_to(np.nan_to_num(minor), low.shape)[given].sum()
        self._include(name, np.array([float(row[field]) for field in FIELDS]))

    def add_test(self, name: str, rejected: np.ndarray | bool, given: np.ndarray | bool = True) -> None:
        """Count decisions of a test that has no interval."""
        said, usable = np.atleast_1d(rejected), np.broadcast_to(given, np.shape(np.atleast_1d(rejected)))
        row = dict.fromkeys(FIELDS, 0.0)
        row |= {"requested": len(said), "given": usable.sum(), "rejected": (said & usable).sum()}
        self._include(name, np.array([float(row[field]) for field in FIELDS]))

    def merge(self, other: Tally) -> None:
        for name, values in other.sums.items():
            self._include(name, values)

    def plain(self) -> dict[str, list[float]]:
        return {name: [round(float(value), 10) for value in values] for name, values in self.sums.items()}

    def __getitem__(self, name: str) -> dict[str, float]:
        return dict(zip(FIELDS, self.sums[name]))

    def _include(self, name: str, values: np.ndarray) -> None:
        self.sums[name] = self.sums[name] + values if name in self.sums else values
