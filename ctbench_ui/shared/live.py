"""The live view of one run: where it stands, its curves, and every finding's curve in small."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from ctbench_core.formatting import format_metric
from ctbench_core.runs import Run, follow_history, open_run
from ctbench_ui.frame import status_bar
from ctbench_ui.shared import active_jobs, charts, epochs, feedback, figures, tables
from ctbench_ui.shared.epochs import Panel
from ctbench_ui.shared.style import ago, duration, state_badge

EVERY_S = 1.0
_POINTS = 1000
_PANELS = (
    Panel("Loss", "Training and validation loss by epoch", {"train_loss": "training", "val_loss": "validation"}),
    Panel(
        "Validation",
        "Validation AUPRC, AUROC and F1 by epoch",
        {"auprc": "AUPRC", "auroc": "AUROC", "f1_macro": "F1"},
    ),
)
_TITLES = {"finished": "Finished", "failed": "Failed", "interrupted": "Interrupted", "cancelled": "Stopped"}


def draw(run_dir: Path, key: str) -> None:
    """Draw the live view of a run; while the run is at work it redraws itself."""
    with feedback.guarded("This run cannot be shown"):
        active = open_run(run_dir).status.active
        st.fragment(_view, run_every=EVERY_S if active else None)(str(run_dir), key)


def _view(run_dir: str, key: str) -> None:
    run = open_run(run_dir)
    entries = follow_history(run.paths.metrics)
    # The status is written less often than the history, and would lag behind the best epoch.
    _headline(run, max(run.status.epoch, entries[-1]["epoch"] if entries else 0))
    if run.status.error:
        feedback.problem(_TITLES.get(run.status.state, "Problem"), run.status.error)
    if not entries:
        if run.status.active:
            st.caption("Reading features; the first epoch follows.")
            st.skeleton(height=260)
        return
    _curves(entries, key)
    with st.expander(
        "Findings, epoch by epoch", icon=":material/grid_on:", key=f"{key}-findings", on_change="rerun"
    ) as box:
        if box.open:
            _findings(entries)


def curves_of(run: Run, key: str) -> None:
    """Draw the settled curves of a run."""
    entries = follow_history(run.paths.metrics)
    if not entries:
        st.caption("No epoch was finished.")
        return
    _curves(entries, key)
    with st.container(horizontal=True, gap="small"):
        tables.download("Curves as CSV", history_frame(entries, len(entries)), f"{run.run_id}-epochs.csv", f"{key}-csv")
        source = figures.Source(run.name, "", f"validation by epoch, run {run.run_id}", run.run_id)
        figures.page_of(lambda: charts.by_epoch(history_frame(entries)), source, "Curves by epoch", f"{key}-html")
    _findings(entries)


def _smoothing(key: str) -> float:
    return st.slider(
        "Smoothing",
        0.0,
        0.95,
        0.0,
        0.05,
        key=f"{key}-smoothing",
        persist_state="session",
        help="Exponential mean over epochs; 0 shows the raw curves.",
        width=200,
    )


def _headline(run: Run, epoch: int) -> None:
    status, best = run.status, run.best()
    figures = best.get("val_metrics", {})
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(f"**{run.name}** {state_badge(status.state)}", width="content")
        st.caption(_when(run), width="content")
    if status.active:
        st.progress(status_bar.share(status))
    columns = st.columns(5)
    columns[0].metric("Epoch", f"{epoch:,} / {status.max_epochs:,}")
    columns[1].metric("Best epoch", f"{best['epoch']:,}" if best else "–")
    columns[2].metric("Validation AUPRC", format_metric(figures.get("auprc")), help="Macro mean at the best epoch.")
    columns[3].metric("Validation AUROC", format_metric(figures.get("auroc")), help="Macro mean at the best epoch.")
    columns[4].metric("Time", duration(status_bar.worked(status)))


def _when(run: Run) -> str:
    status = run.status
    parts = [run.run_id, f"started {ago(status.created)}"]
    if status.state == "running" and status.epoch:
        parts.append(f"at most {status_bar.eta(status)} left")
    if status.active and (elsewhere := active_jobs.place(status)):
        parts.append(elsewhere)
    return " · ".join(parts)


def history_frame(entries: Sequence[dict[str, Any]], points: int = _POINTS) -> pd.DataFrame:
    """Return one row an epoch: epoch, train_loss, val_loss, auprc, auroc, f1_macro; thinned to so many, or up to twice.

    The first and the last epoch are always there.
    """
    step = max(1, len(entries) // points)
    kept = [entry for place, entry in enumerate(entries) if place % step == 0 or place == len(entries) - 1]
    names = ("auprc", "auroc", "f1_macro")
    rows = [
        {name: entry.get(name) for name in ("epoch", "train_loss", "val_loss")}
        | {name: entry.get("val_metrics", {}).get(name) for name in names}
        for entry in kept
    ]
    return pd.DataFrame(rows)


def _curves(entries: Sequence[dict[str, Any]], key: str) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        smoothing = _smoothing(key)
        st.caption("Drag over the epochs to zoom, double-click to see all. The dashed line is the best epoch.")
    epochs.draw(history_frame(entries), _PANELS, f"{key}-curves", smoothing, entries[-1].get("best_epoch"))


def _findings(entries: Sequence[dict[str, Any]]) -> None:
    best = entries[-1].get("best_epoch", entries[-1]["epoch"])
    step = max(1, len(entries) // 120)
    rows = []
    for label, values in entries[-1]["val_metrics"].get("per_class", {}).items():
        trace = [entry["val_metrics"]["per_class"][label].get("auprc") for entry in entries[::step]]
        at_best = next((e["val_metrics"]["per_class"][label] for e in entries if e["epoch"] == best), values)
        rows.append(
            {"finding": label, "AUPRC by epoch": trace, "AUPRC": at_best.get("auprc"), "AUROC": at_best.get("auroc")}
        )
    config = {
        "AUPRC by epoch": st.column_config.LineChartColumn(y_min=0, y_max=1, width="medium"),
        "AUPRC": st.column_config.NumberColumn(f"AUPRC at epoch {best}", format="%.3f"),
        "AUROC": st.column_config.NumberColumn(f"AUROC at epoch {best}", format="%.3f"),
    }
    alt = "Validation AUPRC of every finding by epoch"
    st.dataframe(pd.DataFrame(rows), hide_index=True, column_config=config, placeholder="–", alt=alt)
