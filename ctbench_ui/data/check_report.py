"""The report of a data check: verdict, sizes, leaks, prevalence, co-occurrence; and the form that keeps the choice.

MERGED: What a check found odd, as tables with a fix each: leaks, and feature files to look at.
"""

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
from ctbench_ui.shared import charts, feedback, figures, tables
from ctbench_ui.shared.figures import Source

_MOST = 200  # rows of a table of feature files
SPLITS = {"train": "Training", "val": "Validation"}


def of_check(result: CheckResult) -> dict[str, Any]:
    """Return a check as plain values, which survive in a session."""
    tables = {kind: audit.frame().head(_MOST).to_dict("list") for kind, audit in result.audits.items()}
    norms = {kind: (audit.norm_counts, audit.norm_edges) for kind, audit in result.audits.items()}
    more = {"labels": result.labels, "dim": result.dim, "tables": tables, "norms": norms, "together": _together(result)}
    return result.to_json() | more


def _together(result: CheckResult) -> list[list[int]]:
    """Count the training volumes that have two findings, for every two; blanks count as absent."""
    if "train" not in result.manifests:
        return []
    present = result.manifests["train"].targets == 1
    return (present.T.astype(np.int64) @ present.astype(np.int64)).tolist()


def waiting() -> None:
    """Show what a check will tell."""
    with st.container(border=True):
        st.subheader("Not checked yet", anchor=False)
        st.markdown(
            "**Check** reads every manifest and feature file and lists what is wrong, with file, column and rows: "
            "missing or unreadable features, wrong dimensions, unusable labels, patients on both sides of a split."
        )


def draw(shown: dict[str, Any], stale: bool) -> None:
    """Draw the report of a check."""
    _verdict(shown)
    if stale:
        st.info("The choice has changed since this check.", icon=":material/update:")
    for text in shown["errors"]:
        feedback.problem("To mend", text)
    feedback.caution("Good to know", shown["warnings"])
    if shown["counts"]:
        _sizes(shown)
    if shown["notes"]:
        with st.expander("Decided for you", icon=":material/info:"):
            for note in shown["notes"]:
                st.caption(note)
    _card(shown["data_card"])
    for leak in shown["leaks"]:
        leak(leak["manifest"], leak["patients"])
    for kind, audit in shown["audit"].items():
        _length(kind, audit)
        features(kind, pd.DataFrame(shown["tables"][kind]), bool(shown["errors"]))
    if shown["ok"]:
        save_form()
    if shown["prevalence"]:
        _findings(shown)


def _card(card: dict[str, Any]) -> None:
    """Say where the labels come from and what encoded the volumes."""
    encoder = card["encoder"]
    parts = [f"Labels: **{card['label_origin']}**", f"encoder: **{encoder['name']}**"]
    parts += [f"pre-trained on {encoder['pretraining']}"] if encoder["pretraining"] else []
    parts += [f"{encoder['projection']} projection"] if encoder["projection"] != "unknown" else []
    st.caption(" · ".join(parts))


def _length(kind: str, audit: dict[str, Any]) -> None:
    """Say how long the vectors are."""
    if norms := audit["norms"]:
        st.caption(
            f"{kind.capitalize()} vectors: length {norms['median']:.3g} (median), "
            f"{norms['min']:.3g} to {norms['max']:.3g}."
        )


def _findings(shown: dict[str, Any]) -> None:
    share, together, lengths = st.tabs(["Prevalence", "Co-occurrence", "Norms"], key="data.figures", on_change="rerun")
    if share.open:
        splits = {SPLITS.get(split, split): shares for split, shares in shown["prevalence"].items()}
        frame = pd.DataFrame(splits).rename_axis("finding").reset_index()
        with share:
            alt = "Share of volumes with each finding, by split"
            figures.show(charts.prevalence(splits), frame, _source(shown), "prevalence", alt)
    if together.open and shown["together"]:
        counts = pd.DataFrame(shown["together"], index=shown["labels"], columns=shown["labels"])
        with together:
            st.caption("Of the training volumes with the finding of a row, the share that has the finding of a column.")
            found = plots.co_occurrence(counts, dark=st.context.theme.type == "dark")
            frame = counts.rename_axis("finding").reset_index()
            figures.show(found, frame, _source(shown), "together", "How often findings occur together")
    if lengths.open and shown["norms"]:
        frame = pd.concat(
            pd.DataFrame({"vectors": kind, "from": edges[:-1], "to": edges[1:], "count": counts})
            for kind, (counts, edges) in shown["norms"].items()
        )
        with lengths:
            drawn = plots.norms(shown["norms"])
            figures.show(drawn, frame, _source(shown), "norms", "Histogram of the vectors' lengths")


