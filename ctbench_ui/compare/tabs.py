"""The tabs of the Compare page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from ctbench_core.compare import published_frame, scores_path
from ctbench_core.declared import compared_metrics, metric_title
from ctbench_core.formatting import format_interval, plural
from ctbench_core.runs import open_run
from ctbench_ui.compare import results
from ctbench_ui.frame import address
from ctbench_ui.shared import as_text, cache, charts, exports, show_errors
from ctbench_ui.shared.exports import Source


def source_of(comparison: dict[str, Any], on: str) -> Source:
    """Return what every chart and table of a comparison comes from."""
    title = f"{', '.join(comparison['names'][1:])} against {comparison['names'][0]}"
    return exports.disclosed_source(title, comparison["disclosures"], f"compare-{on}")


def macro_differences(comparison: dict[str, Any]) -> None:
    """Draw the macro differences, and what was left out."""
    every = comparison["differences"]
    rows = every[every["label"] == "macro"]
    bounds = rows[["delta", "lo", "hi"]].to_numpy()
    shown = pd.DataFrame(
        {
            "Model": rows["a"],
            "Metric": rows["metric"].map(metric_title),
            "Difference [95 % CI]": [format_interval(delta, [lo, hi]) for delta, lo, hi in bounds],
            "p": rows["p"],
            "p (adjusted)": rows["p_adjusted"],
        }
    )
    alt = "Macro differences from the baseline"
    st.dataframe(exports.styled(shown), hide_index=True, alt=alt, key="compare-macro")
    if comparison["disclosures"].banner:
        st.warning(comparison["disclosures"].banner, icon=":material/warning:")
    st.caption(
        f"Macro differences from **{as_text(comparison['names'][0])}**. p is adjusted by Benjamini-Hochberg over "
        f"{every['family'].iloc[0]}; intervals are not."
    )
    for metric, best in comparison["best"].items():
        if best["marked"]:
            st.caption(
                f":material/trophy: Best macro {metric_title(metric)} against all others (max-T): **{as_text(best['model'])}**"
            )
    for text in comparison["disclosures"].warnings:
        st.warning(as_text(text), icon=":material/warning:")
    if comparison["left_out"]:
        st.caption(f":material/info: {plural(comparison['left_out'], 'volume')} excluded: not scored by every run.")


def differences(comparison: dict[str, Any], source: Source) -> None:
    """Draw the forest plot of one metric, and its table."""
    names = compared_metrics()
    metric = st.segmented_control(
        "Metric",
        names,
        default=names[0],
        required=True,
        format_func=metric_title,
        label_visibility="collapsed",
        **address.bound("compare-metric", names, metric_title),
    )
    every = comparison["differences"]
    rows = every[every["metric"] == (metric or names[0])]
    chart, exported = charts.forest(rows, ["macro", *comparison["labels"]]), rows.rename(columns={"label": "finding"})
    alt = f"Differences of {metric_title(str(metric))} by finding with 95 % intervals; filled where adjusted p < .05"
    exports.draw_chart(chart, exported, source, f"forest-{metric}", alt)
    with st.expander("All differences"):
        exports.draw_differences(exported.drop(columns=["family", "metric"]), "compare-table", "Differences by finding")


def curves(comparison: dict[str, Any], run_dirs: list[str], on: str, source: Source) -> None:
    """Draw one finding's curves of every run."""
    label = st.selectbox(
        "Finding", comparison["labels"], width=280, **address.bound("compare-curve-finding", comparison["labels"])
    )
    points = {}
    for name, folder in zip(comparison["names"], run_dirs):
        scores = scores_path(open_run(folder), comparison["set_names"][folder])
        points[name] = results.curves(scores, label)
    if all(frame.empty for frame in points.values()):
        st.caption("This finding has no positives or no negatives here, so it has no curves.")
        return
    if comparison["left_out"]:
        st.caption("Each curve covers all volumes of its run, not only the common ones.")
    data = pd.concat([frame.assign(model=name, finding=label) for name, frame in points.items()])
    titles = {"pr": "Precision over recall", "roc": "True over false positive rate"}
    for column, (curve, title) in zip(st.columns(2, gap="medium"), titles.items()):
        with column:
            rows = data[data["curve"] == curve]
            chart = charts.model_curves(points, curve)
            exports.draw_chart(chart, rows, source, f"overlaid-{curve}", f"{title}: {label}")


