"""One alignment result: recall at K in both directions, similarities, ranks, and their files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from ctbench_core.runs import open_run
from ctbench_ui import cache, charts, tables
from ctbench_ui.style import figure

_TRUTHS = {"instance": "the chosen hit", "semantic": "the same labels"}
_FIGURES = {"recall_at": "Recall@", "median_rank": "Median rank", "mrr": "MRR", "map": "MAP"}


def draw(run_dir: Path, name: str) -> None:
    """Draw one stored alignment result."""
    run = open_run(run_dir)
    folder = run.paths.alignment(name)
    metrics = cache.metrics(cache.stamp(folder / "metrics.json"))
    recall = cache.table(cache.stamp(folder / "recall.csv"))
    histogram = cache.table(cache.stamp(folder / "histogram.csv"))
    st.markdown(
        f"**{name}** · {metrics['samples_analyzed']:,} pairs · hit: same {run.config.analysis.truth} · "
        f"mean similarity paired {figure(metrics['mean_paired_similarity'], 4)}, "
        f"unpaired {figure(metrics['mean_unpaired_similarity'], 4)}"
    )
    truths = [truth for truth in recall["truth"].unique() if truth in _TRUTHS]
    truth = truths[0]
    if len(truths) > 1:
        truth = (
            st.segmented_control(
                "Hit",
                truths,
                default=truths[0],
                required=True,
                key="alignment-truth",
                label_visibility="collapsed",
                format_func=lambda value: (
                    f"same {run.config.analysis.truth}" if value == "instance" else _TRUTHS[value]
                ),
            )
            or truths[0]
        )
    _cards(metrics, "" if truth == "instance" else "semantic_")
    _charts(metrics, recall[recall["truth"] == truth], histogram[histogram["truth"] == truth], truth)
    with st.container(horizontal=True):
        tables.download("Recall as CSV", recall, f"{name}-recall.csv", "recall-csv")
        tables.download("Histogram as CSV", histogram, f"{name}-histogram.csv", "histogram-csv")
        tables.download(
            "Ranks as CSV", cache.table(cache.stamp(folder / "ranks.parquet")), f"{name}-ranks.csv", "ranks-csv"
        )
    with st.expander("All figures", icon=":material/table:"):
        _all(metrics)


def _cards(metrics: dict[str, Any], prefix: str) -> None:
    columns = st.columns(2, gap="medium")
    for column, direction, title in (
        (columns[0], "v_to_t", "Volume → report"),
        (columns[1], "t_to_v", "Report → volume"),
    ):
        start = f"{prefix}{direction}_"
        with column, st.container(border=True):
            st.markdown(f"**{title}**")
            cards = st.columns(4)
            for card, k in zip(cards, (1, 5, 10)):
                chance = figure(metrics.get(f"{start}chance_at_{k}"))
                card.metric(f"Recall@{k}", figure(metrics.get(f"{start}recall_at_{k}")), help=f"Chance {chance}.")
                card.caption(f"chance {chance}")
            rank = metrics.get(f"{start}median_rank")
            cards[3].metric("Median rank", "–" if rank is None else f"{rank:,.1f}")
            cards[3].caption(f"MRR {figure(metrics.get(f'{start}mrr'))}")
            tied = metrics.get(f"{start}tied_queries", 0)
            alone = metrics.get(f"{start}queries_without_relevant", 0)
            st.caption(
                f"{metrics.get(f'{start}queries', 0):,} queries, {tied:,} with ties, {alone:,} without a relevant candidate"
            )


def _charts(metrics: dict[str, Any], recall: pd.DataFrame, histogram: pd.DataFrame, truth: str) -> None:
    prefix = "" if truth == "instance" else "semantic_"
    means = {pairs: metrics.get(f"{prefix}mean_{pairs}_similarity") for pairs in ("paired", "unpaired")}
    left, right = st.columns(2, gap="medium")
    with left, st.container(border=True):
        st.markdown("**Recall@K**")
        st.plotly_chart(
            charts.recall_at_k(recall),
            config=charts.CONFIG,
            key="recall",
            alt="Recall at K in both directions, with chance",
        )
    with right, st.container(border=True):
        st.markdown("**Similarities**")
        st.plotly_chart(
            charts.similarity_histogram(histogram, means),
            config=charts.CONFIG,
            key="histogram",
            alt="Similarities of paired and unpaired volumes and reports",
        )


def _all(metrics: dict[str, Any]) -> None:
    rows = [{"figure": name, "value": value} for name, value in metrics.items() if isinstance(value, (int, float))]
    st.dataframe(pd.DataFrame(rows), hide_index=True, alt="All figures of this alignment")
