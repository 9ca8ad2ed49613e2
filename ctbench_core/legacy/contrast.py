"""Compare two label sources as the older system's phase 3 did: by pairs of runs of the same budget, fold and seed.

The tests treat folds and seeds as independent, which they are not, so use them as sensitivity tests only. The main
inference is by patients: `ctbench_core.compare`, the verb `compare`, and studies.

For the n differences d of a metric at a budget, the summary holds ``delta_mean`` and ``delta_std`` (n - 1);
``delta_ci_*``, the percentile bootstrap of the mean (`scipy.stats.bootstrap`); ``p_value``, the share of all sign
patterns whose mean is at least as far from 0 (`inference.sign_flip`); ``t_p_value``, the paired t-test;
``effect_size``, delta_mean / delta_std (Cohen's d of pairs); ``p_value_adj``, Benjamini-Hochberg over all rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ctbench_core.declared import metrics_of
from ctbench_core.errors import ConfigError, InputError, ManifestError
from ctbench_core.formatting import plural
from ctbench_core.inference import benjamini_hochberg, sign_flip
from ctbench_core.legacy.aggregate import PRIMARY_METRICS
from ctbench_core.runs import open_run, read_metrics
from ctbench_core.tables import read_table

PAIR_KEYS = ("budget_n", "cv_fold", "utils_seed")
FINDING_METRICS = tuple(metric.name for metric in metrics_of("thresholded", "ranking") if metric.brief)
RESAMPLES = 5000
SEED = 52


def read_per_run(path: Path) -> pd.DataFrame:
    """Read a per-run table, ours or the older system's.

    Raises:
        ManifestError: it cannot be read, or has no column ``budget_n``.
    """
    frame, _ = read_table(path)
    if "budget_n" not in frame:
        raise ManifestError(
            f"{path} is not a per-run table: column budget_n is missing. Its columns: {', '.join(frame)}."
        )
    numbers = [name for name in frame if name in PAIR_KEYS or name.startswith(("test_", "best_val_"))]
    return frame.assign(**{name: pd.to_numeric(frame[name], errors="coerce") for name in numbers})


def runs_of_source(table: pd.DataFrame, source: str, where: str = "The table") -> pd.DataFrame:
    """Return the rows of one label source.

    Raises:
        InputError: the table has none.
    """
    rows = table[table["source"] == source]
    if rows.empty:
        raise InputError(f"{where} has no runs of source {source}. It has: {', '.join(sorted(set(table['source'])))}.")
    return rows


def contrast_tables(
    first: pd.DataFrame,
    second: pd.DataFrame,
    names: tuple[str, str],
    metrics: Sequence[str] = PRIMARY_METRICS,
    keys: Sequence[str] = PAIR_KEYS,
) -> dict[str, pd.DataFrame]:
    """Return the tables ``paired`` and ``summary``, and those by finding when the run folders exist.

    Raises:
        ConfigError: a column is missing, or the two sources have one name.
        InputError: no runs pair, several runs of a source have the same keys, or none was evaluated.
    """
    pairs = _pair_runs(first, second, names, metrics, keys)
    tables = {"paired": pairs, "summary": summarise(pairs, names, metrics)}
    if all("run_dir" in side and all(Path(folder).is_dir() for folder in side["run_dir"]) for side in (first, second)):
        findings = _pair_findings(first, second, names, keys)
        tables |= {"per_class_paired": findings, "per_class_summary": _summarise_findings(findings, names)}
    return tables


def _pair_runs(
    first: pd.DataFrame, second: pd.DataFrame, names: tuple[str, str], metrics: Sequence[str], keys: Sequence[str]
) -> pd.DataFrame:
    """Return one row a pair of runs with the same keys: ``<metric>_<first>``, ``<metric>_<second>``, ``delta_<metric>``.

    ``budget_n`` is the budget of both runs; blank where they differ.
    """
    if names[0] == names[1]:
        raise ConfigError(f"Both sources are called {names[0]!r}. Name them with first_name= and second_name=.")
    for name, frame in zip(names, (first, second)):
        missing = [column for column in (*keys, *metrics, "budget_n") if column not in frame]
        if missing:
            raise ConfigError(f"The runs of {name} lack {', '.join(missing)}. Their columns: {', '.join(frame)}.")
        duplicates = frame[frame.duplicated(list(keys), keep=False)]
        if len(duplicates):
            example = ", ".join(f"{key} {duplicates.iloc[0][key]}" for key in keys)
            raise InputError(
                f"{len(duplicates)} runs of {name} have the same keys as another run ({example}). Add a column in "
                "which they differ to pair_keys, such as model or encoder."
            )
    columns = list(dict.fromkeys([*keys, "budget_n", *metrics]))
    pairs = first[columns].merge(second[columns], on=list(keys), suffixes=[f"_{name}" for name in names])
    if pairs.empty:
        values = "; ".join(f"{key} is {_values(first[key])} and {_values(second[key])}" for key in keys)
        raise InputError(
            f"No runs of {names[0]} and {names[1]} agree in {', '.join(keys)}: {values}. Fill in the tables, or name "
            "the columns that pair them with pair_keys=[...]."
        )
    pairs = _with_budget(pairs, names)
    for metric in metrics:
        pairs[f"delta_{metric}"] = pairs[f"{metric}_{names[0]}"] - pairs[f"{metric}_{names[1]}"]
    return pairs.sort_values(list(keys)).reset_index(drop=True)


def _values(column: pd.Series) -> str:
    """List the distinct values of a column, at most five."""
    texts = (f"{value:g}" if isinstance(value, float) else str(value) for value in column.unique())
    distinct = ["blank" if text in ("", "nan", "None") else text for text in texts]
    return ", ".join(distinct[:5]) + (" ..." if len(distinct) > 5 else "")


def _with_budget(pairs: pd.DataFrame, names: tuple[str, str]) -> pd.DataFrame:
    """Return the pairs with the budget that both runs have, blank where they differ."""
    if "budget_n" in pairs:
        return pairs
    first, second = (pairs[f"budget_n_{name}"] for name in names)
    return pairs.assign(budget_n=first.where(first == second))


def pairing_warnings(
    first: pd.DataFrame, second: pd.DataFrame, pairs: pd.DataFrame, names: tuple[str, str]
) -> list[str]:
    """Say how many runs have no partner, and how many pairs are of two budgets."""
    alone = {name: len(side) - len(pairs) for name, side in zip(names, (first, second))}
    texts = [f"{plural(count, 'run')} of {name} without a partner left out." for name, count in alone.items() if count]
    columns = [f"budget_n_{name}" for name in names]
    if set(columns) <= set(pairs):
        values = pairs[columns].fillna(-1).to_numpy()
        if differ := int((values[:, 0] != values[:, 1]).sum()):
            budgets = " and ".join(f"{_values(pairs[column])} ({name})" for column, name in zip(columns, names))
            texts.append(f"{plural(differ, 'pair')} differ in budget_n: {budgets}.")
    return texts


def summarise(
    pairs: pd.DataFrame,
    names: tuple[str, str],
    metrics: Sequence[str] = PRIMARY_METRICS,
    *,
    alpha: float = 0.05,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> pd.DataFrame:
    """Return one row for each metric and budget; the columns are defined at the top of this file."""
    rows = []
    for metric in metrics:
        for budget, group in pairs.groupby("budget_n", dropna=False):
            columns = [f"{metric}_{names[0]}", f"{metric}_{names[1]}", f"delta_{metric}"]
            values = group[columns].dropna().to_numpy(dtype=float).T
            if values.shape[1]:
                rows.append(
                    {"budget_n": budget, "metric": metric, **_statistics(values, names, alpha, resamples, seed)}
                )
    if not rows:
        raise InputError(
            f"No pair has {', '.join(metrics)} on both sides. Evaluate the runs first: aggregate <folder>."
        )
    frame = pd.DataFrame(rows)
    frame["p_value_adj"] = benjamini_hochberg(frame["p_value"].to_numpy())
    frame["reject_h0_fdr"] = frame["p_value_adj"] < alpha
    return frame


def _statistics(values: np.ndarray, names: tuple[str, str], alpha: float, resamples: int, seed: int) -> dict[str, Any]:
    """Return the statistics of values of shape (3, n): first source, second source, differences."""
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
    result = stats.bootstrap(
        (sample,), np.mean, n_resamples=resamples, confidence_level=1 - alpha, method="percentile", rng=seed
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def _pair_findings(
    first: pd.DataFrame, second: pd.DataFrame, names: tuple[str, str], keys: Sequence[str]
) -> pd.DataFrame:
    """Return one row for each pair of runs and finding: the stored metrics of both, and their differences."""
    sides = [_finding_metrics(frame, name, keys) for name, frame in zip(names, (first, second))]
    pairs = sides[0].merge(sides[1], on=[*keys, "manifest", "class_name"], suffixes=[f"_{name}" for name in names])
    if pairs.empty:
        raise InputError(f"No findings of {names[0]} and {names[1]} pair. Evaluate both on the same test sets first.")
    for metric in FINDING_METRICS:
        pairs[f"delta_{metric}"] = pairs[f"{names[0]}_{metric}"] - pairs[f"{names[1]}_{metric}"]
    pairs = _with_budget(pairs, names)
    return pairs.rename(columns={"cv_fold": "fold"}).sort_values(["class_name", "budget_n"]).reset_index(drop=True)


def _finding_metrics(frame: pd.DataFrame, name: str, keys: Sequence[str]) -> pd.DataFrame:
    """Return one row for each run, test set and finding; ``class_name`` is the older system's name of the column."""
    rows = []
    columns = {metric: f"{name}_{metric}" for metric in (*FINDING_METRICS, "support")}
    for record in frame.to_dict("records"):
        run = open_run(record["run_dir"])
        for manifest in run.evaluations():
            stored = read_metrics(run.paths.evaluation(manifest).metrics)
            for finding, one in (stored.findings if stored else {}).items():
                metrics = {column: one.value(metric) for metric, column in columns.items()}
                row = {key: record[key] for key in (*keys, "budget_n")}
                rows.append(row | {"manifest": manifest, "class_name": finding, **metrics})
    names = dict.fromkeys((*keys, "budget_n", "manifest", "class_name", *columns.values()))
    table = pd.DataFrame(rows, columns=list(names))
    return table.assign(**{column: pd.to_numeric(table[column], errors="coerce") for column in columns.values()})


def _summarise_findings(pairs: pd.DataFrame, names: tuple[str, str]) -> pd.DataFrame:
    """Return mean, standard deviation and count by budget and finding, largest lead of the first source on top."""
    metrics = [f"{side}_{metric}" for side in (*names, "delta") for metric in FINDING_METRICS]
    grouped = pairs.groupby(["budget_n", "class_name"], dropna=False)[metrics].agg(["mean", "std", "count"])
    grouped.columns = [f"{metric}_{statistic}" for metric, statistic in grouped.columns]
    frame = grouped.reset_index()
    return frame.sort_values(["budget_n", "delta_f1_mean"], ascending=[True, False]).reset_index(drop=True)
