"""Evaluate: open a test set for a run, and look at it finding by finding."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import streamlit as st

from ctbench_core.report import run_paper
from ctbench_core.runs import EvaluationPaths, open_run
from ctbench_ui import form
from ctbench_ui.evaluate import calibration, findings, opening, subgroups, summary, threshold, volumes
from ctbench_ui.frame import readonly
from ctbench_ui.shared import cache, feedback, run_picker, tables

_TAB = "tab"  # a link carries the open tab under this name


def draw() -> None:
    """Draw the page."""
    place = readonly.head("Evaluate")
    rows = run_picker.evaluable(str(form.outputs_root()))
    if not rows:
        feedback.empty(
            "No trained run yet", "Train a head; then its test sets can be opened here.", "Set up a run", "train"
        )
        st.stop()
    choose, which = st.columns([3, 2])
    with choose:
        run_id = run_picker.choose(rows)
    run_dir = Path(rows[run_id]["run_dir"])
    done = list(rows[run_id]["tests"])
    with which:
        name = None
        if done:
            asked = st.query_params.get("test")
            usual = asked if asked in done else done[0]
            name = st.segmented_control("Test set", done, default=usual, required=True, key=f"test-{run_id}")
            if name and len(done) > 1:
                st.query_params["test"] = name
    readonly.offer(place, run=run_id, test=name)
    if rows[run_id]["kind"] == "train":
        opening.open_tests(run_dir, done)
    if name is None:
        st.stop()
    with feedback.guarded("This evaluation cannot be shown"):
        opening.stale(open_run(run_dir), name)
        summary.header(open_run(run_dir), name)
    look(run_dir, name)


def stored(path: Path) -> pd.DataFrame:
    """Return a table of the bundle."""
    return cache.table(cache.stamp(path))


def bands_of(paths: EvaluationPaths) -> pd.DataFrame | None:
    """Return the bands of the curves; None in a bundle from before they were kept."""
    return stored(paths.bands) if paths.bands.is_file() else None


@st.fragment
def look(run_dir: Path, name: str) -> None:
    """Draw the tabs; a click inside reruns them alone."""
    with feedback.guarded("This evaluation cannot be shown"):
        run = open_run(run_dir)
        paths = run.paths.evaluation(name)
        if not opening.complete(run_dir, paths, name):
            return
        metrics = cache.metrics(cache.stamp(paths.metrics))
        per_class = cache.table(cache.stamp(paths.per_class))
        source = summary.source(run, name)
        labels, tuning = list(per_class["finding"]), cache.metrics(cache.stamp(run.paths.tuning))
        contents = {
            "Findings": lambda: findings.table(per_class, source),
            "Curves": lambda: findings.curve_tab(stored(paths.curves), bands_of(paths), per_class, source),
            "Threshold": lambda: threshold.tab(run.paths, name, tuning, labels, source),
            "Calibration": lambda: calibration.tab(paths, tuning, labels, source),
            "Subgroups": lambda: subgroups.tab(paths, labels, source),
            "Paper": lambda: tables.draw(run_paper(run, name), f"{source.stem}-paper"),
            "Volumes": lambda: volumes.tab(paths.scores, labels, metrics.get("threshold", 0.5), source),
        }
        if (asked := st.query_params.get(_TAB, "").capitalize()) in contents:  # links are written in small letters, too
            st.session_state.setdefault(_TAB, asked)
        drawn = st.tabs(list(contents), key=_TAB, on_change="rerun", bind="query-params")
        for tab, draw in zip(drawn, contents.values()):
            if tab.open:
                with tab:
                    draw()
