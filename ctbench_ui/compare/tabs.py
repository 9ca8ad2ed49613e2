"""The tabs of the Compare page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from ctbench_core import figures
from ctbench_core.compare import MACROS, MARGIN_COLUMNS, differing_parts, scores_path
from ctbench_core.declared import compared_metrics, metric_title
from ctbench_core.formatting import UNDEFINED, format_metric, plural
from ctbench_core.inference import MACRO, SWAPS
from ctbench_core.report import DETECTABLE_TITLE, interval_texts, interval_title, mark_text, marked_name, p_text
from ctbench_core.runs import open_run
from ctbench_ui.compare import results
from ctbench_ui.frame import address
from ctbench_ui.shared import as_text, cache, charts, exports, settings_table, show_errors
from ctbench_ui.shared.exports import Source
from ctbench_ui.shared.pictures import Figure, draw_plot

_SWAPS, _MARGIN = "compare-swaps", "compare-margin"
_LEAST, _MOST = 0.001, 0.999  # margins
_WHOLE = 36  # characters of a name in a legend that a phone shows whole
_CURVES = {"pr": "Precision over recall", "roc": "Recall over false positive rate"}
_HEADINGS = {"pr": "Precision-recall", "roc": "Receiver operating characteristic"}


def source_of(comparison: dict[str, Any], on: str) -> Source:
    """Return what every chart and table of a comparison comes from."""
    title = f"{', '.join(comparison['names'][1:])} against {comparison['names'][0]}"
    return exports.disclosed_source(title, comparison["disclosures"], f"compare-{on}")


def margin() -> float | None:
    """Return the margin of the field; before it is drawn, that of the address."""
    if _MARGIN in st.session_state:
        given: float | None = st.session_state[_MARGIN]
        return given
    try:
        asked = float(st.query_params.get(_MARGIN, ""))
    except ValueError:
        return None
    return asked if _LEAST <= asked <= _MOST else None


def _margin_field() -> None:
    """Draw the field of the margin for non-inferiority and equivalence."""
    st.number_input(
        "Margin",
        min_value=_LEAST,
        max_value=_MOST,
        value=None,
        step=0.005,
        format="%.3f",
        placeholder="none",
        width=150,
        help="The largest difference that does not matter, such as 0.02. Non-inferior: the 95 % interval lies above "
        "−margin. Equivalent: the 90 % interval lies within ±margin. A margin that was not declared before the test set "
        "was evaluated (evaluation.primary.margins) is marked post hoc. Empty = the declared margins.",
        persist_state="session",  # the paper files have the answers too
        **address.bound(_MARGIN),
    )


def swaps() -> int:
    """Return how many exchanges the rank-swap test has; 0 while it is off."""
    return SWAPS if st.session_state.get(_SWAPS) else 0


def _lead(comparison: dict[str, Any]) -> None:
    """Draw what is compared with what, and below it by which metrics and test, and where means are over other seeds."""
    compared, how = comparison["lead"]
    st.markdown(compared)
    st.caption(" ".join([how, *map(as_text, comparison["seeds"])]))


def _macro_differences(comparison: dict[str, Any]) -> None:
    """Draw the differences of the macro means with the two values; what a phone shows first is the answer."""
    every = comparison["differences"]
    rows = every[every["label"].isin(MACROS)]
    marks, eligible = comparison["marks"], f"{len(comparison['eligible'])} eligible"
    of_findings = every[~every["label"].isin(MACROS)]
    defined = {metric: _defined(part) for metric, part in of_findings.groupby("metric")}
    several = rows["a"].nunique() > 1  # a lone model is named above the table
    shown = {"Other run": [marked_name(name, marks) for name in rows["a"]]} if several else {}
    shown |= {
        "Metric": rows["metric"].map(metric_title),
        "Difference": rows["delta"],  # numbers, which a click on the heading sorts by
        interval_title(rows): interval_texts(rows),
        "p (adjusted)": rows["p_adjusted"],
        "p": rows["p"],
        "Baseline": rows["b_value"],
        "Other": rows["a_value"],
        "Mean over": [
            ", ".join(filter(None, [over if label == MACRO else eligible, comparison["seeds_of"].get(name)]))
            for name, label, over in zip(rows["a"], rows["label"], rows["metric"].map(defined))
        ],
        DETECTABLE_TITLE: rows["detectable"],
    }
    if "margin" in rows:
        shown |= {"Non-inferior": _answers(rows, "non_inferior"), "Equivalent": _answers(rows, "equivalent")}
    st.dataframe(
        exports.styled(pd.DataFrame(shown)),
        hide_index=True,
        placeholder="–",
        alt="Macro differences from the baseline",
        key="compare-macro",
    )


def _defined(rows: pd.DataFrame) -> str:
    """Write over how many findings a mean goes: those where the metric is defined."""
    names = set(rows["label"])
    defined = names - set(rows.loc[rows["delta"].isna(), "label"])
    return "all findings" if defined == names else f"{len(defined)} of {plural(len(names), 'finding')}"


def _answers(rows: pd.DataFrame, name: str) -> list[str]:
    """Write the answers about a margin with their p: ``yes, p = .012``."""
    pairs = zip(rows[name], rows[f"p_{name}"])
    return ["–" if answer is None else f"{'yes' if answer else 'not shown'}, {p_text(p)}" for answer, p in pairs]


def noted(draw: Callable[[], None], comparison: dict[str, Any]) -> None:
    """Draw the warnings of a comparison and where its numbers come from, then a tab."""
    disclosures = comparison["disclosures"]
    for text in (disclosures.banner, *map(as_text, disclosures.warnings)):
        if text:
            st.warning(text, icon=":material/warning:")
    st.caption(exports.markdown_note(disclosures, disclosures.facts()))
    draw()


def _notes(comparison: dict[str, Any]) -> None:
    """Draw the answers about a margin, what the differences hold for, and what was left out."""
    every, margins = comparison["differences"], comparison["margins"]
    for text in margins:
        st.markdown(as_text(text))
    texts = []
    if every["p"].notna().any():
        texts.append(f"p is adjusted by Benjamini-Hochberg over {every['family'].iloc[0]}; intervals are not.")
    texts += [text for text in comparison["notes"] if text not in (*margins, *comparison["seeds"])]
    st.caption(as_text(" ".join(texts)))


def differences(comparison: dict[str, Any], source: Source) -> None:
    """Draw what is compared, the macro means, the forest plot of one metric, its table, margin and notes."""
    _lead(comparison)
    _macro_differences(comparison)
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
    chart = figures.comparison_forest(rows, comparison["labels"])
    exported = rows.rename(columns={"label": "finding"})
    alt = f"Differences of {metric_title(str(metric))} by finding with 95 % intervals; filled where adjusted p < .05"
    exports.draw_chart(chart, exported, source, f"forest-{metric}", alt)
    if metric == "auroc" and comparison["is_of_models"]:
        st.toggle(
            "Rank-swap test",
            help=f"A sensitivity analysis: tests whether two models rank alike over the whole ROC curve, by {SWAPS} random "
            "exchanges of their ranks within a patient. Adds a column of p; takes some seconds.",
            key=_SWAPS,
            persist_state="session",  # the paper files have the test too
        )
    with st.expander("All differences"):
        exports.draw_differences(_shown(exported), "compare-table", "Differences by finding")
    _margin_field()
    _notes(comparison)


def _shown(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the columns that the table of differences shows; those without a value are left out, as is a lone model."""
    yes = {True: "yes", False: "not shown"}
    pairs = rows[["range_lo", "range_hi"]].to_numpy().tolist()
    answers = {name: rows[name].map(yes) for name in ("non_inferior", "equivalent") if name in rows}
    texts = {
        "reason": rows["reason"].where(rows["reason"] != "", rows["mark"].map(mark_text)),
        "range over seeds": [" to ".join(map(format_metric, pair)) for pair in pairs],
    }
    filled = rows.assign(**answers, **texts)
    names = ["finding", "delta", "lo", "hi", "b_value", "a_value", "p", "p_adjusted", "p_swap", "detectable"]
    names += [*MARGIN_COLUMNS[2:], "reason"]
    names = [name for name in names if name in rows and (name != "p_swap" or rows[name].notna().any())]
    if rows["range_lo"].notna().any():
        names.insert(names.index("hi") + 1, "range over seeds")
    return filled[["a", *names] if rows["a"].nunique() > 1 else names]


