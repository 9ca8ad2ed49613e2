"""Evaluate: open a test set for a run, and look at it finding by finding."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from ctbench_core.runs import open_run
from ctbench_ui import cache, feedback, findings, form
from ctbench_ui.opening import open_tests
from ctbench_ui.style import counts, figure

st.title("Evaluate", anchor=False)
rows = {row["run_id"]: row for row in cache.run_rows(str(form.outputs_root())) if row["best_epoch"]}
if not rows:
    feedback.empty(
        "No trained run yet", "Train a head; then its test sets can be opened here.", "Set up a run", "train"
    )
    st.stop()

choose, which = st.columns([3, 2])
with choose:
    run_id = st.selectbox(
        "Run",
        list(rows),
        key="run",
        bind="query-params",
        format_func=lambda key: f"{rows[key]['name']} · validation AUPRC {figure(rows[key]['val_auprc'])} · {key}",
    )
run_dir = Path(rows[run_id]["run_dir"])
done = list(rows[run_id]["tests"])
with which:
    name = None
    if done:
        name = st.segmented_control("Test set", done, default=done[0], required=True, key=f"test-{run_id}")
open_tests(run_dir, done)
if name is None:
    st.stop()

with feedback.guarded("This evaluation cannot be shown"):
    paths = open_run(run_dir).paths.evaluation(name)
    metrics = cache.metrics(cache.stamp(paths.metrics))
    per_class = cache.table(cache.stamp(paths.per_class))
    st.markdown(f"**{name}** · {counts(metrics['n'])} {feedback.leak_badge(metrics['leak']['patients'])}")
    defined = int(per_class["auprc"].notna().sum())
    cards = st.columns(4)
    for card, (title, key) in zip(
        cards, (("Macro AUPRC", "auprc"), ("Macro AUROC", "auroc"), ("Macro F1 @ .5", "f1_macro"))
    ):
        card.metric(title, figure(metrics[key]), border=True)
    cards[3].metric("Findings with AUPRC", f"{defined} of {len(per_class)}", border=True)
    for label, reason in metrics["undefined"].items():
        st.caption(f":material/info: {label}: {reason}")
    table, curves, volumes = st.tabs(["Findings", "Curves", "Volumes"], key="evaluate-tabs", on_change="rerun")
    if table.open:
        with table:
            findings.table(per_class, f"{run_id}-{name}")
    if curves.open:
        with curves:
            findings.curves(cache.table(cache.stamp(paths.curves)), per_class, f"{run_id}-{name}")
    if volumes.open:
        with volumes:
            findings.volumes(cache.table(cache.stamp(paths.scores)), list(per_class["finding"]), f"{run_id}-{name}")
