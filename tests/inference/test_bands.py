"""Bands of curves, against scikit-learn's curves of each resample."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import precision_recall_curve, roc_curve

from ctbench_core.inference import curve_bands
from ctbench_core.inference.patients import patient_weights


@pytest.mark.parametrize("digits", [1, 6], ids=["many ties", "few ties"])
def test_bands_are_the_percentiles_of_the_resamples_curves(digits: int) -> None:
    draw = np.random.default_rng(3)
    patients = np.array([f"p{i}" for i in draw.integers(0, 90, 240)])
    targets = (draw.random(240) < 0.3).astype(float)
    scores = np.round(draw.random(240) + 0.4 * targets, digits)
    targets[::17] = np.nan
    bands, known = curve_bands(targets, scores, patients, resamples=30), ~np.isnan(targets)
    grid = bands["pr"].x
    curves: dict[str, list[np.ndarray]] = {"pr": [], "roc": []}
    for weights in np.concatenate(list(patient_weights(patients, 30))):
        used = known & (weights > 0)
        precision, recall, _ = precision_recall_curve(targets[used], scores[used], sample_weight=weights[used])
        precision, recall = precision[-2::-1], recall[-2::-1]  # from the highest threshold on
        curves["pr"].append(precision[[np.flatnonzero(recall >= x - 1e-12)[0] for x in grid]])
        fpr, tpr, _ = roc_curve(targets[used], scores[used], sample_weight=weights[used], drop_intermediate=False)
        curves["roc"].append(np.interp(grid, fpr, tpr))
    inner = slice(1, None)  # at recall 0, scikit-learn leaves out thresholds that no drawn row has
    for name, rows in curves.items():
        lower, upper = np.quantile(np.stack(rows), [0.025, 0.975], axis=0)
        np.testing.assert_allclose(bands[name].lower[inner], lower[inner], atol=1e-12)
        np.testing.assert_allclose(bands[name].upper[inner], upper[inner], atol=1e-12)
