"""Stored counts equal counting row by row, at every threshold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import confusion_matrix, f1_score, roc_curve

from ctbench_core.evaluate import GRID, best_thresholds, confusion_cells, counts_frame, write_bundle
from ctbench_core.manifest import Manifest
from ctbench_core.runs import RunPaths

LABELS = ["ties", "rare", "one class", "blanks"]


@pytest.fixture(scope="module")
def targets() -> np.ndarray:
    rng = np.random.default_rng(3)
    labels = (rng.random((900, 4)) < [0.4, 0.01, 0.0, 0.3]).astype(np.float32)
    labels[::3, 3] = np.nan
    labels[:2, 1] = 1
    return labels


@pytest.fixture(scope="module")
def probabilities(targets: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(4)
    scores = 1 / (1 + np.exp(-(rng.normal(size=targets.shape) + np.nan_to_num(targets))))
    scores[:, 0] = scores[:, 0].round(2)
    scores[:, 1] /= 500  # all below the second position of the slider
    return scores


@pytest.fixture(scope="module")
def counts(targets: np.ndarray, probabilities: np.ndarray) -> pd.DataFrame:
    return counts_frame(targets, probabilities, LABELS)


def _by_hand(targets: np.ndarray, probabilities: np.ndarray, threshold: float) -> list[int]:
    known = ~np.isnan(targets)
    return confusion_matrix(targets[known], probabilities[known] >= threshold, labels=[0, 1]).ravel().tolist()


@pytest.mark.parametrize("label", ["ties", "rare", "blanks"])
def test_every_stored_count_equals_scikit_learn(
    counts: pd.DataFrame, targets: np.ndarray, probabilities: np.ndarray, label: str
) -> None:
    c = LABELS.index(label)
    rows = counts[counts["label"] == label]
    assert set(GRID) <= set(rows["threshold"])
    assert rows["threshold"].is_monotonic_increasing
    first = rows.iloc[0]
    for row in rows.sample(80, random_state=0).itertuples():
        stored = [first["fp"] - row.fp, row.fp, first["tp"] - row.tp, row.tp]
        assert stored == _by_hand(targets[:, c], probabilities[:, c], row.threshold)


@pytest.mark.parametrize("label", ["ties", "rare", "blanks"])
def test_the_best_thresholds_are_the_best_of_all_scores(
    counts: pd.DataFrame, targets: np.ndarray, probabilities: np.ndarray, label: str
) -> None:
    c = LABELS.index(label)
    known = ~np.isnan(targets[:, c])
    truth, scores = targets[known, c], probabilities[known, c]
    rows = counts[counts["label"] == label]
    best = best_thresholds(rows)
    highest = max(f1_score(truth, scores >= threshold) for threshold in np.unique(scores))
    assert f1_score(truth, scores >= best["f1"]) == pytest.approx(highest, abs=1e-12)
    fpr, tpr, _ = roc_curve(truth, scores, drop_intermediate=False)
    called = scores >= best["youden"]
    assert called[truth == 1].mean() - called[truth == 0].mean() == pytest.approx((tpr - fpr).max(), abs=1e-12)


def test_a_finding_with_one_class_has_no_counts(counts: pd.DataFrame) -> None:
    assert set(counts["label"]) == set(LABELS) - {"one class"}


def test_the_counts_stay_small(targets: np.ndarray) -> None:
    rng = np.random.default_rng(5)
    many = counts_frame(np.tile(targets, (20, 1)), rng.random((18_000, 4)), LABELS)
    assert len(many) <= 3 * (len(GRID) + 602)


def test_the_bundle_holds_the_counts(tmp_path: Path, targets: np.ndarray, probabilities: np.ndarray) -> None:
    names = np.array([f"valid_{row}_a_1" for row in range(len(targets))], object)
    manifest = Manifest(
        name="test.csv",
        path=tmp_path / "test.csv",
        digest="",
        volumes=names,
        exams=names,
        patients=names,
        recons=np.ones(len(names)),
        labels=LABELS,
        targets=targets,
        visual_paths=names,
        text_paths=None,
        frame=pd.DataFrame({"volumename": names}),
        lines=np.arange(len(names)),
    )
    paths = RunPaths(tmp_path).evaluation("test")
    metrics = write_bundle(paths, manifest, np.log(probabilities / (1 - probabilities)), [], probabilities)
    stored = pd.read_parquet(paths.counts)
    pd.testing.assert_frame_equal(stored, counts_frame(targets, probabilities, LABELS), check_dtype=False)
    cells = confusion_cells(targets[:, 0], probabilities[:, 0], metrics.threshold)
    precision = cells["tp"].sum() / (cells["tp"] | cells["fp"]).sum()
    assert precision == metrics.findings["ties"].value("precision")
