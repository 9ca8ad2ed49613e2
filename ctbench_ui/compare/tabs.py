"""The tabs of the Compare page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from ctbench_core.compare import published_frame, scores_path
from ctbench_core.formatting import format_interval, format_p, plural
from ctbench_core.runs import open_run
from ctbench_ui.compare import results
from ctbench_ui.shared import cache, charts, feedback, figures, forest, tables
from ctbench_ui.shared.figures import Source

_TITLES = {"auprc": "AUPRC", "auroc": "AUROC"}


def source(found: dict[str, Any], on: str) -> Source:
    """Return what every figure of a comparison rests on."""
    title = f"{', '.join(found['names'][1:])} against {found['names'][0]}"
    return figures.marked_source(title, found["marks"], f"compare-{on}")


def head(found: dict[str, Any]) -> None:
    """Draw the macro differences and what was left out."""
    macro = found["differences"][found["differences"]["label"] == "macro"]
    rows = []
    for row in macro.itertuples():
        rows.append(
            {
                "Model": row.a,
                "Metric": _TITLES[str(row.metric)],
                "Difference [95 %]": format_interval(row.delta, [row.lo, row.hi]),
                "p": format_p(row.p),
                "adjusted p": format_p(row.p_adjusted),
            }
        )
    st.dataframe(pd.DataFrame(rows), hide_index=True, alt="Macro differences from the baseline", key="compare-macro")
    if found["marks"].banner:
        st.warning(found["marks"].banner, icon=":material/warning:")
    family = found["differences"]["family"].iloc[0]
    st.caption(
        f"Macro differences from **{found['names'][0]}**. p adjusted by Benjamini-Hochberg over {family}; intervals are not."
    )
    for metric, best in found["best"].items():
        if best["marked"]:
            st.caption(
                f":material/trophy: Best macro {_TITLES[metric]} against all others (max-T): **{best['model']}**"
            )
    if found["left_out"] or found["disagreeing_labels"]:
        st.caption(
            f":material/info: {plural(found['left_out'], 'volume')} not scored by all left out; "
            f"{plural(found['disagreeing_labels'], 'label')} differ between the runs, those of the baseline count."
        )


def differences(found: dict[str, Any], about: Source) -> None:
    """Draw the forest plot of one metric, and the table behind it."""
    metric = _metric("compare-metric")
    part = found["differences"][found["differences"]["metric"] == metric]
    plot = forest.forest(part, ["macro", *found["labels"]])
    alt = f"Differences of {_TITLES[metric]} by finding with 95 % intervals; filled where adjusted p < .05"
    figures.show(plot, part, about, f"forest-{metric}", alt)
    with st.expander("All figures"):
        shown = tables.with_p_values(part.drop(columns=["family", "metric"]))
        st.dataframe(shown, hide_index=True, key="compare-table", alt="Differences by finding")


def _metric(key: str) -> str:
    chosen = st.segmented_control(
        "Metric",
        list(_TITLES),
        default="auprc",
        required=True,
        key=key,
        format_func=_TITLES.__getitem__,
        label_visibility="collapsed",
    )
    return chosen or "auprc"


def overlaid(found: dict[str, Any], run_dirs: list[str], on: str, about: Source) -> None:
    """Draw one finding's curves of every run."""
    label = st.selectbox("Finding", found["labels"], key="compare-curve-finding", width=280)
    curves = {}
    for name, folder in zip(found["names"], run_dirs):
        path = open_run(folder).paths.evaluation(on).curves
        if path.is_file():
            frame = cache.table(cache.stamp(path))
            curves[name] = frame[frame["label"] == label]
    if not curves:
        st.caption("Curves are stored for opened test sets only.")
        return
    if found["left_out"]:
        st.caption("Each curve rests on all volumes that its run scored, not only on those in common.")
    data = pd.concat([frame.assign(model=name) for name, frame in curves.items()])
    for column, curve in zip(st.columns(2, gap="medium"), ("pr", "roc")):
        with column:
            what = "Precision over recall" if curve == "pr" else "True over false positive rate"
            figures.show(
                forest.overlaid(curves, curve),
                data[data["curve"] == curve],
                about,
                f"overlaid-{curve}",
                f"{what}: {label}",
            )


