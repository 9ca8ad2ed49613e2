"""Simulated test sets whose patients have several correlated rows, and scores of models on them.

Labels come from a latent normal with a share between patients. Scores have patient, exam and reconstruction effects of
variance .5, .3 and .2; a positive row adds the strength of its model. Shapes: N rows, C findings, P patients.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

EFFECTS = (0.5, 0.3, 0.2)
# Exams per patient (CT-RATE has 1.2) and reconstructions per exam, with their shares.
VOLUMES = {
    "ct-rate": (((1, 2, 3), (0.86, 0.10, 0.04)), ((1, 2, 3), (0.1, 0.8, 0.1))),
    "one": (((1,), (1.0,)), ((1,), (1.0,))),
    "equal": (((1,), (1.0,)), ((3,), (1.0,))),
    "1 to 5": (((1, 2), (0.8, 0.2)), ((1, 2, 3, 4, 5), (0.2,) * 5)),
}
ZIPF = np.arange(1.0, 31) ** -1.7
# Cluster sizes that depend on labels or scores: the truth needs the clusters too.
INFORMATIVE = ("label", "score")
# Shares of latent label variance between patients: labels mostly stay, or change over time.
LABEL_SHARE = {"stay": 0.8, "change": 0.25}
CUTS = ndtri([0.5, 0.75, 0.9, 0.97])  # of five distinct scores
_LARGE = 200_000  # rows by which the strength of heavy tails is found


@dataclass(frozen=True)
class Law:
    """How rows are drawn.

    Attributes:
        prevalence: (C,) of the findings. clusters: a key of `VOLUMES`, zipf, huge, or one of `INFORMATIVE`.
        labels: a key of `LABEL_SHARE`. tails: normal, t3 or laplace. is_ordinal: five distinct scores.
    """

    prevalence: tuple[float, ...]
    clusters: str = "ct-rate"
    labels: str = "stay"
    tails: str = "normal"
    is_ordinal: bool = False


@dataclass(frozen=True)
class Cohort:
    """Rows of a test set: patient and exam (N,), targets (N, C), noise that all models share and its scale (C, N)."""

    patient: np.ndarray
    exam: np.ndarray
    targets: np.ndarray
    shared: np.ndarray
    scale: np.ndarray
    is_ordinal: bool

    def scores(
        self, draw: np.random.Generator, share: float, mean: np.ndarray | float, spread: float = 1.0
    ) -> np.ndarray:
        """Return scores (N, C) of a model: ``share`` of the noise's variance is that of all models.

        Positive rows have noise of ``spread`` times the deviation, plus ``mean`` () or (C,).
        """
        own = noise(draw, self.patient, self.exam, len(self.shared)) if share < 1 else 0.0
        return self.shifted(np.sqrt(share) * self.shared + np.sqrt(1 - share) * own, mean, spread)

    def shifted(self, noise: np.ndarray, mean: np.ndarray | float, spread: float = 1.0) -> np.ndarray:
        """Return scores (N, C) from noise of variance 1, (C, N)."""
        hits = self.targets == 1
        scores = (noise * self.scale).T * np.where(hits, spread, 1.0) + hits * mean
        return np.searchsorted(CUTS, scores).astype(float) if self.is_ordinal else scores


def cohort(
    draw: np.random.Generator, patients: int, prevalence: float, labels: int, volumes: str = "ct-rate"
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw the patient and exam of every row, and targets (N, labels) that exams of a patient mostly share."""
    drawn = draw_cohort(draw, patients, Law((prevalence,) * labels, volumes))
    return drawn.patient, drawn.exam, drawn.targets


def draw_cohort(draw: np.random.Generator, patients: int, law: Law) -> Cohort:
    """Draw the rows of a test set."""
    count = len(law.prevalence)
    share = LABEL_SHARE[law.labels]
    hidden = np.sqrt(share) * draw.normal(size=(patients, count))
    effect = draw.normal(size=(count, patients))
    exams, per_exam = _sizes(draw, law, hidden, effect)
    of_exam = np.repeat(np.arange(patients), exams)
    exam = np.repeat(np.arange(len(of_exam)), per_exam)
    latent = hidden[of_exam] + np.sqrt(1 - share) * draw.normal(size=(len(of_exam), count))
    targets = (latent > ndtri(1 - np.array(law.prevalence))).astype(float)[exam]
    patient = of_exam[exam]
    parts = [effect[:, patient], draw.normal(size=(count, len(of_exam)))[:, exam], draw.normal(size=(count, len(exam)))]
    shared = sum(np.sqrt(part) * one for part, one in zip(EFFECTS, parts))
    return Cohort(patient, exam, targets, shared, tail_scale(draw, law.tails, (count, len(exam))), law.is_ordinal)


