from __future__ import annotations

import numpy as np
import pytest

from ctbench_core.errors import InputError
from ctbench_core.metrics import sensitivity_at_specificity, specificity_at_sensitivity


def by_trial(targets, scores, weights, demand, held):
    """Try every threshold: (sensitivity, specificity) of the best that meets the demand."""
    kept = ~np.isnan(targets)
    truth, values, weight = targets[kept] == 1, scores[kept], weights[kept]
    best = (-1.0, -1.0)
    for threshold in [np.inf, *values]:
        called = values >= threshold
        rates = (np.average(called[truth], weights=weight[truth]), np.average(~called[~truth], weights=weight[~truth]))
        if rates[held] >= demand - 1e-12 and rates[1 - held] > best[1 - held]:
            best = rates
    return best


@pytest.mark.parametrize("demand", [0.0, 0.5, 0.9, 0.95, 1.0])
def test_both_ways_equal_trying_every_threshold(case, demand):
    compared = 0
    for seed in range(120):
        targets, scores, weights = (x[:, 0] if x.ndim == 2 else x + 0.1 for x in case(seed))
        at_specificity = sensitivity_at_specificity(targets, scores, demand, weights)
        at_sensitivity = specificity_at_sensitivity(targets, scores, demand, weights)
        if at_specificity.reason:
            assert np.isnan(at_specificity[:3]).all() and np.isnan(at_sensitivity[:3]).all()
            continue
        expected = by_trial(targets, scores, weights, demand, held=1)[0]
        assert at_specificity.sensitivity == pytest.approx(expected, abs=1e-12)
        assert at_specificity.specificity >= demand - 1e-12
        expected = by_trial(targets, scores, weights, demand, held=0)[1]
        assert at_sensitivity.specificity == pytest.approx(expected, abs=1e-12)
        assert at_sensitivity.sensitivity >= demand - 1e-12
        compared += 1
    assert compared > 30


def test_the_threshold_given_yields_the_rates_given():
    draw = np.random.default_rng(0)
    targets, scores = draw.integers(0, 2, 300), np.round(draw.random(300), 2)
    point = sensitivity_at_specificity(targets, scores, 0.9)
    called = scores >= point.threshold
    assert point.sensitivity == pytest.approx(called[targets == 1].mean())
    assert point.specificity == pytest.approx((~called[targets == 0]).mean())


def test_a_specificity_no_score_reaches_calls_nothing_positive():
    point = sensitivity_at_specificity([1, 0], [0.1, 0.9], 1.0)
    assert point == (np.inf, 0.0, 1.0, None)


def test_one_class_says_why_and_per_cent_is_refused():
    assert sensitivity_at_specificity([1, 1], [0.1, 0.9], 0.9).reason == "no negative rows"
    with pytest.raises(InputError, match="not per cent"):
        specificity_at_sensitivity([0, 1], [0.1, 0.9], 90)
