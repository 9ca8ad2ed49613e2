"""The simulations of the benchmarks: fast resamples against the product's, true values against large samples."""

from __future__ import annotations

import json
from dataclasses import astuple
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from benchmarks.bootstrap import largest_gap, plain_loop, scored_cohort
from benchmarks.cohorts import Cell, cohort, noise, true_auprc, true_auroc, true_f1
from benchmarks.coverage import NAMES, means_of, repeat, signal, table, truths
from benchmarks.fast_resamples import counted_patients, drawn_patients, resampled_areas
from benchmarks.null_comparisons import models, report
from benchmarks.null_comparisons import repeat as compare_once
from ctbench_core.inference import count_patients, rank_swap, resampled
from ctbench_core.inference.paired import swap_p
from ctbench_core.metrics import compared_metric_fn, ranking_metrics, thresholded_metrics


def test_fast_resamples_are_those_of_the_product() -> None:
    draw = np.random.default_rng(0)
    patient, exam, targets = cohort(draw, 60, 0.2, 2)
    scores = targets.T + noise(draw, patient, exam, 2)
    weights = drawn_patients(draw, 60, 20)
    assert (weights.sum(axis=1) == 60).all()
    auroc, auprc = resampled_areas(targets.T, scores, patient, weights)
    result = ranking_metrics(targets, scores.T, weights[:, patient])
    np.testing.assert_allclose(auroc, result.auroc, atol=1e-12)
    np.testing.assert_allclose(auprc, result.auprc, atol=1e-12)
    counted, expected = counted_patients(targets, patient), count_patients(targets, patient)
    np.testing.assert_array_equal(counted.positive, expected.positive)
    np.testing.assert_array_equal(counted.negative, expected.negative)


@pytest.mark.parametrize("scores", ["normal", "faint or plain"])
def test_truths_are_those_of_a_large_sample(scores: str) -> None:
    cell = Cell(0.2, 0.8, 100_000, "one", scores)
    draw, means = np.random.default_rng(1), means_of(cell)
    patient, exam, targets = cohort(draw, cell.patients, cell.prevalence, 1, cell.volumes)
    values = signal(draw, cell, patient, targets) + noise(draw, patient, exam, 1).T
    result = ranking_metrics(targets, values)
    assert true_auroc(means) == pytest.approx(0.8, abs=1e-9)
    assert result.auroc[0] == pytest.approx(0.8, abs=0.006)
    assert result.auprc[0] == pytest.approx(true_auprc(0.2, means), abs=0.01)
    called = thresholded_metrics(targets, values, 1.0).f1[0]
    assert called == pytest.approx(true_f1(0.2, means, np.array([1.0]))[0], abs=0.01)


def test_a_simulated_repeat_counts_every_interval() -> None:
    cell = Cell(0.3, 0.75, 60)
    tally = repeat(np.random.default_rng(2), cell, truths(cell), resamples=30)
    assert tally["auroc"][:2] == [3, 3]
    assert tally["paired auprc"][:2] == tally["recipe auroc"][:2] == [3, 3]
    assert tally["macro auroc"][:2] == tally["macro recipe auroc"][:2] == [1, 1]
    assert tally["macro auprc"][:2] == [1, 0]  # of 18 sick patients the bias is too large


def test_a_few_resamples_of_18_findings_equal_the_plain_loop() -> None:
    targets, scores, patients = scored_cohort()
    assert targets.shape == (3039, 18)
    theirs = plain_loop(targets, scores, patients, 4)
    assert largest_gap(dict(resampled(compared_metric_fn, targets, scores, patients, 4)), theirs) < 1e-12


def test_p_values_of_equal_models_are_uniform_with_patients_as_units() -> None:
    """The reduced form of `python -m benchmarks.null_comparisons`."""
    p: dict[str, list[float]] = {"patients": [], "volumes": []}
    for k in range(250):
        draw = np.random.default_rng([11, k])
        patient, targets, scores = models(draw, 2)
        first, second = scores[:, :, :2]
        for unit, groups in (("patients", patient), ("volumes", np.arange(len(patient)))):
            delta = np.subtract(*compared_metric_fn(targets[:, :2], np.stack([first, second]))["auroc"]).mean()
            swapped = rank_swap(targets[:, :2], first, second, groups, swaps=99, seed=k)["auroc"].mean(axis=1)
            p[unit].append(float(swap_p(np.array([delta]), swapped[:, None])[0]))
    assert stats.kstest(p["patients"], "uniform").pvalue > 0.01
    assert 0.02 <= np.mean(np.array(p["patients"]) < 0.05) <= 0.09
    assert np.mean(np.array(p["volumes"]) < 0.05) > 0.11


def test_simulations_are_stored_and_shown_as_tables(tmp_path: Path) -> None:
    cell = Cell(0.3, 0.75, 60)
    path = tmp_path / "coverage.jsonl"
    tally = repeat(np.random.default_rng(3), cell, truths(cell), resamples=30)
    path.write_text(json.dumps({"cell": astuple(cell), "repeats": 50, "tally": tally}), encoding="utf-8")
    assert "| 60 | 30% | 0.75 | 100% | 50 |" in table(path)
    assert set(tally) >= set(NAMES)
    nulls = tmp_path / "null.jsonl"
    entries = [compare_once(np.random.default_rng([7, k]), extra=k < 2) for k in range(3)]
    nulls.write_text("\n".join(json.dumps(entry) for entry in entries), encoding="utf-8")
    assert "| swap auprc, macro | " in report(nulls)
