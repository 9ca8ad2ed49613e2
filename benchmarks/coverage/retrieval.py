"""One set of queries of a design: intervals of Recall@5 and of the mean reciprocal rank, over other query patients."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri

from benchmarks.cohorts import Law, draw_cohort, marginal
from benchmarks.coverage.designs import Design
from benchmarks.coverage.tally import Tally
from benchmarks.coverage.truths import PATIENTS, key_of
from ctbench_core.inference.means import mean_intervals

K = 5
_SPREAD = 1.5  # of log ranks


def query_values(draw: np.random.Generator, design: Design, patients: int, law: Law) -> tuple[dict, np.ndarray]:
    """Draw values of queries by metric, (Q,), and their patients; ranks are log-normal, clustered by patient."""
    cohort = draw_cohort(draw, patients, law)
    noise = (cohort.shared * cohort.scale)[0]
    # Recall@K is the share of ranks of at most K.
    rank = 1 + np.floor(K * np.exp(_SPREAD * (noise - ndtri(design.auroc[0]))))
    return {"recall_at_5": (rank <= K).astype(float), "mrr": 1 / rank}, cohort.patient


def truth_of_queries(design: Design) -> dict[str, float]:
    """Return the true means over queries, from one large sample."""
    draw = np.random.default_rng([99, key_of(design)])
    values, _ = query_values(draw, design, PATIENTS, marginal(design.law))
    return {name: float(column.mean()) for name, column in values.items()}


def repeat(draw: np.random.Generator, design: Design, truth: dict[str, float], tally: Tally) -> None:
    """Draw one set of queries, and count its intervals."""
    values, patient = query_values(draw, design, design.patients, design.law)
    for name, one in mean_intervals(values, patient).items():
        bounds = np.array([[one.lo, one.hi]])
        rate = one.value
        tally.add(
            name,
            bounds,
            truth[name],
            value=np.array([rate]),
            marks=[one.mark],
            minor=design.patients * min(rate, 1 - rate),
        )
