"""Browse: a volume with its nearest reports as cards, or a report with its nearest volumes."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import streamlit as st

from ctbench_core.declared import CROSS_DIRECTIONS, DIRECTIONS
from ctbench_core.formatting import format_metric, plural
from ctbench_ui.alignment import store
from ctbench_ui.frame import address
from ctbench_ui.shared import as_text, exports
from ctbench_ui.shared.exports import Source

_WAYS = tuple(direction.name for direction in CROSS_DIRECTIONS)
_NEAR, _OFFERED, _EXCERPT = 10, 200, 260
_KINDS = ("all", "hit in the first 10", "missed")


def tab(folder: Path, source: Source) -> None:
    """Draw the choice of a query, and its neighbours."""
    if not (folder / "samples.parquet").is_file():
        st.info("This result has no neighbours: it was measured without a manifest or by an older version.")
        return
    row, way = _pick_query(folder)
    if row is None:
        st.caption("No volume matches.")
        return
    near = store.read_rows(folder / f"neighbours_{way}.parquet", [row]).iloc[0]
    samples = store.read_rows(folder / "samples.parquet", [row, *np.asarray(near["sample"]).tolist()])
    query, neighbours = samples.iloc[0], samples.iloc[1:].reset_index(drop=True)
    rank = store.first_ranks(folder, way)[row]
    kind, other_kind = DIRECTIONS[way].query_noun, DIRECTIONS[way].gallery_noun
    left, right = st.columns([2, 3], gap="medium")
    with left:
        st.markdown(f"**{as_text(query['volumename'])}** · {kind}")
        _own_pair(str(query["volumename"]), other_kind, rank, way)
        st.markdown(_badges(query, None))
        _text(query, whole=True)
    with right:
        shown = range(min(_NEAR, len(neighbours)))
        ties = [int(near["copies"][place]) - 1 for place in shown]
        alike = set(ties) if len(ties) > 1 else set()
        if len(alike) == 1 and max(alike) > 0:  # said once, not on every card
            st.caption(f"Each {other_kind} below has the same embedding as {plural(ties[0], f'other {other_kind}')}.")
            ties = [0] * len(ties)
        for place in shown:
            _card(place, neighbours.iloc[place], query, near, way, ties[place])
        frame = neighbours.assign(
            rank=range(1, len(neighbours) + 1), similarity=near["similarity"], hit=near["hit"], copies=near["copies"]
        )
        file_name = f"{source.stem}-{query['volumename']}.csv"
        exports.download("Download neighbours as CSV", frame, file_name, "neighbours-csv", source)


def _way_title(way: str) -> str:
    return DIRECTIONS[way].title


def _pick_query(folder: Path) -> tuple[int | None, str]:
    """Draw the choice of a query and a direction; return the row of the query."""
    names = store.names(folder)
    # Set here, not as defaults: *Search from this* writes them too.
    st.session_state.setdefault("browse.way", _WAYS[0])
    st.session_state.setdefault("browse.kind", _KINDS[0])
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        way = st.segmented_control(
            "Direction", _WAYS, format_func=_way_title, required=True, **address.bound("browse.way", _WAYS, _way_title)
        )
        kind = st.segmented_control("Queries", _KINDS, required=True, **address.bound("browse.kind", _KINDS))
        part = st.text_input(
            "Volume, exam or patient", width=180, placeholder="part of a name", **address.bound("browse.part")
        )
        words = _pick_words(folder)
        way = way or _WAYS[0]
        rows, counts = _matches(folder, names, way, kind or "all", part.strip(), words)
        if not len(rows):
            return None, way
        query = st.selectbox(
            f"Query (first {_OFFERED} of {len(rows):,})"
            if len(rows) > _OFFERED
            else f"Query ({plural(len(rows), 'volume')})",
            rows[:_OFFERED].tolist(),
            format_func=lambda row: names["volumename"].iat[row],
            key="browse.query",
            width=220,
        )
    if words:
        st.caption(as_text(_describe_matches(words, counts[rows])))
    return query, way


def _pick_words(folder: Path) -> tuple[str, ...]:
    """Draw the field of words to find in reports, where there are any; return the distinct words."""
    if not store.has_reports(folder):
        return ()
    text = st.text_input(
        "Words of the report",
        width=220,
        placeholder="pleural effusion",
        help="Finds reports with any of the words, those with most of them first. Beginnings of words are enough.",
        **address.bound("browse.words"),
    )
    return tuple(dict.fromkeys(re.findall(r"[\w-]+", (text or "").casefold())))


def _describe_matches(words: tuple[str, ...], counts: np.ndarray) -> str:
    """Write how many reports have how many of the words."""
    parts = [f"{np.count_nonzero(counts == n):,} with {n}" for n in range(len(words), 0, -1) if (counts == n).any()]
    return f"{plural(len(counts), 'report')} with any of {plural(len(words), 'word')}: {', '.join(parts)}."


def _matches(
    folder: Path, names: pd.DataFrame, way: str, kind: str, part: str, words: tuple[str, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows that match, those with most words first, and how many words each row (N,) has."""
    matches, counts = np.ones(len(names), bool), np.zeros(len(names), int)
    if kind != "all":
        matches &= (store.first_ranks(folder, way) <= _NEAR) == (kind != "missed")
    if part:
        matches &= np.logical_or.reduce([names[name].str.contains(part, case=False, regex=False) for name in names])
    if words:
        counts = store.count_words(folder, words)
        matches &= counts > 0
    rows = np.flatnonzero(matches)
    return rows[np.argsort(-counts[rows], kind="stable")], counts