def _source(shown: dict[str, Any]) -> Source:
    """Return what the figures of a check rest on."""
    size = format_cohort(next(iter(shown["counts"].values()), {}))
    name = form.dataset_name() or "data set"
    return Source(title=name, note=f"Training: {size}", plain_note=f"Training: {size}", stem=name.replace(" ", "_"))


def _verdict(shown: dict[str, Any]) -> None:
    errors, warnings = len(shown["errors"]), len(shown["warnings"])
    if errors:
        st.error(plural(errors, "error"), icon=":material/block:")
    elif warnings:
        st.success(f"Ready, with {plural(warnings, 'warning')}", icon=":material/check_circle:")
    else:
        st.success("Ready", icon=":material/check_circle:")


def _sizes(shown: dict[str, Any]) -> None:
    leaks = {leak["manifest"]: len(leak["patients"]) for leak in shown["leaks"]}
    rows = [
        {"Split": SPLITS.get(split, split)}
        | {name.capitalize(): number for name, number in sizes.items()}
        | {"Leak": plural(leaks[split], "patient") if split in leaks else ""}
        for split, sizes in shown["counts"].items()
    ]
    frame = pd.DataFrame(rows) if leaks else pd.DataFrame(rows).drop(columns="Leak")
    width = f", {shown['dim']:,} values a feature" if shown["dim"] else ""
    st.markdown(f"**{len(shown['labels'])} findings**{width}")
    number = st.column_config.NumberColumn(format="localized")
    config = dict.fromkeys(("Volumes", "Exams", "Patients"), number)
    st.dataframe(frame, hide_index=True, column_config=config, alt="Volumes, exams and patients by split")


def save_form() -> None:
    """Offer to keep the choice under a name, and the way on."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.session_state.setdefault("data.name", form.dataset_name() or "my data")
        name = st.text_input("Name of the data set", key="data.name", width=200)
        if st.button("Save", icon=":material/save:", key="save"):
            with feedback.guarded("Not saved"):
                form.save_dataset(name)
                st.toast(f"Saved as {name}", icon=":material/save:")
        if st.button("Go on to training", icon=":material/arrow_forward:", key="to-train", type="primary"):
            go("train")


def leak(split: str, patients: list[str]) -> None:
    """List the patients of a split that stand in another one too, and offer what can be done."""
    title = "Validation" if split == "val" else split
    with st.expander(f"{title}: {plural(len(patients), 'patient')} also in another split", icon=":material/link:"):
        found = pd.DataFrame({"patient": patients})
        st.dataframe(found, hide_index=True, height="content" if len(found) < 8 else 240, alt="Patients on both sides")
        with st.container(horizontal=True):
            tables.download("CSV", found, f"leak-{split}.csv", f"leak-{split}")
            if split == "val":
                st.button(
                    "Set validation aside by patient",
                    key="mend-leak",
                    icon=":material/healing:",
                    on_click=form.take,
                    args=({"data.auto_split.enabled": True},),
                    help="Splits the training manifest instead of reading the validation manifest.",
                )
        if split != "val":
            st.caption(
                "Its figures carry a mark. To mend it, leave the volumes of these patients out of training: "
                "list them in a file and name it under cohort, or split by patient."
            )


def features(kind: str, found: pd.DataFrame, failed: bool) -> None:
    """List the feature files to look at, worst first, and offer to leave unusable ones out."""
    if not len(found):
        return
    counts = ", ".join(f"{number:,} {name}" for name, number in found["kind"].value_counts().items())
    with st.expander(f"{kind.capitalize()} features to look at: {counts}", icon=":material/rule:"):
        shown = found[["kind", "file", "fix", "what", "samples"]]
        st.dataframe(shown, hide_index=True, key=f"audit-{kind}", alt="Feature files to look at")
        with st.container(horizontal=True):
            tables.download("CSV", found, f"audit-{kind}.csv", f"audit-csv-{kind}")
            if failed and not set(found["kind"]) <= {"zero norm", "duplicate"}:
                st.button(
                    "Leave unusable rows out",
                    key=f"mend-{kind}",
                    icon=":material/healing:",
                    on_click=form.take,
                    args=({"data.on_bad_feature": "drop"},),
                    help="Their volumes are dropped and recorded with the run. Check again afterwards.",
                )
