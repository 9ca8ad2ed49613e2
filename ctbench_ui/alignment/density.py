"""Many points of a plane for a browser: a count in every cell of a grid, and fewer points, thinned where they are dense."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BINS = (120, 80)
# The range that a view has: all but the outermost thousandth of the places at each side (of fewer than 2,000 two, but at
# most a hundredth, and at least one), and this share more of it on both sides.
_OUTERMOST, _FEW, _MOST, _MARGIN = 0.001, 2, 0.01, 0.2
_EDGE = 0.02  # of that range, beyond the outermost point, so that its mark is whole
_CELLS = 2  # cells of the grid that are thinned together, in both directions


@dataclass(frozen=True)
class Density:
    """Points by cell of a grid: edges x (X + 1,) and y (Y + 1,), counts (X, Y); ``outside``: points beyond the edges."""

    x: np.ndarray
    y: np.ndarray
    count: np.ndarray
    outside: int

    def ends(self, axis: str) -> list[float]:
        """Return the first and the last edge of an axis."""
        edges = self.x if axis == "x" else self.y
        return [float(edges[0]), float(edges[-1])]


def measure(x: np.ndarray, y: np.ndarray) -> Density:
    """Count points (N,) by cell; a few far ones are left outside, so that they do not squeeze the others."""
    ranges = [_range(np.unique(values)) for values in (x, y)]  # many reports may have one text, and lie at one place
    count, x_edges, y_edges = np.histogram2d(x, y, bins=BINS, range=ranges)
    return Density(x_edges, y_edges, count.astype(np.int32), len(x) - int(count.sum()))


def _range(values: np.ndarray) -> tuple[float, float]:
    """Return the range of the view from sorted values."""
    share = min(max(_OUTERMOST, _FEW / len(values)), _MOST)
    low = float(np.quantile(values, share, method="higher"))
    high = float(np.quantile(values, 1 - share, method="lower"))
    span = high - low or 1.0
    first, last, margin = float(values[0]) - _EDGE * span, float(values[-1]) + _EDGE * span, _MARGIN * span
    return max(first, low - margin), min(last, high + margin)


def thin(x: np.ndarray, y: np.ndarray, density: Density, most: int) -> np.ndarray:
    """Return the places, in order, of at most ``most`` of the points (N,), the smallest share of them where they are dense.

    Every place of the plane keeps some points: colours are seen there too, and far points are not lost.
    """
    if len(x) <= most:
        return np.arange(len(x))
    column, row = (
        (np.searchsorted(edges, values, side="right") + 1) // _CELLS
        for edges, values in ((density.x, x), (density.y, y))
    )
    _, cell, size = np.unique(column * (len(density.y) + 2) + row, return_inverse=True, return_counts=True)
    order = np.random.default_rng(0).permutation(len(x))
    by_cell = order[np.argsort(cell[order], kind="stable")]
    place = np.empty(len(x), np.intp)  # of each point among those of its cell, in the drawn order
    place[by_cell] = np.arange(len(x)) - np.searchsorted(cell[by_cell], cell[by_cell])
    # First one point of each cell, then a second one, and so on; of sparse cells first.
    return np.sort(np.lexsort((order, size[cell], place))[:most])
