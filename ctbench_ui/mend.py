"""What a check found odd, as tables with a fix each: leaks, and feature files to look at."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from ctbench_ui import form, tables
from ctbench_ui.style import plural


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
