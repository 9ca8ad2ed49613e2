"""Compare two label sources run by run and finding by finding, as `contrast` does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from ctbench_core import figures
from ctbench_core.declared import metric_title
from ctbench_core.features import check_allowed
from ctbench_core.formatting import format_interval, format_mean_sd, plural
from ctbench_core.legacy import (
    FINDING_METRICS,
    PAIR_KEYS,
    PRIMARY_METRICS,
    contrast_tables,
    pairing_warnings,
    read_per_run,
    runs_of_source,
)
from ctbench_ui.shared import as_text, cache, exports
from ctbench_ui.shared.pictures import draw_plot

TITLES = {name: metric_title(name.removeprefix("test_primary_")) for name in PRIMARY_METRICS}
_OTHER_KEYS = ("split_seed", "learning_rate", "hidden_dims", "encoder", "model", "inputs")
_FROM_FILE = "From a file"


def draw(table: pd.DataFrame, version: str) -> None:
    """Draw the choice of two sources, and their differences.

    Args:
        table: a row a run, as `per_run_table` returns it.
        version: changes with the runs.
    """
    sources = sorted(set(table["source"]), key=lambda name: (name != "manual", name))
    left, middle, right = st.columns([1, 1, 2])
    with left:
        first = _source("first", "First source", table, sources, 0)
    with middle:
        second = _source("second", "Second source", table, sources, 1)
    with right:
        keys = st.multiselect(
            "Pair runs by",
            [*PAIR_KEYS, *_OTHER_KEYS],
            default=list(PAIR_KEYS),
            key="two-sources.keys",
            help="Runs of the two sources that agree in these settings form a pair.",
        )
    if first is None or second is None:
        st.info(
            "Choose two sources. A source is a manifest folder of these runs, such as manual or gpt, or a `per_run.csv` file.",
            icon=":material/compare:",
        )
        return
    names = (first[0], second[0])
    tables = compare(first[1], second[1], names, tuple(keys), f"{version}{first[2]}{second[2]}")
    for text in pairing_warnings(first[1], second[1], tables["paired"], names):
        st.warning(as_text(text), icon=":material/warning:")
    _summary(tables, names)
    if "per_class_summary" in tables:
        _findings(tables, names)


def _source(
    side: str, label: str, table: pd.DataFrame, sources: list[str], default: int
) -> tuple[str, pd.DataFrame, cache.Stamp | None] | None:
    """Draw the choice of one source; return its name, its runs, and the stamp of their file where they have one."""
    chosen = st.selectbox(
        label,
        [*sources, _FROM_FILE],
        index=min(default, len(sources)),
        key=f"two-sources.{side}",
        help="A folder of manifests, or a per_run.csv of this or the older system.",
    )
    if chosen != _FROM_FILE:
        return str(chosen), runs_of_source(table, str(chosen)), None
    path = st.text_input("Table file", key=f"two-sources.{side}.file", placeholder="…/gpt_per_run.csv")
    if not path.strip():
        return None
    file = check_allowed(path.strip())
    runs = read_per_run(file)
    name = str(runs["source"].iloc[0]) if "source" in runs and len(runs) else Path(path).stem
    return name, runs, cache.stamp(file)


@cache.remember(max_entries=8, spinner="Pairing runs")
def compare(
    _first: pd.DataFrame, _second: pd.DataFrame, names: tuple[str, str], keys: tuple[str, ...], version: str
) -> dict[str, pd.DataFrame]:
    """Return the tables of `contrast`; ``version`` stands for the frames, which are not hashed."""
    return contrast_tables(_first, _second, names, PRIMARY_METRICS, keys)


def _summary(tables: dict[str, pd.DataFrame], names: tuple[str, str]) -> None:
    summary = tables["summary"]
    rows = summary.assign(
        a=[_budget_title(budget) for budget in summary["budget_n"]],
        label=summary["metric"].map(TITLES),
        delta=summary["delta_mean"],
        lo=summary["delta_ci_lo"],
        hi=summary["delta_ci_hi"],
        p_adjusted=summary["p_value_adj"],
    )
    draw_plot(
        figures.forest(rows, list(TITLES.values()), f"{names[0]} − {names[1]}"),
        "two-sources-forest",
        "two-sources",
        "Differences of two label sources by budget",
    )
    bounds = rows[["delta", "lo", "hi"]].to_numpy()
    shown = pd.DataFrame(
        {
            "Metric": rows["label"],
            "Budget": summary["budget_n"].astype("Int64"),
            **{name: _mean_sd(summary, name) for name in names},
            "Difference [95 % CI]": [format_interval(delta, [lo, hi]) for delta, lo, hi in bounds],
            "p": summary["p_value"],
            "p (adjusted)": summary["p_value_adj"],
            "p (t-test)": summary["t_p_value"],
            "Effect size": summary["effect_size"],
            "Pairs": summary["n_pairs"],
        }
    )
    effect = st.column_config.NumberColumn(help="Mean difference divided by its standard deviation.")
    st.dataframe(
        exports.styled(shown),
        hide_index=True,
        height="content",
        column_config={"Effect size": effect},
        alt="Two sources by metric and budget",
    )
    covers = "; ".join(dict.fromkeys(summary["interval"]))
    reasons = "".join(f" No interval: {reason}." for reason in dict.fromkeys(summary["reason"]) if reason)
    st.caption(
        f"{plural(len(tables['paired']), 'pair')}. Intervals and p cover {as_text(covers)}; p is adjusted by "
        f"Benjamini-Hochberg over the {plural(len(summary), 'row')} of this table, intervals are not.{as_text(reasons)} The "
        "t-test takes folds and seeds for independent, which they are not."
    )
    _downloads(names, {"summary": ("summary", summary), "paired": ("pairs", tables["paired"])})


def _budget_title(budget: Any) -> str:
    return "all" if pd.isna(budget) else f"budget {budget:,.0f}"


def _mean_sd(rows: pd.DataFrame, name: str) -> list[str]:
    return [format_mean_sd(mean, sd) for mean, sd in zip(rows[f"{name}_mean"], rows[f"{name}_std"])]


def _findings(tables: dict[str, pd.DataFrame], names: tuple[str, str]) -> None:
    st.header("Differences by finding", anchor=False)
    summary = tables["per_class_summary"]
    budgets = list(dict.fromkeys(summary["budget_n"]))
    left, right = st.columns(2)
    metric = left.segmented_control(
        "Metric", FINDING_METRICS, default="f1", required=True, key="two-sources.metric", format_func=metric_title
    )
    budget = right.segmented_control(
        "Budget",
        budgets,
        default=budgets[-1],
        required=True,
        key=f"two-sources.budget-{len(budgets)}",
        format_func=_budget_title,
    )
    rows = summary[summary["budget_n"].isna() if pd.isna(budget) else summary["budget_n"] == budget]
    rows = rows.sort_values(f"delta_{metric}_mean", ascending=False)
    shown = pd.DataFrame({"Finding": rows["class_name"]})
    for name, title in (*((name, name) for name in names), ("delta", "Difference")):
        shown[title] = _mean_sd(rows, f"{name}_{metric}")
    shown["Pairs"] = rows[f"delta_{metric}_count"]
    st.dataframe(shown, hide_index=True, height="content", alt="Two sources by finding")
    st.caption(f"Largest difference ({as_text(names[0])} − {as_text(names[1])}) first. Mean ± SD over pairs of runs.")
    pairs = tables["per_class_paired"]
    _downloads(names, {"per_class_summary": ("findings", summary), "per_class_paired": ("pairs by finding", pairs)})


def _downloads(names: tuple[str, str], tables: dict[str, tuple[str, pd.DataFrame]]) -> None:
    """Offer tables of `contrast` as CSV, by the end of their file name."""
    with st.container(horizontal=True):
        for name, (title, table) in tables.items():
            named = table.rename(columns={"class_name": "finding"})
            exports.download(
                f"Download {title} as CSV", named, f"{'_vs_'.join(names)}_{name}.csv", f"two-sources-{name}"
            )