def curves(comparison: dict[str, Any], run_dirs: list[str], on: str, source: Source) -> None:
    """Draw one finding's curves of every run."""
    label = st.selectbox(
        "Finding", comparison["labels"], width=280, **address.bound("compare-curve-finding", comparison["labels"])
    )
    points = _points(comparison, run_dirs, label)
    if all(frame.empty for frame in points.values()):
        st.caption("This finding has no positives or no negatives here, so it has no curves.")
        return
    if comparison["left_out"]:
        st.caption("Each curve covers all volumes of its run, not only the common ones.")
    data = pd.concat([frame.assign(model=name, finding=label) for name, frame in points.items()])
    for column, (curve, title) in zip(exports.square_pair(), _CURVES.items()):
        with column:
            rows = data[data["curve"] == curve]
            st.markdown(f"**{_HEADINGS[curve]}**")
            chart = _curves_chart(points, curve)
            exports.draw_chart(chart, rows, source, f"overlaid-{curve}", f"{title}: {label}")


def _curves_chart(points: dict[str, pd.DataFrame], curve: str) -> go.Figure:
    """Draw curves under the names of their runs, or the parts that differ where a phone would cut a name."""
    names = list(points)
    shown = names if max(map(len, names)) <= _WHOLE else differing_parts(names)
    return charts.model_curves(dict(zip(shown, points.values())), curve)


