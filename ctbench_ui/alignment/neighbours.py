"""Browse: a volume, its nearest reports as cards, and back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import streamlit as st

from ctbench_core.formatting import format_metric
from ctbench_ui.alignment import store
from ctbench_ui.alignment.plots import DIRECTIONS
from ctbench_ui.shared import tables
from ctbench_ui.shared.figures import Source

_WAYS = ("v_to_t", "t_to_v")
_NEAR, _OFFERED, _EXCERPT = 10, 200, 260
_KINDS = ("all", "hit in the first 10", "missed")


def tab(folder: Path, source: Source) -> None:
    """Draw the search for a volume, and its neighbours."""
    if not (folder / "samples.parquet").is_file():
        st.info("This result was measured without a manifest, or before neighbours were kept. Measure it again.")
        return
    query, way = _asked(folder)
    if query is None:
        st.caption("No volume fits.")
        return
    near = store.rows_of(folder / f"neighbours_{way}.parquet", [query]).iloc[0]
    some = store.rows_of(folder / "samples.parquet", [query, *np.asarray(near["sample"]).tolist()])
    mine, others = some.iloc[0], some.iloc[1:].reset_index(drop=True)
    rank = store.first_ranks(folder, way)[query]
    left, right = st.columns([2, 3], gap="medium")
    with left:
        st.markdown(f"**{mine['volumename']}** · {'volume' if way == 'v_to_t' else 'report'}")
        st.caption(
            f"Its own {'report' if way == 'v_to_t' else 'volume'} stands at rank {rank:,.0f}."
            if np.isfinite(rank)
            else "No hit."
        )
        st.markdown(_findings(mine, None))
        _text(mine, whole=True)
    with right:
        for place in range(min(_NEAR, len(others))):
            _card(place, others.iloc[place], mine, near, way)
        file_name = f"{source.stem}-{mine['volumename']}.csv"
        tables.download("Neighbours as CSV", _frame(others, near), file_name, "neighbours-csv", source)


def _asked(folder: Path) -> tuple[int | None, str]:
    """Ask which volume and which way; return its number."""
    names = store.names(folder)
    # Set here, not as defaults: *From here* writes them too.
    st.session_state.setdefault("browse.way", _WAYS[0])
    st.session_state.setdefault("browse.kind", _KINDS[0])
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        way = st.segmented_control("From", _WAYS, format_func=DIRECTIONS.__getitem__, required=True, key="browse.way")
        kind = st.segmented_control("Queries", _KINDS, required=True, key="browse.kind")
        part = st.text_input("Volume, exam or patient", key="browse.part", width=200, placeholder="part of a name")
        way = way or _WAYS[0]
        found = _fitting(folder, names, way, kind or "all", part.strip())
        if not len(found):
            return None, way
        chosen = st.selectbox(
            f"{len(found):,} fit" + (f", first {_OFFERED} offered" if len(found) > _OFFERED else ""),
            found[:_OFFERED].tolist(),
            format_func=lambda row: names["volumename"].iat[row],
            key="browse.query",
            width=220,
        )
    return chosen, way


def _fitting(folder: Path, names: pd.DataFrame, way: str, kind: str, part: str) -> np.ndarray:
    fits = np.ones(len(names), bool)
    if kind != "all":
        fits &= (store.first_ranks(folder, way) <= _NEAR) == (kind != "missed")
    if part:
        fits &= np.logical_or.reduce([names[name].str.contains(part, case=False, regex=False) for name in names])
    return np.flatnonzero(fits)


def _card(place: int, other: pd.Series, mine: pd.Series, near: pd.Series, way: str) -> None:
    hit, copies = bool(near["hit"][place]), int(near["copies"][place])
    badge = ":green-badge[:material/check: hit]" if hit else ":gray-badge[miss]"
    with st.container(border=True, gap="small"):
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
            shared = f" · one of {copies:,} alike" if copies > 1 else ""
            st.markdown(
                f"**{place + 1}** · {other['volumename']} · {format_metric(float(near['similarity'][place]))} {badge}{shared}",
                width="stretch",
            )
            st.button(
                "From here",
                key=f"browse.go.{place}",
                type="tertiary",
                icon=":material/undo:",
                help="Look the other way, from this one",
                on_click=_go,
                args=(other["volumename"], _WAYS[way == _WAYS[0]]),
            )
        st.markdown(_findings(other, mine))
        _text(other, whole=False)


def _go(volume: str, way: str) -> None:
    st.session_state.update({"browse.part": volume, "browse.way": way, "browse.kind": _KINDS[0]})
    st.session_state.pop("browse.query", None)


def _findings(row: pd.Series, mine: pd.Series | None) -> str:
    """Write the findings of a volume as badges, those shared with the query in colour."""
    names = [name for name in row.index if name.startswith("target_")]
    present = [name for name in names if row[name] == 1]
    if names and not present:
        return ":gray-badge[no finding]"
    shown = [
        f":{'blue' if mine is None or mine[name] == 1 else 'gray'}-badge[{name.removeprefix('target_')}]"
        for name in present
    ]
    return " ".join(shown)


def _text(row: pd.Series, whole: bool) -> None:
    """Write the report's text: all of it, or its beginning with the rest behind a fold."""
    texts = {name.removeprefix("text_"): str(row[name]).strip() for name in row.index if name.startswith("text_")}
    texts = {name: text for name, text in texts.items() if text and text != "None"}
    if not texts:
        return
    if whole:
        for name, text in texts.items():
            st.caption(name.replace("_EN", "").replace("_", " "))
            st.text(text)
        return
    last = texts[next((name for name in texts if "impression" in name.lower()), next(reversed(texts)))]
    st.text(last if len(last) <= _EXCERPT else f"{last[:_EXCERPT].rsplit(' ', 1)[0]} …")
    if len(last) > _EXCERPT or len(texts) > 1:
        with st.popover("Whole report", type="tertiary"):
            _text(row, whole=True)


def _frame(others: pd.DataFrame, near: pd.Series) -> pd.DataFrame:
    frame = others.assign(rank=range(1, len(others) + 1), similarity=near["similarity"], hit=near["hit"])
    return frame.assign(copies=near["copies"])
