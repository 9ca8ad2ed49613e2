"""Two alignment results side by side: recall of both directions, and every figure that both have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from ctbench_core.formatting import format_interval
from ctbench_core.runs import Disclosures
from ctbench_ui.alignment import plots
from ctbench_ui.alignment.plots import DIRECTIONS
from ctbench_ui.shared import cache, charts, tables
from ctbench_ui.shared.figures import Source, marked_source, with_note

_FIGURES = ("recall_at_1", "recall_at_5", "recall_at_10", "recall_at_50", "mrr", "map")


def tab(
    folder: str,
    source: Source,
    results: dict[str, str],
    metrics: dict[str, Any],
    source_of: Callable[[Path, str, dict[str, Any]], Source],
) -> None:
    """Ask for another result and draw both; ``source_of`` tells what the other rests on."""
    others = {key: title for key, title in results.items() if _folder(key) != Path(folder)}
    if not others:
        st.info("There is no other result yet. Measure another encoder, split or cohort, then set it beside this one.")
        return
    key = st.selectbox("Beside", list(others), format_func=others.__getitem__, key="beside.other")
    other = _folder(key)
    theirs = cache.metrics(cache.stamp(other / "metrics.json"))
    if theirs["samples_analyzed"] != metrics["samples_analyzed"]:
        st.warning(
            f"{metrics['samples_analyzed']:,} and {theirs['samples_analyzed']:,} pairs: recall at K falls with the size "
            "of the gallery, so compare the lift over chance.",
            icon=":material/warning:",
        )
    both = _both(source, source_of(other.parents[1], other.name, theirs))
    recalls = {"this result": _recall(Path(folder)), "the other": _recall(other)}
    for way, side in zip(("v_to_t", "t_to_v"), st.columns(2, gap="medium")):
        with side:
            st.markdown(f"**{DIRECTIONS[way]}**")
            st.plotly_chart(
                with_note(plots.side_by_side(recalls, way), both.plain_note),
                config=charts.CONFIG,
                key=f"beside-{way}",
                alt=f"Recall at K of both results, {DIRECTIONS[way]}",
            )
    frame = pd.DataFrame(
        {
            "figure": f"{DIRECTIONS[way]}, {figure.replace('_at_', ' @')}",
            "this result": _written(metrics, f"{way}_{figure}"),
            "the other": _written(theirs, f"{way}_{figure}"),
        }
        for way in ("v_to_t", "t_to_v")
        for figure in _FIGURES
        if f"{way}_{figure}" in metrics and f"{way}_{figure}" in theirs
    )
    st.dataframe(frame, hide_index=True, key="beside-table", alt="Figures of both results")
    st.caption("95 % intervals over query patients, of each result alone: not of their difference.")
    tables.download("Both as CSV", frame, f"{source.stem}-beside.csv", "beside-csv", both)


def _both(one: Source, other: Source) -> Source:
    """Return what a table of two results rests on, with the marks of both."""
    marks = [source.marks for source in (one, other) if source.marks]
    together = Disclosures(
        on=" and ".join(dict.fromkeys(each.on for each in marks)),
        uncounted=marks[0].uncounted,
        leaked=None,
        label_origins=sorted({origin for each in marks for origin in each.label_origins}),
        warning="; ".join(dict.fromkeys(each.warning for each in marks if each.warning)),
    )
    return marked_source(one.title, together, one.stem)


def _folder(key: str) -> Path:
    run_dir, _, name = key.rpartition("/")
    return Path(run_dir) / "alignment" / name


def _recall(folder: Path) -> pd.DataFrame:
    frame = cache.table(cache.stamp(folder / "recall.csv"))
    return frame[frame["truth"] == "instance"]


def _written(metrics: dict[str, Any], name: str) -> str:
    return format_interval(metrics[name], metrics.get("intervals", {}).get(name))