def disagreements(found: dict[str, Any], run_dirs: list[str], on: str, about: Source) -> None:
    """Draw the probabilities of two runs against each other; a click or lasso lists volumes."""
    left, right = st.columns([3, 2], gap="medium")
    with left:
        with st.container(horizontal=True):
            label = st.selectbox("Finding", found["labels"], key="compare-scatter-finding", width=280)
            other = st.selectbox("Against the baseline", found["names"][1:], key="compare-scatter-other", width=320)
        folders = [run_dirs[0], run_dirs[found["names"].index(other)]]
        at = [cache.stamp(scores_path(open_run(folder), on)) for folder in folders]
        frame = results.probabilities(at[0], at[1], label)
        event = st.plotly_chart(
            figures.with_note(forest.scatter(frame, found["names"][0], other), about.plain_note),
            config=charts.CONFIG,
            key=f"compare-scatter-{label}",
            on_select="rerun",
            alt=f"Probabilities of {label} by two runs",
        )
    chosen = {point.get("customdata") for point in event.selection.points} if event and event.selection else set()
    chosen = {one[0] if isinstance(one, (list, tuple)) else one for one in chosen}
    shown = frame[frame["volume"].isin(chosen)] if chosen else frame.head(200)
    with right:
        st.markdown(f"**{plural(len(shown), 'volume')}** {'selected' if chosen else 'furthest apart'}")
        st.dataframe(
            shown,
            hide_index=True,
            height=420,
            column_order=["volume", "label", "first", "second", "apart"],
            column_config={name: st.column_config.NumberColumn(format="%.3f") for name in ("first", "second", "apart")},
            key="compare-volumes",
            alt="Volumes by disagreement",
        )
        tables.download("CSV", shown if chosen else frame, f"{label}-disagreements.csv", "disagreements-csv", about)


def settings(found: dict[str, Any]) -> None:
    """List the settings in which the runs differ."""
    if found["settings"].empty:
        st.caption("The runs' settings do not differ.")
        return
    st.dataframe(found["settings"], hide_index=True, key="compare-settings", alt="Settings that differ")


def label_noise(found: dict[str, Any], run_dirs: list[str], on: str, about: Source) -> None:
    """Score one run against a second label table."""
    st.caption("The same predictions against two label sets: what label noise alone does to a figure.")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.selectbox("Run", found["names"], key="compare-labels-run", width=320)
        path = st.text_input("Table of other labels (CSV or Parquet)", key="compare-labels-path", width=420)
    if not path:
        return
    folder = run_dirs[found["names"].index(name)]
    with feedback.guarded("These labels cannot be used"):
        table = results.against_labels(
            folder, on, cache.stamp(scores_path(open_run(folder), on)), cache.stamp(Path(path))
        )
        st.dataframe(table, hide_index=True, key="compare-labels", alt="Figures against two label sets")
        tables.download("CSV", table, f"{about.stem}-label-sets.csv", "labels-csv", about)


def published(found: dict[str, Any], run_dirs: list[str]) -> None:
    """List published figures beside ours, with why they are or are not comparable."""
    inputs = open_run(run_dirs[0]).config.model.inputs
    ours = found["figures"]
    macro = ours[(ours["finding"] == "macro") & (ours["metric"] == "auroc")]
    st.markdown(
        " · ".join(f"{row.model} **{format_interval(row.value, [row.lo, row.hi])}**" for row in macro.itertuples())
    )
    table = published_frame("auroc", found["labels"], found["n"]["volumes"], inputs)
    alt = "Published macro AUROC with their protocol"
    st.dataframe(table, hide_index=True, key="compare-published", placeholder="–", alt=alt)
    st.caption("Published figures stand beside ours with their protocol; they are never tested against.")


def paper(found: dict[str, Any], on: str) -> None:
    """Offer the table as CSV and LaTeX, and the Methods paragraph."""
    tables.draw(found["files"](), f"compare-{on}")
