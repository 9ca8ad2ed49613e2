"""Compare models with a baseline: every finding and the macro mean, with p adjusted for many tests.

Shapes: M models, N rows, C labels.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ctbench_core.compare.comparability import (
    CommonScores,
    ModelScores,
    common_sets,
    keep_common,
    read_model_scores,
    run_names,
)
from ctbench_core.declared import compared_metrics
from ctbench_core.errors import InputError
from ctbench_core.inference import (
    RESAMPLES,
    SWAPS,
    Best,
    Estimate,
    RecipeEstimate,
    auroc_covariance,
    benjamini_hochberg,
    best_by_max_t,
    bootstrap_intervals,
    count_patients,
    macro_means,
    missing_interval_reasons,
    paired_difference,
    resampled,
)
from ctbench_core.manifest import identity_of
from ctbench_core.metrics import compared_metric_fn
from ctbench_core.runs import Disclosures, Run, disclosures_of, open_run, set_id_of

MACRO = "macro"
LEVEL = 0.05
DIFFERENCES = ("a", "b", "metric", "label", "delta", "lo", "hi", "p", "p_adjusted", "family", "p_delong", "reason")


@dataclass(frozen=True)
class Comparison:
    """A baseline (the first model) and others on common volumes.

    Attributes:
        on: the test set, or validation.
        common: the models and their common rows.
        metrics: a row a model, metric and finding (``macro`` included): model, metric, finding, value, lo, hi, and for
            recipes sd, seeds, patient_error, seed_error.
        differences: a row a model, metric and finding: a (the model), b (the baseline), metric, label, delta (a - b),
            lo, hi, p, p_adjusted, family, reason; p_delong tests AUROC of a finding without resampling (Obuchowski's
            form where patients have several volumes), for reference; it is not part of the family.
        best: by metric, the best macro mean against all others.
        disclosures: added to every file: evaluations of the test set, leak, label origin, banner, warnings.
        set_names: what each run calls the set; empty without runs.
        settings: the parameters of the statistics, for a Methods paragraph.
    """

    on: str
    common: CommonScores
    metrics: pd.DataFrame
    differences: pd.DataFrame
    best: dict[str, Best]
    disclosures: Disclosures
    settings: dict[str, Any] = field(default_factory=dict)
    set_names: Sequence[str] = ()

    def with_runs(self, runs: Sequence[Run], set_names: Sequence[str]) -> Comparison:
        """Return the comparison of runs, with their disclosures as of now.

        Args:
            set_names: what each run calls the set.
        """
        disclosures = disclosures_of(runs, self.on, n=self.common.n, set_names=set_names)
        warnings = [*self.common.warnings, *disclosures.warnings]
        disclosures = dataclasses.replace(disclosures, warnings=warnings)
        return dataclasses.replace(self, disclosures=disclosures, set_names=tuple(set_names))

    @property
    def test_set(self) -> dict[str, Any]:
        """Identity, name and number of volumes of the set: as the runs share it, else of the rows in common."""
        common = self.common
        own = identity_of(common.volumes, common.labels, common.targets).id
        return {"id": self.disclosures.test_set or own, "name": self.on, "volumes": len(common.volumes)}

    def to_json(self, runs: Sequence[str]) -> dict[str, Any]:
        """Return the `compare` JSON."""
        best = {
            name: {"model": self.common.names[one.index], "marked": one.marked, "p": one.p.tolist()}
            for name, one in self.best.items()
            if one.index is not None
        }
        return {
            "runs": list(runs),
            "names": self.common.names,
            "on": self.on,
            "n": self.common.n,
            "left_out": self.common.left_out,
            "disagreeing_labels": self.common.disagreeing,
            **self.disclosures.to_json(),
            "test_set": self.test_set,
            "figures": self.metrics.to_dict("records"),
            "differences": self.differences.to_dict("records"),
            "best": best,
            "settings": self.settings,
        }


def compare_runs(run_dirs: Sequence[Path | str], on: str | None = None) -> Comparison:
    """Compare stored runs with the first of them.

    Args:
        on: a test set on which all were evaluated, by its name or identity, or ``validation``; by default the first
            common test set, else validation.

    Raises:
        InputError: fewer than two runs, no set in common, or no volume or finding in common.
    """
    runs = [open_run(folder) for folder in run_dirs]
    name, set_names = comparison_set(runs, on)
    models = [
        ModelScores(title, read_model_scores(run.paths.root, own).frame, run)
        for title, run, own in zip(run_names(runs), runs, set_names)
    ]
    return compare_models(models, name).with_runs(runs, set_names)


def comparison_set(runs: Sequence[Run], on: str | None = None) -> tuple[str, list[str]]:
    """Return the set to compare runs on and what each run calls it: `on`, else the first test set in common, else validation.

    Raises:
        InputError: fewer than two runs, or no such set.
    """
    if len(runs) < 2:
        raise InputError(f"A comparison needs two runs or more, got {len(runs)}.")
    known = common_sets(runs)
    if on is None and not known:
        raise InputError("The runs have no test set in common. Evaluate all of them on the same test set first.")
    wanted = Path(on).stem if on else next(iter(known))
    for name, own in known.items():
        if wanted in (*own, set_id_of(runs[0], name)):
            return name, own
    sets = ", ".join(known) or "none"
    raise InputError(
        f"Not every run has scores on {wanted}. Sets in common: {sets}. Evaluate all runs on {wanted} first."
    )


def compare_models(
    models: Sequence[ModelScores], on: str, resamples: int = RESAMPLES, swaps: int = SWAPS
) -> Comparison:
    """Compare tables of scores with the first of them.

    Raises:
        InputError: fewer than two models, or no volume or finding in common.
    """
    if len(models) < 2:
        raise InputError(f"A comparison needs two runs or more, got {len(models)}.")
    common = keep_common(models)
    differences = adjust_differences(_difference_rows(common, resamples, swaps), len(models))
    settings = {"resamples": resamples, "swaps": swaps, "unit": "patient", "seeds": [1] * len(models)}
    settings |= {"family": len(differences["p"].dropna()), "level": LEVEL}
    rows = []
    for name, scores in zip(common.names, common.scores):
        estimates = bootstrap_intervals(common.targets, scores, common.patients, resamples)
        for metric in compared_metrics():
            rows += metric_rows(name, metric, common.labels, estimates[metric])
    best = _best(common, resamples)
    return Comparison(
        on, common, pd.DataFrame(rows), differences, best, Disclosures(on, common.n, warnings=common.warnings), settings
    )


def adjust_differences(rows: Sequence[dict[str, Any]], models: int) -> pd.DataFrame:
    """Return rows of differences as a table, with p adjusted over all of them by Benjamini and Hochberg."""
    frame = pd.DataFrame(rows, columns=[name for name in DIFFERENCES if name not in ("p_adjusted", "family")])
    frame["p_adjusted"] = benjamini_hochberg(frame["p"].to_numpy(float))
    tests = int(frame["p"].notna().sum())
    frame["family"] = f"{tests} tests: {models - 1} x {len(compared_metrics())} metrics x findings and macro"
    return frame[list(DIFFERENCES)]


def metric_rows(
    name: str, metric: str, labels: Sequence[str], estimate: Estimate | RecipeEstimate
) -> list[dict[str, Any]]:
    """Return the rows of one model's metric: the macro mean and every finding; for a recipe with its seed spread."""
    if isinstance(estimate, Estimate):
        seeds, value, nothing = 1, estimate.value, np.full(len(labels), np.nan)
        spread, macro_spread = [nothing] * 3, [np.nan] * 3
    else:
        seeds, value, spread = estimate.seeds, estimate.mean, [estimate.sd, estimate.patient_error, estimate.seed_error]
        macro_spread = [estimate.macro_sd, estimate.macro_patient_error, estimate.macro_seed_error]
    rows: list[Any] = [(MACRO, estimate.macro, *estimate.macro_bounds, *macro_spread)]
    rows += zip(labels, value, *estimate.bounds.T, *spread)
    return [
        {"model": name, "metric": metric, "finding": label, "value": float(value), "lo": float(lo), "hi": float(hi)}
        | {"sd": float(sd), "seeds": seeds, "patient_error": float(patient_error), "seed_error": float(seed_error)}
        for label, value, lo, hi, sd, patient_error, seed_error in rows
    ]


