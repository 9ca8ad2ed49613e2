"""The report of a data check: verdict, sizes, prevalence, leaks; and the form that keeps the choice."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from ctbench_core.checks import CheckResult
from ctbench_ui import charts, feedback, form
from ctbench_ui.navigation import go
from ctbench_ui.style import plural

SPLITS = {"train": "Training", "val": "Validation"}


def of_check(result: CheckResult) -> dict[str, Any]:
    """Return a check as plain values, which survive in a session."""
    return result.to_json() | {"labels": result.labels, "dim": result.dim}


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
    for note in shown["notes"]:
        st.caption(note)
    for leak in shown["leaks"]:
        with st.expander(f"{leak['manifest']}: {plural(len(leak['patients']), 'patient')} also in another split"):
            st.dataframe(pd.DataFrame({"patient": leak["patients"]}), hide_index=True, alt="Patients on both sides")
    if shown["prevalence"]:
        st.subheader("Prevalence", anchor=False)
        st.plotly_chart(
            charts.prevalence({SPLITS.get(split, split): shares for split, shares in shown["prevalence"].items()}),
            config=charts.CONFIG,
            key="prevalence",
            alt="Share of volumes with each finding, by split",
        )


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
        name = st.text_input("Name", key="data.name", width=260)
        if st.button("Save as data set", icon=":material/save:", key="save"):
            with feedback.guarded("Not saved"):
                form.save_dataset(name)
                st.toast(f"Saved as {name}", icon=":material/save:")
        if st.button("Go on to training", icon=":material/arrow_forward:", key="to-train"):
            go("train")
