"""One alignment result: its tabs, and its metrics, ranks and findings."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from ctbench_core import figures
from ctbench_core.declared import (
    CROSS_DIRECTIONS,
    DIRECTIONS,
    INSTANCE,
    OTHERS,
    SEMANTIC,
    TRUTHS,
    metric_title,
    retrieval_prefix,
)
from ctbench_core.formatting import format_interval, format_metric, plural
from ctbench_core.runs import (
    Run,
    alignment_frame,
    alignment_size,
    open_run,
    read_alignment,
    stored_alignment_disclosures,
)
from ctbench_ui import form
from ctbench_ui.alignment import alignment_charts, embedding_map, intervals, neighbours, two_results
from ctbench_ui.alignment.store import TRUTHS as RANK_TRUTHS
from ctbench_ui.alignment.store import first_ranks
from ctbench_ui.frame import address
from ctbench_ui.shared import as_text, cache, draw_tabs, exports, fragment, show_warnings
from ctbench_ui.shared.exports import Source, disclosed_source
from ctbench_ui.shared.pictures import Figure

# Queries and candidates of the metrics by labels.
_VIEWS = {
    SEMANTIC: "all",
    OTHERS: "own exam left out",
    "semantic_normal": "normal",
    "semantic_abnormal": "abnormal",
    f"{OTHERS}_normal": "normal, own exam left out",
    f"{OTHERS}_abnormal": "abnormal, own exam left out",
}
_PREFIX = "alignment of "  # of the names that `run_alignment` gives; here every result is one
_CHANCES = [f"Chance {way.mark}" for way in CROSS_DIRECTIONS]
_WIDTHS = {"Metric": 92, "Chance": 68, **dict.fromkeys(_CHANCES, 68)}
_GEOMETRY = {
    "modality_gap": "Distance between the two centres",
    "mean_paired_similarity": "Mean similarity, paired",
    "mean_unpaired_similarity": "Mean similarity, unpaired",
    "mean_visual_similarity": "Mean similarity among volumes",
    "mean_text_similarity": "Mean similarity among reports",
}


def list_stored(outputs_root: str) -> dict[str, dict[str, str]]:
    """Return what every alignment of the run store is, part by part, newest first, by ``<run directory>/<name>``."""
    parts = {}
    for row in cache.named(cache.run_rows(outputs_root, None)):
        if not row["alignments"]:
            continue
        hit = _hit(open_run(row["run_dir"]), INSTANCE)
        for name in row["alignments"]:
            title = row["name"].removeprefix(_PREFIX) if row["kind"] == "align" else f"{name} of {row['name']}"
            values = {"name": title, "encoder": row["encoder"], "hit": f"hit: {hit}"}
            parts[f"{row['run_dir']}/{name}"] = values
    return parts


def _hit(run: Run, truth: str) -> str:
    return TRUTHS[run.config.analysis.truth if truth == INSTANCE else "labels"].title


def draw(run_dir: Path, name: str) -> None:
    """Draw one stored alignment result; a click inside a tab redraws that tab alone."""
    run = open_run(run_dir)
    folder = run.paths.alignment(name)
    metrics = read_alignment(folder) or {}
    source = _source(run, name, metrics)
    st.caption(source.note)
    with st.container():  # what follows keeps its place
        show_warnings(metrics.get("warnings", []))
    contents = {
        "Metrics": lambda: _metrics_tab(run, folder, metrics, source),
        "Ranks and findings": lambda: _ranks_tab(folder, metrics, source),
        "Browse": lambda: neighbours.tab(folder, source),
        "Map": lambda: embedding_map.tab(folder, source, run.config.analysis.map),
        "Compare": lambda: two_results.tab(
            folder,
            source,
            list_stored(str(form.outputs_root())),
            metrics,
            lambda other, title, other_metrics: _source(open_run(other), title, other_metrics),
        ),
    }
    draw_tabs(
        {title: fragment(content, "This result cannot be shown") for title, content in contents.items()},
        "alignment.tab",
    )


def _source(run: Run, name: str, metrics: dict[str, Any]) -> Source:
    pairs = alignment_size(run.config, metrics)
    disclosures = stored_alignment_disclosures(run.config, name, metrics)
    source = disclosed_source(f"Alignment of {name}", disclosures, f"{name}-alignment")
    shown = [as_text(part) for part in disclosures.sentences() if part != disclosures.no_ledger_reason]
    note, plain = " · ".join([pairs, *shown]), f"{pairs} · {source.plain_note}"
    return dataclasses.replace(source, note=note, plain_note=plain)


def _metrics_tab(run: Run, folder: Path, metrics: dict[str, Any], source: Source) -> None:
    """Draw the metrics of hits by instance, and beside them those of hits by label."""
    recall, histogram = cache.load_table(folder / "recall.csv"), cache.load_table(folder / "histogram.csv")
    truths = [truth for truth in (INSTANCE, SEMANTIC) if truth in set(recall["truth"])]
    if run.config.analysis.truth == "labels" and SEMANTIC in truths:
        truths.remove(INSTANCE)  # both are hits by label vector
    views, sides = {}, st.columns(2, gap="medium")
    for truth, side in zip(truths, sides):
        with side:
            # A heading without a choice gets the height of one with, so that both sides are level.
            height: Any = "content" if truth == SEMANTIC else 40
            with st.container(horizontal=True, vertical_alignment="center", height=height, border=False):
                st.header(f"Hit: {_hit(run, truth)}", anchor=False, width="content")
                view = views[truth] = _pick_view(recall) if truth == SEMANTIC else truth
            rows = recall[recall["truth"] == view]
            _metric_table(metrics, sorted(rows["k"].unique()), truth, view)
            alt = f"Recall at K in both directions, with chance ({truth})"
            exports.draw_chart(figures.recall_at_k(rows), rows, source, f"recall-{truth}", alt)
        # A single truth leaves the other half free for its similarities.
        with side if len(truths) > 1 else sides[1]:
            _similarities(metrics, histogram[histogram["truth"] == truth], truth, source)
    _draw_method(run, metrics, views)
    with st.container(horizontal=True):
        ranks = folder / "ranks.parquet"
        exports.download_stored("Download ranks as CSV", ranks, f"{source.stem}-ranks.csv", "ranks-csv", source)
        exports.download_figures(lambda: _figures(metrics, recall, histogram), source, "alignment-figures")
        exports.download(
            "Download all metrics as CSV", alignment_frame(metrics), f"{source.stem}-figures.csv", "figures-csv", source
        )


def _draw_method(run: Run, metrics: dict[str, Any], views: dict[str, str]) -> None:
    """Draw, folded, what is computed over which queries, and the rule of the intervals; ``views``: by kind of hit."""
    with st.expander("How it is measured", icon=":material/info:"):
        st.caption("Cosine similarity of every volume with every report. Ties are averaged.")
        for truth, view in views.items():
            lines = [f"{way.title} · {_queries(metrics, prefix)}" for way, prefix in _prefixes(metrics, view).items()]
            st.caption("  \n".join([f"**Hit: {as_text(_hit(run, truth))}**", *lines]))
        st.caption(f"Intervals: {intervals.rule_of(metrics)}")


def _prefixes(metrics: dict[str, Any], view: str) -> dict[Any, str]:
    """Return how the names of a view's metrics begin, by direction that was measured."""
    prefixes = {way: retrieval_prefix(view, way.name) for way in DIRECTIONS.values()}
    return {way: prefix for way, prefix in prefixes.items() if f"{prefix}mrr" in metrics}


