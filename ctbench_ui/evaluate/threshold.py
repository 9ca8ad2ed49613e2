"""One finding at a threshold: confusion counts, rates, scores, and the thresholds chosen on validation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from ctbench_core.declared import metric_title, tuned_metrics
from ctbench_core.evaluate import RULES, best_thresholds, on_slider, rates_at, shortest_threshold, validation_choice
from ctbench_core.formatting import format_interval, format_metric, format_threshold, plural, threshold_digits
from ctbench_core.inference import Estimate
from ctbench_core.runs import VALIDATION, RunPaths
from ctbench_ui.evaluate import chosen_threshold, volumes
from ctbench_ui.evaluate.chosen_threshold import FINDING, SLIDER, Preset
from ctbench_ui.frame import address
from ctbench_ui.shared import as_text, cache, charts, exports
from ctbench_ui.shared.exports import Source

_CELL, _TARGET = "threshold.cell", "threshold.target"
_CELLS = {"tp": "true positives", "fn": "false negatives", "fp": "false positives", "tn": "true negatives"}
_BINS = 50
_STEP = 0.001  # of the slider
_BEST = {"f1": "best F1", "youden": "best Youden"}
_Offers = dict[str, tuple[str, Preset]]  # title of a button, and what it sets, by key
_LIKELY = 0.95  # the target of sensitivity and specificity


def tab(run: RunPaths, name: str, tuning: dict[str, Any], labels: list[str], source: Source) -> None:
    """Draw one finding at the threshold of a slider: all that is shown of it comes from the scores at that threshold."""
    paths = run.bundle(name)
    left, right = st.columns([1, 1], gap="medium")
    with left:
        label = st.selectbox("Finding", labels, persist_state="session", **address.bound(FINDING, labels))
        counts = cache.load_counts(paths.counts, paths.scores, label)
        if counts.empty:
            st.info("This finding has no positives or no negatives here, so no threshold applies.")
            return
        chosen = _chosen_on_validation(run, tuning, label)
        scores = _known_scores(run, tuning, label, paths.scores)
        best = {rule: shortest_threshold(value, scores) for rule, value in best_thresholds(counts).items()}
        named = {rule: shortest_threshold(value, scores) for rule, value in chosen.items()}
        on = "validation" if name == VALIDATION else "test"
        threshold = _slider(_offers(source.stem, label, named), _hindsight(source.stem, label, best, on))
        chosen_threshold.note_shown(label, threshold)
        cell = _cells(volumes.cells_of(paths.scores, label, threshold))
    with right:
        _draw_rates(_rates_at(paths.scores, label, threshold))
        bins = histogram(counts)
        alt = f"Scores of positives and negatives of {label}, threshold {format_threshold(threshold)}"
        exports.draw_chart(charts.score_histogram(bins, threshold), bins, source, "threshold", alt)
    if cell:
        frame = volumes.select_cells(volumes.load_scores(paths.scores, label), threshold, cell)
        at = format_threshold(threshold)
        st.markdown(f"**{as_text(label)}: {_CELLS[cell]}** at threshold {at}, largest error first")
        file_name = f"{source.stem}-{label}-{cell}-{at}.csv"
        volumes.draw_table(frame, source, file_name, "cell", f"{_CELLS[cell].capitalize()} of {label}")
    _draw_chosen(run, tuning, label, None if name == VALIDATION else paths.scores, source)


def _known_scores(run: RunPaths, tuning: dict[str, Any], label: str, scores: Path) -> np.ndarray:
    """Return a finding's scores here and on validation, where a chosen threshold has to call the same volumes positive."""
    files = [scores, *([run.validation_scores] if _has_choice(run, tuning, label) else [])]
    columns = [cache.load_columns(path, (f"prob_{label}",))[f"prob_{label}"] for path in files]
    return np.concatenate([column.to_numpy(np.float64) for column in columns])


def _draw_rates(estimates: dict[str, Estimate]) -> None:
    """Draw the rates at a threshold with their intervals, and why one has none."""
    frame = pd.DataFrame(
        {
            "Rate": "Recall (sensitivity)" if name == "recall" else metric_title(name),
            "Value [95 % CI]": format_interval(float(one.value[0]), one.bounds[0].tolist()),
            "Note": one.reasons[0] or one.marks[0],
        }
        for name, one in estimates.items()
    )
    shown = frame if frame["Note"].any() else frame.drop(columns="Note")
    st.dataframe(shown, hide_index=True, key="rates", alt="Rates at the threshold, with 95 % intervals over patients")


