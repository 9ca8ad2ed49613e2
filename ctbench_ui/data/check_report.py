"""The report of a data check: verdict, sizes, leaks and bad features with their fixes, charts; then *Save*."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from ctbench_core.checks import CheckResult
from ctbench_core.formatting import format_cohort, plural
from ctbench_ui import form
from ctbench_ui.data import plots
from ctbench_ui.pages import go
from ctbench_ui.shared import charts, draw_tabs, exports, show_error, show_errors, show_hint, show_warnings
from ctbench_ui.shared.exports import Source

_MAX_ROWS = 200  # of a table of feature files
_SPLITS = {"train": "Training", "val": "Validation"}
_USABLE = {"zero norm", "duplicate"}  # odd features that can be read
_AUDIT: dict[str, Any] = {"kind": "Kind", "file": "File", "fix": "Fix", "what": "Problem", "samples": "Rows"}


def to_report(result: CheckResult) -> dict[str, Any]:
    """Return a check as plain values, which survive in a session."""
    return result.to_json() | {
        "labels": result.labels,
        "dim": result.dim,
        "tables": {kind: audit.frame().head(_MAX_ROWS).to_dict("list") for kind, audit in result.audits.items()},
        "norms": {kind: (audit.norm_counts, audit.norm_edges) for kind, audit in result.audits.items()},
        "together": _count_together(result),
    }


def _count_together(result: CheckResult) -> list[list[int]]:
    """Count the training volumes that have two findings, for every two; blanks count as absent."""
    if "train" not in result.manifests:
        return []
    present = result.manifests["train"].targets == 1
    return (present.T.astype(np.int64) @ present.astype(np.int64)).tolist()


def draw_waiting() -> None:
    """Say what a check does."""
    show_hint(
        "Not checked yet",
        "**Check** reads every manifest and feature file and lists what is wrong, with file, column and rows: "
        "missing or unreadable features, wrong dimensions, unusable labels, patients shared by two splits.",
    )


def draw(report: dict[str, Any], stale: bool) -> None:
    """Draw the report of a check."""
    if report["errors"]:
        show_error(plural(len(report["errors"]), "error"), "\n".join(report["errors"]))
    else:
        warnings = len(report["warnings"])
        text = f"Ready, with {plural(warnings, 'warning')}" if warnings else "Ready"
        st.success(text, icon=":material/check_circle:")
    if stale:
        st.info("The fields have changed since this check. Check again.", icon=":material/update:")
    show_warnings(report["warnings"])
    if report["counts"]:
        _draw_sizes(report)
    if report["notes"]:
        with st.expander("Defaults applied", icon=":material/info:"):
            for note in report["notes"]:
                st.caption(note)
    _draw_card(report["data_card"])
    for leak in report["leaks"]:
        _draw_leak(leak["manifest"], leak["patients"])
    for kind, audit in report["audit"].items():
        _draw_norms(kind, audit)
        _draw_bad_features(kind, pd.DataFrame(report["tables"][kind]), bool(report["errors"]))
    if report["ok"]:
        _draw_save()
    if report["prevalence"]:
        _draw_charts(report)


def _draw_sizes(report: dict[str, Any]) -> None:
    leaks = {leak["manifest"]: len(leak["patients"]) for leak in report["leaks"]}
    rows = [
        {"Split": _SPLITS.get(split, split)}
        | {name.capitalize(): number for name, number in sizes.items()}
        | ({"Leak": plural(leaks[split], "patient") if split in leaks else ""} if leaks else {})
        for split, sizes in report["counts"].items()
    ]
    width = f", {plural(report['dim'], 'dimension')}" if report["dim"] else ""
    st.markdown(f"**{plural(len(report['labels']), 'finding')}**{width}")
    config = dict.fromkeys(("Volumes", "Exams", "Patients"), st.column_config.NumberColumn(format="localized"))
    st.dataframe(pd.DataFrame(rows), hide_index=True, column_config=config, alt="Volumes, exams and patients by split")


def _draw_card(card: dict[str, Any]) -> None:
    """Draw the origin of the labels and the encoder of the volumes."""
    encoder = card["encoder"]
    parts = [f"Labels: **{card['label_origin']}**", f"encoder: **{encoder['name']}**"]
    parts += [f"pre-trained on {encoder['pretraining']}"] if encoder["pretraining"] else []
    parts += [f"{encoder['projection']} projection"] if encoder["projection"] != "unknown" else []
    st.caption(" · ".join(parts))


def _draw_norms(kind: str, audit: dict[str, Any]) -> None:
    if norms := audit["norms"]:
        st.caption(
            f"{kind.capitalize()} vectors: norm {norms['median']:.3g} (median), "
            f"{norms['min']:.3g} to {norms['max']:.3g}."
        )


def _draw_leak(split: str, patients: list[str]) -> None:
    """List the patients that a split shares with another one, with a fix."""
    title = _SPLITS["val"] if split == "val" else split
    with st.expander(f"{title}: {plural(len(patients), 'patient')} also in another split", icon=":material/link:"):
        table = pd.DataFrame({"patient": patients})
        st.dataframe(
            table,
            hide_index=True,
            height="content" if len(table) < 8 else 240,
            column_config={"patient": "Patient"},
            alt="Shared patients",
        )
        with st.container(horizontal=True):
            exports.download("Download CSV", table, f"leak-{split}.csv", f"leak-{split}")
            if split == "val":
                st.button(
                    "Split training by patient",
                    key="fix-leak",
                    icon=":material/healing:",
                    on_click=form.set_fields,
                    args=({"data.auto_split.enabled": True},),
                    help="Takes the validation patients from the training manifest and ignores the validation manifest.",
                )
        if split != "val":
            st.caption(
                "Results on this manifest are marked ⚠. To fix the leak, list the volumes of these patients in a file and "
                "enter it as *Exclusion list*, or split by patient."
            )


def _draw_bad_features(kind: str, table: pd.DataFrame, failed: bool) -> None:
    """List odd and unusable feature files, worst first, and offer to skip the unusable ones."""
    if not len(table):
        return
    counts = ", ".join(f"{number:,} {name}" for name, number in table["kind"].value_counts().items())
    with st.expander(f"Bad {kind} features: {counts}", icon=":material/rule:"):
        columns = ["kind", "file", "fix", "what", "samples"]
        st.dataframe(
            table[columns], hide_index=True, key=f"audit-{kind}", alt=f"Bad {kind} features", column_config=_AUDIT
        )
        with st.container(horizontal=True):
            exports.download("Download CSV", table, f"audit-{kind}.csv", f"audit-csv-{kind}")
            if failed and not set(table["kind"]) <= _USABLE:
                st.button(
                    "Skip unusable rows",
                    key=f"fix-{kind}",
                    icon=":material/healing:",
                    on_click=form.set_fields,
                    args=({"data.on_bad_feature": "drop"},),
                    help="Skips these volumes; each run records them. Check again afterwards.",
                )


def _draw_save() -> None:
    """Offer to save the fields as a data set, and the way to Train."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.session_state.setdefault("data.name", form.dataset_name() or "my data")
        name = st.text_input("Data set name", key="data.name", width=200)
        if st.button("Save", icon=":material/save:", key="save"):
            with show_errors("Not saved"):
                form.save_dataset(name)
                st.toast(f"Saved as {name}", icon=":material/save:")
        if st.button("Continue to training", icon=":material/arrow_forward:", key="to-train", type="primary"):
            go("train")


