"""Evaluate: a run finding by finding, on its validation set and on test sets."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import streamlit as st

from ctbench_core.declared import TUNED, averaged_metrics, metric_of, metric_title, short_title
from ctbench_core.evaluate import per_class_frame
from ctbench_core.formatting import format_interval, format_metric, plural
from ctbench_core.label_leakage import leakage_banner
from ctbench_core.report import mark_text, run_paper
from ctbench_core.runs import VALIDATION, Metrics, Run, disclosures_of, evaluations_of, open_run, read_tuning
from ctbench_ui import form
from ctbench_ui.evaluate import (
    all_figures,
    calibration,
    chosen_threshold,
    curves,
    evaluate_on_test,
    evaluate_on_validation,
    external,
    findings,
    subgroups,
    threshold,
    volumes,
)
from ctbench_ui.frame import readonly
from ctbench_ui.shared import (
    as_text,
    cache,
    draw_tabs,
    exports,
    linked_ids,
    run_actions,
    run_picker,
    show_empty,
    show_errors,
)

_OF_SLIDER = "Threshold"  # the tab that draws the slider


def draw() -> None:
    """Draw the page."""
    header = st.container(horizontal=True, vertical_alignment="center", key="evaluate-head")
    header.title("Evaluate", anchor=False, width="content")
    stored = run_picker.stored_rows(str(form.outputs_root()))
    rows = {run_id: row for run_id, row in stored.items() if run_picker.has_results(row)}
    linked = linked_ids.read_id("evaluate", "run", rows, stored)
    if not rows:
        show_empty("No trained runs yet", "Train a head, then evaluate it on test here.", "Configure a run", "train")
        return
    with header:
        run_id = run_picker.pick_run(rows, linked)
        run_dir, tests = Path(rows[run_id]["run_dir"]), list(rows[run_id]["tests"])
        is_trained = rows[run_id]["kind"] == "train"
        sets = [*tests, VALIDATION] if is_trained and VALIDATION not in tests else tests
        name = run_picker.pick_test("evaluate", "test", run_id, sets, label_visibility="collapsed")
        place = st.container(horizontal=True, vertical_alignment="center", gap="xsmall", width="content")
    with place:
        with show_errors("This run cannot be read"):
            run_actions.draw(open_run(run_dir), "evaluate-run")
        readonly.offer_link(st.container(width="content"))
    with st.container():  # what follows keeps its place
        if is_trained and not tests:
            evaluate_on_test.offer(run_dir, tests)
    with st.container(), show_errors("This evaluation cannot be shown"):
        run = open_run(run_dir)
        if name == VALIDATION and not evaluate_on_validation.is_complete(run):
            return
        evaluate_on_test.warn_if_stale(run, name)
        metrics = evaluate_on_test.stored_metrics(run, name)
        _draw_numbers(run, name, metrics, tests if is_trained else [])
    _tabs(run_dir, name)
    with show_errors("This evaluation cannot be shown"):
        external.draw(metrics)


def _draw_numbers(run: Run, name: str, metrics: Metrics, tests: list[str]) -> None:
    """Draw the macro metrics of one test set with intervals, its cohort, and how often it was used.

    Args:
        tests: test sets that the run was evaluated on and may be again.
    """
    disclosures = disclosures_of([run], name)
    use = evaluations_of(run, name) if run.status.kind == "train" and name != VALIDATION else ""
    st.caption(exports.markdown_note(disclosures, disclosures.facts(use)))
    if run.status.kind == "train" and (banner := leakage_banner(run.config)):
        st.warning(banner, icon=":material/warning:")
    for text in metrics.warnings:
        st.warning(as_text(text), icon=":material/warning:")
    row = st.container(
        horizontal=True,
        horizontal_alignment="distribute",
        vertical_alignment="center",
        gap="medium",
        key="evaluate-metrics",
    )
    for key, one in metrics.macro.items():
        text = format_interval(one.value, one.interval.to_list())
        help = f"Mean over the {plural(one.findings, 'finding')} where it is defined."
        if reason := metrics.macro_no_interval.get(key):
            help += f" No interval: {reason}."
        row.metric(f"Macro {_card_title(key, metrics.threshold)}", text, help=help, width="content")
    if tests:
        with row:
            evaluate_on_test.offer(run.paths.root, tests)


def _draw_notes(metrics: Metrics) -> None:
    """Draw what the metrics by finding and their means are defined on, their distance from validation, and marks of intervals."""
    marks = as_text("; ".join(_marks(metrics)))
    texts = [*_defined(metrics), *_eligible(metrics), *_validation_gaps(metrics), *filter(None, [marks])]
    if texts:
        st.caption(f":material/info: {' · '.join(texts)}")


def _findings(per_class: pd.DataFrame, metrics: Metrics, source: exports.Source) -> None:
    """Draw the tab of findings, below it what to know of them, why a metric is undefined, and the second analysis."""
    findings.tab(per_class, source)
    _draw_notes(metrics)
    if undefined := {label: note for label in metrics.findings if (note := metrics.note(label))}:
        with st.expander(f"{plural(len(undefined), 'finding')} with an undefined metric"):
            for label, reason in undefined.items():
                st.caption(f":material/info: {as_text(label)}: {as_text(reason)}")
    _one_volume(metrics)


def _one_volume(metrics: Metrics) -> None:
    """Draw the second analysis, one volume a patient, closed."""
    own = metrics.one_volume
    if own is None:
        return
    title = f"One volume per patient: {plural(own.n['volumes'], 'volume')}"
    with st.expander(title, key="one-volume-box", on_change="rerun") as box:
        if not box.open:  # a table more costs 20 ms
            return
        means = [
            f"Macro {short_title(key)} {format_interval(one.value, one.interval.to_list())}"
            for key, one in own.macro.items()
        ]
        st.caption(
            "The first reconstruction of each patient's first exam, rates at threshold "
            f"{format_metric(own.threshold, 1)}. The main analysis counts every volume: the two differ where patients "
            "with many volumes do. " + as_text(" · ".join([*means, *_eligible(own)]))
        )
        findings.draw_rows(findings.at_threshold(per_class_frame(own), tuned=False), "one-volume")


def _marks(metrics: Metrics) -> list[str]:
    """Write the marks of intervals, each with its findings."""
    labels: dict[str, list[str]] = {}
    for label, finding in metrics.findings.items():
        labels.setdefault(finding.mark_note(), []).append(label)
    return [f"{mark_text(text)} ({', '.join(names)})" for text, names in labels.items() if text]


def _card_title(key: str, threshold: float) -> str:
    metric = metric_of(key)
    at = metric is not None and metric.kind == "thresholded" and not key.endswith(TUNED)
    return short_title(key) + (f" @ {f'{threshold:g}'.removeprefix('0')}" if at else "")


def _defined(metrics: Metrics) -> list[str]:
    """Write for how many findings the ranking metrics are defined, where not for all."""
    names = [metric.name for metric in averaged_metrics() if metric.kind == "ranking"][:1]
    count = plural(len(metrics.findings), "finding")
    defined = {name: metrics.macro[name].findings for name in names}
    return [
        f"{short_title(name)} defined for {number} of {count}"
        for name, number in defined.items()
        if number < len(metrics.findings)
    ]


def _eligible(metrics: Metrics) -> list[str]:
    """Write the macro means over the eligible findings, where these are fewer."""
    parts = [
        f"{short_title(key)} over the {one.eligible.findings} eligible findings: "
        f"{format_interval(one.eligible.value, one.eligible.interval.to_list())}"
        for key, one in metrics.macro.items()
        if one.eligible
    ]
    return [as_text("; ".join(parts))] if parts else []


def _validation_gaps(metrics: Metrics) -> list[str]:
    """Write by how much the metrics on validation exceed those on test."""
    gaps = {key: gap for key, gap in metrics.validation_minus_test.items() if not math.isnan(gap)}
    parts = [f"{metric_title(key)} {format_metric(gap, signed=True)}" for key, gap in gaps.items()]
    return [f"validation − test: {', '.join(parts)}"] if parts else []


@st.fragment
def _tabs(run_dir: Path, name: str) -> None:
    """Draw the tabs; a click inside reruns them alone."""
    run_picker.redraw_if_deleted([run_dir])
    with show_errors("This evaluation cannot be shown"):
        run = open_run(run_dir)
        if not evaluate_on_test.is_complete(run, name):
            return
        paths, on_test = run.paths.bundle(name), name != VALIDATION
        metrics, tuning = evaluate_on_test.stored_metrics(run, name), read_tuning(run.paths.tuning) or {}
        per_class = per_class_frame(metrics)
        source = exports.disclosed_source(f"{run.name} on {name}", disclosures_of([run], name), f"{run.name}-{name}")
        labels = list(metrics.findings)
        # A bundle of an older version has no bands.
        bands = paths.bands if paths.bands.is_file() else None
        contents = {
            "Findings": lambda: _findings(per_class, metrics, source),
            "Curves": lambda: curves.tab(
                cache.load_table(paths.curves), cache.load_table(bands) if bands else None, per_class, source
            ),
            "Threshold": lambda: threshold.tab(run.paths, name, tuning, labels, source),
            "Calibration": lambda: calibration.tab(paths, tuning if on_test else {}, labels, source),
            "Subgroups": lambda: subgroups.tab(paths, labels, source),
            "Paper": lambda: exports.draw_paper(
                run_paper(run, name), f"{source.stem}-paper", lambda: all_figures.make(paths, per_class), source
            ),
            "Volumes": lambda: volumes.tab(paths.scores, labels, metrics.threshold, source),
        }
        if not on_test:
            del contents["Paper"]  # a paper reports a test set
        draw_tabs(
            {
                title: draw if title == _OF_SLIDER else functools.partial(_keeping, draw, labels)
                for title, draw in contents.items()
            },
            "tab",
        )


def _keeping(draw: Callable[[], None], labels: list[str]) -> None:
    """Draw a tab without the slider, and keep its threshold in the address."""
    chosen_threshold.keep_in_address(labels)
    draw()
