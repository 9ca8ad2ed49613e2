"""Opening a test set: a deliberate step, since each look at a test set makes its figures less of a test."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from ctbench_core.dataset import names_of_tests
from ctbench_core.errors import CtbenchError
from ctbench_core.evaluate import evaluate_run
from ctbench_core.formatting import plural
from ctbench_core.runs import EvaluationPaths, Run, RunStore, is_stale, open_run, openings_of
from ctbench_ui.frame import readonly
from ctbench_ui.shared import cache, feedback, folders


def open_tests(run_dir: Path, done: list[str]) -> None:
    """Offer to open test sets of a run; what is done already can be opened again."""
    if readonly.is_on():
        if not done:
            st.info("No test set of this run was opened.")
        return
    with feedback.guarded("The test sets of this run cannot be listed"):
        run = open_run(run_dir)
        config = run.config
        offered = names_of_tests(config)
        found = folders.manifests(Path(config.paths.manifest_dir))
        with st.expander("Open a test set", expanded=not done, icon=":material/lock_open:"):
            st.markdown(
                "Choose on validation, open a test set once. Every opening is written into `evaluations.jsonl` of the run store."
            )
            known = [*offered, *(name for name in found if name not in offered)]
            names = st.multiselect(
                "Test manifests", known, default=offered, key=f"tests-{run_dir.name}", accept_new_options=True
            )
            _say_opened(run, names)
            if st.button("Open and evaluate", type="primary", key="evaluate", disabled=not names):
                _evaluate(run_dir, names)


def _say_opened(run: Run, names: list[str]) -> None:
    """Say which of the test sets other runs of the job have seen."""
    for name in names:
        others = len({folder for folder in _opened(run, name) if folder != run.run_id})
        if others:
            st.caption(f":material/history: {name}: {plural(others, 'other run')} of this job opened it before.")


def standing(run: Run, name: str) -> str:
    """Say the how-many-eth run of its job this was to open a test set, and how often it did; empty if unknown."""
    opened = _opened(run, name)
    if run.run_id not in opened:
        return ""
    place = list(dict.fromkeys(opened)).index(run.run_id) + 1
    times = opened.count(run.run_id)
    again = f", {times} times" if times > 1 else ""
    return f"{ordinal(place)} run of this job opened on {name}{again}"


def _opened(run: Run, name: str) -> list[str]:
    """Return the runs that opened a test set, in order, one entry an opening."""
    entries = RunStore(run.config.paths.outputs_root).openings(run.job)
    return [Path(entry["run"]).name for entry in entries if Path(entry.get("manifest", "")).stem == Path(name).stem]


def stale(run: Run, name: str) -> None:
    """Say that a run was trained on after this test was opened, and offer to open it again."""
    judged = cache.metrics(cache.stamp(run.paths.evaluation(name).metrics)).get("best_epoch")
    best = run.best().get("epoch")
    if not is_stale(judged, best):
        return
    told = f"These figures are of epoch {judged:,}. The run was trained on since, and its best epoch is now {best:,}."
    if readonly.is_on():
        st.warning(told, icon=":material/update:")
        return
    st.warning(f"{told} Opening the test set again replaces them, and counts in the ledger.", icon=":material/update:")
    said = "Wait until the run has ended." if run.status.active else None
    if st.button("Open again", icon=":material/lock_open:", key="open-again", disabled=run.status.active, help=said):
        _evaluate(run.paths.root, [_manifest_of(run, name)])


def _manifest_of(run: Run, name: str) -> str:
    """Return the manifest that a bundle was made from: as the config names it, else as the ledger does."""
    written = [str(entry["manifest"]) for entry in openings_of([run], name)]
    named = [one for one in (*names_of_tests(run.config), *reversed(written)) if Path(one).stem == name]
    return next(iter(named), f"{name}.csv")


def ordinal(number: int) -> str:
    """Write a place in an order: ``1st``, ``12th``, ``23rd``."""
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def _evaluate(run_dir: Path, names: list[str]) -> None:
    try:
        with feedback.progress("Reading") as progress:
            result = evaluate_run(run_dir, names, progress=progress)
    except CtbenchError as error:
        feedback.problem("The test set cannot be evaluated", str(error))
        return
    for text in result["warnings"]:
        st.toast(text, icon=":material/warning:", duration="long")
    st.rerun()


def complete(run_dir: Path, paths: EvaluationPaths, name: str) -> bool:
    """Offer to work out what a run of a study leaves out; return whether everything is there."""
    if cache.metrics(cache.stamp(paths.metrics)).get("detail") != "scores":
        return True
    st.info(
        "A run of a study keeps scores and figures. Intervals, curves and calibration are worked out when asked for."
    )
    if not readonly.is_on() and st.button(
        "Work out the rest", type="primary", icon=":material/query_stats:", key="complete"
    ):
        run = open_run(run_dir)
        config = run.config.copy()
        config.evaluation.detail = "full"
        with feedback.progress("Evaluating") as progress:
            evaluate_run(run_dir, [_manifest_of(run, name)], config=config, progress=progress)
        st.rerun(scope="app")
    return False