def _pick_view(recall: pd.DataFrame) -> str:
    """Draw the choice of queries and candidates for the metrics by labels."""
    views = [view for view in _VIEWS if view in set(recall["truth"])]
    if len(views) < 2:
        return SEMANTIC
    with st.container(horizontal=True, vertical_alignment="center", gap="small", wrap=False):
        st.markdown(":small[Queries]", width="content")
        return st.selectbox(
            "Queries",
            views,
            format_func=_VIEWS.__getitem__,
            label_visibility="collapsed",
            **address.bound("alignment.view", views, _VIEWS.__getitem__),
        )


def _metric_table(metrics: dict[str, Any], depths: list[int], truth: str, view: str) -> None:
    """Draw the metrics of all directions with chance."""
    bounds = metrics.get("intervals", {})
    prefixes = _prefixes(metrics, view)
    rows = []
    for k in depths:
        row = {"Metric": f"Recall@{k}"}
        for way, prefix in prefixes.items():
            name = f"{prefix}recall_at_{k}"
            row[way.title] = format_interval(metrics.get(name), bounds.get(name))
            if not way.within:
                row[f"Chance {way.mark}"] = format_metric(metrics.get(f"{prefix}chance_at_{k}"))
        rows.append(row)
    for metric in ("median_rank", "mrr", "map"):
        write = _format_ranks if metric == "median_rank" else format_interval
        names = {way.title: f"{prefix}{metric}" for way, prefix in prefixes.items()}
        values = {title: write(metrics.get(name), bounds.get(name)) for title, name in names.items()}
        rows.append({"Metric": metric_title(metric), **values})
    rows = _merge_chance(rows)
    st.dataframe(
        pd.DataFrame(rows),
        hide_index=True,
        height=38 + 35 * len(rows),
        column_config={name: st.column_config.TextColumn(width=_WIDTHS.get(name, 138)) for name in rows[0]},
        placeholder="",
        key=f"figures-{truth}",
        alt=f"Metrics of all directions, {truth}",
    )
    unscored = {way: metrics.get(f"{prefix}queries_without_relevant", 0) for way, prefix in prefixes.items()}
    lines = [
        f"{way.title}: {count:,} of {metrics[f'{prefixes[way]}queries']:,} queries have no relevant candidate."
        for way, count in unscored.items()
        if count
    ]
    titles = {f"recall_at_{k}": f"Recall@{k}" for k in depths}
    titles |= {name: metric_title(name) for name in ("median_rank", "mrr", "map")}
    shown = {
        f"{prefix}{name}": f"{title} {way.mark}" for way, prefix in prefixes.items() for name, title in titles.items()
    }
    if lines := [*lines, *intervals.notes(metrics, shown)]:
        st.caption("  \n".join(lines))