def disagreements(comparison: dict[str, Any], run_dirs: list[str], on: str, source: Source) -> None:
    """Draw the probabilities of two runs against each other; a click or lasso lists volumes."""
    names = comparison["names"]
    left, right = st.columns([3, 2], gap="medium")
    with left:
        with st.container(horizontal=True):
            label = st.selectbox(
                "Finding",
                comparison["labels"],
                width=280,
                **address.bound("compare-scatter-finding", comparison["labels"]),
            )
            other = st.selectbox("Other run", names[1:], width=320, **address.bound("compare-scatter-other", names[1:]))
        folders = (run_dirs[0], run_dirs[names.index(other)])
        paths = [scores_path(open_run(folder), comparison["set_names"][folder]) for folder in folders]
        frame = results.probabilities(cache.stamp(paths[0]), cache.stamp(paths[1]), label)
        event = st.plotly_chart(
            exports.add_note(charts.scatter(frame, names[0], other), source.plain_note),
            config=charts.CONFIG,
            key=f"compare-scatter-{label}",
            on_select="rerun",
            alt=f"Probabilities of {label} by two runs",
        )
    points = [point.get("customdata") for point in event.selection.points] if event and event.selection else []
    chosen = {point[0] if isinstance(point, (list, tuple)) else point for point in points}
    shown = frame[frame["volume"].isin(chosen)] if chosen else frame.head(200)
    with right:
        st.markdown(f"**{plural(len(shown), 'volume')}** {'selected' if chosen else 'with the largest disagreement'}")
        st.dataframe(
            exports.styled(shown),
            hide_index=True,
            height=420,
            column_order=["volume", "label", "first", "second", "apart"],
            column_config={
                "volume": "Volume",
                "label": "Label",
                "first": st.column_config.NumberColumn("First", help=names[0]),
                "second": st.column_config.NumberColumn("Second", help=other),
                "apart": "Difference",
            },
            key="compare-volumes",
            alt="Volumes by disagreement",
        )
        exports.download("CSV", shown if chosen else frame, f"{label}-disagreements.csv", "disagreements-csv", source)


def settings(comparison: dict[str, Any]) -> None:
    """List the settings in which the runs differ."""
    if comparison["settings"].empty:
        st.caption("The runs have the same settings.")
        return
    config = {"setting": "Setting"}
    st.dataframe(
        comparison["settings"],
        hide_index=True,
        column_config=config,
        key="compare-settings",
        alt="Settings that differ",
    )


def label_noise(comparison: dict[str, Any], run_dirs: list[str], on: str, source: Source) -> None:
    """Score one run against a second label table."""
    st.caption("Scores the same predictions against two label sets: the metrics differ by label noise alone.")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.selectbox(
            "Run", comparison["names"], width=320, **address.bound("compare-labels-run", comparison["names"])
        )
        path = st.text_input("Second label table (CSV or Parquet)", key="compare-labels-path", width=420)
    if not path:
        return
    folder = run_dirs[comparison["names"].index(name)]
    with show_errors("These labels cannot be used"):
        own = comparison["set_names"][folder]
        scores = cache.stamp(scores_path(open_run(folder), own))
        table = results.against_labels(folder, own, scores, cache.stamp(Path(path))).rename(
            columns={"label": "finding"}
        )
        exports.draw_differences(table, "compare-labels", "Metrics against two label sets")
        exports.download("CSV", table, f"{source.stem}-label-sets.csv", "labels-csv", source)


def published(comparison: dict[str, Any], run_dirs: list[str]) -> None:
    """List published results with their protocol, and whether they are comparable."""
    inputs = open_run(run_dirs[0]).config.model.inputs
    ours = comparison["metrics"]
    macro = ours[(ours["finding"] == "macro") & (ours["metric"] == "auroc")]
    st.markdown(
        " · ".join(
            f"{as_text(row.model)} **{format_interval(row.value, [row.lo, row.hi])}**" for row in macro.itertuples()
        )
    )
    table = published_frame("auroc", comparison["labels"], comparison["n"]["volumes"], inputs)
    st.dataframe(
        exports.styled(table),
        hide_index=True,
        column_config={name: name.capitalize() for name in table} | {"value": "AUROC"},
        key="compare-published",
        placeholder="–",
        alt="Published macro AUROC with their protocol",
    )
    st.caption("Published results are listed with their protocol. No test compares them with these runs.")
