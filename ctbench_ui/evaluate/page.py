"""Evaluate: evaluate a run on test, and see its results finding by finding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st

from ctbench_core.declared import METRICS
from ctbench_core.formatting import format_cohort, format_interval, format_metric, plural
from ctbench_core.label_leakage import leakage_banner
from ctbench_core.report import run_paper
from ctbench_core.runs import Run, disclosures_of, open_run
from ctbench_ui import form
from ctbench_ui.evaluate import calibration, curves, evaluate_on_test, findings, subgroups, threshold, volumes
from ctbench_ui.frame import readonly
from ctbench_ui.shared import cache, draw_tabs, exports, leak_badge, run_picker, show_empty, show_errors

_TAB = "tab"  # the query parameter of the open tab
_CARDS = {"auprc": "Macro AUPRC", "auroc": "Macro AUROC", "f1_macro": "Macro F1 @ .5", "f1_tuned": "Macro F1, tuned"}


def draw() -> None:
    """Draw the page."""
    place = readonly.draw_title("Evaluate")
    rows = run_picker.evaluable(str(form.outputs_root()))
    if not rows:
        show_empty("No trained runs yet", "Train a head, then evaluate it on test here.", "Configure a run", "train")
        return
    left, right = st.columns([3, 2])
    with left:
        run_id = run_picker.pick_run(rows)
    run_dir, tests = Path(rows[run_id]["run_dir"]), list(rows[run_id]["tests"])
    with right:
        name = _pick_test(run_id, tests) if tests else None
    readonly.offer_link(place, run=run_id, test=name)
    if rows[run_id]["kind"] == "train":
        evaluate_on_test.offer(run_dir, tests)
    if name is None:
        return
    with show_errors("This evaluation cannot be shown"):
        run = open_run(run_dir)
        evaluate_on_test.warn_if_stale(run, name)
        _header(run, name)
    _tabs(run_dir, name)


def _pick_test(run_id: str, tests: list[str]) -> str | None:
    """Draw the choice of a test set; the address carries it where there are several."""
    linked = st.query_params.get("test")
    name = st.segmented_control(
        "Test set", tests, default=linked if linked in tests else tests[0], required=True, key=f"test-{run_id}"
    )
    if name and len(tests) > 1:
        st.query_params["test"] = name
    return name


def _header(run: Run, name: str) -> None:
    """Draw the macro metrics of one test set with intervals, its cohort, and how often it was used."""
    metrics = cache.load_metrics(run.paths.evaluation(name).metrics)
    use = evaluate_on_test.describe(run, name) if run.status.kind == "train" else "predictions from a table"
    st.markdown(
        f"**{name}** · {format_cohort(metrics['n'])} {leak_badge(metrics['leak']['patients'])}"
        + (f" · :gray[{use}]" if use else "")
    )
    if run.status.kind == "train" and (banner := leakage_banner(run.config)):
        st.warning(banner, icon=":material/warning:")
    values = metrics["per_class"].values()
    defined = sum(value["auprc"] is not None for value in values)
    count = f"{defined} of {plural(len(values), 'finding')}"
    cards = {name: title for name, title in _CARDS.items() if name in metrics}
    for card, (metric, title) in zip(st.columns(len(cards)), cards.items()):
        text = format_interval(metrics[metric], metrics.get(f"{metric}_ci"))
        card.metric(title, text, border=True, help=f"Mean over the {count} where it is defined.")
    st.caption(" · ".join([f"AUPRC defined for {count}", *_optimism(metrics)]))
    if undefined := metrics["undefined"]:
        with st.expander(f"{plural(len(undefined), 'finding')} with an undefined metric"):
            for label, reason in undefined.items():
                st.caption(f":material/info: {label}: {reason}")


def _optimism(metrics: dict[str, Any]) -> list[str]:
    """Write by how much the metrics on validation exceed those on test."""
    gaps = {name: gap for name, gap in metrics.get("optimism", {}).items() if gap is not None}
    parts = [f"{METRICS[name].title} {format_metric(gap, signed=True)}" for name, gap in gaps.items()]
    return [f"validation − test: {', '.join(parts)}"] if parts else []


@st.fragment
def _tabs(run_dir: Path, name: str) -> None:
    """Draw the tabs; a click inside reruns them alone."""
    with show_errors("This evaluation cannot be shown"):
        run = open_run(run_dir)
        if not evaluate_on_test.is_complete(run, name):
            return
        paths = run.paths.evaluation(name)
        metrics, tuning = cache.load_metrics(paths.metrics), cache.load_metrics(run.paths.tuning)
        per_class = cache.load_table(paths.per_class)
        source = exports.disclosed_source(f"{run.name} on {name}", disclosures_of([run], name), f"{run.name}-{name}")
        labels = list(per_class["finding"])
        # A bundle of an older version has no bands.
        bands = paths.bands if paths.bands.is_file() else None
        contents = {
            "Findings": lambda: findings.tab(per_class, source),
            "Curves": lambda: curves.tab(
                cache.load_table(paths.curves), cache.load_table(bands) if bands else None, per_class, source
            ),
            "Threshold": lambda: threshold.tab(run.paths, name, tuning, labels, source),
            "Calibration": lambda: calibration.tab(paths, tuning, labels, source),
            "Subgroups": lambda: subgroups.tab(paths, labels, source),
            "Paper": lambda: exports.draw_paper(run_paper(run, name), f"{source.stem}-paper"),
            "Volumes": lambda: volumes.tab(paths.scores, labels, metrics.get("threshold", 0.5), source),
        }
        if (linked := st.query_params.get(_TAB, "").capitalize()) in contents:  # links may be in small letters
            st.session_state.setdefault(_TAB, linked)
        draw_tabs(contents, _TAB, bind="query-params")