def _draw_charts(report: dict[str, Any]) -> None:
    contents = {
        "Prevalence": lambda: _draw_prevalence(report),
        "Co-occurrence": lambda: _draw_together(report),
        "Norms": lambda: _draw_norm_histogram(report),
    }
    draw_tabs(contents, key="data.figures")


def _draw_prevalence(report: dict[str, Any]) -> None:
    splits = {_SPLITS.get(split, split): shares for split, shares in report["prevalence"].items()}
    frame = pd.DataFrame(splits).rename_axis("finding").reset_index()
    alt = "Share of volumes with each finding, by split"
    exports.draw_chart(charts.prevalence(splits), frame, _source(report), "prevalence", alt)


def _draw_together(report: dict[str, Any]) -> None:
    if not report["together"]:
        return
    counts = pd.DataFrame(report["together"], index=report["labels"], columns=report["labels"])
    st.caption("Of the training volumes with the finding of a row, the share with the finding of a column.")
    chart = plots.co_occurrence(counts, dark=st.context.theme.type == "dark")
    frame = counts.rename_axis("finding").reset_index()
    exports.draw_chart(chart, frame, _source(report), "together", "How often findings occur together")


def _draw_norm_histogram(report: dict[str, Any]) -> None:
    if not report["norms"]:
        return
    frame = pd.concat(
        pd.DataFrame({"vectors": kind, "from": edges[:-1], "to": edges[1:], "count": counts})
        for kind, (counts, edges) in report["norms"].items()
    )
    chart = plots.norms(report["norms"])
    exports.draw_chart(chart, frame, _source(report), "norms", "Histogram of the norms of the vectors")


def _source(report: dict[str, Any]) -> Source:
    size = f"Training: {format_cohort(next(iter(report['counts'].values()), {}))}"
    name = form.dataset_name() or "data set"
    return Source(title=name, note=size, plain_note=size, stem=name.replace(" ", "_"))
