"""Ranks and findings of an alignment: where the first hits stand, finding by finding, the gap and the hubs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from ctbench_core.formatting import format_metric
from ctbench_ui.alignment import plots, store
from ctbench_ui.alignment.plots import DIRECTIONS
from ctbench_ui.shared import cache, figures, tables
from ctbench_ui.shared.figures import Source

_SHORT = {"v_to_t": "→", "t_to_v": "←", "v_to_v": "volumes", "t_to_t": "reports"}
_TRUTHS = {"instance": "hit as chosen", "semantic": "same label vector", "semantic_others": "own exam left out"}


def tab(folder: Path, metrics: dict[str, Any], source: Source) -> None:
    """Draw the distribution of first ranks, the geometry of both modalities, findings and hubs."""
    left, right = st.columns(2, gap="medium")
    with left:
        _ranks(folder, metrics, source)
    with right:
        _geometry(metrics)
        _graded(metrics)
    _findings(folder, source)
    _hubs(folder, source)


def _ranks(folder: Path, metrics: dict[str, Any], source: Source) -> None:
    st.subheader("Rank of the first hit", anchor=False)
    known = [truth for truth in _TRUTHS if f"{store.prefix_of(truth)}v_to_t_mrr" in metrics]
    truth = st.segmented_control(
        "Hit", known, format_func=_TRUTHS.__getitem__, default=known[0], required=True, key="ranks.truth"
    )
    ways = [way for way in DIRECTIONS if f"{way}_mrr" in metrics]
    ranks = {way: store.first_ranks(folder, way, truth or known[0]) for way in ways}
    frame = pd.concat([pd.DataFrame({"direction": way, "first_rank": values}) for way, values in ranks.items()])
    found = plots.rank_distribution(frame, int(metrics["samples_analyzed"]))
    figures.show(found, frame, source, "ranks", "Share of queries by the rank of their first hit")


def _geometry(metrics: dict[str, Any]) -> None:
    st.subheader("Modality gap", anchor=False)
    rows = [
        ("Distance of the two centres", "modality_gap"),
        ("Mean similarity, own pair", "mean_paired_similarity"),
        ("Mean similarity, other pairs", "mean_unpaired_similarity"),
        ("Mean similarity among volumes", "mean_visual_similarity"),
        ("Mean similarity among reports", "mean_text_similarity"),
    ]
    frame = pd.DataFrame([{"of unit vectors": title, "": format_metric(metrics.get(name))} for title, name in rows])
    st.dataframe(frame, hide_index=True, alt="Distance and similarities of the two modalities")


def _graded(metrics: dict[str, Any]) -> None:
    """Show the figures that weigh candidates by the findings they share."""
    depths = sorted({int(name.rsplit("_", 1)[1]) for name in metrics if name.startswith("graded_v_to_t_jaccard_at_")})
    if not depths:
        return
    st.subheader("Graded by shared findings", anchor=False)
    rows = []
    for k in depths:
        row = {"figure": f"@{k}"}
        for way in DIRECTIONS:
            if f"graded_{way}_jaccard_at_{k}" in metrics:
                row[f"overlap {_SHORT[way]}"] = format_metric(metrics[f"graded_{way}_jaccard_at_{k}"])
                row[f"nDCG {_SHORT[way]}"] = format_metric(metrics[f"graded_{way}_ndcg_at_{k}"])
        if f"ctclip_v_to_v_map_at_{k}" in metrics:
            row["CT-CLIP's MAP@K"] = format_metric(metrics[f"ctclip_v_to_v_map_at_{k}"])
        rows.append(row)
    st.dataframe(pd.DataFrame(rows), hide_index=True, key="graded", alt="Figures graded by shared findings")
    st.caption(
        "Overlap: findings shared over findings of either, mean over the first K; nDCG takes it as gain. → from volumes, ← from reports."
    )


def _findings(folder: Path, source: Source) -> None:
    if not (folder / "findings.csv").is_file():
        return
    st.subheader("Finding by finding", anchor=False)
    found = cache.table(cache.stamp(folder / "findings.csv"))
    depths = [int(name.rsplit("_", 1)[1]) for name in found if name.startswith("precision_at_")]
    k = st.segmented_control("K", depths, default=10 if 10 in depths else depths[-1], required=True, key="findings.k")
    k = k or depths[0]
    chart, table = st.columns(2, gap="medium")
    with chart:
        figures.show(
            plots.finding_precision(found, k),
            found,
            source,
            "findings",
            f"Share of the first {k} with the finding",
        )
    wide = found[found["direction"].isin(["v_to_t", "t_to_v"])].pivot(
        index="finding", columns="direction", values=[f"precision_at_{k}", f"lift_at_{k}"]
    )
    shown = found.drop_duplicates("finding")[["finding", "queries", "prevalence"]].set_index("finding")
    number: dict[str, Any] = {"prevalence": st.column_config.NumberColumn(format=tables.SHARE)}
    for way in ("v_to_t", "t_to_v"):
        for kind, title, written in (("precision", f"P@{k}", tables.SHARE), ("lift", "lift", "%.2f")):
            shown[f"{title} {_SHORT[way]}"] = wide[f"{kind}_at_{k}", way]
            number[f"{title} {_SHORT[way]}"] = st.column_config.NumberColumn(format=written, width=64)
    table.dataframe(
        shown.reset_index(), hide_index=True, column_config=number, key="findings-table", height=520, alt="Findings"
    )


def _hubs(folder: Path, source: Source) -> None:
    if not (folder / "hubs.csv").is_file():
        return
    st.subheader("Hubs", anchor=False)
    found = cache.table(cache.stamp(folder / "hubs.csv"))
    metrics = cache.metrics(cache.stamp(folder / "metrics.json"))
    told = [
        f"{title}: skewness {format_metric(metrics.get(f'{way}_hub_skewness'))}, "
        f"{metrics[f'{way}_hub_never']:.0%} never among the first 10"
        for way, title in DIRECTIONS.items()
        if f"{way}_hub_never" in metrics
    ]
    st.caption(" · ".join(told))
    sides = st.columns(2, gap="medium")
    for side, way in zip(sides, ("v_to_t", "t_to_v")):
        some = found[found["direction"] == way].drop(columns=["direction", "sample"])
        some = some[[name for name in ("volumename", "occurrences") if name in some]].head(10)
        side.dataframe(
            some,
            hide_index=True,
            column_config={"occurrences": st.column_config.NumberColumn(DIRECTIONS[way], format="%.1f")},
            key=f"hubs-{way}",
            alt=f"Most often retrieved, {DIRECTIONS[way]}",
        )
    tables.download("Hubs as CSV", found, f"{source.stem}-hubs.csv", "hubs-csv", source)
