"""Compare models with a baseline: every finding and the macro mean, corrected for being many.

Shapes: M models, N rows, C labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ctbench_core.compare.many import Best, best_by_max_t
from ctbench_core.compare.paired import METRICS, SWAPS, paired_difference
from ctbench_core.compare.tables import Common, Scored, common_ground, read_scored, tests_of
from ctbench_core.errors import InputError
from ctbench_core.metrics import bootstrap_intervals, evidence, ranking_figures, resampled
from ctbench_core.metrics.discovery import benjamini_hochberg
from ctbench_core.metrics.resampling import RESAMPLES
from ctbench_core.metrics.uncertainty import macro_draws, no_interval
from ctbench_core.runs import RunStore, open_run

MACRO = "macro"
LEVEL = 0.05


@dataclass(frozen=True)
class Comparison:
    """A baseline (the first model) and others on common ground.

    Attributes:
        on: the test set, or validation.
        common: the models and their common rows.
        figures: a row a model, metric and finding (``macro`` included): model, metric, finding, value, lo, hi.
        differences: a row a model, metric and finding: a (the model), b (the baseline), metric, label, delta (a - b),
            lo, hi, p, p_adjusted, family, reason.
        best: by metric, the best macro mean against all others.
        openings: how many openings of this test set the ledger holds for the runs' jobs.
        settings: what the statistics used, for a Methods paragraph.
    """

    on: str
    common: Common
    figures: pd.DataFrame
    differences: pd.DataFrame
    best: dict[str, Best]
    openings: int = 0
    leaked: int = 0
    label_origins: list[str] = field(default_factory=list)
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
            "openings": self.openings,
            "leak": {"patients": self.leaked},
            "label_origin": self.label_origins,
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
    runs = [open_run(folder) for folder in run_dirs]
    known = tests_of(runs)
    name = Path(on).stem if on else next(iter(known), None)
    if len(runs) < 2 or name not in known:
        asked = f"not scored on {name} alike" if name else "no test set opened in common"
        what = f"{asked}; in common: {', '.join(known) or 'none'}" if len(runs) > 1 else "one run only"
        raise InputError(f"Runs cannot be compared: {what}. Give two runs or more that have opened the same test set.")
    found = compare_models([read_scored(folder, name) for folder in run_dirs], name)
    stores = {(run.store, run.job) for run in runs}
    entries = [entry for root, job in stores for entry in RunStore(root).openings(job)]
    openings = sum(Path(str(entry.get("manifest", ""))).stem == name for entry in entries)
    leaks = [_leak(run.paths.evaluation(name).metrics) for run in runs]
    origins = sorted({run.config.data.label_origin for run in runs})
    return Comparison(**{**vars(found), "openings": openings, "leaked": max(leaks), "label_origins": origins})


def _leak(path: Path) -> int:
    from ctbench_core.runs import read_json

    return int(((read_json(path) or {}).get("leak") or {}).get("patients", 0))


def compare_models(models: Sequence[Scored], on: str, resamples: int = RESAMPLES, swaps: int = SWAPS) -> Comparison:
    """Compare tables of scores with the first of them.

    Raises:
        InputError: fewer than two models, or nothing in common.
    """
    common = common_ground(models)
    differences = _differences(common, resamples, swaps)
    settings = {
        "resamples": resamples,
        "swaps": swaps,
        "unit": "patient",
        "family": len(differences["p"].dropna()),
        "level": LEVEL,
    }
    best = _best(common, resamples)
    return Comparison(on, common, _figures(common, resamples), differences, best, settings=settings)


def _figures(common: Common, resamples: int) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    for name, scores in zip(common.names, common.scores):
        found = bootstrap_intervals(common.targets, scores, common.patients, resamples)
        for metric in METRICS:
            one = found[metric]
            whole = [(MACRO, one.macro, one.macro_bounds), *zip(common.labels, one.value, one.bounds)]
            rows += [
                {"model": name, "metric": metric, "finding": label, "value": float(value), "lo": lo, "hi": hi}
                for label, value, (lo, hi) in whole
            ]
    return pd.DataFrame(rows)


def _differences(common: Common, resamples: int, swaps: int) -> pd.DataFrame:
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
    frame = pd.DataFrame(rows)
    frame["p_adjusted"] = benjamini_hochberg(frame["p"].to_numpy())
    family = int(frame["p"].notna().sum())
    frame["family"] = f"{family} tests: {len(common.names) - 1} x {len(METRICS)} metrics x findings and macro"
    return frame[["a", "b", "metric", "label", "delta", "lo", "hi", "p", "p_adjusted", "family", "reason"]]


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
