"""Patient-clustered intervals, against plain resampling and the rules of when none is given."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from ctbench_core.metrics import bootstrap_intervals


def clustered(patients: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw targets, scores and patient codes; each patient has one to four rows that share a label and a shift."""
    draw = np.random.default_rng(seed)
    codes = np.repeat(np.arange(patients), draw.integers(1, 5, patients))
    sick = draw.random(patients) < 0.3
    shift = draw.normal(0, 1, patients)
    return (
        sick[codes].astype(float)[:, None],
        (sick[codes] + shift[codes] + draw.normal(0, 0.3, len(codes)))[:, None],
        codes,
    )


def test_equals_resampling_whole_patients_one_by_one() -> None:
    targets, scores, codes = clustered(60, seed=1)
    names = np.char.zfill(codes.astype(str), 3)  # sorted as text, they stand in the order of the codes
    found = bootstrap_intervals(targets, scores, names, resamples=300, seed=4)
    draw = np.random.default_rng(4)
    rows_of = [np.flatnonzero(codes == code) for code in range(60)]
    drawn = np.concatenate([draw.integers(0, 60, (min(64, 300 - start), 60)) for start in range(0, 300, 64)])
    auroc, auprc = [], []
    for patients in drawn:
        rows = np.concatenate([rows_of[patient] for patient in patients])
        auroc.append(roc_auc_score(targets[rows, 0], scores[rows, 0]))
        auprc.append(average_precision_score(targets[rows, 0], scores[rows, 0]))
    np.testing.assert_allclose(found.auroc[0], np.quantile(auroc, [0.025, 0.975]), atol=1e-12)
    np.testing.assert_allclose(found.auprc[0], np.quantile(auprc, [0.025, 0.975]), atol=1e-12)
    np.testing.assert_allclose(found.macro_auroc, found.auroc[0], atol=1e-12)


def test_rows_of_one_patient_are_no_new_evidence() -> None:
    targets, scores, codes = clustered(80, seed=2)
    widths = []
    for copies in (1, 4):
        found = bootstrap_intervals(np.tile(targets, (copies, 1)), np.tile(scores, (copies, 1)), np.tile(codes, copies))
        widths.append(np.diff(found.auroc[0])[0])
    np.testing.assert_allclose(widths[1], widths[0], rtol=1e-9)


def test_too_few_patients_give_no_interval_but_a_reason() -> None:
    targets = np.zeros((50, 2))
    targets[:9, 0], targets[:20, 1] = 1, 1
    scores = np.random.default_rng(0).random((50, 2))
    found = bootstrap_intervals(targets, scores, np.arange(50))
    assert found.reasons == ["positive patients 9, negative 41: an interval needs 10 of each", None]
    assert np.isnan(found.auroc[0]).all()
    np.testing.assert_array_equal(found.macro_auroc, found.auroc[1])


def test_nothing_to_resample_is_undefined() -> None:
    found = bootstrap_intervals(np.empty((0, 1)), np.empty((0, 1)), np.empty(0), resamples=10)
    assert np.isnan(found.auroc).all()
    assert np.isnan(found.macro_auprc).all()
