"""One alignment result: recall at K in both directions, similarities, ranks, and their files."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from ctbench_core.formatting import format_interval, format_metric
from ctbench_core.runs import Run, alignment_disclosures, open_run
from ctbench_ui import form
from ctbench_ui.alignment import details, embedding_map, neighbours, two_results
from ctbench_ui.alignment.plots import DIRECTIONS
from ctbench_ui.alignment.store import prefix_of
from ctbench_ui.shared import cache, charts, feedback, figures, tables
from ctbench_ui.shared.figures import Source, marked_source

_TRUTHS = {"instance": "same {truth}", "semantic": "same label vector"}
_DIRECTIONS = DIRECTIONS
# Which queries and candidates the figures by labels are over.
_VIEWS = {
    "semantic": "all",
    "semantic_others": "own exam left out",
    "semantic_normal": "normal queries",
    "semantic_abnormal": "abnormal queries",
}
_ARROWS = {"v_to_t": "→", "t_to_v": "←"}
_WIDTHS = {"figure": 92, "chance →": 68, "chance ←": 68, "chance": 68}
_MEANS = {"median_rank": "Median rank", "mrr": "MRR", "map": "MAP"}


def stored(outputs_root: str) -> dict[str, str]:
    """Return the titles of every alignment of the run store, newest first, by ``<run directory>/<name>``."""
    found = {}
    for row in cache.run_rows(outputs_root, None):
        if not row["alignments"]:
            continue
        hit = _hit(open_run(row["run_dir"]), "instance")
        for name in row["alignments"]:
            title = row["name"] if row["kind"] == "align" else f"{name} of {row['name']}"
            found[f"{row['run_dir']}/{name}"] = f"{title} · {row['encoder']} · hit: {hit} · {row['run_id']}"
    return found


def _hit(run: Run, truth: str) -> str:
    return _TRUTHS[truth].format(truth=run.config.analysis.truth)


def draw(run_dir: Path, name: str) -> None:
    """Draw one stored alignment result; a click inside a tab redraws that tab alone."""
    run = open_run(run_dir)
    folder = run.paths.alignment(name)
    metrics = cache.metrics(cache.stamp(folder / "metrics.json"))
    source = _source(run, name, metrics)
    st.markdown(source.note)
    feedback.caution("Good to know", metrics.get("warnings", []))
    contents: dict[str, Callable[[], None]] = {
        "Figures": lambda: _all_figures(run, folder, metrics, source),
        "Ranks and findings": lambda: details.tab(folder, metrics, source),
        "Browse": lambda: neighbours.tab(folder, source),
        "Map": lambda: embedding_map.tab(folder, source),
        "Beside another": lambda: two_results.tab(
            str(folder),
            source,
            stored(str(form.outputs_root())),
            metrics,
            lambda other, title, theirs: _source(open_run(other), title, theirs),
        ),
    }
    for shown, content in zip(st.tabs(list(contents), key="alignment.tab", on_change="rerun"), contents.values()):
        if shown.open:
            with shown:
                st.fragment(content)()


def _all_figures(run: Run, folder: Path, metrics: dict[str, Any], source: Source) -> None:
    """Draw what counts as a hit by instance, and beside it by labels."""
    recall = cache.table(cache.stamp(folder / "recall.csv"))
    histogram = cache.table(cache.stamp(folder / "histogram.csv"))
    truths = [truth for truth in _TRUTHS if truth in set(recall["truth"])]
    sides = st.columns(2, gap="medium")
    for truth, side in zip(truths, sides):
        with side:
            # A heading without a choice is given the height of one with, so that both sides stand level.
            with st.container(
                horizontal=True,
                vertical_alignment="center",
                height="content" if truth == "semantic" else 40,
                border=False,
            ):
                st.subheader(f"Hit: {_hit(run, truth)}", anchor=False, width="content")
                view = _view(recall) if truth == "semantic" else truth
            _figures(metrics, recall[recall["truth"] == view], truth, view)
            _recall(recall[recall["truth"] == view], truth, source)
        # A single truth leaves the other half free for its similarities.
        with side if len(truths) > 1 else sides[1]:
            _similarities(metrics, histogram[histogram["truth"] == truth], truth, source)
    if len(recall) and recall.get("lower", pd.Series(dtype=float)).notna().any():
        st.caption("Bands: 95 % intervals over query patients, the gallery as it is.")
    with st.container(horizontal=True):
        tables.download("Recall as CSV", recall, f"{source.stem}-recall.csv", "recall-csv", source)
        tables.download("Histogram as CSV", histogram, f"{source.stem}-histogram.csv", "histogram-csv", source)
        ranks = folder / "ranks.parquet"
        tables.download_stored("Ranks as CSV", ranks, f"{source.stem}-ranks.csv", "ranks-csv", source)
        tables.download("All figures as CSV", _all(metrics), f"{source.stem}-figures.csv", "figures-csv", source)


def _view(recall: pd.DataFrame) -> str:
    """Ask which queries and candidates the figures by labels are over."""
    known = [view for view in _VIEWS if view in set(recall["truth"])]
    if len(known) < 2:
        return "semantic"
    return str(
        st.selectbox(
            "Over",
            known,
            format_func=_VIEWS.__getitem__,
            key="alignment.view",
            label_visibility="collapsed",
            width=190,
        )
    )


def _source(run: Run, name: str, metrics: dict[str, Any]) -> Source:
    normal = ", normal ones skipped" if run.config.analysis.filter_normal_cases else ""
    pairs = f"{metrics['samples_analyzed']:,} pairs{normal}"
    by_label = run.config.analysis.truth == "labels" or any(key.startswith(("semantic_", "graded_")) for key in metrics)
    size = metrics.get("n", {})  # bare arrays have neither exams nor patients
    source = marked_source(
        f"Alignment of {name}", alignment_disclosures(run.config, name, size, by_label), f"{name}-alignment"
    )
    return dataclasses.replace(source, note=f"{pairs} · {source.note}", plain_note=f"{pairs} · {source.plain_note}")


def _figures(metrics: dict[str, Any], recall: pd.DataFrame, truth: str, view: str) -> None:
    """Draw the figures of both directions with chance."""
    start = prefix_of(view)
    ways = {way: title for way, title in _DIRECTIONS.items() if f"{start}{way}_mrr" in metrics}
    rows: list[dict[str, str]] = []
    bounds = metrics.get("intervals", {})

    def told(name: str) -> str:
        return format_interval(metrics.get(name), bounds.get(name))

    for k in sorted(recall["k"].unique()):
        row = {"figure": f"Recall@{k}"}
        for way, title in ways.items():
            row[title] = told(f"{start}{way}_recall_at_{k}")
            if way in _ARROWS:
                row[f"chance {_ARROWS[way]}"] = format_metric(metrics.get(f"{start}{way}_chance_at_{k}"))
        rows.append(row)
    for name, title in _MEANS.items():
        names = {title: f"{start}{way}_{name}" for way, title in ways.items()}
        shown = {key: _rank(metrics.get(at)) if name == "median_rank" else told(at) for key, at in names.items()}
        rows.append({"figure": title, **shown})
    rows = _one_chance(rows)
    st.dataframe(
        pd.DataFrame(rows),
        hide_index=True,
        height=38 + 35 * len(rows),
        column_config={name: st.column_config.TextColumn(width=_WIDTHS.get(name, 138)) for name in rows[0]},
        placeholder="",
        key=f"figures-{truth}",
        alt=f"Figures of both directions, {truth}",
    )
    st.caption(" · ".join(_queries(metrics, start, way) for way in ways))


def _one_chance(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """Tell chance once where it is the same in both directions: the table then fits beside the other."""
    both = [f"chance {arrow}" for arrow in _ARROWS.values()]
    if any(row.get(both[0]) != row.get(both[1]) for row in rows):
        return rows
    return [{**{k: v for k, v in row.items() if k not in both}, "chance": row.get(both[0], "")} for row in rows]


def _rank(value: float | None) -> str:
    return "–" if value is None else f"{value:,.1f}"


def _queries(metrics: dict[str, Any], start: str, way: str) -> str:
    found = {name: metrics.get(f"{start}{way}_{name}", 0) for name in ("queries", "tied_queries")}
    alone = metrics.get(f"{start}{way}_queries_without_relevant", 0)
    told = f"{_DIRECTIONS[way]}: {found['queries']:,} queries, {found['tied_queries']:,} with ties"
    return told + (f", {alone:,} without a relevant candidate" if alone else "")


def _recall(recall: pd.DataFrame, truth: str, source: Source) -> None:
    st.markdown("**Recall@K**")
    alt = f"Recall at K in both directions, with chance ({truth})"
    figures.show(charts.recall_at_k(recall), recall, source, f"recall-{truth}", alt)


def _similarities(metrics: dict[str, Any], histogram: pd.DataFrame, truth: str, source: Source) -> None:
    means = {kind: metrics.get(f"{prefix_of(truth)}mean_{kind}_similarity") for kind in ("paired", "unpaired")}
    told = ", ".join(f"{kind} {format_metric(value, 4)}" for kind, value in means.items())
    st.markdown(f"**Similarities** · mean {told}")
    alt = f"Similarities of paired and unpaired volumes and reports ({truth})"
    figures.show(charts.similarity_histogram(histogram, means), histogram, source, f"similarity-{truth}", alt)


def _all(metrics: dict[str, Any]) -> pd.DataFrame:
    known = metrics.get("intervals", {})
    rows = []
    for name, value in metrics.items():
        if isinstance(value, (int, float)):
            lower, upper = known.get(name, (None, None))
            rows.append({"figure": name, "value": value, "lower": lower, "upper": upper})
    return pd.DataFrame(rows)
