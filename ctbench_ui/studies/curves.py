"""Scaling curves of a study, the labels needed to reach a value, and where recipes change places."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from ctbench_core.studies import crossing, labels_needed
from ctbench_ui.shared import charts, figures
from ctbench_ui.studies import frames, plots, run_tables


def draw(folder: str, at: frames.Stamp) -> None:
    """Draw the curves, the table of labels needed, and the crossings."""
    frame = frames.cells(folder, at)
    metric, finding = st.columns([1, 3])
    with metric:
        chosen = run_tables.pick_metric("curves-metric")
    with finding:
        names = ["", *run_tables.ordered(frame["finding"].unique())]
        which = st.selectbox("Finding", names, format_func=lambda name: name or "macro mean", key="curves-finding")
    rows = frames.lines(folder, at, chosen, which or "")
    fits = frames.fits(folder, at, chosen) if not which else {}
    found = plots.scaling_curves(rows, fits, chosen, "patients")
    event = st.plotly_chart(
        figures.with_note(found, frames.source(folder, at).plain_note),
        key="curves",
        config=charts.CONFIG,
        on_select="rerun",
        selection_mode="points",
    )
    st.caption(
        f"{run_tables.of_what(frame)} Bands: 95 %, over seeds and test patients. Dotted: the fitted power law. Select a point for its runs."
    )
    run_tables.behind(folder, at, event)
    if not which:
        _needed(fits, chosen)
        _crossings(folder, at, chosen)


def _needed(fits: dict[str, Any], metric: str) -> None:
    if not fits:
        return
    st.subheader("Labels needed", anchor=False)
    highest = max(float(np.nanmax(curve.mean)) for curve in fits.values())
    value = st.slider(
        f"{plots.metric_name(metric)} to reach",
        0.05,
        0.99,
        round(highest * 0.95, 2),
        0.01,
        key="needed",
        width=360,
    )
    st.dataframe(needed_frame(fits, value), hide_index=True)
    st.caption(
        "From the fitted curve; the interval resamples whole seeds, since budgets of one seed are nested. ∞: not reached."
    )


def needed_frame(fits: dict[str, Any], value: float) -> pd.DataFrame:
    """Return the patients that each recipe needs to reach a value, as text."""
    rows = []
    for name, curve in fits.items():
        reach = labels_needed(curve, value)
        bounds = "" if np.isnan(reach.lo) else f"[{_count(reach.lo)}, {_count(reach.hi)}]"
        note = "extrapolated" if reach.beyond and np.isfinite(reach.n) else ""
        rows.append(
            {
                "recipe": name,
                "patients": _count(reach.n),
                "95 %": bounds,
                "seeds that reach it": f"{reach.share:.0%}",
                "": note,
            }
        )
    return pd.DataFrame(rows)


def _count(number: float) -> str:
    return "∞" if np.isinf(number) or number > 1e7 else f"{number:,.0f}"


def _crossings(folder: str, at: frames.Stamp, metric: str) -> None:
    frame = crossing_frame(folder, at, metric)
    if len(frame):
        st.subheader("Crossings", anchor=False)
        st.dataframe(frame, hide_index=True)


@st.cache_data(max_entries=32, show_spinner=False)
def crossing_frame(folder: str, at: frames.Stamp, metric: str) -> pd.DataFrame:
    """Return where each two recipes change places, as text."""
    rows = []
    for (first, (sizes, one)), (second, (_, other)) in itertools.combinations(
        frames.by_seed(folder, at, metric).items(), 2
    ):
        seeds = one.index.intersection(other.index)
        if not len(seeds) or list(one.columns) != list(other.columns):
            continue
        found = crossing(
            sizes.to_numpy(dtype=float), one.loc[seeds].to_numpy(dtype=float), other.loc[seeds].to_numpy(dtype=float)
        )
        ahead = {"first": first, "second": second}.get
        where = "no crossing" if np.isnan(found.n) else f"{found.n:,.0f} [{found.lo:,.0f}, {found.hi:,.0f}]"
        rows.append(
            {
                "first": first,
                "second": second,
                "ahead with few": ahead(found.ahead_at_first, "–"),
                "ahead with many": ahead(found.ahead_at_last, "–"),
                "cross at (patients)": where,
                "seeds that cross": f"{found.share:.0%}",
            }
        )
    return pd.DataFrame(rows)
