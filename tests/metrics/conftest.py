"""Real data and random cases shared by the tests of metrics."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture
def golden() -> Callable[[str], Path]:
    """Return a function that finds a folder of the real test data, or skips."""
    root = Path(os.environ.get("CTBENCH_TEST_DATA", PROJECT.parent / "shared" / "data"))

    def find(folder: str) -> Path:
        if not (root / folder).is_dir():
            pytest.skip(f"no {folder} in {root}: set CTBENCH_TEST_DATA to the folder of the real data")
        return root / folder

    return find


def random_case(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw targets (N, C) with blanks, scores with ties, and weights, of 1 to 60 rows; some labels of one class."""
    draw = np.random.default_rng(seed)
    rows, labels = int(draw.integers(1, 61)), int(draw.integers(1, 5))
    targets = (draw.random((rows, labels)) < draw.choice([0.0, 0.1, 0.5, 1.0], labels)).astype(float)
    targets[draw.random((rows, labels)) < draw.choice([0.0, 0.3])] = np.nan
    scores = draw.random((rows, labels))
    levels = int(draw.choice([1, 2, 5, 1000]))
    scores = np.round(scores * levels) / levels
    kinds = [np.ones(rows), draw.integers(0, 4, rows).astype(float), draw.random(rows)]
    return targets, scores, kinds[int(draw.integers(3))]


@pytest.fixture
def case() -> Callable[[int], tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Return the drawer of random cases."""
    return random_case