def _sizes(
    draw: np.random.Generator, law: Law, hidden: np.ndarray, effect: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return exams per patient (P,) and reconstructions per exam, from latent labels (P, C) and score effects (C, P)."""
    patients = len(hidden)
    if law.clusters in VOLUMES or law.clusters == "huge":
        of_patient, of_exam = VOLUMES.get(law.clusters, VOLUMES["ct-rate"])
        exams = draw.choice(of_patient[0], patients, p=of_patient[1])
        if law.clusters == "huge":
            exams[0] = max(patients // 8, 1)
        return exams, draw.choice(of_exam[0], int(exams.sum()), p=of_exam[1])
    if law.clusters == "zipf":
        exams = 1 + draw.choice(len(ZIPF), patients, p=ZIPF / ZIPF.sum())
    elif law.clusters == "label":  # patients with findings are scanned more often
        exams = 1 + draw.poisson(1.5 * (hidden > np.sqrt(LABEL_SHARE[law.labels]) * 1.0).sum(axis=1))
    else:  # patients of high scores are scanned more often
        exams = 1 + draw.poisson(np.exp(0.7 * effect.sum(axis=0) / np.sqrt(len(effect))))
    return exams, np.ones(int(exams.sum()), int)


def noise(draw: np.random.Generator, patient: np.ndarray, exam: np.ndarray, models: int) -> np.ndarray:
    """Draw scores without signal, (models, N), of variance 1."""
    parts = [draw.normal(size=(models, int(at.max()) + 1))[:, at] for at in (patient, exam, np.arange(len(exam)))]
    return sum(np.sqrt(share) * part for share, part in zip(EFFECTS, parts))


def tail_scale(draw: np.random.Generator, tails: str, shape: tuple[int, ...]) -> np.ndarray:
    """Draw factors that make normal scores those of t with 3 degrees of freedom or of Laplace, both as normal mixtures."""
    if tails == "t3":
        return np.sqrt(3 / draw.chisquare(3, shape))
    return np.sqrt(draw.exponential(size=shape)) if tails == "laplace" else np.ones(shape)


@lru_cache
def strength(auroc: float, tails: str = "normal", spread: float = 1.0) -> float:
    """Return the mean of positive rows that gives this AUROC before scores are made ordinal."""
    if tails == "normal":
        return float(ndtri(auroc) * np.sqrt(1 + spread**2))
    draw = np.random.default_rng(5)
    low, high = (np.sort(draw.normal(size=_LARGE) * tail_scale(draw, tails, (_LARGE,))) for _ in range(2))
    above = lambda mean: np.searchsorted(low, spread * high + mean).mean() / _LARGE  # noqa: E731
    return float(brentq(lambda mean: above(mean) - auroc, -1, 60, xtol=1e-4))


def seed_mean(mean: float, spread: float, seed_spread: float, other_spread: float) -> float:
    """Return the mean strength that gives seeds of another spread the same mean AUROC; for normal scores.

    E Phi((mu + s x) / sqrt(1 + spread^2)) = Phi(mu / sqrt(1 + spread^2 + s^2)) for normal x.
    """
    noise = 1 + spread**2
    return mean * float(np.sqrt((noise + other_spread**2) / (noise + seed_spread**2)))


def normal_auroc(mean: float, spread: float = 1.0) -> float:
    """Return AUROC of normal scores whose positives have this mean and spread."""
    return float(ndtr(mean / np.sqrt(1 + spread**2)))


def marginal(law: Law) -> Law:
    """Return a law with the same rows in clusters of one, where cluster sizes say nothing about rows."""
    return law if law.clusters in INFORMATIVE else replace(law, clusters="one")
