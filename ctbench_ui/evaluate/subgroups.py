"""Subgroups of a test set: metrics of each group of a metadata column, and the gap to all others."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from ctbench_core import figures
from ctbench_core.declared import compared_metrics, metric_title
from ctbench_core.evaluate import evaluate_subgroups, stored_subgroups, subgroup_columns
from ctbench_core.formatting import format_interval, plural
from ctbench_core.inference import ELIGIBLE, MACRO
from ctbench_core.runs import EvaluationPaths
from ctbench_ui.frame import address
from ctbench_ui.shared import as_text, cache, exports, progress_bar, show_errors
from ctbench_ui.shared.cache import Stamp
from ctbench_ui.shared.exports import Source

_OF_ELIGIBLE = ", eligible findings"
_NUMBER, _TEXT = st.column_config.NumberColumn, st.column_config.TextColumn
# In the order of the table: a phone shows the first ones.
_COLUMNS = {
    "group": _TEXT("Group", pinned=True),
    "value": _TEXT("Value [95 % CI]"),
    "complement": _NUMBER("Others", help="Value over all other volumes whose group is known."),
    "gap": _TEXT("Gap [95 % CI]", help="Value − others. Intervals are over patients, not adjusted."),
    "p_adjusted": _NUMBER(
        "p (adjusted)", help="Benjamini-Hochberg over all groups, findings and metrics of this column."
    ),
    "volumes": _NUMBER("Volumes", format="localized"),
    "patients": _NUMBER("Patients", format="localized"),
    "positives": _NUMBER(
        "Positives", format="localized", help="Positive labels of the finding; for the macro mean, of all findings."
    ),
    "prevalence": _NUMBER("Prev.", help="The AUPRC of chance in the group."),
    "reason": _TEXT("Note"),
}


def tab(paths: EvaluationPaths, labels: list[str], source: Source) -> None:
    """Draw the groups of one metadata column against all others."""
    metrics = compared_metrics()
    with st.container(horizontal=True, vertical_alignment="bottom"):
        own = _group_columns(cache.stamp(paths.scores), cache.stamp(paths.metadata), None)
        table, names, column = _metadata_table(bool(own)), None, None
        with show_errors("This table cannot be used"):
            names = own if table is None else _group_columns(cache.stamp(paths.scores), table, table)
            column = (
                st.selectbox("Group by", names, width=220, **address.bound("subgroups.column", names))
                if names
                else None
            )
        metric = st.segmented_control(
            "Metric",
            metrics,
            default=metrics[0],
            required=True,
            format_func=metric_title,
            **address.bound("subgroups.metric", metrics, metric_title),
        )
        rows = [MACRO, *labels]
        finding = st.selectbox(
            "Finding",
            rows,
            width=260,
            format_func=_finding_title,
            **address.bound("subgroups.finding", rows, _finding_title),
        )
    if names is None:
        return
    if column is None:
        st.info(
            "The manifest of this test set has no group column (sex, age, manufacturer ...). Enter a metadata table "
            "with one row per volume.",
            icon=":material/group_off:",
        )
        return
    groups = _groups(paths, column, table)
    if not len(groups):
        st.info(f"{as_text(column)} has only one group: nothing to compare.")
        return
    _draw(groups[groups["metric"] == (metric or metrics[0])], str(finding), column, labels, source)
    exports.download("Download all groups as CSV", groups, f"{source.stem}-{column}.csv", "subgroups-csv", source)


def _finding_title(finding: str) -> str:
    return "Macro mean" if finding == MACRO else finding


def _metadata_table(has_own: bool) -> Stamp | None:
    """Draw the field for a table of metadata; return the table's stamp."""
    path = st.text_input(
        "Metadata table" if has_own else "Metadata table (CSV or Parquet)",
        key="subgroups.table",
        width=240,
        placeholder="the manifest's own columns" if has_own else "path, one row per volume",
        persist_state="session",
    )
    return cache.stamp(Path(path.strip())) if path and path.strip() else None


@cache.remember(max_entries=32)
def _group_columns(scores: Stamp, metadata: Stamp, table: Stamp | None) -> list[str]:
    return subgroup_columns(EvaluationPaths(Path(scores[0]).parent), table[0] if table else None)


