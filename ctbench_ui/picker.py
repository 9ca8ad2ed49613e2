"""Runs that can be looked at on the Evaluate page: trained ones, and predictions that came from elsewhere."""

from __future__ import annotations

from typing import Any

from ctbench_core.runs import RunStore
from ctbench_ui import cache
from ctbench_ui.style import figure


def evaluable(outputs_root: str) -> dict[str, dict[str, Any]]:
    """Return rows of `cache.run_row` with their kind, by run id, newest first."""
    found = {}
    for run in RunStore(outputs_root).runs(None):
        kind = run.status.kind
        if (kind == "train" and run.best()) or (kind == "score" and run.evaluations()):
            found[run.run_id] = cache.run_row(run) | {"kind": kind}
    return found


def title(row: dict[str, Any]) -> str:
    """Name a run as the picker shows it."""
    what = "predictions" if row["kind"] == "score" else f"validation AUPRC {figure(row['val_auprc'])}"
    return f"{row['name']} · {what} · {row['run_id']}"