def _difference_rows(common: CommonScores, resamples: int, swaps: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    baseline = common.scores[0]
    for name, scores in zip(common.names[1:], common.scores[1:]):
        differences = paired_difference(
            common.targets, scores, baseline, common.patients, resamples=resamples, swaps=swaps
        )
        for metric, one in differences.items():
            head = {"a": name, "b": common.names[0], "metric": metric}
            results: list[Any] = [(MACRO, one.macro, one.macro_bounds, one.macro_p, None)]
            results += zip(common.labels, one.delta, one.bounds, one.p, one.reasons)
            for c, (label, delta, (lo, hi), p, reason) in enumerate(results, start=-1):
                row = head | {"label": label, "delta": float(delta), "lo": float(lo), "hi": float(hi), "p": float(p)}
                if metric == "auroc" and label != MACRO and not np.isnan(p):
                    pair = np.stack([scores[:, c], baseline[:, c]])
                    row["p_delong"] = auroc_covariance(common.targets[:, c], pair, common.patients).difference()[2]
                rows.append(row | {"reason": reason or ""})
    return rows


def _best(common: CommonScores, resamples: int) -> dict[str, Best]:
    """Return by metric the model with the best macro mean; marked only if it beats every other (max-T)."""
    draws = resampled(compared_metric_fn, common.targets, common.scores, common.patients, resamples)
    values = compared_metric_fn(common.targets, common.scores, None)
    n_patients = count_patients(common.targets, common.patients)
    best = {}
    for metric in compared_metrics():
        reasons = missing_interval_reasons(draws[metric][:, 0], n_patients)
        usable = np.array([reason is None for reason in reasons], bool)
        if usable.any():
            means = macro_means(draws[metric][:, :, usable])[..., 0]
            best[metric] = best_by_max_t(values[metric][:, usable].mean(axis=-1), means, LEVEL)
    return best