def _groups(paths: EvaluationPaths, column: str, table: Stamp | None) -> pd.DataFrame:
    """Return the metrics of a column's groups: stored, cached, or computed now under a progress bar."""
    if table is None and stored_subgroups(paths, column) is not None:
        return cache.load_table(paths.subgroups(column))
    return _computed_groups(cache.stamp(paths.scores), column, table)


@cache.remember(max_entries=32)
def _computed_groups(scores: Stamp, column: str, table: Stamp | None) -> pd.DataFrame:
    with progress_bar(f"Measuring the groups of {as_text(column)}") as progress:
        paths = EvaluationPaths(Path(scores[0]).parent)
        return evaluate_subgroups(paths, column, table[0] if table else None, progress)


def _draw(rows: pd.DataFrame, finding: str, column: str, labels: list[str], source: Source) -> None:
    """Draw the table of one finding and the gaps of all, for one metric."""
    shown = exports.styled(with_intervals(_rows_of(rows, finding)), pinned="group")
    st.dataframe(
        shown, hide_index=True, column_config=_COLUMNS, key="subgroups-table", placeholder="–", alt="Subgroups"
    )
    family, unknown = int(rows["family"].iloc[0]), int(rows["unknown"].iloc[0])
    excluded = f" {plural(unknown, 'volume')} of unknown {as_text(column)} excluded." if unknown else ""
    st.caption(
        f"{as_text(column)}, {as_text(_finding_title(finding))}: each group against all others. p is adjusted over the "
        f"{plural(family, 'test')} of this column, intervals are not. Both sides need at least 10 patients with and "
        f"without the finding.{excluded}"
    )
    chart, metric = _gap_chart(rows, labels), metric_title(str(rows["metric"].iloc[0]))
    alt = f"Gaps in {metric} by finding and {column}, with 95 % intervals; filled where adjusted p < .05"
    exports.draw_chart(chart, rows, source, f"subgroups-{column}", alt)
    if metric == "AUPRC":
        st.caption(
            ":material/info: AUPRC rises with prevalence: it is higher in a group where the finding is frequent."
        )


def _rows_of(rows: pd.DataFrame, finding: str) -> pd.DataFrame:
    """Return the rows of a finding; with the macro mean, where not all findings are eligible, also those of these."""
    chosen = rows[rows["finding"].isin([MACRO, ELIGIBLE] if finding == MACRO else [finding])]
    eligible = chosen["finding"] == ELIGIBLE
    return chosen.assign(group=chosen["group"].where(~eligible, chosen["group"] + _OF_ELIGIBLE))


def _gap_chart(rows: pd.DataFrame, labels: list[str]) -> go.Figure:
    gaps = rows.rename(columns={"group": "a", "finding": "label"})
    gaps = gaps[["a", "label", "p_adjusted"]].assign(delta=rows["gap"], lo=rows["gap_lo"], hi=rows["gap_hi"])
    groups, title = list(dict.fromkeys(gaps["a"])), "group − all others"
    if len(groups) == 2:  # the gaps of the other group are the same, mirrored
        gaps, title = gaps[gaps["a"] == groups[0]], f"{groups[0]} − {groups[1]}"
    metric = metric_title(str(rows["metric"].iloc[0]))
    gaps = gaps.dropna(subset=["lo"]).replace({"label": {ELIGIBLE: "Macro" + _OF_ELIGIBLE}})
    lines = [MACRO, "Macro" + _OF_ELIGIBLE, *labels]
    return figures.forest(
        gaps, [one for one in lines if one in set(gaps["label"]) or one in labels], f"difference in {metric}: {title}"
    )


def with_intervals(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the columns of the table: values with intervals as text, prevalences and notes where there are any."""
    table = rows.copy()
    for name, low, high in (("value", "lo", "hi"), ("gap", "gap_lo", "gap_hi")):
        triples = rows[[name, low, high]].to_numpy().tolist()
        table[name] = [format_interval(value, bounds) for value, *bounds in triples]
    empty = {name for name in ("prevalence", "reason") if not rows[name].replace("", None).notna().any()}
    return table[[name for name in _COLUMNS if name not in empty]]