def _points(comparison: dict[str, Any], run_dirs: list[str], label: str) -> dict[str, pd.DataFrame]:
    """Return the points of one finding's curves by run."""
    return {
        name: results.curves(scores_path(open_run(folder), comparison["set_names"][folder]), label)
        for name, folder in zip(comparison["names"], run_dirs)
    }


def figures_of(comparison: dict[str, Any], run_dirs: list[str]) -> Iterator[Figure]:
    """Yield the forest plot of every metric, and the curves of every finding."""
    every, labels = comparison["differences"], comparison["labels"]
    for metric in compared_metrics():
        rows = every[every["metric"] == metric]
        alt = f"Differences of {metric_title(metric)} by finding with 95 % intervals; filled where adjusted p < .05"
        chart = figures.comparison_forest(rows, labels)
        yield Figure(f"forest-{metric}", chart, rows.rename(columns={"label": "finding"}), alt)
    for label in labels:
        points = _points(comparison, run_dirs, label)
        if not all(frame.empty for frame in points.values()):
            data = pd.concat([frame.assign(model=name, finding=label) for name, frame in points.items()])
            for curve, title in _CURVES.items():
                chart = _curves_chart(points, curve)
                yield Figure(f"{curve}-{label}", chart, data[data["curve"] == curve], f"{title}: {label}")


def disagreements(comparison: dict[str, Any], run_dirs: list[str], on: str, source: Source) -> None:
    """Draw the probabilities of two runs against each other; a click or lasso lists volumes."""
    names = comparison["names"]
    left, right = exports.square_pair()
    with left:
        with st.container(horizontal=True):
            label = st.selectbox(
                "Finding",
                comparison["labels"],
                width=280,
                **address.bound("compare-scatter-finding", comparison["labels"]),
            )
            other = names[1]
            if len(names) > 2:
                bound = address.bound("compare-scatter-other", names[1:])
                other = st.selectbox("Other run", names[1:], width=320, **bound)
        folders = (run_dirs[0], run_dirs[names.index(other)])
        paths = [scores_path(open_run(folder), comparison["set_names"][folder]) for folder in folders]
        frame = results.probabilities(cache.stamp(paths[0]), cache.stamp(paths[1]), label)
        event = draw_plot(
            exports.noted(charts.scatter(frame, names[0], other), source),
            f"compare-scatter-{label}",
            f"{source.stem}-scatter-{label}",
            f"Probabilities of {label} by two runs",
            on_select="rerun",
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
            column_order=["volume", "label", "apart", "first", "second"],
            column_config={
                "volume": "Volume",
                "label": "Label",
                "first": st.column_config.NumberColumn("Baseline", help=as_text(names[0])),
                "second": st.column_config.NumberColumn("Other", help=as_text(other)),
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
    table = comparison["settings"].set_index("setting")
    settings_table.draw(dict(zip(table.index, table.to_numpy().tolist())), list(table), "Settings that differ")
    dash = f"{UNDEFINED}: without effect on that run. " if (table == UNDEFINED).any(axis=None) else ""
    st.caption(f"{dash}Settings without effect on any run are left out.")


def label_noise(comparison: dict[str, Any], run_dirs: list[str], on: str, source: Source) -> None:
    """Score one run against a second label table."""
    st.caption("Scores the same predictions against two label sets: the metrics differ by label noise alone.")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.selectbox(
            "Run", comparison["names"], width=320, **address.bound("compare-labels-run", comparison["names"])
        )
        path = st.text_input(
            "Second label table (CSV or Parquet)", key="compare-labels-path", width=420, placeholder="…/labels.csv"
        )
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
