"""Thresholds that validation chose for one finding, what each promised there, and what it is worth on the test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from ctbench_core.evaluate.scores import numbers
from ctbench_core.evaluate.tuning import RULES, validation_choice
from ctbench_core.metrics import thresholded_metrics
from ctbench_core.runs import RunPaths
from ctbench_ui import cache, tables
from ctbench_ui.cache import Stamp
from ctbench_ui.figures import Source
from ctbench_ui.style import figure

_TUNED_RATES = {"recall": "Sensitivity", "specificity": "Specificity", "precision": "Precision", "f1": "F1"}


def draw(
    run: RunPaths,
    tuning: dict[str, Any],
    label: str,
    scores: Path,
    source: Source,
    use: Callable[[float], None],
) -> None:
    """Draw a row a rule: threshold, its rates on validation (cross-fitted) and here, and the difference, optimism.

    Args:
        scores: the scores table of the test. use: called with the threshold to move the slider to.
    """
    st.markdown("**Chosen on validation**")
    if label not in tuning.get("labels", []) or not run.validation_scores.is_file():
        st.caption("Validation was not scored for these predictions, so no threshold was chosen on it.")
        return
    target = st.number_input(
        "Target sensitivity, specificity", 0.5, 0.999, 0.95, 0.01, key="threshold.target", width=220, format="%.3f"
    )
    rules = [rule for rule in RULES if "=" not in rule] + [f"sensitivity={target:g}", f"specificity={target:g}"]
    found = table(run, label, scores, rules)
    st.dataframe(_shown(found), hide_index=True, key="chosen-thresholds", alt="Thresholds chosen on validation")
    if reason := tuning.get("reasons", {}).get(label):
        st.caption(f":material/info: none could be chosen, .5 stands in: {reason}")
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        for rule, threshold in zip(found["rule"], found["threshold"]):
            name = rule.partition("=")[0]
            st.button(f"Use {_titled(rule)}", key=f"use-{name}", on_click=use, args=(float(threshold),))
        tables.download("CSV", found, f"{source.stem}-{label}-thresholds.csv", "thresholds-csv", source)
    st.caption(
        f"Validation: {tuning['n']['patients']:,} patients, each called by the threshold that the other folds' patients chose. "
        "Optimism is validation less test: validation also chose the epoch."
    )


def _titled(rule: str) -> str:
    name, _, target = rule.partition("=")
    return f"{name} ≥ {figure(float(target))}" if target else {"f1": "max F1", "youden": "Youden"}[name]


def _shown(found: pd.DataFrame) -> pd.DataFrame:
    """Return what the table shows: each rate on validation and, after the arrow, on the test."""
    shown = pd.DataFrame({"Rule": found["rule"].map(_titled), "Threshold": found["threshold"].map(figure)})
    for title in _TUNED_RATES.values():
        pairs = zip(found[f"{title}, validation"], found[f"{title}, test"])
        shown[f"{title}, validation → test"] = [f"{figure(there)} → {figure(here)}" for there, here in pairs]
    shown["F1 optimism"] = found["F1 optimism"].map(figure)
    return shown


def table(run: RunPaths, label: str, scores: Path, rules: list[str]) -> pd.DataFrame:
    """Return a row a rule: rule, threshold, and each rate on validation, on the test, and their difference."""
    test = cache.part(cache.stamp(scores), (f"target_{label}", f"prob_{label}"))
    targets, probabilities = numbers(test, "target_", [label]), numbers(test, "prob_", [label])
    rows = []
    for rule in rules:
        choice = _choice(cache.stamp(run.validation_scores), label, rule)
        here = thresholded_metrics(targets, probabilities, choice["threshold"])
        row: dict[str, Any] = {"rule": rule, "threshold": choice["threshold"]}
        for rate, title in _TUNED_RATES.items():
            there, value = choice[rate], float(getattr(here, rate)[0])
            row |= {f"{title}, validation": there, f"{title}, test": value}
        row["F1 optimism"] = choice["f1"] - float(here.f1[0])
        rows.append(row)
    return pd.DataFrame(rows)


@st.cache_data(max_entries=512, show_spinner=False)
def _choice(scores: Stamp, label: str, rule: str) -> dict[str, float]:
    return validation_choice(Path(scores[0]), label, rule)
