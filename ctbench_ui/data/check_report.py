"""The report of a data check: verdict, errors and fixes, sizes, columns, leaks, bad features, charts; then *Save*."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from ctbench_core import figures
from ctbench_core.checks import CheckResult
from ctbench_core.formatting import format_cohort, plural
from ctbench_ui import form
from ctbench_ui.data import fixes, mapping, plots, preview
from ctbench_ui.pages import go
from ctbench_ui.shared import as_text, demo, draw_tabs, exports, is_dark, newest_data, show_errors, show_hint
from ctbench_ui.shared.exports import Source

_MAX_ROWS = 200  # of a table of feature files
_SPLITS = {"train": "Training", "val": "Validation", "test": "Test"}  # other test sets have their files' names
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


def draw_waiting(verdict: Any, offer_demo: bool) -> None:
    """Say what appears here, as long as no data are chosen."""
    verdict.markdown("**No data yet**")
    show_hint(
        "Choose a feature root",
        "The folder of your embeddings, and the folder of the tables with their labels. Both are read as soon as they "
        "are chosen: what each column is taken for, how many volumes and patients each split has, and what is wrong, "
        "with file, column and lines, and a fix to click.",
    )
    newest_data.offer()
    if offer_demo and st.button("Use demo data", icon=":material/science:", key="demo"):
        demo.create()


def draw(report: dict[str, Any], verdict: Any) -> None:
    """Draw the report of a check; ``verdict`` is the place of its one-line result."""
    with verdict:
        _draw_verdict(report)
    fixes.draw(report)
    if report["counts"]:
        _draw_sizes(report)
    if report["ok"]:
        _draw_save()
    mapping.draw(expanded=bool(report["errors"]))
    preview.draw()
    if report["notes"]:
        with st.expander("Defaults applied", icon=":material/info:"):
            for note in report["notes"]:
                st.caption(as_text(note))
    _draw_card(report["data_card"])
    for leak in report["leaks"]:
        _draw_leak(leak["manifest"], leak["patients"])
    for kind, audit in report["audit"].items():
        draw_norms(kind, audit)
        _draw_bad_features(kind, pd.DataFrame(report["tables"][kind]))
    if report["prevalence"]:
        _draw_charts(report)


def _draw_verdict(report: dict[str, Any]) -> None:
    if report["errors"]:
        st.markdown(f":red-badge[:material/error: {plural(len(report['errors']), 'error')}] to solve before training")
        return
    warnings = len(report["warnings"])
    text = f"Ready to train, with {plural(warnings, 'warning')}" if warnings else "Ready to train"
    st.success(text, icon=":material/check_circle:")


def draw_counts(counts: dict[str, dict[str, int]]) -> None:
    """Draw volumes, exams and patients by split, while the features are read."""
    if counts:
        rows = {_SPLITS.get(split, split): sizes for split, sizes in counts.items()}
        st.dataframe(pd.DataFrame(rows).T, alt="Volumes, exams and patients by split")


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
    parts = [f"Labels: **{as_text(card['label_origin'])}**", f"encoder: **{as_text(encoder['name'])}**"]
    parts += [f"pre-trained on {as_text(encoder['pretraining'])}"] if encoder["pretraining"] else []
    parts += [f"{as_text(encoder['projection'])} projection"] if encoder["projection"] != "unknown" else []
    st.caption(" · ".join(parts))


def draw_norms(kind: str, audit: dict[str, Any]) -> None:
    """Write the range and the median of the norms of one kind of vectors; once, where all are alike."""
    if norms := audit["norms"]:
        lowest, median, highest = (f"{norms[name]:.3g}" for name in ("min", "median", "max"))
        text = f"all have norm {median}" if lowest == highest else f"norms {lowest} to {highest}, median {median}"
        st.caption(f"{kind.capitalize()} vectors: {text}.")


def _draw_leak(split: str, patients: list[str]) -> None:
    """List the patients that a split shares with another one, with a fix."""
    title = _SPLITS.get(split, split)
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


def _draw_bad_features(kind: str, table: pd.DataFrame) -> None:
    """List odd and unusable feature files, worst first."""
    if not len(table):
        return
    counts = ", ".join(f"{number:,} {name}" for name, number in table["kind"].value_counts().items())
    with st.expander(f"Bad {kind} features: {counts}", icon=":material/rule:"):
        columns = ["kind", "file", "fix", "what", "samples"]
        st.dataframe(
            table[columns], hide_index=True, key=f"audit-{kind}", alt=f"Bad {kind} features", column_config=_AUDIT
        )
        exports.download("Download CSV", table, f"audit-{kind}.csv", f"audit-csv-{kind}")


def _draw_save() -> None:
    """Offer to save the fields as a data set, and the way to Train."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.session_state.setdefault("data.name", form.dataset_name() or "my data")
        name = st.text_input("Data set name", key="data.name", width=200)
        if st.button("Save", icon=":material/save:", key="save"):
            with show_errors("Not saved"):
                form.save_dataset(name)
                st.toast(f"Saved as {as_text(name)}", icon=":material/save:")
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
    exports.draw_chart(figures.prevalence(splits), frame, _source(report), "prevalence", alt)


def _draw_together(report: dict[str, Any]) -> None:
    if not report["together"]:
        return
    counts = pd.DataFrame(report["together"], index=report["labels"], columns=report["labels"])
    st.caption("Of the training volumes with the finding of a row, the share with the finding of a column.")
    chart = plots.co_occurrence(counts, dark=is_dark())
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
    return Source(title=name, note=size, plain_note=size, stem=name.replace(" ", "_"), is_on_page=True)