def _merge_chance(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """Write chance once where both directions have the same: the table then fits beside the other."""
    first, second = _CHANCES
    if any(row.get(first) != row.get(second) for row in rows):
        return rows
    return [{**{k: v for k, v in row.items() if k not in _CHANCES}, "Chance": row.get(first, "")} for row in rows]


def _format_ranks(rank: float | None, bounds: list[float] | None) -> str:
    """Write a rank with its interval; ties may make fractions."""
    texts = [f"{value:,.1f}".removesuffix(".0") for value in (rank, *(bounds or ())) if value is not None]
    if not texts:
        return "–"
    return texts[0] if len(texts) < 3 else f"{texts[0]} [{texts[1]}, {texts[2]}]"


def _queries(metrics: dict[str, Any], prefix: str) -> str:
    queries, tied, alone = (
        metrics.get(f"{prefix}{name}", 0) for name in ("queries", "tied_queries", "queries_without_relevant")
    )
    text = f"Queries: {queries - alone:,} of {queries:,} scored"
    if alone:
        text += f" ({alone:,} without a relevant candidate)"
    if f"{prefix}query_patients" in metrics:
        text += f", {plural(metrics[f'{prefix}query_patients'], 'patient')}"
    return f"{text}, {tied:,} with ties"


def _figures(metrics: dict[str, Any], recall: pd.DataFrame, histogram: pd.DataFrame) -> Iterator[Figure]:
    """Yield recall and similarities of every kind of hit."""
    for truth, rows in recall.groupby("truth", sort=False):
        alt = f"Recall at K in both directions, with chance ({truth})"
        yield Figure(f"recall-{truth}", figures.recall_at_k(rows), rows, alt)
    for truth, rows in histogram.groupby("truth", sort=False):
        alt = f"Similarities of paired and unpaired volumes and reports ({truth})"
        chart = figures.similarity_histogram(rows, _mean_similarities(metrics, str(truth)))
        yield Figure(f"similarity-{truth}", chart, rows, alt)


def _mean_similarities(metrics: dict[str, Any], truth: str) -> dict[str, Any]:
    return {kind: metrics.get(f"{retrieval_prefix(truth)}mean_{kind}_similarity") for kind in ("paired", "unpaired")}


def _similarities(metrics: dict[str, Any], histogram: pd.DataFrame, truth: str, source: Source) -> None:
    means = _mean_similarities(metrics, truth)
    alt = f"Similarities of paired and unpaired volumes and reports ({truth})"
    exports.draw_chart(figures.similarity_histogram(histogram, means), histogram, source, f"similarity-{truth}", alt)


def _ranks_tab(folder: Path, metrics: dict[str, Any], source: Source) -> None:
    """Draw the distribution of first ranks, the geometry of both modalities, findings and hubs."""
    left, right = st.columns(2, gap="medium")
    with left:
        _ranks(folder, metrics, source)
    with right:
        _geometry(metrics)
        _graded(metrics)
    if (folder / "findings.csv").is_file():
        _findings(cache.load_table(folder / "findings.csv"), source)
    if (folder / "hubs.csv").is_file():
        _hubs(cache.load_table(folder / "hubs.csv"), metrics, source)


def _ranks(folder: Path, metrics: dict[str, Any], source: Source) -> None:
    st.header("Rank of the first hit", anchor=False)
    first = CROSS_DIRECTIONS[0].name
    truths = [truth for truth in RANK_TRUTHS if f"{retrieval_prefix(truth, first)}mrr" in metrics]
    truth = st.segmented_control(
        "Hit",
        truths,
        format_func=RANK_TRUTHS.__getitem__,
        default=truths[0],
        required=True,
        **address.bound("ranks.truth", truths, RANK_TRUTHS.__getitem__),
    )
    ways = [way for way in DIRECTIONS if f"{way}_mrr" in metrics]
    ranks = {way: first_ranks(folder, way, truth or truths[0]) for way in ways}
    frame = pd.concat([pd.DataFrame({"direction": way, "first_rank": values}) for way, values in ranks.items()])
    chart = alignment_charts.rank_distribution(
        frame, int(max(metrics["samples_analyzed"], metrics.get("texts_analyzed", 0)))
    )
    exports.draw_chart(chart, frame, source, "ranks", "Share of queries by the rank of their first hit")


def _geometry(metrics: dict[str, Any]) -> None:
    st.header("Modality gap", anchor=False)
    rows = [
        {"Metric (unit vectors)": title, "Value": format_metric(metrics.get(name))} for name, title in _GEOMETRY.items()
    ]
    st.dataframe(pd.DataFrame(rows), hide_index=True, alt="Distance and similarities of the two modalities")


def _graded(metrics: dict[str, Any]) -> None:
    """Draw the metrics that weigh candidates by the findings they share."""
    start = f"graded_{CROSS_DIRECTIONS[0].name}_jaccard_at_"
    depths = sorted({int(name.removeprefix(start)) for name in metrics if name.startswith(start)})
    if not depths:
        return
    st.header("Graded by shared findings", anchor=False)
    rows = []
    for k in depths:
        row = {"First K": f"{k}"}
        for name, way in DIRECTIONS.items():
            if f"graded_{name}_jaccard_at_{k}" in metrics:
                row[f"Overlap {way.mark}"] = format_metric(metrics[f"graded_{name}_jaccard_at_{k}"])
                row[f"nDCG {way.mark}"] = format_metric(metrics[f"graded_{name}_ndcg_at_{k}"])
        if f"ctclip_v_to_v_map_at_{k}" in metrics:
            row["CT-CLIP's MAP@K"] = format_metric(metrics[f"ctclip_v_to_v_map_at_{k}"])
        rows.append(row)
    st.dataframe(pd.DataFrame(rows), hide_index=True, key="graded", alt="Metrics graded by shared findings")
    st.caption(
        "Overlap: findings of both divided by findings of either (Jaccard), mean over the first K. It is the gain of nDCG. "
        "→ from volumes, ← from reports. Their intervals are in the CSV of all metrics."
    )


def _findings(findings: pd.DataFrame, source: Source) -> None:
    st.header("Findings", anchor=False)
    depths = [int(name.rsplit("_", 1)[1]) for name in findings if name.startswith("precision_at_")]
    k = st.segmented_control(
        "K", depths, default=10 if 10 in depths else depths[-1], required=True, **address.bound("findings.k", depths)
    )
    k = k or depths[0]
    left, right = st.columns([2, 3], gap="small")  # the wider gap would cut the table at 1280 pixels
    with left:
        chart, alt = alignment_charts.finding_lift(findings, k), f"Lift of each finding among the first {k}"
        exports.draw_chart(chart, findings, source, "findings", alt)
    by_finding = findings.set_index("finding")
    first = findings.drop_duplicates("finding").set_index("finding")
    ways = {way.mark: by_finding[by_finding["direction"] == way.name] for way in CROSS_DIRECTIONS}
    columns = {f"Lift {mark}": rows[f"lift_at_{k}"] for mark, rows in ways.items()}
    columns |= {"prevalence": first["prevalence"]}
    columns |= {f"P@{k} {mark}": _precisions(rows, k) for mark, rows in ways.items()}
    shown = pd.DataFrame(columns | {"queries": first["queries"]}, index=first.index)
    headings: dict[str, Any] = {
        "finding": st.column_config.TextColumn("Finding", width=205),
        "queries": "Queries",
        "prevalence": "Chance",
        **{
            f"{name} {way.mark}": st.column_config.Column(help=way.title)
            for way in CROSS_DIRECTIONS
            for name in ("Lift", f"P@{k}")
        },
    }
    right.dataframe(
        exports.styled(shown.loc[alignment_charts.lift_order(findings, k)].reset_index()).format(
            lambda lift: format_metric(lift, 2), subset=[f"Lift {way.mark}" for way in CROSS_DIRECTIONS]
        ),
        hide_index=True,
        column_config=headings,
        key="findings-table",
        height=38 + 35 * len(shown),
        alt="Findings by lift",
    )
    marks = ", ".join(f"{way.mark}: {way.title}" for way in CROSS_DIRECTIONS)
    st.caption(
        f"{marks}. In the order of lift {CROSS_DIRECTIONS[0].mark}: precision among the first {k} divided by the prevalence, "
        "which chance would give. Intervals are those of precision."
    )
    if "no_interval" in findings:
        cross = findings[findings["direction"].isin([way.name for way in CROSS_DIRECTIONS])]
        missing = cross.dropna(subset="no_interval").drop_duplicates(["finding", "no_interval"])
        for reason, rows in missing.groupby("no_interval"):
            st.caption(as_text(f"No interval of {', '.join(rows['finding'])}: {reason}."))


def _precisions(rows: pd.DataFrame, k: int) -> pd.Series:
    """Return the precision at k with its interval, where stored, by finding."""
    bounds = [rows.get(f"{end}_at_{k}", rows[f"precision_at_{k}"] * float("nan")) for end in ("lower", "upper")]
    texts = [format_interval(value, ends) for value, *ends in zip(rows[f"precision_at_{k}"], *bounds)]
    return pd.Series(texts, index=rows.index)


def _hubs(hubs: pd.DataFrame, metrics: dict[str, Any], source: Source) -> None:
    parts = [
        f"{way.title}: skewness {format_metric(metrics.get(f'{name}_hub_skewness'))}, "
        f"{metrics[f'{name}_hub_never']:.0%} never among the first 10"
        for name, way in DIRECTIONS.items()
        if f"{name}_hub_never" in metrics
    ]
    with st.expander("Hubs", icon=":material/hub:"):
        st.caption(
            "A hub is among the first 10 of many queries. Skewness of these counts: the higher, the stronger the hubs."
        )
        st.caption(" · ".join(parts))
        for side, way in zip(st.columns(2, gap="medium"), CROSS_DIRECTIONS):
            rows = hubs[hubs["direction"] == way.name]
            side.dataframe(
                rows[[name for name in ("volumename", "occurrences") if name in rows]].head(10),
                hide_index=True,
                column_config={
                    "volumename": "Volume",
                    "occurrences": st.column_config.NumberColumn(f"Times in the first 10, {way.title}", format="%.1f"),
                },
                key=f"hubs-{way.name}",
                alt=f"Most often retrieved, {way.title}",
            )
        exports.download("Download hubs as CSV", hubs, f"{source.stem}-hubs.csv", "hubs-csv", source)
