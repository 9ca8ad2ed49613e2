"""Map: volumes and reports on one plane, all of them as a file, and the volumes inside a lasso as a table and a CSV."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from ctbench_core import figures
from ctbench_core.declared import CROSS_DIRECTIONS
from ctbench_core.formatting import format_cohort, plural
from ctbench_ui.alignment import alignment_charts, store
from ctbench_ui.alignment.density import measure, thin
from ctbench_ui.frame import address
from ctbench_ui.shared import COLOURS, GREY, as_text, exports
from ctbench_ui.shared.exports import Source
from ctbench_ui.shared.pictures import draw_plot

# Most points drawn: a browser sends back every one inside a lasso, some 130 bytes each. The lasso selects from all.
# Over shading fewer are: it shows where they are dense.
_DRAWN, _OVER_SHADING, _LINES, _ROWS_SHOWN = 10_000, 2_500, 300, 1000
_HITS = {"rank 1": COLOURS[2], "rank 2 to 10": COLOURS[5], "rank 11 to 100": COLOURS[4], "beyond 100": COLOURS[1]}
_MODALITY = "modality"  # the colouring whose legend also says which shape is which
_METHODS = {
    "pca": "The first two principal components (PCA) of volumes and reports together.",
    "umap": "UMAP of volumes and reports together, from their first 50 principal components.",
}
_KINDS = {"both": ("visual", "text"), "volumes": ("visual",), "reports": ("text",)}


def tab(folder: Path, source: Source, method: str) -> None:
    """Draw the map with its settings, and the selected volumes.

    Args:
        method: of the projection: pca or umap.
    """
    if not (folder / "map.parquet").is_file() or not (folder / "samples.parquet").is_file():
        st.info("This result has no map: it was measured without a manifest or by an older version. Measure it again.")
        return
    positions, names = store.positions(folder), store.names(folder)
    labels = store.findings(folder)
    colourings = [_MODALITY, "first hit", "split", *labels]
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        shown = (
            st.segmented_control(
                "Show", list(_KINDS), default="both", required=True, **address.bound("map.kinds", _KINDS)
            )
            or "both"
        )
        colour = st.selectbox("Colour by", colourings, width=240, **address.bound("map.colour", colourings))
        help_ = "Shading by how many points a place has, all counted."
        total = len(positions) * len(_KINDS[shown])
        dense = st.toggle("Density", total > _DRAWN, help=help_, **address.bound("map.density"))
        joined = st.toggle("Pair lines", **address.bound("map.lines"), help=f"Up to {_LINES} pairs")
    groups, colours = _groups(folder, colour, names)
    points = _points(positions, names, groups, shown)
    x, y = points["x"].to_numpy(), points["y"].to_numpy()
    density = measure(x, y)
    drawn = points.iloc[thin(x, y, density, _OVER_SHADING if dense else _DRAWN)]
    lines = positions.iloc[np.random.default_rng(0).permutation(len(positions))[:_LINES]] if joined else None
    chart = alignment_charts.embedding_map(drawn, colours, lines, density, dense)
    event = draw_plot(
        exports.noted(chart, source),
        "map.chart",
        f"{source.stem}-map",
        "Volumes and reports on one plane",
        figures.CONFIG | {"scrollZoom": True},
        on_select="rerun",
        selection_mode=("lasso", "box"),
    )
    described = _describe(len(points), len(drawn), density.outside, dense, colour != _MODALITY)
    st.caption(" ".join([_METHODS[method], *described]))
    _downloads(folder, points, source)
    inside = _inside(positions, event["selection"], shown)
    _selection(names, positions, folder, inside, source)


def _describe(points: int, drawn: int, outside: int, shaded: bool, shapes: bool) -> list[str]:
    """Write what is drawn, and what is left out; what the shapes are where the legend has the colours alone."""
    parts = ["Circles are volumes, diamonds are reports."] if shapes else []
    if drawn < points:
        complete = "shading, lasso and files" if shaded else "lasso and files"
        parts.append(
            f"{drawn:,} of {points:,} points drawn, the smallest share where they are dense; {complete} have all."
        )
    if outside:
        parts.append(
            f"{plural(outside, 'far point')} outside the view: scroll to zoom out, or press Autoscale above the map."
        )
    return parts


def _downloads(folder: Path, points: pd.DataFrame, source: Source) -> None:
    """Offer all shown points as files that embedding-atlas reads, made on the click."""
    with st.container(horizontal=True):
        exports.download(
            "Download map as CSV", lambda: atlas(folder, points), f"{source.stem}-map.csv", "map-csv", source
        )
        st.download_button(
            "Download map as Parquet",
            lambda: parquet_bytes(source.marked(atlas(folder, points))),
            file_name=f"{source.stem}-map.parquet",
            mime="application/vnd.apache.parquet",
            key="map-parquet",
            icon=":material/download:",
            on_click="ignore",
            help="Open it with: embedding-atlas FILE --x x --y y --text text",
        )


def atlas(folder: Path, points: pd.DataFrame) -> pd.DataFrame:
    """Return all points in columns that embedding-atlas reads: id, x, y, text, category, then what else is known of each.

    Without texts of reports, the text is the name of the volume.
    """
    samples = store.samples(folder)
    texts = [name for name in samples if name.startswith("text_")]
    rows = samples.iloc[points["row"]].reset_index(drop=True)
    text = rows[texts].fillna("").agg("\n".join, axis=1).str.strip() if texts else rows["volumename"]
    columns = {
        "id": rows["volumename"] + "/" + points["kind"].to_numpy(),
        "x": points["x"].to_numpy(),
        "y": points["y"].to_numpy(),
        "text": text.where(text != "", rows["volumename"]),
        "category": points["group"].to_numpy(),
        "kind": points["kind"].to_numpy(),
    }
    found = rows.drop(columns=texts)
    return pd.DataFrame(columns).join(found.rename(columns=lambda name: name.removeprefix("target_")))


def parquet_bytes(frame: pd.DataFrame) -> bytes:
    """Return a table as a Parquet file."""
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False, compression="zstd")
    return buffer.getvalue()


def _groups(folder: Path, colour: str, names: pd.DataFrame) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return the group of every volume and every report, and the colour of each group."""
    if colour == _MODALITY:
        groups = {"visual": np.full(len(names), "volumes"), "text": np.full(len(names), "reports")}
        return groups, {"volumes": COLOURS[0], "reports": COLOURS[1]}
    if colour == "first hit":
        ranks = {way.query: store.first_ranks(folder, way.name) for way in CROSS_DIRECTIONS}
        *near, far = _HITS
        return {kind: np.select([rank <= 1, rank <= 10, rank <= 100], near, far) for kind, rank in ranks.items()}, _HITS
    if colour == "split":
        split = names["volumename"].str.split("_").str[0].to_numpy(str)
        kinds = sorted(set(split))
        return {"visual": split, "text": split}, {kind: COLOURS[i % len(COLOURS)] for i, kind in enumerate(kinds)}
    target = store.targets(folder, colour)
    group = np.select([target == 1, target == 0], [colour, "absent"], "unknown")
    return {"visual": group, "text": group}, {"absent": GREY, "unknown": COLOURS[4], colour: COLOURS[1]}