def _offers(results: str, label: str, chosen: dict[str, float]) -> _Offers:
    """Return what sets .5, and what sets each threshold that a rule chose on validation.

    Args:
        results: of which run on which set.
        chosen: thresholds by rule.
    """
    offers = {"preset-5": (".5", Preset(results, label, 0.5, ""))}
    for rule, value in chosen.items():
        title = _rule_title(rule)
        preset = Preset(results, label, value, f"{title} on validation")
        offers[f"use-{rule.partition('=')[0]}"] = (_capitalised(title), preset)
    return offers


def _hindsight(results: str, label: str, best: dict[str, float], on: str) -> _Offers:
    """Return what sets the best thresholds on this set itself, by rule; ``on`` is the kind of this set."""
    offers = {}
    for rule, value in best.items():
        reason = f"{_BEST[rule]} on {on}"
        preset = Preset(results, label, value, f"{reason}; do not report")
        offers[f"preset-{rule}"] = (f"{_capitalised(reason)} (not reportable)", preset)
    return offers


def _slider(offers: _Offers, hindsight: _Offers) -> float:
    """Draw the slider, and below it the buttons that set it; return the threshold."""
    number = f"%.{threshold_digits(chosen_threshold.before_drawn())}f"  # all digits, as everywhere
    threshold = st.slider(
        "Threshold", 0.0, 1.0, step=_STEP, format=number, key=SLIDER, bind="query-params", persist_state="session"
    )
    for row in (offers, hindsight):
        with st.container(horizontal=True, gap="small"):
            for key, (title, preset) in row.items():
                st.button(title, key=key, on_click=chosen_threshold.use, args=(preset,))
    threshold = on_slider(threshold)
    with st.container():  # a place of its own, so that what stands below keeps its place
        _draw_preset(offers["preset-5"][1], threshold)
    rules = "Best F1, Youden and the targets are chosen on validation. " if len(offers) > 1 else ""
    st.caption(f":material/info: {rules}*Not reportable*: chosen on these volumes; do not report.")
    return threshold


def _draw_preset(here: Preset, threshold: float) -> None:
    """Say what a preset has set, until the slider or the finding changes."""
    if preset := chosen_threshold.preset_at(here.results, here.finding, threshold):
        reason = f": {preset.reason}" if preset.reason else ""
        st.caption(f":material/check: Threshold set to **{format_threshold(threshold)}**{reason}.")


def _set(key: str, value: float | str | None) -> None:
    st.session_state[key] = value


def _cells(cells: dict[str, np.ndarray]) -> str | None:
    """Draw the confusion counts as buttons; return the pressed cell."""
    chosen = st.session_state.get(_CELL)
    for title, pair in (("Finding present", ("tp", "fn")), ("Finding absent", ("fp", "tn"))):
        name, *columns = st.columns([1, 2, 2], vertical_alignment="center", gap="small")
        name.caption(title)
        for column, cell in zip(columns, pair):
            count = int(cells[cell].sum())
            column.button(
                f"**{count:,}** {_CELLS[cell]}",
                key=f"cell-{cell}",
                type="primary" if cell == chosen else "secondary",
                width="stretch",
                on_click=_set,
                args=(_CELL, None if cell == chosen else cell),
            )
    st.caption("Press a count to list its volumes.")
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


def _rules() -> list[str]:
    """Return the rules of thresholds, with the target of the field; before it is drawn, that of `RULES`."""
    target = st.session_state.get(_TARGET, _LIKELY)
    return [rule for rule in RULES if "=" not in rule] + [f"sensitivity={target:g}", f"specificity={target:g}"]


def _has_choice(run: RunPaths, tuning: dict[str, Any], label: str) -> bool:
    return label in tuning.get("labels", []) and run.validation_scores.is_file()


def _chosen_on_validation(run: RunPaths, tuning: dict[str, Any], label: str) -> dict[str, float]:
    """Return the threshold that each rule chooses on validation; empty where none can be chosen."""
    if not _has_choice(run, tuning, label) or label in tuning.get("reasons", {}):
        return {}
    return {rule: _validation_choice(run.validation_scores, label, rule)["threshold"] for rule in _rules()}


