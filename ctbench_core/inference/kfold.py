"""Estimate and compare recipes by K-fold: what the mean over folds says of other training and test patients.

Folds share training patients, so that their metrics vary less than those of new samples would. Their variance counts
more therefore: (1/K + n_test / n_train) s^2 with K - 1 degrees of freedom. Repeated partitions count as further folds;
seeds do not: they are averaged within each fold first. Sources: Nadeau and Bengio, Mach. Learn. 2003; Bouckaert and
Frank, PAKDD 2004. Another question, labelled so, is how sure the mean is for the models at hand: then folds are
independent samples of patients. Source: LeDell, Petersen and van der Laan, Electron. J. Stat. 2015.

Shapes: S seeds, N rows, C findings, F folds (of R partitions F = K R), K columns (findings and macro means).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ctbench_core.errors import InputError
from ctbench_core.inference.differences import RECIPES, Difference
from ctbench_core.inference.estimates import Estimate
from ctbench_core.inference.figures import ELIGIBLE, MACRO, Figures, macro_start, measure, with_macros
from ctbench_core.inference.rules import logit_bounds, t_quantile, t_test, unit_range
from ctbench_core.metrics import Floats

# In tables of differences, of these trained models alone.
MODELS_COLUMNS = ("models_lo", "models_hi", "models_p")
_FEWEST = 2  # folds of which a variance can be taken


@dataclass(frozen=True)
class FoldDifference(Difference):
    """A `Difference` of means over folds; ``spread`` is the range over folds.

    Attributes:
        models_bounds, models_p: (K, 2) and (K,), for these trained models alone: never the answer for a way of training.
    """

    models_bounds: Floats = field(kw_only=True)
    models_p: Floats = field(kw_only=True)

    def row(self, place: int) -> dict[str, Any]:
        """Return what tables say of a column, with `MODELS_COLUMNS`."""
        values = (*self.models_bounds[place].tolist(), float(self.models_p[place]))
        return super().row(place) | dict(zip(MODELS_COLUMNS, values))


def kfold_figures(
    targets: ArrayLike,
    scores: ArrayLike,
    folds: ArrayLike,
    patients: ArrayLike,
    labels: Sequence[str],
    metrics: Iterable[str] | None = None,
) -> dict[str, Figures]:
    """Measure metrics in every fold, averaged over seeds; a layer of the figures is a fold.

    targets (N, C) in {0, 1, NaN}; scores (S, N, C), each by the model that did not train on the row; folds (N,) names;
    patients (N,), each in one fold of a partition; labels: C names. A finding has an interval where it has enough
    patients of each class, and both classes in every fold. Raises InputError for wrong shapes, a single fold, or a row
    without a score.
    """
    values = np.asarray(scores, np.float64)
    weights = np.full(len(values), 1 / max(len(values), 1))
    return _by_fold(targets, values, weights, folds, patients, labels, metrics)


def mean_test_share(folds: ArrayLike, patients: ArrayLike) -> float:
    """Return the mean over folds of n_test / n_train, the patients inside and outside of a fold: 1 / (K - 1) if equal.

    A fold that holds all patients leaves none to train on and is left out; NaN where no other is.
    """
    names, groups = np.asarray(folds).astype(str), np.asarray(patients).astype(str)
    total = len(np.unique(groups))
    tests = [len(np.unique(groups[names == name])) for name in np.unique(names)]
    shares = [test / (total - test) for test in tests if test < total]
    return float(np.mean(shares)) if shares else float("nan")


def kfold_estimate(figures: Figures, test_share: float) -> Estimate:
    """Estimate a way of training by the mean over folds; the interval lies on the logit scale by the delta method.

    ``patient_error`` is that for these trained models; ``sd`` and ``spread`` are over folds. ``test_share``: n_test /
    n_train, in patients.
    """
    value, error, dof = figures.value.mean(axis=0), *_corrected_error(figures, test_share)
    low, width = unit_range(figures.metric)
    bounds = low + width * logit_bounds((value - low) / width, error / width, t_quantile(dof), figures.effective)
    has_interval = _has_interval(figures)
    return Estimate(
        metric=figures.metric,
        columns=figures.columns,
        value=value,
        bounds=np.where(has_interval[:, None], bounds, np.nan),
        error=error,
        patient_error=_models_error(figures),
        seed_error=np.full(len(value), np.nan),
        sd=figures.value.std(axis=0, ddof=1),
        spread=np.stack([figures.value.min(axis=0), figures.value.max(axis=0)], axis=-1),
        seeds=len(figures),
        reasons=list(figures.reasons),
        marks=[figures.mark if has else "" for has in has_interval],
        findings=figures.findings,
    )


def kfold_difference(
    targets: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    folds: ArrayLike,
    patients: ArrayLike,
    labels: Sequence[str],
    test_share: float,
    partitions: int = 1,
    metrics: Iterable[str] | None = None,
) -> dict[str, FoldDifference]:
    """Compare two ways of training, first - second, by their mean difference over folds, in every compared metric.

    Args:
        targets, folds, patients, labels: as `kfold_figures`. first, second: scores (S, N, C) and (S', N, C).
        test_share: n_test / n_train, in patients.
        partitions: how many different partitions of the same patients the folds are of; their rows are stacked.
    """
    scores = [np.asarray(one, np.float64) for one in (first, second)]
    weights = np.concatenate([np.full(len(one), sign / max(len(one), 1)) for one, sign in zip(scores, (1, -1))])
    gaps = _by_fold(targets, np.concatenate(scores), weights, folds, patients, labels, metrics)
    seeds = (len(scores[0]), len(scores[1]))
    return {name: _difference(one, seeds, test_share, partitions) for name, one in gaps.items()}


def corrected_t(values: ArrayLike, test_share: float) -> tuple[float, float, float]:
    """Return interval and two-sided p of the mean of differences (F,) of folds, or of seeds with a ``test_share`` of 0.

    It is for tables of metrics without scores: of seeds alone, it leaves out the error of the test patients. NaN for
    fewer than two values. Source: as the module.
    """
    gaps = np.asarray(values, np.float64)
    if len(gaps) < _FEWEST or np.isnan(gaps).any():
        return np.nan, np.nan, np.nan
    error = np.sqrt((1 / len(gaps) + test_share) * gaps.var(ddof=1, keepdims=True))
    bounds, p = t_test(gaps.mean(keepdims=True), error, np.array([len(gaps) - 1.0]), np.array([True]))
    return float(bounds[0, 0]), float(bounds[0, 1]), float(p[0])


def best_of_folds(differences: Sequence[FoldDifference], values: Floats, column: int) -> tuple[int | None, float]:
    """Return the place of the best of M recipes in a column and p that it beats all others, by all pairs.

    p is the largest of the best recipe's corrected t against the others, times the number of pairs (Bonferroni).

    Args:
        differences: of each pair of recipes, in the order of `itertools.combinations`. values: (M,).
    """
    if np.isnan(values).any() or len(values) < 2:
        return None, np.nan
    best = int(values.argmax())
    pairs = itertools.combinations(range(len(values)), 2)
    p = [float(one.p[column]) for pair, one in zip(pairs, differences) if best in pair]
    return best, min(1.0, max(p) * len(differences)) if not np.isnan(p).any() else np.nan


def _by_fold(
    targets: ArrayLike,
    scores: Floats,
    weights: Floats,
    folds: ArrayLike,
    patients: ArrayLike,
    labels: Sequence[str],
    metrics: Iterable[str] | None,
) -> dict[str, Figures]:
    """Return the weighted sum of the layers of scores (L, N, C) in every fold, as figures of F layers.

    Folds hold different patients, so their errors over patients are independent.
    """
    truth, names, groups = np.asarray(targets, np.float64), np.asarray(folds).astype(str), np.asarray(patients)
    chosen = None if metrics is None else list(metrics)
    _check(truth, scores, names)
    parts = [
        measure(truth[rows], scores[:, rows], groups[rows], labels, chosen, seed=number)
        for number, rows in enumerate(names == fold for fold in np.unique(names))
    ]
    # Of all rows together, the numbers of patients count, not the errors.
    whole = measure(truth, scores, groups, labels, chosen)
    return {name: _join(whole[name], [part[name] for part in parts], weights) for name in whole}


def _check(targets: Floats, scores: Floats, folds: np.ndarray) -> None:
    if scores.ndim != 3 or scores.shape[1:] != targets.shape or folds.shape != targets.shape[:1]:
        raise InputError(
            f"Scores must have shape (seeds, rows, findings) and folds one name a row, got {scores.shape} and "
            f"{folds.shape} for targets of {targets.shape}."
        )
    if missing := int(np.isnan(scores).any(axis=(0, 2)).sum()):
        raise InputError(f"Rows without an out-of-fold score in some seed: {missing}. Run all folds of all seeds.")
    if len(np.unique(folds)) < _FEWEST:
        raise InputError(f"K-fold needs at least {_FEWEST} folds, got {len(np.unique(folds))}.")


def _join(whole: Figures, folds: Sequence[Figures], weights: Floats) -> Figures:
    """Return the weighted sums of the layers of each fold as figures of F layers, with the patients of all rows."""
    start = macro_start(whole.columns)
    value = np.stack([weights @ fold.value[:, :start] for fold in folds])
    variances = np.stack([weights @ fold.covariance[:start] @ weights for fold in folds], axis=-1)
    is_defined = np.asarray(~np.isnan(value).any(axis=0))
    is_eligible = whole.is_eligible & is_defined
    reasons = [
        whole.reasons[c] if not whole.is_eligible[c] else None if is_defined[c] else _missing_folds(value[:, c])
        for c in range(start)
    ]
    figures = replace(
        whole,
        columns=whole.columns[:start],
        value=value,
        covariance=variances[:, :, None] * np.eye(len(folds)),
        deviations=_side_by_side([np.tensordot(fold.deviations[:, :, :start], weights, (1, 0)) for fold in folds]),
        bias=np.stack([weights @ fold.bias[:, :start] for fold in folds]),
        reasons=reasons,
        is_eligible=is_eligible,
        **{name: getattr(whole, name)[:start] for name in ("patients", "effective", "classes", "averaged")},
    )
    joined = with_macros(figures)
    count = f"{is_eligible.sum()} of {(~np.isnan(value).all(axis=0)).sum()} findings"
    reason = f"{count} have enough patients of each class, and both classes in every fold"
    is_partial = ELIGIBLE in joined.columns[start:]
    texts = [
        reason if name == MACRO and is_partial else own
        for name, own in zip(joined.columns[start:], joined.reasons[start:])
    ]
    return replace(joined, reasons=[*reasons, *texts])


def _side_by_side(folds: Sequence[Floats]) -> Floats:
    """Return deviations (sum of D, F, C) of folds (D, C) each: those of other folds are 0."""
    joined = np.zeros((sum(map(len, folds)), len(folds), folds[0].shape[1]))
    ends = np.cumsum([len(one) for one in folds])
    for number, (one, end) in enumerate(zip(folds, ends)):
        joined[end - len(one) : end, number] = one
    return joined


def _missing_folds(values: Floats) -> str:
    """Say in how many folds a metric (F,) is undefined."""
    return f"undefined in {int(np.isnan(values).sum())} of {len(values)} folds: one class only"


def _corrected_error(figures: Figures, test_share: float) -> tuple[Floats, float]:
    """Return sqrt((1/F + n_test / n_train) s^2), (K,), and its degrees of freedom, F - 1."""
    folds = len(figures)
    return np.sqrt((1 / folds + test_share) * figures.value.var(axis=0, ddof=1)), folds - 1.0


def _models_error(figures: Figures, partitions: int = 1) -> Floats:
    """Return the error (K,) of the mean over folds for these models: that of disjoint samples of patients.

    Partitions of the same patients are taken as fully dependent, an upper bound.
    """
    variances = np.maximum(np.einsum("kff->k", figures.covariance), 0.0)
    return np.asarray(np.sqrt(partitions * variances) / len(figures))


def _models_dof(figures: Figures) -> Floats:
    """Return the degrees of freedom (K,) of that error."""
    return figures.dof(np.full(len(figures), 1 / len(figures)), np.zeros(len(figures.columns), bool))


def _difference(gaps: Figures, seeds: tuple[int, int], test_share: float, partitions: int) -> FoldDifference:
    """Return the difference whose values by fold are the figures `gaps`."""
    delta, error, dof = gaps.value.mean(axis=0), *_corrected_error(gaps, test_share)
    models_error = _models_error(gaps, partitions)
    has_interval = _has_interval(gaps)
    bounds, p = t_test(delta, error, np.full(len(delta), dof), has_interval)
    models_bounds, models_p = t_test(delta, models_error, _models_dof(gaps), has_interval)
    return FoldDifference(
        metric=gaps.metric,
        columns=gaps.columns,
        delta=delta,
        bounds=bounds,
        p=p,
        error=error,
        dof=np.full(len(delta), dof),
        patient_error=models_error,
        seed_error=np.full(len(delta), np.nan),
        spread=np.stack([gaps.value.min(axis=0), gaps.value.max(axis=0)], axis=-1),
        reasons=list(gaps.reasons),
        marks=[gaps.mark if has else "" for has in has_interval],
        findings=gaps.findings,
        seeds=seeds,
        question=RECIPES,
        models_bounds=models_bounds,
        models_p=models_p,
    )


def _has_interval(figures: Figures) -> np.ndarray:
    return np.array([reason is None for reason in figures.reasons], bool)
