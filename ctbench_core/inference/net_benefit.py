"""Net benefit of acting on forecasts above a threshold, and what it adds to the better of acting on all or on none.

Shapes: N rows, G thresholds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ctbench_core.inference.patients import Evidence, evidence, fewest, patient_codes
from ctbench_core.inference.rules import MIN_PATIENTS, t_quantile
from ctbench_core.metrics import Floats, as_scores, as_targets, divide

THRESHOLDS = np.round(np.arange(1, 100) / 100, 2)  # fixed beforehand: a threshold chosen by the curve would flatter it


@dataclass(frozen=True)
class NetBenefit:
    """The decision curve of one finding at thresholds (G,).

    Attributes:
        model, treat_all: net benefit (G,) per volume; that of treating none is 0.
        gain: model less the better of treating all and none, (G,); lower, upper: its pointwise 95 % interval, NaN where
            ``reason`` says why. mark: what to know of it, or empty.
    """

    threshold: Floats
    model: Floats
    treat_all: Floats
    gain: Floats
    lower: Floats
    upper: Floats
    reason: str | None
    mark: str = ""


def net_benefit(targets: ArrayLike, probabilities: ArrayLike, patients: ArrayLike) -> NetBenefit:
    """Compute NB(t) = [TP - FP t / (1 - t)] / n of calibrated probabilities, with the interval of its gain.

    targets (N,) in {0, 1, NaN = left out}; probabilities (N,); patients (N,). The gain is the smaller of those over
    treating none, (TP - w FP) / n, and over treating all, (w TN - FN) / n, with w = t / (1 - t); so are its bounds, so
    that the lower one holds for both at once (Berger and Hsu, Statist. Sci. 1996). Each is a difference of two shares,
    whose bounds are combined by `_difference_bounds`; t with m - 1 degrees of freedom, m effective patients of the scarcer class.
    Source: Vickers and Elkin, Med. Decis. Making 2006; Marsh, Janes and Pepe, Biometrics 2020, whose interval
    gain -+ t error fails where few patients are missed or wrongly treated. Raises InputError for wrong shapes.
    """
    truth = as_targets(targets, axes=1)
    known = ~np.isnan(truth)
    order = np.argsort(patient_codes(patients)[known], kind="stable")  # rows of a patient stand together
    y, p = (truth[known] == 1)[order], as_scores(probabilities, truth)[known][order]
    codes = patient_codes(patients)[known][order]
    scarcer = fewest(evidence(codes, y == value) for value in (True, False))
    few = scarcer.patients < MIN_PATIENTS
    reason = f"{scarcer.patients} patients in the scarcer class: {MIN_PATIENTS} are needed" if few else None
    cost, size = THRESHOLDS / (1 - THRESHOLDS), max(len(y), 1)
    treated, positive = p[:, None] >= THRESHOLDS, y[:, None]
    model = (treated & positive).sum(axis=0) / size - cost * (treated & ~positive).sum(axis=0) / size
    treat_all = y.sum() / size - cost * (~y).sum() / size
    gain, bounds = model - np.maximum(treat_all, 0.0), np.full((2, len(THRESHOLDS)), np.nan)
    whole = evidence(codes, np.ones(len(y), bool))
    if reason is None:
        t = float(t_quantile(max(scarcer.effective - 1, 1)))
        over_none = _difference_bounds(treated & positive, treated & ~positive, 1.0, cost, codes, whole, t)
        over_all = _difference_bounds(~treated & ~positive, ~treated & positive, cost, 1.0, codes, whole, t)
        bounds = np.minimum(over_none, over_all)
    mark = whole.mark if reason is None else ""
    return NetBenefit(THRESHOLDS, model, treat_all, gain, bounds[0], bounds[1], reason, mark)


def _difference_bounds(
    gained: np.ndarray,
    lost: np.ndarray,
    gained_weight: Floats | float,
    lost_weight: Floats | float,
    codes: np.ndarray,
    patients: Evidence,
    t: float,
) -> Floats:
    """Return bounds (2, G) of a weighted difference of the shares of two masks (n, G), by their own bounds.

    Each share has Wilson's interval in its effective number of rows, share (1 - share) / variance, with the variance
    clustered by patient, or Kish's number of patients where none varies, and at most that where a few patients hold
    most rows (`Evidence.mark`): the variance then misses what they could have done. The distances of these bounds are
    combined like errors, with the correlation of the shares. Sources: Newcombe, Statist. Med. 1998;17:2635 (paired, method 10); Zou
    and Donner, Statist. Med. 2008 (MOVER); Korn and Graubard, Survey Methodology 1998 (effective number).
    """
    shares, sums = zip(*(_patient_sums(mask, codes) for mask in (gained, lost)))
    first, second = (np.square(one).sum(axis=0) for one in sums)
    correlation = divide((sums[0] * sums[1]).sum(axis=0), np.sqrt(first * second))
    correlation = np.nan_to_num(correlation)
    distances = []  # of the lower and the upper bound of each share
    for share, variance, weight in zip(shares, (first, second), (gained_weight, lost_weight)):
        effective = np.where(variance > 0, divide(share * (1 - share), variance), patients.effective)
        effective = np.minimum(effective, patients.effective) if patients.mark else effective
        low, high = _wilson(share, effective, t)
        distances.append((weight * (share - low), weight * (high - share)))
    value = gained_weight * shares[0] - lost_weight * shares[1]
    (own_low, own_high), (other_low, other_high) = distances
    down, up = (
        np.sqrt(np.maximum(a**2 + b**2 - 2 * correlation * a * b, 0.0))
        for a, b in ((own_low, other_high), (own_high, other_low))
    )
    return np.stack([value - down, value + up])


def _patient_sums(mask: np.ndarray, codes: np.ndarray) -> tuple[Floats, Floats]:
    """Return the shares (G,) of a mask (n, G), and what each patient adds to their errors, (P, G); codes (n,) rise."""
    starts, share = np.flatnonzero(np.diff(codes, prepend=-1)), mask.mean(axis=0)
    rows, count = np.diff(starts, append=len(codes))[:, None], len(starts)
    sums = np.add.reduceat(mask.astype(np.int32), starts, axis=0) - rows * share
    return share, sums * np.sqrt(count / max(count - 1, 1)) / len(mask)


def _wilson(share: Floats, effective: Floats, t: float) -> tuple[Floats, Floats]:
    """Return the bounds of shares (G,) in effective rows (G,). Source: Wilson, J. Am. Stat. Assoc. 1927."""
    added = t**2 / effective
    middle = (share + added / 2) / (1 + added)
    half_width = np.sqrt(added * (share * (1 - share) + added / 4)) / (1 + added)
    return np.minimum(middle - half_width, share), np.maximum(middle + half_width, share)
