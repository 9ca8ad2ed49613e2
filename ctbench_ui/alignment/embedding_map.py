"""Map: volumes and reports on one plane; what a lasso takes becomes a table and a CSV."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from ctbench_ui.alignment import plots, store
from ctbench_ui.shared import charts, tables
from ctbench_ui.shared.figures import Source, with_note
from ctbench_ui.shared.style import COLOURS, GREY

# Points drawn: a browser sends every point inside a lasso back, some 130 bytes each. The lasso itself takes all.
_DRAWN, _LINES, _ROWS_SHOWN = 10_000, 300, 1000
_KINDS = {"both": ("visual", "text"), "volumes": ("visual",), "reports": ("text",)}


def tab(folder: Path, source: Source) -> None:
    """Draw the map with its choices, and what was selected."""
    if not (folder / "map.parquet").is_file() or not (folder / "samples.parquet").is_file():
        st.info("This result has no map: it was measured without a manifest, or before maps were kept.")
        return
    places, names = store.places(folder), store.names(folder)
    labels = store.columns(folder, "target_")
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        shown = st.segmented_control("Show", list(_KINDS), default="both", required=True, key="map.kinds") or "both"
        colour = st.selectbox("Colour by", ["modality", "first hit", "split", *labels], key="map.colour", width=240)
        joined = st.toggle("Pair lines", key="map.lines", help=f"Up to {_LINES} pairs")
    groups, colours = _groups(folder, colour, names)
    drawn = np.sort(np.random.default_rng(0).permutation(len(places))[: _DRAWN // len(_KINDS[shown])])
    figure = plots.landscape(
        _points(places, names, groups, drawn, shown), colours, places.iloc[drawn[:_LINES]] if joined else None
    )
    event = st.plotly_chart(
        with_note(figure, source.plain_note),
        config=charts.CONFIG | {"scrollZoom": True},
        key="map.chart",
        on_select="rerun",
        selection_mode=("lasso", "box"),
        alt="Volumes and reports on one plane",
    )
    note = (
        f"{len(drawn):,} of {len(places):,} volumes drawn; a lasso takes all inside. "
        if len(drawn) < len(places)
        else ""
    )
    st.caption(f"{note}Circles are volumes, diamonds their reports, placed by the same axes.")
    inside = _inside(places, event["selection"], shown)
    _selected(names, places, folder, inside, source)


def _groups(folder: Path, colour: str, names: pd.DataFrame) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return the group of every volume and every report, and the colour of each group."""
    if colour == "modality":
        return (
            {"visual": np.full(len(names), "volumes"), "text": np.full(len(names), "reports")},
            {"volumes": COLOURS[0], "reports": COLOURS[1]},
        )
    if colour == "first hit":
        found = {}
        for kind, way in (("visual", "v_to_t"), ("text", "t_to_v")):
            rank = store.first_ranks(folder, way)
            found[kind] = np.select(
                [rank <= 1, rank <= 10, rank <= 100], ["rank 1", "rank 2 to 10", "rank 11 to 100"], "beyond 100"
            )
        return found, dict(
            zip(
                ("rank 1", "rank 2 to 10", "rank 11 to 100", "beyond 100"),
                (COLOURS[2], COLOURS[5], COLOURS[4], COLOURS[1]),
            )
        )
    if colour == "split":
        split = names["volumename"].str.split("_").str[0].to_numpy(str)
        kinds = sorted(set(split))
        return {"visual": split, "text": split}, {kind: COLOURS[i % len(COLOURS)] for i, kind in enumerate(kinds)}
    target = store.targets(folder, colour)
    group = np.select([target == 1, target == 0], [colour, "absent"], "unknown")
    return {"visual": group, "text": group}, {"absent": GREY, "unknown": COLOURS[4], colour: COLOURS[1]}


def _points(
    places: pd.DataFrame, names: pd.DataFrame, groups: dict[str, np.ndarray], drawn: np.ndarray, shown: str
) -> pd.DataFrame:
    parts = []
    for kind in _KINDS[shown]:
        columns = {"x": places[f"{kind}_x"].to_numpy()[drawn], "y": places[f"{kind}_y"].to_numpy()[drawn]}
        columns |= {"group": groups[kind][drawn], "volumename": names["volumename"].to_numpy()[drawn]}
        parts.append(pd.DataFrame(columns).assign(kind="volume" if kind == "visual" else "report"))
    return pd.concat(parts, ignore_index=True)


def _inside(places: pd.DataFrame, selection: Any, shown: str) -> np.ndarray:
    """Return the numbers of all volumes of which a shown point lies inside a lasso or box."""
    taken = np.zeros(len(places), bool)
    for kind in _KINDS[shown]:
        x, y = places[f"{kind}_x"].to_numpy(), places[f"{kind}_y"].to_numpy()
        for outline in selection.get("lasso", []):
            taken |= in_polygon(x, y, np.asarray(outline["x"], float), np.asarray(outline["y"], float))
        for box in selection.get("box", []):
            (x0, x1), (y0, y1) = sorted(box["x"]), sorted(box["y"])
            taken |= (x >= x0) & (x <= x1) & (y >= y0) & (y <= y1)
    return np.flatnonzero(taken)


def in_polygon(x: np.ndarray, y: np.ndarray, corners_x: np.ndarray, corners_y: np.ndarray) -> np.ndarray:
    """Tell which points lie inside a polygon, by the parity of the edges crossed to their right."""
    inside = np.zeros(len(x), bool)
    for x0, y0, x1, y1 in zip(corners_x, corners_y, np.roll(corners_x, -1), np.roll(corners_y, -1)):
        if y0 == y1:
            continue
        crosses = (y0 > y) != (y1 > y)
        inside ^= crosses & (x < (x1 - x0) * (y - y0) / (y1 - y0) + x0)
    return inside


def _selected(names: pd.DataFrame, places: pd.DataFrame, folder: Path, inside: np.ndarray, source: Source) -> None:
    if not len(inside):
        st.caption("Draw a lasso around points to list their volumes.")
        return
    frame = names.iloc[inside].reset_index(drop=True)
    for way, title in (("v_to_t", "rank of its report"), ("t_to_v", "rank of its volume")):
        frame[title] = store.first_ranks(folder, way)[inside]
    st.markdown(
        f"**{len(inside):,} volumes selected** · {frame['exam'].nunique():,} exams / {frame['patient'].nunique():,} patients"
    )
    shares = {
        label: float(np.nanmean(store.targets(folder, label)[inside] == 1))
        for label in store.columns(folder, "target_")
    }
    often = sorted(shares, key=lambda label: -shares[label])[:4]
    if often:
        st.caption("Most frequent: " + ", ".join(f"{label} {shares[label]:.0%}" for label in often))
    st.dataframe(frame.head(_ROWS_SHOWN), hide_index=True, key="map.table", alt="Volumes inside the lasso")
    tables.download(
        "Selection as CSV",
        pd.concat([frame, places.iloc[inside].reset_index(drop=True)], axis=1),
        f"{source.stem}-selection.csv",
        "map-csv",
        source,
    )
