"""Bands of curves are the percentiles of whole curves of resamples, drawn by scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_curve

from ctbench_core.inference import curve_bands, patient_weights

LEVELS, GRID = (0.025, 0.975), np.linspace(0, 1, 61)


def _percentiles(y: np.ndarray, s: np.ndarray, patients: np.ndarray) -> dict[str, np.ndarray]:
    known = ~np.isnan(y)
    y, s = y[known], s[known]
    thresholds = np.unique(s)[::-1]
    curves: dict[str, list[np.ndarray]] = {"pr": [], "roc": []}
    for weights in np.concatenate(list(patient_weights(patients, 200, seed=0)))[:, known]:
        if not (weights[y == 1].any() and weights[y == 0].any()):
            continue
        fpr, tpr, _ = roc_curve(y, s, sample_weight=weights, drop_intermediate=False)
        curves["roc"].append(np.interp(GRID, fpr, tpr))
        called = [(s >= threshold) * weights for threshold in thresholds]
        recall = np.array([one @ y for one in called]) / (weights @ y)
        with np.errstate(invalid="ignore"):
            precision = np.array([one @ y / one.sum() for one in called])
        reached = [int(np.argmax(recall >= at - 1e-12)) for at in GRID]
        curves["pr"].append(precision[reached])
    return {name: np.nanquantile(np.stack(rows), LEVELS, axis=0) for name, rows in curves.items()}


@pytest.mark.parametrize("ties", [0, 4])
def test_a_band_is_the_percentiles_of_whole_curves(ties: int) -> None:
    draw = np.random.default_rng(ties)
    patients = draw.integers(0, 60, 120).astype(str)
    y = (draw.random((120, 2)) < [0.3, 0.6]).astype(float)
    y[draw.random((120, 2)) < 0.05] = np.nan
    s = draw.normal(size=(120, 2)) + np.nan_to_num(y)
    s = np.round(s * ties) if ties else s
    s[np.flatnonzero(y[:, 0] == 0)[0], 0] = 9.0  # a curve that begins with a miss
    for column, bands in enumerate(curve_bands(y, s, patients)):
        for name, expected in _percentiles(y[:, column], s[:, column], patients).items():
            assert np.array([bands[name].lower, bands[name].upper]) == pytest.approx(expected, abs=1e-12)


def test_a_finding_with_few_patients_of_a_class_has_no_band() -> None:
    patients = np.arange(40).astype(str)
    y = np.stack([np.arange(40) < 9, np.arange(40) < 10], axis=1).astype(float)
    few, enough = curve_bands(y, np.random.default_rng(0).normal(size=(40, 2)), patients)
    assert [len(few[name].x) for name in ("pr", "roc")] == [0, 0]
    assert [len(enough[name].x) for name in ("pr", "roc")] == [61, 61]
