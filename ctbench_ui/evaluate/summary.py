"""The head of an evaluation: cohort, leak mark, how often the test set was opened, and the macro figures."""

from __future__ import annotations

from typing import Any

import streamlit as st

from ctbench_core.formatting import format_cohort, format_interval, format_metric, plural
from ctbench_core.label_leakage import leakage_banner
from ctbench_core.runs import Run, disclosures_of
from ctbench_ui.evaluate import opening
from ctbench_ui.shared import cache, feedback, figures
from ctbench_ui.shared.figures import Source

_CARDS = {"Macro AUPRC": "auprc", "Macro AUROC": "auroc", "Macro F1 @ .5": "f1_macro", "Macro F1, tuned": "f1_tuned"}
_NAMES = {"auprc": "AUPRC", "auroc": "AUROC", "f1_tuned": "F1 at tuned thresholds"}


def header(run: Run, name: str) -> None:
    """Draw the macro figures of one test set, with intervals, and what they rest on."""
    paths = run.paths.evaluation(name)
    metrics = cache.metrics(cache.stamp(paths.metrics))
    standing = opening.standing(run, name) if run.status.kind == "train" else "predictions from a table"
    st.markdown(
        f"**{name}** · {format_cohort(metrics['n'])} {feedback.leak_badge(metrics['leak']['patients'])}"
        + (f" · :gray[{standing}]" if standing else "")
    )
    if run.status.kind == "train" and (banner := leakage_banner(run.config)):
        st.warning(banner, icon=":material/warning:")
    values = metrics["per_class"].values()
    defined = sum(value["auprc"] is not None for value in values)
    shown = {title: key for title, key in _CARDS.items() if key in metrics}
    help_ = f"Mean over the {defined} of {len(values)} findings where it is defined."
    for card, (title, key) in zip(st.columns(len(shown)), shown.items()):
        card.metric(title, format_interval(metrics[key], metrics.get(f"{key}_ci")), border=True, help=help_)
    st.caption(" · ".join([f"AUPRC defined for {defined} of {len(values)} findings", *_optimism(metrics)]))
    if metrics["undefined"]:
        with st.expander(f"{plural(len(metrics['undefined']), 'finding')} with an undefined figure"):
            for label, reason in metrics["undefined"].items():
                st.caption(f":material/info: {label}: {reason}")


def _optimism(metrics: dict[str, Any]) -> list[str]:
    """Say how far validation flattered: validation less test."""
    gaps = {_NAMES[name]: gap for name, gap in metrics.get("optimism", {}).items() if gap is not None}
    parts = [f"{name} {'+' if gap >= 0 else '−'}{format_metric(abs(gap))}" for name, gap in gaps.items()]
    return [f"optimism (validation less test): {', '.join(parts)}"] if parts else []


def source(run: Run, name: str) -> Source:
    """Return what the figures of a test set rest on."""
    return figures.marked_source(f"{run.name} on {name}", disclosures_of([run], name), f"{run.name}-{name}")
