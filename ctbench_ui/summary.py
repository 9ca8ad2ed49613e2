"""The head of an evaluation: cohort, leak mark, how often the test set was opened, and the macro figures."""

from __future__ import annotations

import re
from typing import Any

import streamlit as st

from ctbench_core.cards import leakage_banner
from ctbench_core.runs import Run
from ctbench_ui import cache, feedback, opening
from ctbench_ui.figures import Source
from ctbench_ui.style import counts, interval, plural


def header(run: Run, name: str) -> None:
    """Draw the macro figures of one test set, with intervals, and what they rest on."""
    paths = run.paths.evaluation(name)
    metrics = cache.metrics(cache.stamp(paths.metrics))
    standing = opening.standing(run, name) if run.status.kind == "train" else "predictions from a table"
    st.markdown(
        f"**{name}** · {counts(metrics['n'])} {feedback.leak_badge(metrics['leak']['patients'])}"
        + (f" · :gray[{standing}]" if standing else "")
    )
    if run.status.kind == "train" and (banner := leakage_banner(run.config)):
        st.warning(banner, icon=":material/warning:")
    values = metrics["per_class"].values()
    defined = sum(value["auprc"] is not None for value in values)
    cards = st.columns([3, 3, 3, 2])
    help_ = f"Mean over the {defined} of {len(values)} findings where it is defined."
    for card, title, key in zip(cards, ("Macro AUPRC", "Macro AUROC", "Macro F1 @ .5"), ("auprc", "auroc", "f1_macro")):
        card.metric(title, interval(metrics[key], metrics.get(f"{key}_ci")), border=True, help=help_)
    cards[3].metric("Findings with AUPRC", f"{defined} of {len(values)}", border=True)
    if metrics["undefined"]:
        with st.expander(f"{plural(len(metrics['undefined']), 'finding')} with an undefined figure"):
            for label, reason in metrics["undefined"].items():
                st.caption(f":material/info: {label}: {reason}")


def source(run: str, name: str, metrics: dict[str, Any]) -> Source:
    """Return what the figures of a test set rest on."""
    leaked = metrics["leak"]["patients"]
    size = counts(metrics["n"])
    return Source(
        title=f"{run} on {name}",
        note=f"{name} · {size} {feedback.leak_badge(leaked)}",
        plain_note=f"{name}: {size}" + (f"; leak: {plural(leaked, 'patient')}" if leaked else ""),
        stem=re.sub(r"[^\w.-]+", "_", f"{run}-{name}"),
    )
