"""Compare two label sources by pairs of runs of the same budget, fold and seed, as the older system's phase 3 did.

Where the runs and their scores exist, intervals and p are those of `ctbench_core.inference`, as in studies and
`compare`: of a fixed test set over seeds and patients (`recipe_difference`), of a K-fold over folds
(`kfold_difference`). From a table alone they are the t of the differences of seeds, or of folds with seeds averaged
(`corrected_t`); the column ``interval`` says which.

For the n differences d of a metric at a budget, the summary holds ``delta_mean`` and ``delta_std`` (n - 1), the
interval ``delta_ci_*``, its ``p_value`` and ``p_value_adj``, by Benjamini and Hochberg over all rows, ``reason`` where
there is no interval; and of the older system ``t_p_value``, the paired t-test that takes folds and seeds for
independent, and ``effect_size``, delta_mean / delta_std (Cohen's d of pairs).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ctbench_core.declared import macro_keys, metrics_of
from ctbench_core.errors import ConfigError, InputError, ManifestError, first_rows
from ctbench_core.formatting import plural
from ctbench_core.inference import LEVEL, benjamini_hochberg, corrected_t
from ctbench_core.legacy.aggregate import PRIMARY_METRICS
from ctbench_core.legacy.scored_pairs import FOLD, Contrast, contrast_scores
from ctbench_core.runs import open_run, read_metrics
from ctbench_core.tables import parse_numbers, read_table, unguarded

PAIR_KEYS = ("budget_n", FOLD, "utils_seed")
FINDING_METRICS = tuple(metric.name for metric in metrics_of("thresholded", "ranking") if metric.brief)
_METRICS = tuple(f"_{name}" for name in (*macro_keys(), *FINDING_METRICS))
# What an interval covers, where there are no scores.
SEEDS_ALONE, FOLDS_ALONE = "seeds (no scores)", "folds (no scores)"
_FEWEST = 3  # seeds with an interval


def read_per_run(path: Path) -> pd.DataFrame:
    """Read a per-run table, ours or the older system's.

    Raises:
        ManifestError: it cannot be read, or has no column ``budget_n``.
    """
    frame = unguarded(read_table(path)[0])
    if "budget_n" not in frame:
        raise ManifestError(
            f"{path} is not a per-run table: column budget_n is missing. Its columns: {', '.join(frame)}."
        )
    numbers = [name for name in frame if name in PAIR_KEYS or name.startswith(("test_", "best_val_"))]
    return frame.assign(**{name: _numbers(path, frame[name]) for name in numbers})


def _numbers(path: Path, column: pd.Series) -> pd.Series:
    values, wrong = parse_numbers(column)
    is_metric = str(column.name).endswith(_METRICS)
    if is_metric:
        wrong |= (values < 0) | (values > 1)
    if wrong.any():
        lines, expected = first_rows(column.index[wrong] + 2), "a number from 0 to 1" if is_metric else "a number"
        raise ManifestError(
            f"{path}: column {column.name!r} has {column[wrong].iloc[0]!r} on line {lines}; expected {expected} or a blank."
        )
    return pd.Series(values, index=column.index, name=column.name)


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
    has_runs = all(
        "run_dir" in side and all(Path(folder).is_dir() for folder in side["run_dir"]) for side in (first, second)
    )
    scored = {}
    if has_runs:
        groups = pairs.groupby("budget_n", dropna=False)
        scored = {_budget(budget): contrast_scores(group, names) for budget, group in groups}
    tables = {"paired": pairs, "summary": summarise(pairs, names, metrics, scored)}
    if has_runs:
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
    columns += ["run_dir"] if "run_dir" in first and "run_dir" in second else []
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
    first: pd.DataFrame,
    second: pd.DataFrame,
    pairs: pd.DataFrame,
    names: tuple[str, str],
    metrics: Sequence[str] = PRIMARY_METRICS,
) -> list[str]:
    """Say how many runs have no partner, how many pairs lack a metric, and how many are of two budgets."""
    alone = {name: len(side) - len(pairs) for name, side in zip(names, (first, second))}
    texts = [f"{plural(count, 'run')} of {name} without a partner left out." for name, count in alone.items() if count]
    for metric in metrics:
        if blank := int(pairs[[f"{metric}_{name}" for name in names]].isna().any(axis=1).sum()):
            texts.append(f"{plural(blank, 'pair')} without {metric} on both sides left out of its rows.")
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
    scored: Mapping[float, Mapping[str, Contrast]] | None = None,
) -> pd.DataFrame:
    """Return one row for each metric and budget; the columns are defined at the top of this file.

    Args:
        scored: by budget and metric, what the scores of the runs say; without it the pairs alone count.
    """
    rows = []
    for metric in metrics:
        for budget, group in pairs.groupby("budget_n", dropna=False):
            known = group.dropna(subset=[f"{metric}_{names[0]}", f"{metric}_{names[1]}"])
            if len(known):
                contrast = (scored or {}).get(_budget(budget), {}).get(metric)
                rows.append({"budget_n": budget, "metric": metric, **_statistics(known, metric, names, contrast)})
    if not rows:
        raise InputError(
            f"No pair has {', '.join(metrics)} on both sides. Evaluate the runs first: aggregate <folder>."
        )
    frame = pd.DataFrame(rows)
    frame["p_value_adj"] = benjamini_hochberg(frame["p_value"].to_numpy(float))
    frame["reject_h0_fdr"] = frame["p_value_adj"] < 1 - LEVEL
    return frame


def _budget(value: Any) -> float:
    """Return a budget as the key of a mapping; -1 for a blank one."""
    return -1.0 if pd.isna(value) else float(value)


def _statistics(pairs: pd.DataFrame, metric: str, names: tuple[str, str], contrast: Contrast | None) -> dict[str, Any]:
    """Return the statistics of the pairs of one metric and budget."""
    from scipy import stats

    columns = {name: f"{metric}_{name}" for name in names} | {"delta": f"delta_{metric}"}
    contrast = contrast or _contrast_of_table(pairs, columns)
    row: dict[str, Any] = {"n_pairs": len(pairs)}
    for name, column in columns.items():
        sample = pairs[column].to_numpy(dtype=float)
        row |= {f"{name}_mean": float(sample.mean())}
        row |= {f"{name}_std": float(sample.std(ddof=1)) if len(sample) > 1 else np.nan}
        row |= dict(zip((f"{name}_ci_lo", f"{name}_ci_hi"), contrast.bounds[name]))
    varies = len(pairs) > 1 and row["delta_std"] > 0
    row["p_value"] = contrast.p
    sides = (pairs[columns[name]] for name in names)
    row["t_p_value"] = float(stats.ttest_rel(*sides).pvalue) if varies else np.nan
    row["effect_size"] = row["delta_mean"] / row["delta_std"] if varies else np.nan
    row["delta_ci_excludes_zero"] = bool(row["delta_ci_lo"] > 0 or row["delta_ci_hi"] < 0)
    return row | {"interval": contrast.covers, "reason": contrast.reason}


def _contrast_of_table(pairs: pd.DataFrame, columns: Mapping[str, str]) -> Contrast:
    """Return intervals and p from the metrics of the runs alone."""
    is_fold = FOLD in pairs and bool(pairs[FOLD].notna().all())
    values = pairs.groupby(FOLD)[list(columns.values())].mean() if is_fold else pairs[list(columns.values())]
    share = 1 / (len(values) - 1) if is_fold and len(values) > 1 else 0.0
    fewest = 2 if is_fold else _FEWEST
    if len(values) < fewest:
        unit = "fold" if is_fold else "seed"
        reason = f"{plural(len(values), unit)}: an interval needs {fewest}"
        return Contrast(
            dict.fromkeys(columns, (np.nan, np.nan)), np.nan, FOLDS_ALONE if is_fold else SEEDS_ALONE, reason
        )
    tests = {name: corrected_t(values[column], share) for name, column in columns.items()}
    bounds = {name: (lo, hi) for name, (lo, hi, _) in tests.items()}
    return Contrast(bounds, tests["delta"][2], FOLDS_ALONE if is_fold else SEEDS_ALONE, "")


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