def _draw_chosen(run: RunPaths, tuning: dict[str, Any], label: str, scores: Path | None, source: Source) -> None:
    """Draw a column a rule: its threshold, and its rates on validation (cross-fitted) and on test.

    Args:
        scores: of the test set; None where validation itself is shown.
    """
    st.markdown("**Chosen on validation**")
    if not _has_choice(run, tuning, label):
        st.caption("No threshold is chosen: these predictions have no validation scores.")
        return
    on_test = "" if scores is None else " Intervals are those on test, over patients."
    st.caption(
        f"Rates on validation are cross-fitted over its {plural(tuning['n']['patients'], 'patient')}, so they may miss the "
        f"target.{on_test} The epoch was also chosen on validation."
    )
    st.number_input("Target sensitivity, specificity", 0.5, 0.999, _LIKELY, 0.01, key=_TARGET, width=220, format="%.3f")
    table = tuned_rates(run, label, scores, _rules())
    known = _known_scores(run, tuning, label, scores or run.validation_scores)
    st.dataframe(
        _by_rule(table, known), hide_index=True, key="chosen-thresholds", alt="Thresholds chosen on validation"
    )
    if reason := tuning.get("reasons", {}).get(label):
        st.caption(f":material/info: No threshold can be chosen; .5 is used: {as_text(reason)}")
    exports.download("CSV", table, f"{source.stem}-{label}-thresholds.csv", "thresholds-csv", source)


def _rule_title(rule: str) -> str:
    name, _, target = rule.partition("=")
    return f"{name} ≥ {target.removeprefix('0')}" if target else {"f1": "best F1", "youden": "Youden"}[name]


def _capitalised(title: str) -> str:
    return title[0].upper() + title[1:]


def _by_rule(table: pd.DataFrame, scores: np.ndarray) -> pd.DataFrame:
    """Return the table of the screen, a column a rule: each rate on validation and, after an arrow, on test where it has one.

    Args:
        scores: on which the shown threshold calls the same volumes positive as that of the table.
    """
    has_test = any(name.endswith(", test") for name in table)
    rows = {"Threshold": [format_threshold(shortest_threshold(value, scores)) for value in table["threshold"]]}
    for title in (metric_title(metric.name) for metric in tuned_metrics()):
        if not has_test:
            rows[title] = table[f"{title}, validation"].map(format_metric).tolist()
            continue
        columns = [table[f"{title}, {part}"] for part in ("validation", "test", "test, lower", "test, upper")]
        rows[title] = [
            f"{format_metric(before)} → {format_interval(value, [low, high])}"
            for before, value, low, high in zip(*columns)
        ]
    rules = [_capitalised(_rule_title(rule)) for rule in table["rule"]]
    shown = pd.DataFrame.from_dict(rows, orient="index", columns=rules)
    return shown.rename_axis("Validation → test [95 % CI]" if has_test else "On validation").reset_index()


def tuned_rates(run: RunPaths, label: str, scores: Path | None, rules: list[str]) -> pd.DataFrame:
    """Return a row a rule: rule, threshold, each rate on validation, on test with bounds, and F1 on validation − test.

    Args:
        scores: of the test set; without it, rates are those on validation.
    """
    rows = []
    for rule in rules:
        choice = _validation_choice(run.validation_scores, label, rule)
        if scores is None:
            on_validation = {
                f"{metric_title(metric.name)}, validation": choice[metric.name] for metric in tuned_metrics()
            }
            rows.append({"rule": rule, "threshold": choice["threshold"], **on_validation})
            continue
        on_test = _rates_at(scores, label, choice["threshold"])
        row: dict[str, Any] = {"rule": rule, "threshold": choice["threshold"]}
        for metric in tuned_metrics():
            one = on_test[metric.name]
            (low, high), reason = one.bounds[0].tolist(), one.reasons[0] or ""
            title = metric_title(metric.name)
            row |= {f"{title}, validation": choice[metric.name], f"{title}, test": float(one.value[0])}
            row |= {f"{title}, test, lower": low, f"{title}, test, upper": high, f"{title}, no interval": reason}
        rows.append(row | {"F1, validation − test": choice["f1"] - float(on_test["f1"].value[0])})
    return pd.DataFrame(rows)


@cache.per_file(max_entries=512)
def _rates_at(scores: Path, label: str, threshold: float) -> dict[str, Estimate]:
    return rates_at(scores, label, threshold)


@cache.per_file(max_entries=512)
def _validation_choice(scores: Path, label: str, rule: str) -> dict[str, float]:
    return validation_choice(scores, label, rule)
