"""Compare models with a baseline: every finding and the macro mean, corrected for being many.

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

from ctbench_core.compare.tables import Common, Scored, common_ground, read_scored, run_names, tests_of
from ctbench_core.errors import InputError
from ctbench_core.inference import (
    METRICS,
    RESAMPLES,
    SWAPS,
    Best,
    Estimate,
    RecipeEstimate,
    auroc_covariance,
    benjamini_hochberg,
    best_by_max_t,
    bootstrap_intervals,
    evidence,
    macro_draws,
    no_interval,
    paired_difference,
    resampled,
)
from ctbench_core.metrics import ranking_figures
from ctbench_core.runs import Disclosures, disclosures_of, open_run

MACRO = "macro"
LEVEL = 0.05
DIFFERENCES = ("a", "b", "metric", "label", "delta", "lo", "hi", "p", "p_adjusted", "family", "p_delong", "reason")


@dataclass(frozen=True)
class Comparison:
    """A baseline (the first model) and others on common ground.

    Attributes:
        on: the test set, or validation.
        common: the models and their common rows.
        figures: a row a model, metric and finding (``macro`` included): model, metric, finding, value, lo, hi, and sd,
            seeds, patient_error, seed_error, which tell of the seeds of a recipe.
        differences: a row a model, metric and finding: a (the model), b (the baseline), metric, label, delta (a - b),
            lo, hi, p, p_adjusted, family, reason; p_delong tests AUROC of a finding without resampling (Obuchowski's
            form where patients have several volumes), for reference: it is no part of the family.
        best: by metric, the best macro mean against all others.
        marks: what every file of it carries: openings, leak, label origin, banner.
        settings: what the statistics used, for a Methods paragraph.
    """

    on: str
    common: Common
    figures: pd.DataFrame
    differences: pd.DataFrame
    best: dict[str, Best]
    marks: Disclosures
    settings: dict[str, Any] = field(default_factory=dict)

    def to_json(self, runs: Sequence[str]) -> dict[str, Any]:
        """Return the `compare` JSON of the contracts, with what it rests on."""
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
            **self.marks.to_json(),
            "figures": self.figures.to_dict("records"),
            "differences": self.differences.to_dict("records"),
            "best": best,
            "settings": self.settings,
        }


def compare_runs(run_dirs: Sequence[Path | str], on: str | None = None) -> Comparison:
    """Compare stored runs with the first of them.

    Args:
        on: a test set that all have opened, or ``validation``; by default the first common test set, else validation.

    Raises:
        InputError: fewer than two runs, no set in common, or nothing else in common.
    """
    name = common_set(run_dirs, on)
    runs = [open_run(folder) for folder in run_dirs]
    scored = [Scored(title, read_scored(run.paths.root, name).frame, run) for title, run in zip(run_names(runs), runs)]
    found = compare_models(scored, name)
    return dataclasses.replace(found, marks=disclosures_of(runs, name, n=found.common.n))


def common_set(run_dirs: Sequence[Path | str], on: str | None = None) -> str:
    """Return the set to compare runs on: the one asked for, else the first that all have opened, else validation.

    Raises:
        InputError: fewer than two runs, or no such set.
    """
    known = tests_of([open_run(folder) for folder in run_dirs])
    name = Path(on).stem if on else next(iter(known), None)
    if len(run_dirs) < 2 or name is None or name not in known:
        asked = f"not scored on {name} alike" if name else "no test set opened in common"
        what = f"{asked}; in common: {', '.join(known) or 'none'}" if len(run_dirs) > 1 else "one run only"
        raise InputError(f"Runs cannot be compared: {what}. Give two runs or more that have opened the same test set.")
    return name


def compare_models(models: Sequence[Scored], on: str, resamples: int = RESAMPLES, swaps: int = SWAPS) -> Comparison:
    """Compare tables of scores with the first of them.

    Raises:
        InputError: fewer than two models, or nothing in common.
    """
    if len(models) < 2:
        raise InputError(f"A comparison needs two runs or more, got {len(models)}.")
    common = common_ground(models)
    differences = adjusted(_differences(common, resamples, swaps), len(models))
    settings = {"resamples": resamples, "swaps": swaps, "unit": "patient", "seeds": [1] * len(models)}
    settings |= {"family": len(differences["p"].dropna()), "level": LEVEL}
    figures = _figures(common, resamples)
    return Comparison(on, common, figures, differences, _best(common, resamples), Disclosures(on, common.n), settings)


def adjusted(rows: Sequence[dict[str, Any]], models: int) -> pd.DataFrame:
    """Return rows of differences as a table, their p adjusted over all of them by Benjamini and Hochberg."""
    frame = pd.DataFrame(rows, columns=[name for name in DIFFERENCES if name not in ("p_adjusted", "family")])
    frame["p_adjusted"] = benjamini_hochberg(frame["p"].to_numpy(float))
    family = int(frame["p"].notna().sum())
    frame["family"] = f"{family} tests: {models - 1} x {len(METRICS)} metrics x findings and macro"
    return frame[list(DIFFERENCES)]


def _figures(common: Common, resamples: int) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    for name, scores in zip(common.names, common.scores):
        found = bootstrap_intervals(common.targets, scores, common.patients, resamples)
        for metric in METRICS:
            rows += figure_rows(name, metric, common.labels, found[metric])
    return pd.DataFrame(rows)


def figure_rows(
    name: str, metric: str, labels: Sequence[str], found: Estimate | RecipeEstimate
) -> list[dict[str, Any]]:
    """Return the rows of one model's figure: the macro mean and every finding; of a recipe with its seeds' spread."""
    head = {"model": name, "metric": metric}
    if isinstance(found, Estimate):
        nothing = {"sd": np.nan, "seeds": 1, "patient_error": np.nan, "seed_error": np.nan}
        whole = [(MACRO, found.macro, found.macro_bounds), *zip(labels, found.value, found.bounds)]
        return [
            head | {"finding": label, "value": float(value), "lo": float(lo), "hi": float(hi)} | nothing
            for label, value, (lo, hi) in whole
        ]
    parts = (found.mean, found.bounds, found.sd, found.patient_error, found.seed_error)
    macro = (found.macro, found.macro_bounds, found.macro_sd, found.macro_patient_error, found.macro_seed_error)
    return [
        head
        | {"finding": label, "value": float(value), "lo": float(lo), "hi": float(hi), "sd": float(sd)}
        | {"seeds": found.seeds, "patient_error": float(patient), "seed_error": float(seed)}
        for label, (value, (lo, hi), sd, patient, seed) in [(MACRO, macro), *zip(labels, zip(*parts))]
    ]


def _differences(common: Common, resamples: int, swaps: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    base = common.scores[0]
    for name, scores in zip(common.names[1:], common.scores[1:]):
        found = paired_difference(common.targets, scores, base, common.patients, resamples=resamples, swaps=swaps)
        for metric, one in found.items():
            whole: list[Any] = [(MACRO, one.macro, one.macro_bounds, one.macro_p, None)]
            whole += list(zip(common.labels, one.delta, one.bounds, one.p, one.reasons))
            for label, delta, (lo, hi), p, reason in whole:
                row = {"a": name, "b": common.names[0], "metric": metric, "label": label, "delta": float(delta)}
                rows.append(row | {"lo": float(lo), "hi": float(hi), "p": float(p), "reason": reason or ""})
                if metric == "auroc" and label != MACRO and not np.isnan(p):
                    at = common.labels.index(label)
                    pair = np.stack([scores[:, at], base[:, at]])
                    rows[-1]["p_delong"] = auroc_covariance(common.targets[:, at], pair, common.patients).difference()[
                        2
                    ]
    return rows


def _best(common: Common, resamples: int) -> dict[str, Best]:
    """Name the model with the best macro mean by metric; marked only where it beats every other (max-T)."""
    draws = resampled(ranking_figures, common.targets, common.scores, common.patients, resamples)
    values = ranking_figures(common.targets, common.scores, None)
    rests_on = evidence(common.targets, common.patients)
    found = {}
    for metric in METRICS:
        given = np.array([reason is None for reason in no_interval(draws[metric][:, 0], rests_on)], bool)
        if given.any():
            means = macro_draws(draws[metric][:, :, given])[..., 0]
            found[metric] = best_by_max_t(values[metric][:, given].mean(axis=-1), means, LEVEL)
    return found
