"""Two label sources set side by side, run by run and finding by finding, as `contrast` does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from ctbench_core.features import check_allowed
from ctbench_core.formatting import format_interval, format_mean_sd, format_p, plural
from ctbench_core.legacy.aggregate import PRIMARY
from ctbench_core.legacy.contrast import PAIR_KEYS, PER_CLASS, contrast_tables, read_per_run, runs_of_source
from ctbench_core.legacy.plots import TITLES
from ctbench_ui.shared import cache, charts, forest, tables

_APART = ("split_seed", "learning_rate", "hidden_dims", "encoder", "model", "inputs")
_TABLE = "A table of runs"
_NAMES = {"precision": "Precision", "recall": "Recall", "f1": "F1", "auprc": "AUPRC", "auroc": "AUROC"}


def draw(table: pd.DataFrame, at: str) -> None:
    """Draw the choice of two sources, and what sets them apart.

    Args:
        table: a row a run, as `per_run_table` gives it.
        at: tells whether the runs have changed.
    """
    sources = sorted(set(table["source"]), key=lambda name: (name != "manual", name))
    first, second, pairs = st.columns([1, 1, 2])
    with first:
        one = _source("first", "First source", table, sources, 0)
    with second:
        other = _source("second", "Second source", table, sources, 1)
    with pairs:
        keys = st.multiselect(
            "Runs pair by",
            [*PAIR_KEYS, *_APART],
            default=list(PAIR_KEYS),
            key="two-sources.keys",
            help="Runs of both sources that agree in these are set against each other.",
        )
    if one is None or other is None:
        st.info(
            "Two sources are needed: runs whose manifests lie in two folders, such as manual and gpt, or a "
            "`per_run.csv` of the older system.",
            icon=":material/compare:",
        )
        return
    names = (one[0], other[0])
    found = compared(one[1], other[1], names, tuple(keys), f"{at}{one[2]}{other[2]}")
    _summary(found, names)
    if "per_class_summary" in found:
        _findings(found, names)


def _source(
    side: str, label: str, table: pd.DataFrame, known: list[str], usual: int
) -> tuple[str, pd.DataFrame, cache.Stamp | None] | None:
    """Draw the choice of one source; return its name, its runs, and the stamp of their file where they have one."""
    chosen = st.selectbox(
        label,
        [*known, _TABLE],
        index=usual if usual < len(known) else len(known),
        key=f"two-sources.{side}",
        help="The folder of the runs' manifests; or a per_run.csv, of here or of the older system.",
    )
    if chosen != _TABLE:
        return str(chosen), runs_of_source(table, str(chosen)), None
    path = st.text_input("Its file", key=f"two-sources.{side}.file", placeholder="…/gpt_per_run.csv")
    if not path.strip():
        return None
    file = check_allowed(path.strip())
    read = read_per_run(file)
    name = str(read["source"].iloc[0]) if "source" in read and len(read) else Path(path).stem
    return name, read, cache.stamp(file)


@st.cache_data(max_entries=8, show_spinner="Pairing runs")
def compared(
    _first: pd.DataFrame, _second: pd.DataFrame, names: tuple[str, str], keys: tuple[str, ...], at: str
) -> dict[str, pd.DataFrame]:
    """Return the tables of `contrast`; ``at`` tells the cache of a change, which hashes no frame."""
    return contrast_tables(_first, _second, names, PRIMARY, keys)


def _summary(found: dict[str, pd.DataFrame], names: tuple[str, str]) -> None:
    summary = found["summary"]
    rows = summary.assign(
        a=[_budget(budget) for budget in summary["budget_n"]],
        label=summary["metric"].map(TITLES),
        delta=summary["delta_mean"],
        lo=summary["delta_ci_lo"],
        hi=summary["delta_ci_hi"],
        p_adjusted=summary["p_value_adj"],
    )
    st.plotly_chart(
        forest.forest(rows, list(TITLES.values()), f"{names[0]} − {names[1]}"),
        key="two-sources-forest",
        config=charts.CONFIG,
        alt="Differences of two label sources by budget",
    )
    shown = pd.DataFrame(
        {
            "Metric": rows["label"],
            "Budget": summary["budget_n"].astype("Int64"),
            **{
                name: [format_mean_sd(m, s) for m, s in zip(summary[f"{name}_mean"], summary[f"{name}_std"])]
                for name in names
            },
            "Difference [95 %]": [format_interval(d, [lo, hi]) for d, lo, hi in rows[["delta", "lo", "hi"]].to_numpy()],
            "p": summary["p_value"].map(format_p),
            "adjusted p": summary["p_value_adj"].map(format_p),
            "t-test p": summary["t_p_value"].map(format_p),
            "Effect": summary["effect_size"],
            "Pairs": summary["n_pairs"],
        }
    )
    effect = st.column_config.NumberColumn(format="%.2f", help="Mean difference by its standard deviation.")
    st.dataframe(
        shown,
        hide_index=True,
        height="content",
        column_config={"Effect": effect},
        alt="Two sources by metric and budget",
    )
    st.caption(
        f"{plural(len(found['paired']), 'pair')}; p by sign flips, adjusted by Benjamini-Hochberg over this table's "
        f"{plural(len(summary), 'row')}; intervals are not adjusted. Pairs of fold and seed are taken as independent, "
        "which they are not: a sensitivity test. Studies and Compare judge by patients."
    )
    with st.container(horizontal=True):
        tables.download("Summary (CSV)", summary, f"{'_vs_'.join(names)}_summary.csv", "two-sources-summary")
        tables.download("Pairs (CSV)", found["paired"], f"{'_vs_'.join(names)}_paired.csv", "two-sources-paired")


def _budget(budget: Any) -> str:
    return "all" if pd.isna(budget) else f"budget {budget:,.0f}"


def _findings(found: dict[str, pd.DataFrame], names: tuple[str, str]) -> None:
    st.subheader("Bottlenecks", anchor=False)
    summary = found["per_class_summary"]
    sizes = list(dict.fromkeys(summary["budget_n"]))
    left, right = st.columns(2)
    with left:
        metric = st.segmented_control(
            "Figure", PER_CLASS, default="f1", required=True, key="two-sources.metric", format_func=_NAMES.__getitem__
        )
    with right:
        budget = st.segmented_control(
            "At", sizes, default=sizes[-1], required=True, key=f"two-sources.budget-{len(sizes)}", format_func=_budget
        )
    rows = summary[summary["budget_n"].isna() if pd.isna(budget) else summary["budget_n"] == budget]
    rows = rows.sort_values(f"delta_{metric}_mean", ascending=False)
    shown = pd.DataFrame({"Finding": rows["class_name"]})
    for name, title in (*((name, name) for name in names), ("delta", "Difference")):
        shown[title] = [
            format_mean_sd(m, s) for m, s in zip(rows[f"{name}_{metric}_mean"], rows[f"{name}_{metric}_std"])
        ]
    shown["Pairs"] = rows[f"delta_{metric}_count"]
    st.dataframe(shown, hide_index=True, height="content", alt="Two sources by finding")
    st.caption(f"Where {names[0]} leads most stands on top; mean ± standard deviation over pairs of runs.")
    with st.container(horizontal=True):
        name = "_vs_".join(names)
        tables.download("By finding (CSV)", summary, f"{name}_per_class_summary.csv", "two-sources-classes")
        tables.download(
            "Pairs by finding (CSV)",
            found["per_class_paired"],
            f"{name}_per_class_paired.csv",
            "two-sources-class-pairs",
        )
