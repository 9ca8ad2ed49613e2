"""Simulated cohorts with several correlated rows a patient, and their true figures: for coverage and null comparisons.

Scores are normal: patient, exam and reconstruction effects of variance .5, .3, .2, and a finding adds its strength. Truths
are integrals, not samples. Shapes: N rows, C labels, M models.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

EFFECTS = (0.5, 0.3, 0.2)
# Exams a patient (CT-RATE has 1.2) and reconstructions an exam, with their shares.
VOLUMES = {
    "ct-rate": (((1, 2, 3), (0.86, 0.10, 0.04)), ((1, 2, 3), (0.1, 0.8, 0.1))),
    "one": (((1,), (1.0,)), ((1,), (1.0,))),
    "1 to 5": (((1, 2), (0.8, 0.2)), ((1, 2, 3, 4, 5), (0.2,) * 5)),
}
# Strength of the finding in a patient, relative to the mean: alike in all, or faint in half of them and plain in the rest.
STRENGTHS = {"normal": (1.0,), "faint or plain": (0.4, 1.6)}


@dataclass(frozen=True)
class Cell:
    """What is simulated: share of sick rows, true AUROC, patients; a key of `VOLUMES` and one of `STRENGTHS`."""

    prevalence: float
    auroc: float
    patients: int
    volumes: str = "ct-rate"
    scores: str = "normal"


def cohort(
    draw: np.random.Generator, patients: int, prevalence: float, labels: int, volumes: str = "ct-rate"
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw the patient and exam of every row, and targets (N, labels) that exams of a patient mostly share."""
    of_patient, of_exam = VOLUMES[volumes]
    exams = np.repeat(np.arange(patients), draw.choice(of_patient[0], patients, p=of_patient[1]))
    exam = np.repeat(np.arange(len(exams)), draw.choice(of_exam[0], len(exams), p=of_exam[1]))
    hidden = np.sqrt(0.8) * draw.normal(size=(patients, labels))[exams]
    hidden += np.sqrt(0.2) * draw.normal(size=(len(exams), labels))
    return exams[exam], exam, (hidden > ndtri(1 - prevalence)).astype(float)[exam]


def noise(draw: np.random.Generator, patient: np.ndarray, exam: np.ndarray, models: int) -> np.ndarray:
    """Draw scores without signal, (models, N), of variance 1."""
    parts = [draw.normal(size=(models, int(at.max()) + 1))[:, at] for at in (patient, exam, np.arange(len(exam)))]
    return sum(np.sqrt(share) * part for share, part in zip(EFFECTS, parts))


@lru_cache
def strength(auroc: float, scores: str = "normal") -> float:
    """Return the mean strength of the finding that gives this AUROC."""
    relative = np.array(STRENGTHS[scores])
    return float(brentq(lambda mu: ndtr(mu * relative / np.sqrt(2)).mean() - auroc, 0, 20))


def true_auroc(means: np.ndarray) -> float:
    """Return AUROC of positives of these means, equally many of each, among standard normal negatives."""
    return float(ndtr(means / np.sqrt(2)).mean())


def true_auprc(prevalence: float, means: np.ndarray) -> float:
    """Integrate precision over recall."""
    t = np.linspace(-9, 16, 100001)
    recall, alarms = ndtr(means[:, None] - t).mean(axis=0), (1 - prevalence) * ndtr(-t)
    precision = prevalence * recall / np.maximum(prevalence * recall + alarms, 1e-300)
    return float(-np.trapezoid(precision, recall))


def true_f1(prevalence: float, means: np.ndarray, threshold: np.ndarray) -> np.ndarray:
    """Return F1 of calling scores above thresholds (C,)."""
    tp = prevalence * ndtr(means[:, None] - threshold).mean(axis=0)
    return 2 * tp / (tp + (1 - prevalence) * ndtr(-threshold) + prevalence)
