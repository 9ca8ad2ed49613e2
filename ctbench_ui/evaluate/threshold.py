"""What a threshold does to one finding: confusion counts, rates, scores, and the volumes behind a cell.

MERGED: Thresholds that validation chose for one finding, what each promised there, and what it is worth on the test.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from ctbench_core.evaluate import RULES, best_thresholds, confusion_at, numbers, validation_choice
from ctbench_core.formatting import format_metric
from ctbench_core.metrics import ThresholdedMetrics, thresholded_metrics
from ctbench_core.runs import RunPaths
from ctbench_ui.evaluate import volumes
from ctbench_ui.shared import cache, charts, figures, tables
from ctbench_ui.shared.cache import Stamp
from ctbench_ui.shared.figures import Source

_KEY, _CELL = "threshold", "threshold.cell"
_CELLS = {"tp": "true positives", "fn": "missed", "fp": "false alarms", "tn": "true negatives"}
_RATES = {"precision": "Precision", "recall": "Recall", "specificity": "Specificity", "f1": "F1"}
_BINS = 50


def tab(run: RunPaths, name: str, tuning: dict[str, Any], labels: list[str], source: Source) -> None:
    """Draw one finding at the threshold of a slider, from stored counts."""
    paths = run.evaluation(name)
    left, right = st.columns([1, 1], gap="medium")
    with left:
        label = st.selectbox("Finding", labels, key="finding", bind="query-params")
        counts = cache.counts(cache.stamp(paths.counts), cache.stamp(paths.scores), label)
        if counts.empty:
            st.info("This finding has no positives or no negatives here, so no threshold tells anything.")
            return
        threshold, confusion = confusion_at(counts, _slider(counts))
        cell = _cells(confusion)
    with right:
        for card, (rate, title) in zip(st.columns(4), _RATES.items()):
            card.metric(title, format_metric(float(getattr(confusion, rate))), border=True)
        bins = histogram(counts)
        alt = f"Scores of positives and negatives of {label}, threshold {format_metric(threshold)}"
        figures.show(charts.score_histogram(bins, threshold), bins, source, "threshold", alt)
    if cell:
        frame = volumes.of_cell(volumes.scored(paths.scores, label), threshold, cell)
        st.markdown(f"**{label}: {_CELLS[cell]}** at threshold {format_metric(threshold)}, the most wrong first")
        file_name = f"{source.stem}-{label}-{cell}-{threshold:.3f}.csv"
        volumes.show(frame, source, file_name, "cell", f"{_CELLS[cell].capitalize()} of {label}")
    draw(run, tuning, label, paths.scores, source, lambda value: _set(_KEY, value))


def _slider(counts: pd.DataFrame) -> float:
    st.session_state.setdefault(_KEY, 0.5)
    asked = st.slider(
        "Threshold", 0.0, 1.0, step=0.001, format="%.3f", key=_KEY, bind="query-params", persist_state="session"
    )
    best = best_thresholds(counts)
    presets = {".5": 0.5, "What if: Youden": best["youden"], "What if: max F1": best["f1"]}
    with st.container(horizontal=True, gap="small"):
        for text, value in presets.items():
            st.button(text, key=f"preset-{text.split()[-1].strip('.')}", on_click=_set, args=(_KEY, value))
    st.caption(
        ":material/info: *What if* thresholds are the best on this very set: hindsight, not a result to report. "
        "Those that validation chose stand below."
    )
    return float(asked)


def _set(key: str, value: float | str | None) -> None:
    st.session_state[key] = value


def _cells(confusion: ThresholdedMetrics) -> str | None:
    """Draw the confusion counts as buttons; return the cell whose volumes are asked for."""
    chosen = st.session_state.get(_CELL)
    for title, pair in (("Finding present", ("tp", "fn")), ("Finding absent", ("fp", "tn"))):
        name, *columns = st.columns([1, 2, 2], vertical_alignment="center", gap="small")
        name.caption(title)
        for column, cell in zip(columns, pair):
            count = int(getattr(confusion, cell))
            column.button(
                f"**{count:,}** {_CELLS[cell]}",
                key=f"cell-{cell}",
                type="primary" if cell == chosen else "secondary",
                width="stretch",
                on_click=_set,
                args=(_CELL, None if cell == chosen else cell),
            )
    st.caption("Press a count to see its volumes, the most wrong first.")
    return chosen


def histogram(counts: pd.DataFrame) -> pd.DataFrame:
    """Return positives and negatives by score in even bins, as differences of the stored counts.

    Args:
        counts: rows of one finding, whose thresholds include the edges of the bins.
    """
    edges = np.round(np.linspace(0, 1, _BINS + 1), 3)
    at = np.searchsorted(counts["threshold"].to_numpy(), edges)
    frame = pd.DataFrame({"bin_left": edges[:-1], "bin_right": edges[1:]})
    for name, column in (("positives", "tp"), ("negatives", "fp")):
        above = counts[column].to_numpy()[at].copy()
        above[-1] = 0  # a score of exactly 1 falls into the last bin
        frame[name] = -np.diff(above)
    return frame


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
    return f"{name} ≥ {format_metric(float(target))}" if target else {"f1": "max F1", "youden": "Youden"}[name]


def _shown(found: pd.DataFrame) -> pd.DataFrame:
    """Return what the table shows: each rate on validation and, after the arrow, on the test."""
    shown = pd.DataFrame({"Rule": found["rule"].map(_titled), "Threshold": found["threshold"].map(format_metric)})
    for title in _TUNED_RATES.values():
        pairs = zip(found[f"{title}, validation"], found[f"{title}, test"])
        shown[f"{title}, validation → test"] = [
            f"{format_metric(there)} → {format_metric(here)}" for there, here in pairs
        ]
    shown["F1 optimism"] = found["F1 optimism"].map(format_metric)
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