def _points(positions: pd.DataFrame, names: pd.DataFrame, groups: dict[str, np.ndarray], shown: str) -> pd.DataFrame:
    """Return all points to show: row of the sample, x, y, group, volumename, kind."""
    parts = []
    for kind in _KINDS[shown]:
        columns = {"row": np.arange(len(positions)), "x": positions[f"{kind}_x"], "y": positions[f"{kind}_y"]}
        columns |= {"group": groups[kind], "volumename": names["volumename"]}
        parts.append(pd.DataFrame(columns).assign(kind="volume" if kind == "visual" else "report"))
    return pd.concat(parts, ignore_index=True)


def _inside(positions: pd.DataFrame, selection: Any, shown: str) -> np.ndarray:
    """Return the row numbers of all volumes with a shown point inside a lasso or box."""
    inside = np.zeros(len(positions), bool)
    for kind in _KINDS[shown]:
        x, y = positions[f"{kind}_x"].to_numpy(), positions[f"{kind}_y"].to_numpy()
        for outline in selection.get("lasso", []):
            inside |= in_polygon(x, y, np.asarray(outline["x"], float), np.asarray(outline["y"], float))
        for box in selection.get("box", []):
            (x0, x1), (y0, y1) = sorted(box["x"]), sorted(box["y"])
            inside |= (x >= x0) & (x <= x1) & (y >= y0) & (y <= y1)
    return np.flatnonzero(inside)


def in_polygon(x: np.ndarray, y: np.ndarray, corners_x: np.ndarray, corners_y: np.ndarray) -> np.ndarray:
    """Return which points lie inside a polygon, by the parity of the edges crossed to their right."""
    inside = np.zeros(len(x), bool)
    for x0, y0, x1, y1 in zip(corners_x, corners_y, np.roll(corners_x, -1), np.roll(corners_y, -1)):
        if y0 == y1:
            continue
        crosses = (y0 > y) != (y1 > y)
        inside ^= crosses & (x < (x1 - x0) * (y - y0) / (y1 - y0) + x0)
    return inside


def _selection(names: pd.DataFrame, positions: pd.DataFrame, folder: Path, inside: np.ndarray, source: Source) -> None:
    if not len(inside):
        st.caption("Draw a lasso to list volumes.")
        return
    frame = names.iloc[inside].reset_index(drop=True)
    for way in CROSS_DIRECTIONS:
        frame[f"rank of its {way.gallery_noun}"] = store.first_ranks(folder, way.name)[inside]
    counts = {"exams": frame["exam"].nunique(), "patients": frame["patient"].nunique()}
    st.markdown(f"**{plural(len(inside), 'volume')} selected** · {format_cohort(counts)}")
    shares = {label: float((store.targets(folder, label)[inside] == 1).mean()) for label in store.findings(folder)}
    if often := sorted(shares, key=lambda label: -shares[label])[:4]:
        st.caption("Most frequent: " + ", ".join(f"{as_text(label)} {shares[label]:.0%}" for label in often))
    st.dataframe(
        frame.head(_ROWS_SHOWN),
        hide_index=True,
        column_config={name: name.capitalize() for name in frame} | {"volumename": "Volume"},
        key="map.table",
        alt="Volumes inside the lasso",
    )
    exports.download(
        "Download selection as CSV",
        pd.concat([frame, positions.iloc[inside].reset_index(drop=True)], axis=1),
        f"{source.stem}-selection.csv",
        "selection-csv",
        source,
    )
