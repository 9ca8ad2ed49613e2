"""The jackknife: average precision without each patient in turn, exact and from one sort, and errors from such values.

Leaving out a patient changes the counts behind every later precision by that patient's rows alone, so that
running sums for 1, 2, ... rows less answer for all patients at once.

Shapes: N rows, P patients, B blocks of equal scores.
"""

from __future__ import annotations

import numpy as np

from ctbench_core.metrics import Floats, divide, metric_values

# Patients with more rows are few, and are left out one by one.
_MANY_ROWS = 50


def auprc_without_each(targets: Floats, scores: Floats, codes: np.ndarray, patients: int) -> Floats:
    """Return the AUPRC of all rows but those of each patient, (P,); NaN where no positive row is left.

    targets (N,) in {0, 1, NaN = left out}; scores (N,); codes (N,) in 0 ... P - 1.
    """
    known = ~np.isnan(targets)
    if not known.any():
        return np.full(patients, np.nan)
    order = np.flatnonzero(known)[np.argsort(-scores[known], kind="stable")]
    hit, patient, sorted_scores = targets[order] == 1, codes[order], scores[order]
    last = np.append(np.flatnonzero(np.diff(sorted_scores)), len(order) - 1)  # last row of each block
    rows, hits = last + 1.0, np.cumsum(hit)[last].astype(float)
    block = np.searchsorted(last, np.arange(len(order)))
    found = np.diff(hits, prepend=0.0)  # positives of each block
    # Only blocks with a positive add to sums; `before` counts those above a block.
    some, before = np.flatnonzero(found), np.concatenate([[0], np.cumsum(found > 0)])
    found, some_rows, some_hits = found[some], rows[some], hits[some]
    total = np.concatenate([[0.0], np.cumsum(found * some_hits / some_rows)])
    sums = np.full(patients, total[-1])

    by_patient = np.lexsort([block, patient])
    owner, at, is_hit = patient[by_patient], block[by_patient], hit[by_patient]
    own_first = np.searchsorted(owner, owner)
    less = np.arange(len(owner)) - own_first + 1  # the patient's rows so far, and their positives
    less_hits = np.cumsum(is_hit) - np.concatenate([[0], np.cumsum(is_hit)])[own_first]
    until = before[np.where(np.append(owner[1:] == owner[:-1], False), np.append(at[1:], 0), len(rows))]
    start = before[at]
    np.add.at(sums, owner[less == 1], total[start[less == 1]] - total[-1])
    for count in range(1, min(int(less.max(initial=0)), _MANY_ROWS) + 1):
        share = found / np.where(some_rows > count, some_rows - count, np.inf)
        weighted, plain = (np.concatenate([[0.0], np.cumsum(part)]) for part in (share * some_hits, share))
        now = np.flatnonzero(less == count)
        first, end = start[now], until[now]
        np.add.at(sums, owner[now], weighted[end] - weighted[first] - less_hits[now] * (plain[end] - plain[first]))
    # A patient's own positives find nothing any more: their precision is that of their block, without the patient.
    in_block = np.searchsorted(owner * (len(rows) + 1.0) + at, owner * (len(rows) + 1.0) + at, side="right") - 1
    own = divide(hits[at] - less_hits[in_block], rows[at] - less[in_block])
    np.subtract.at(sums, owner[is_hit], np.nan_to_num(own[is_hit]))
    values = divide(sums, hit.sum() - np.bincount(patient[hit], minlength=patients))
    for one in np.flatnonzero(np.bincount(patient, minlength=patients) > _MANY_ROWS):
        weights = (patient != one).astype(float)[None]
        truth, rank = hit.astype(float)[:, None], sorted_scores[None, :, None]
        values[one] = metric_values(["auprc"], truth, rank, weights, np.array([0.5]))["auprc"][0, 0, 0]
    return np.asarray(values)


def jackknife(values: Floats, has_rows: np.ndarray) -> tuple[Floats, Floats]:
    """Return the deviations (P, ...) of values without each patient, and their mean (...).

    The products of deviations sum to covariances: V = (n - 1) / n sum over n patients of (v_-p - mean)^2. Patients without
    rows (P, ...) are none of them, and deviate by 0. The mean gives the bias: (n - 1) (mean - value). Sources: Efron and
    Stein, Ann. Statist. 1981; of clusters: Rao and Wu, JASA 1985; of the bias: Quenouille, Biometrika 1956.
    """
    n = has_rows.sum(axis=0)
    mean = divide(np.where(has_rows, values, 0.0).sum(axis=0), n)
    return np.where(has_rows, np.sqrt(np.maximum(n - 1, 0) / np.maximum(n, 1)) * (values - mean), 0.0), mean
