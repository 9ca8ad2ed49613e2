"""The figures that the older system kept by epoch, in the form that ours are kept in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ctbench_core.legacy.folders import OldRun
from ctbench_core.runs import read_history, read_json

_MACROS = ("auprc", "auroc", "f1_macro")
_BLANK = dict.fromkeys(("auprc", "auroc", "precision", "recall", "f1", "support"))


def read_old_history(run: OldRun, labels: Sequence[str]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return one entry an epoch, and that of the best epoch; empty where the run kept none.

    Args:
        labels: the findings, in the order of the head's outputs; other classes (``No pathology``) are left out.
    """
    lines = [entry_of(entry, labels) for entry in read_history(run.metrics)]
    best = _best(run, lines, labels)
    running: dict[str, Any] = {}
    for line in lines:
        if not running or _value(line) > _value(running):
            running = line
        line |= {"best_epoch": running["epoch"], **_best_values(running)}
    return lines, best | _best_values(best) if best else {}


def entry_of(entry: dict[str, Any], labels: Sequence[str]) -> dict[str, Any]:
    """Return a line of the older system as one of ours; findings are those of ``labels``, where given."""
    given = entry.get("val_metrics")
    given = given if isinstance(given, dict) else {name: entry.get(f"val_{name}") for name in _MACROS}
    per_class = given.get("per_class")
    per_class = per_class if isinstance(per_class, dict) else {}
    metrics = {name: given.get(name) for name in _MACROS}
    metrics["per_class"] = {label: _BLANK | (per_class.get(label) or {}) for label in labels or per_class}
    return {
        "epoch": entry.get("epoch"),
        "train_loss": entry.get("train_loss"),
        "val_loss": entry.get("val_loss"),
        "val_metrics": metrics,
    }


def _best(run: OldRun, lines: list[dict[str, Any]], labels: Sequence[str]) -> dict[str, Any]:
    """Return the best epoch: as the run said, else the epoch of the highest AUPRC, else the job's pointer."""
    said = read_json(run.best)
    if isinstance(said, dict) and isinstance(said.get("val_metrics"), dict):
        best = entry_of(said, labels)
        if best["epoch"] is None:
            same = (line["epoch"] for line in lines if _value(line) == _value(best))
            best["epoch"] = next(same, None)
        return best
    if lines:
        highest = max(_value(line) for line in lines)
        return dict(next(line for line in lines if _value(line) == highest))
    for path in run.pointers:
        pointer = read_json(path)
        if isinstance(pointer, dict) and Path(str(pointer.get("run_dir", ""))).name in (run.root.name, ""):
            figures = {name: pointer.get(f"best_val_{name}") for name in _MACROS}
            if any(value is not None for value in figures.values()):
                return entry_of({"epoch": None, "val_metrics": figures}, labels)
    return {}


def _value(line: dict[str, Any]) -> float:
    """Return the figure that the older system chose the best epoch by: AUPRC, in its first versions AUROC."""
    metrics = line["val_metrics"]
    value = metrics["auroc"] if metrics["auprc"] is None else metrics["auprc"]
    return -math.inf if value is None or math.isnan(value) else float(value)


def _best_values(line: dict[str, Any]) -> dict[str, Any]:
    return {f"best_val_{name}": line["val_metrics"][name] for name in _MACROS}
