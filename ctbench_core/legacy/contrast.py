"""Two label sources compared run by run, as the older system's phase 3 did: pairs of the same budget, fold and seed.

Folds and seeds are taken as independent here, which they are not: these are sensitivity tests. The main inference
is by patients (`ctbench_core.compare`): the verb `compare`, and studies.

Definitions, for the n differences d of a metric at a budget: ``delta_mean``, ``delta_std`` (n - 1); ``delta_ci_*``
the percentile bootstrap of the mean (`scipy.stats.bootstrap`); ``p_value`` the share of all sign patterns whose mean
is at least as far from 0 (`compare.sign_flip`); ``t_p_value`` the paired t-test; ``effect_size`` delta_mean /
delta_std (Cohen's d of pairs); ``p_value_adj`` Benjamini-Hochberg over all rows of the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ctbench_core.errors import ConfigError, InputError, ManifestError
from ctbench_core.inference import benjamini_hochberg, sign_flip
from ctbench_core.legacy.aggregate import PRIMARY
from ctbench_core.runs import open_run, read_json
from ctbench_core.tables import read_table

PAIR_KEYS = ("budget_n", "cv_fold", "utils_seed")
PER_CLASS = ("precision", "recall", "f1", "auprc", "auroc")
RESAMPLES = 5000
SEED = 52


def read_per_run(path: Path) -> pd.DataFrame:
    """Read a table of runs, ours or one of the older system.

    Raises:
        ManifestError: it cannot be read, or is no such table.
    """
    frame, _ = read_table(path, kind="Table of runs")
    if "budget_n" not in frame:
        raise ManifestError(f"{path} is no table of runs: it has no column budget_n. It has {', '.join(frame)}.")
    numbers = [name for name in frame if name in PAIR_KEYS or name.startswith(("test_", "best_val_"))]
    return frame.assign(**{name: pd.to_numeric(frame[name], errors="coerce") for name in numbers})


def runs_of_source(table: pd.DataFrame, source: str, where: str = "The table") -> pd.DataFrame:
    """Return the rows of one source.

    Raises:
        InputError: it has none.
    """
    rows = table[table["source"] == source]
    if rows.empty:
        raise InputError(f"{where} has no runs of source {source}. It has: {', '.join(sorted(set(table['source'])))}.")
    return rows


def contrast_tables(
    first: pd.DataFrame,
    second: pd.DataFrame,
    names: tuple[str, str],
    metrics: Sequence[str] = PRIMARY,
    keys: Sequence[str] = PAIR_KEYS,
) -> dict[str, pd.DataFrame]:
    """Return the tables ``paired`` and ``summary``, and where the runs themselves are there those by finding.

    Raises:
        ConfigError: a column is missing, or the two sources have one name.
        InputError: no runs pair, several of a source have the same keys, or none were evaluated.
    """
    pairs = paired_runs(first, second, names, metrics, keys)
    tables = {"paired": pairs, "summary": summarise(pairs, names, metrics)}
    if all("run_dir" in side and all(Path(place).is_dir() for place in side["run_dir"]) for side in (first, second)):
        classes = paired_classes(first, second, names, keys)
        tables |= {"per_class_paired": classes, "per_class_summary": class_summary(classes, names)}
    return tables


def paired_runs(
    first: pd.DataFrame,
    second: pd.DataFrame,
    names: tuple[str, str],
    metrics: Sequence[str] = PRIMARY,
    keys: Sequence[str] = PAIR_KEYS,
) -> pd.DataFrame:
    """Return one row a pair of runs with the same keys: ``<metric>_<first>``, ``<metric>_<second>``, ``delta_<metric>``.

    Raises:
        ConfigError: a column is missing, or the two sources have one name.
        InputError: no runs pair, or several of a source have the same keys.
    """
    if names[0] == names[1]:
        raise ConfigError(f"Both sources are called {names[0]!r}. Name them with first_name= and second_name=.")
    for name, frame in zip(names, (first, second)):
        absent = [column for column in (*keys, *metrics) if column not in frame]
        if absent:
            raise ConfigError(f"The runs of {name} have no {', '.join(absent)}. They have: {', '.join(frame)}.")
        twice = frame[frame.duplicated(list(keys), keep=False)]
        if len(twice):
            at = ", ".join(f"{key} {twice.iloc[0][key]}" for key in keys)
            raise InputError(
                f"{len(twice)} runs of {name} have the keys of another ({at}). Add what tells them apart to pair_keys, "
                "such as model or encoder."
            )
    wanted = [*keys, *metrics]
    pairs = first[wanted].merge(second[wanted], on=list(keys), suffixes=[f"_{name}" for name in names])
    if pairs.empty:
        raise InputError(f"No runs of {names[0]} and {names[1]} agree in {', '.join(keys)}.")
    for metric in metrics:
        pairs[f"delta_{metric}"] = pairs[f"{metric}_{names[0]}"] - pairs[f"{metric}_{names[1]}"]
    return pairs.sort_values(list(keys)).reset_index(drop=True)


def summarise(
    pairs: pd.DataFrame,
    names: tuple[str, str],
    metrics: Sequence[str] = PRIMARY,
    *,
    alpha: float = 0.05,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> pd.DataFrame:
    """Return one row a metric and budget, as defined at the top of this file."""
    rows = []
    for metric in metrics:
        for budget, group in pairs.groupby("budget_n", dropna=False):
            columns = [f"{metric}_{names[0]}", f"{metric}_{names[1]}", f"delta_{metric}"]
            values = group[columns].dropna().to_numpy(dtype=float).T
            if values.shape[1]:
                rows.append({"budget_n": budget, "metric": metric, **_compared(values, names, alpha, resamples, seed)})
    if not rows:
        raise InputError(
            f"No pair has {', '.join(metrics)} on both sides. Evaluate the runs first: aggregate <folder>."
        )
    frame = pd.DataFrame(rows)
    frame["p_value_adj"] = benjamini_hochberg(frame["p_value"].to_numpy())
    frame["reject_h0_fdr"] = frame["p_value_adj"] < alpha
    return frame


def _compared(values: np.ndarray, names: tuple[str, str], alpha: float, resamples: int, seed: int) -> dict[str, Any]:
    """Compare values of shape (3, n): of the first source, of the second, and their differences."""
    from scipy import stats

    count, deltas = values.shape[1], values[2]
    row: dict[str, Any] = {"n_pairs": count}
    for name, sample in zip((*names, "delta"), values):
        lo, hi = _interval(sample, alpha, resamples, seed)
        spread = float(sample.std(ddof=1)) if count > 1 else np.nan
        row |= {f"{name}_mean": float(sample.mean()), f"{name}_std": spread}
        row |= {f"{name}_ci_lo": lo, f"{name}_ci_hi": hi}
    varies = count > 1 and row["delta_std"] > 0
    row["p_value"] = sign_flip(deltas, seed).p
    row["t_p_value"] = float(stats.ttest_rel(values[0], values[1]).pvalue) if varies else np.nan
    row["effect_size"] = row["delta_mean"] / row["delta_std"] if varies else np.nan
    row["delta_ci_excludes_zero"] = bool(row["delta_ci_lo"] > 0 or row["delta_ci_hi"] < 0)
    return row


def _interval(sample: np.ndarray, alpha: float, resamples: int, seed: int) -> tuple[float, float]:
    """Return the percentile bootstrap interval of a mean; NaN for a single value."""
    from scipy import stats

    if len(sample) < 2:
        return np.nan, np.nan
    found = stats.bootstrap(
        (sample,), np.mean, n_resamples=resamples, confidence_level=1 - alpha, method="percentile", rng=seed
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def paired_classes(
    first: pd.DataFrame, second: pd.DataFrame, names: tuple[str, str], keys: Sequence[str] = PAIR_KEYS
) -> pd.DataFrame:
    """Return one row a pair of runs and finding: every figure of both, and the deltas; read from stored evaluations.

    Raises:
        InputError: no runs pair, or none has a stored evaluation.
    """
    sides = [_classes(frame, name, keys) for name, frame in zip(names, (first, second))]
    on = [*keys, "manifest", "class_name"]
    pairs = sides[0].merge(sides[1], on=on)
    if pairs.empty:
        raise InputError(f"No finding of {names[0]} and {names[1]} pairs: evaluate both on the same test sets first.")
    for figure in PER_CLASS:
        pairs[f"delta_{figure}"] = pairs[f"{names[0]}_{figure}"] - pairs[f"{names[1]}_{figure}"]
    return pairs.rename(columns={"cv_fold": "fold"}).sort_values(["class_name", "budget_n"]).reset_index(drop=True)


def _classes(frame: pd.DataFrame, name: str, keys: Sequence[str]) -> pd.DataFrame:
    rows = []
    for run in frame.to_dict("records"):
        stored = open_run(run["run_dir"])
        for manifest in stored.evaluations():
            metrics = read_json(stored.paths.evaluation(manifest).metrics) or {}
            for label, values in metrics.get("per_class", {}).items():
                figures = {f"{name}_{figure}": values.get(figure) for figure in (*PER_CLASS, "support")}
                rows.append({**{key: run[key] for key in keys}, "manifest": manifest, "class_name": label, **figures})
    columns = [*keys, "manifest", "class_name", *(f"{name}_{figure}" for figure in (*PER_CLASS, "support"))]
    found = pd.DataFrame(rows, columns=columns)
    numbers = [column for column in columns if column.startswith(f"{name}_")]
    return found.assign(**{column: pd.to_numeric(found[column], errors="coerce") for column in numbers})


def class_summary(pairs: pd.DataFrame, names: tuple[str, str]) -> pd.DataFrame:
    """Return mean, standard deviation and count by budget and finding, where the first source leads most on top."""
    figures = [f"{side}_{figure}" for side in (*names, "delta") for figure in PER_CLASS]
    grouped = pairs.groupby(["budget_n", "class_name"], dropna=False)[figures].agg(["mean", "std", "count"])
    grouped.columns = [f"{figure}_{what}" for figure, what in grouped.columns]
    frame = grouped.reset_index()
    return frame.sort_values(["budget_n", "delta_f1_mean"], ascending=[True, False]).reset_index(drop=True)
