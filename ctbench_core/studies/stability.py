"""Does the order of a search's best trials hold? Their figures in the search beside those of fresh seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import kendalltau

from ctbench_core.errors import InputError
from ctbench_core.studies.layout import StudyPaths, study_paths
from ctbench_core.studies.plan import read_plan
from ctbench_core.studies.results import VALIDATION, read_results
from ctbench_core.studies.search import Search

TOP = 5


@dataclass(frozen=True)
class Stability:
    """The best trials of a search, trained again.

    Attributes:
        table: one row a trial: rank and value in the search, mean, sd and n over fresh seeds, rank by that mean,
            flattered (value - mean: how much the search flattered it).
        tau: Kendall's rank correlation of both orders; NaN for fewer than two trials.
        stays: share of the fresh seeds in which the search's best is the best of these trials.
        paths: the study that trained them again.
    """

    table: pd.DataFrame
    tau: float
    stays: float
    paths: StudyPaths


def stability(search: Search, ranked: Sequence[tuple[float, Mapping[str, Any]]]) -> Stability | None:
    """Compare values of the best trials, best first, with validation figures of `Search.stability`'s study.

    None while that study was not begun, or no seed has all its trials finished.
    """
    study = search.stability([drawn for _, drawn in ranked])
    _, config = next(study.configs())
    paths = study_paths(config)
    try:
        plan = read_plan(paths)
    except InputError:
        return None
    figures = read_results(paths, plan)
    metric = config.training.monitor
    rows = figures[(figures["set"] == VALIDATION) & (figures["finding"] == "") & (figures["metric"] == metric)]
    axis = next(axis for axis in study.axes() if axis != "seed")
    places = {run.id: (int(run.labels[axis]), run.labels["seed"]) for run in plan.runs}
    mine = rows.assign(rank=[places[name][0] for name in rows["run"]], seed=[places[name][1] for name in rows["run"]])
    by_seed = mine.pivot(index="seed", columns="rank", values="value").reindex(columns=range(1, len(ranked) + 1))
    whole = by_seed.dropna()
    if not len(whole):
        return None
    values = np.array([value for value, _ in ranked])
    table = pd.DataFrame({"rank": whole.columns, "value": values, "mean": whole.mean().to_numpy()})
    table["sd"], table["n"] = whole.std(ddof=1).to_numpy(), len(whole)
    table["rank again"] = table["mean"].rank(ascending=False, method="min").astype(int)
    table["flattered"] = table["value"] - table["mean"]
    tau = float(kendalltau(-values, -table["mean"]).statistic) if len(values) > 1 else float("nan")
    return Stability(table, tau, float((whole.to_numpy().argmax(axis=1) == 0).mean()), paths)