def _card(place: int, neighbour: pd.Series, query: pd.Series, near: pd.Series, way: str, ties: int) -> None:
    """Draw a neighbour; ``ties`` others have its embedding."""
    badge = ":green-badge[:material/check: hit]" if near["hit"][place] else ":gray-badge[miss]"
    with st.container(border=True, gap="xsmall"):
        with st.container(
            horizontal=True, horizontal_alignment="distribute", vertical_alignment="center", gap="xsmall"
        ):
            similarity = format_metric(float(near["similarity"][place]))
            st.markdown(
                f"**{place + 1}** · {as_text(neighbour['volumename'])} · similarity {similarity} {badge}",
                width="stretch",
            )
            _search_button("Search from this", f"browse.go.{place}", "this one", neighbour["volumename"], way)
        st.markdown(_badges(neighbour, query))
        if ties > 0:
            st.caption(f"Same embedding as {plural(ties, f'other {DIRECTIONS[way].gallery_noun}')}.")
        _text(neighbour, whole=False)


def _own_pair(volume: str, noun: str, rank: float, way: str) -> None:
    """Draw the rank of a query's own pair, which leads to the search from there."""
    if np.isfinite(rank):
        _search_button(f"Its own {noun} has rank {rank:,.0f}", "browse.go.own", f"its own {noun}", volume, way)
    else:
        st.caption("No hit.")


def _search_button(label: str, key: str, query: str, volume: str, way: str) -> None:
    """Draw a button that searches in the other direction."""
    st.button(
        label,
        key=key,
        type="tertiary",
        icon=":material/undo:",
        help=f"Searches in the other direction, with {query} as the query.",
        on_click=_search_from,
        args=(volume, _WAYS[way == _WAYS[0]]),
    )


def _search_from(volume: str, way: str) -> None:
    st.session_state.update({"browse.part": volume, "browse.way": way, "browse.kind": _KINDS[0], "browse.words": ""})
    st.session_state.pop("browse.query", None)


def _badges(row: pd.Series, query: pd.Series | None) -> str:
    """Write the findings of a volume as badges, those shared with the query in colour."""
    names = [name for name in row.index if name.startswith("target_")]
    present = [name for name in names if row[name] == 1]
    if names and not present:
        return ":gray-badge[no finding]"
    colours = ["blue" if query is None or query[name] == 1 else "gray" for name in present]
    return " ".join(
        f":{colour}-badge[{as_text(name.removeprefix('target_'))}]" for colour, name in zip(colours, present)
    )


def _text(row: pd.Series, whole: bool) -> None:
    """Write a report: all of it, or its beginning with the rest in a popover."""
    texts = {name.removeprefix("text_"): str(row[name]).strip() for name in row.index if name.startswith("text_")}
    texts = {name: text for name, text in texts.items() if text and text != "None"}
    if not texts:
        return
    if whole:
        for name, text in texts.items():
            st.caption(as_text(name.replace("_EN", "").replace("_", " ")))
            st.text(text)
        return
    last = texts[next((name for name in texts if "impression" in name.lower()), next(reversed(texts)))]
    st.text(last if len(last) <= _EXCERPT else f"{last[:_EXCERPT].rsplit(' ', 1)[0]} …")
    if len(last) > _EXCERPT or len(texts) > 1:
        with st.popover("Whole report", type="tertiary"):
            _text(row, whole=True)
