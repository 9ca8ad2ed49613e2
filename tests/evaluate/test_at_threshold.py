"""What is positive at a threshold: one answer for counts, rates and names, equal to scikit-learn's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import confusion_matrix

from ctbench_core.evaluate import confusion_cells, on_slider, rates_at, shortest_threshold
from ctbench_core.formatting import format_metric, format_threshold


def _sample(kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Return targets with blanks, and scores in float64: of all digits, of two, or stored in float32."""
    rng = np.random.default_rng(7)
    targets = rng.integers(0, 2, 2000).astype(np.float64)
    scores = 1 / (1 + np.exp(-rng.normal(size=2000) - targets))
    targets[::9] = np.nan
    return targets, {"long": scores, "ties": scores.round(2), "float32": scores.astype(np.float32)}[kind]


def _thresholds(scores: np.ndarray) -> list[float]:
    """Return positions of the slider, scores, and the numbers just beside scores."""
    some = scores[::50].astype(np.float64)
    return [0.0, 0.3, 0.46338, 0.7, 1.0, *some, *np.nextafter(some, 0), *np.nextafter(some, 1)]


@pytest.mark.parametrize("kind", ["long", "ties", "float32"])
def test_cells_and_rates_at_any_threshold_equal_scikit_learn(kind: str, tmp_path: Path) -> None:
    targets, scores = _sample(kind)
    known = ~np.isnan(targets)
    for threshold in map(float, _thresholds(scores)):
        cells = confusion_cells(targets, scores, threshold)
        called = scores[known].astype(np.float64) >= threshold
        counted = [int(cells[cell].sum()) for cell in ("tn", "fp", "fn", "tp")]
        assert counted == confusion_matrix(targets[known], called, labels=[0, 1]).ravel().tolist(), threshold
    columns = {"patient": [f"p{row // 2}" for row in range(2000)], "target_a": targets, "prob_a": scores}
    pd.DataFrame(columns).to_parquet(tmp_path / "table.parquet")
    threshold = float(np.nextafter(np.float64(scores[40]), 1))  # below the next float32
    cells = {cell: mask.sum() for cell, mask in confusion_cells(targets, scores, threshold).items()}
    rates = {name: float(one.value[0]) for name, one in rates_at(tmp_path / "table.parquet", "a", threshold).items()}
    assert rates["precision"] == pytest.approx(cells["tp"] / (cells["tp"] + cells["fp"]), abs=1e-12)
    assert rates["specificity"] == pytest.approx(cells["tn"] / (cells["tn"] + cells["fp"]), abs=1e-12)


@pytest.mark.parametrize("kind", ["long", "ties", "float32"])
def test_a_threshold_is_named_by_the_fewest_digits_that_call_the_same_volumes_positive(kind: str) -> None:
    _, scores = _sample(kind)
    values = scores.astype(np.float64)
    for threshold in values[::20]:
        short = shortest_threshold(float(threshold), scores)
        assert ((values >= short) == (values >= threshold)).all()
        digits = len(format_threshold(short)) - 1
        for other in (round(float(threshold), n) for n in range(3, digits)):
            reads_the_same = format_metric(other) == format_metric(threshold)
            assert not reads_the_same or ((values >= other) != (values >= threshold)).any()
        assert format_metric(short) == format_metric(threshold)


def test_a_name_needs_no_more_digits_than_the_scores_ask_for() -> None:
    assert shortest_threshold(0.4633823, np.array([0.2, 0.4633823])) == 0.463
    above = 0.4637823  # .464 and .4638 are above the score
    assert shortest_threshold(above, np.array([0.2, above, 0.9])) == 0.4637
    assert shortest_threshold(0.389556886, np.array([0.2, 0.389556886])) == 0.3895
    assert shortest_threshold(0.4633123, np.array([0.463, 0.4633123, np.nan])) == 0.4633
    assert shortest_threshold(0.1 + 0.2, np.array([0.3, 0.1 + 0.2])) == 0.1 + 0.2
    assert (format_threshold(0.463), format_threshold(0.46378), format_threshold(1e-7)) == (
        ".463",
        ".46378",
        ".0000001",
    )
    assert format_threshold(1.0) == "1.000"


def test_the_slider_means_thousandths() -> None:
    assert on_slider(0.1 + 0.2) == 0.3
    assert on_slider(0.46338) == 0.46338
