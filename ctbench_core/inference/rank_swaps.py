"""Test by exchanging two models' ranks patient by patient: a sensitivity analysis beside the t of their AUROC.

It tests "same ranking quality, the whole curve". Each difference is divided by its standard error, because plain swaps
reject equal AUROCs of unlike curves too often.

Shapes: N rows, C findings, P patients, R swaps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import csr_array

from ctbench_core.inference.patients import patient_codes
from ctbench_core.metrics import Floats, as_scores, as_targets, divide

SWAPS = 400
_CHUNK = 50


def rank_swap(
    targets: ArrayLike, first: ArrayLike, second: ArrayLike, patients: ArrayLike, swaps: int = SWAPS, seed: int = 0
) -> Floats:
    """Return two-sided p (C,) that two models rank alike, by AUROC; NaN with one class, or one patient in a class.

    targets (N, C) in {0, 1, NaN}; first, second (N, C); patients (N,). Scores become mid-ranks within the finding. The
    ranks of a patient's rows are exchanged with probability one half; p = (1 + #{|t*| >= |t|}) / (R + 1), t by
    Obuchowski's error. Exact where these ranks may be exchanged within every patient,
    else for many patients. Builds on Venkatraman and Begg, Biometrika 1996 (exchange of ranks), and Konietschke and Pauly,
    Electron. J. Stat. 2012 (studentised, paired).
    """
    truth = as_targets(targets, axes=2)
    pair = np.stack([as_scores(first, truth), as_scores(second, truth)])
    codes = patient_codes(patients)
    count = int(codes.max(initial=-1)) + 1
    p = np.full(truth.shape[1], np.nan)
    for c, column in enumerate(truth.T):
        known = ~np.isnan(column)
        hits = column[known] == 1
        own = codes[known]
        if min(len(np.unique(own[hits])), len(np.unique(own[~hits]))) < 2:
            continue
        ranked = _Ranked.of(pair[:, known, c], hits, own, count)
        draw = np.random.default_rng([seed, 1])
        observed = abs(ranked.statistics(np.zeros((1, count), bool))[0])
        # Equal statistics may differ by rounding, and must count as equal.
        extreme = 0
        for start in range(0, swaps, _CHUNK):
            exchanged = draw.random((min(_CHUNK, swaps - start), count)) < 0.5
            extreme += int((np.abs(ranked.statistics(exchanged)) >= observed - 1e-9).sum())
        p[c] = (1 + extreme) / (swaps + 1)
    return p


@dataclass(frozen=True)
class _Ranked:
    """The rows of both models in the order of their ranks, (2n,): which model, class, patient, and the tie block's ends."""

    of_second: np.ndarray
    hits: np.ndarray
    codes: np.ndarray
    start: np.ndarray
    end: np.ndarray
    by_patient: csr_array
    counts: list[int]

    @classmethod
    def of(cls, scores: Floats, hits: np.ndarray, codes: np.ndarray, patients: int) -> _Ranked:
        from scipy.stats import rankdata  # half a second to import

        ranks = np.concatenate([rankdata(one) for one in scores])
        order = np.argsort(ranks, kind="stable")
        ordered = ranks[order]
        both = np.concatenate([codes, codes])[order]
        places = (np.ones(len(order)), (np.arange(len(order)), both))
        return cls(
            of_second=order >= len(hits),
            hits=np.concatenate([hits, hits])[order],
            codes=both,
            start=np.searchsorted(ordered, ordered, side="left"),
            end=np.searchsorted(ordered, ordered, side="right"),
            by_patient=csr_array(places, shape=(len(order), patients)),
            counts=[len(np.unique(codes[mask])) for mask in (hits, ~hits, hits | ~hits)],
        )

    def statistics(self, exchanged: np.ndarray) -> Floats:
        """Return (AUROC of the first - of the second) / error, (R,), after exchanging the marked patients (R, P)."""
        of_first = exchanged[:, self.codes] == self.of_second
        (area, high, low), (other, other_high, other_low) = (self._sums(kept) for kept in (of_first, ~of_first))
        x, y = high - other_high, low - other_low
        i, j, k = (count / (count - 1) for count in self.counts)
        variance = i * (x**2).sum(axis=1) + j * (y**2).sum(axis=1) + 2 * k * (x * y).sum(axis=1)
        gap = area - other
        error = np.sqrt(np.maximum(variance, 0.0))
        return np.where(error > 1e-12, divide(gap, error), np.where(np.abs(gap) < 1e-12, 0.0, np.inf))

    def _sums(self, kept: np.ndarray) -> tuple[Floats, Floats, Floats]:
        """Return AUROC (R,), and placements summed by patient (R, P) over positives and over negatives, of the kept rows."""
        positive, negative = kept & self.hits, kept & ~self.hits
        m, n = (int(mask[0].sum()) for mask in (positive, negative))
        above, below = self._fraction_below(negative, n), 1 - self._fraction_below(positive, m)
        area = (above * positive).sum(axis=1) / m
        sums = [
            ((place - area[:, None]) * mask) @ self.by_patient / count
            for place, mask, count in ((above, positive, m), (below, negative, n))
        ]
        return area, sums[0], sums[1]

    def _fraction_below(self, mask: np.ndarray, count: int) -> Floats:
        """Return for every row the fraction of the marked rows (R, 2n) below it; ties count half."""
        total = np.zeros((len(mask), mask.shape[1] + 1))
        np.cumsum(mask, axis=1, out=total[:, 1:])
        return np.asarray((total[:, self.start] + total[:, self.end]) / (2 * count))
