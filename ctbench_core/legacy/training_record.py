"""Convert the older system's training record to our format: the metrics of each epoch and the last snapshot.

A converted snapshot continues with its weights, Adam's moments, best epoch and patience. Batches and dropout are drawn
by our random streams, so later epochs differ from those of the older program, but are equally valid.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ctbench_core.atomic import dump_json
from ctbench_core.config import Config
from ctbench_core.declared import OPTIMIZERS, brief_metrics, macro_keys
from ctbench_core.legacy.folders import OldRun
from ctbench_core.runs import parse_epoch
from ctbench_core.stored import number, read_bytes, read_file, reading

if TYPE_CHECKING:
    from torch import Tensor

MACROS = tuple(macro_keys())
_ADVICE = "Copy it again from the older system."
_BLANK = dict.fromkeys([*(metric.name for metric in brief_metrics()), "support"])
_MOMENTS = ("exp_avg", "exp_avg_sq")  # of Adam, the older system's optimiser


def read_old_history(run: OldRun, labels: Sequence[str]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return one entry an epoch, and the entry of the best epoch; empty when the run stored none.

    Args:
        labels: the findings, in the order of the head's outputs; other classes (``No pathology``) are dropped.
    """
    lines = _old_lines(run.metrics, labels)
    best = _best_entry(run, lines, labels)
    running: dict[str, Any] = {}
    for line in lines:
        if not running or _selection_value(line) > _selection_value(running):
            running = line
        line |= {"best_epoch": running["epoch"], **_best_values(running)}
    return lines, best | _best_values(best) if best else {}


def _old_lines(path: Path, labels: Sequence[str]) -> list[dict[str, Any]]:
    """Return the epochs of the older system's history; an incomplete last line, and lines of something else, are none.

    Raises:
        DamagedFile: a line is no epoch.
    """
    try:
        with reading(path, _ADVICE):
            *lines, last = read_bytes(path).decode("utf-8", errors="replace").split("\n")
            entries = [json.loads(line) for line in lines if line.strip()]
            with contextlib.suppress(ValueError):
                entries += [json.loads(last)]
            return [_checked(to_entry(entry, labels)) for entry in map(_as_object, entries) if "epoch" in entry]
    except FileNotFoundError:
        return []


def _as_object(line: Any) -> dict[str, Any]:
    if not isinstance(line, dict):
        raise ValueError(f"a line is {str(line)[:40]}, expected a JSON object")
    return line


def _checked(entry: dict[str, Any]) -> dict[str, Any]:
    """Return an epoch whose fields have the types of ours; it may hold NaN, as the older system wrote it."""
    parse_epoch(dump_json(entry))
    if isinstance(entry["epoch"], float):
        raise ValueError(f"epoch is {entry['epoch']}, expected a whole number")
    for name in MACROS:
        number(entry["val_metrics"][name])
    return entry


def _read_old(path: Path) -> Any:
    """Return the content of a JSON file of the older system; None without one."""
    try:
        return read_file(path, json.loads, _ADVICE)
    except FileNotFoundError:
        return None


def to_entry(old: dict[str, Any], labels: Sequence[str]) -> dict[str, Any]:
    """Convert one epoch of the older system; ``labels`` select its findings, empty keeps all."""
    metrics = old.get("val_metrics")
    metrics = metrics if isinstance(metrics, dict) else {name: old.get(f"val_{name}") for name in MACROS}
    per_class = metrics.get("per_class")
    per_class = per_class if isinstance(per_class, dict) else {}
    findings = {label: _BLANK | (per_class.get(label) or {}) for label in labels or per_class}
    return {
        "epoch": old.get("epoch"),
        "train_loss": old.get("train_loss"),
        "val_loss": old.get("val_loss"),
        "val_metrics": {name: metrics.get(name) for name in MACROS} | {"per_class": findings},
    }


def _best_entry(run: OldRun, lines: list[dict[str, Any]], labels: Sequence[str]) -> dict[str, Any]:
    """Return the best epoch: as the run stored it, else the epoch of the highest AUPRC, else the job's pointer."""
    stored = _read_old(run.best)
    if isinstance(stored, dict) and isinstance(stored.get("val_metrics"), dict):
        with reading(run.best, _ADVICE):
            best = _checked(to_entry(stored, labels))
        if best["epoch"] is None:
            matches = (line["epoch"] for line in lines if _selection_value(line) == _selection_value(best))
            best["epoch"] = next(matches, None)
        history: dict[str, Any] = next((line["val_metrics"] for line in lines if line["epoch"] == best["epoch"]), {})
        best["val_metrics"] |= {name: history.get(name) for name in MACROS if best["val_metrics"][name] is None}
        return best
    if lines:
        best = max(lines, key=_selection_value)
        return best.copy()
    for path in run.pointers:
        pointer = _read_old(path)
        if isinstance(pointer, dict) and Path(str(pointer.get("run_dir", ""))).name in (run.root.name, ""):
            metrics = {name: pointer.get(f"best_val_{name}") for name in MACROS}
            if any(value is not None for value in metrics.values()):
                with reading(path, _ADVICE):
                    return _checked(to_entry({"epoch": None, "val_metrics": metrics}, labels))
    return {}


def _selection_value(line: dict[str, Any]) -> float:
    """Return the metric by which the older system chose the best epoch: AUPRC, in its first versions AUROC."""
    metrics = line["val_metrics"]
    value = metrics["auroc"] if metrics["auprc"] is None else metrics["auprc"]
    return -math.inf if value is None or math.isnan(value) else float(value)


def _best_values(line: dict[str, Any]) -> dict[str, Any]:
    return {f"best_val_{name}": line["val_metrics"][name] for name in MACROS}


def to_last_state(
    snapshot: Mapping[str, Any], config: Config, labels: Sequence[str], best: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Return the content of ``last_state.pt``; None when the snapshot lacks what a resume needs.

    Args:
        snapshot: fields as in `ctbench_core.legacy.folders`; weights by PyTorch's names.
        best: the entry of the best epoch; empty when the run did not keep it.
    """
    from ctbench_core.train.checkpoint import strip_prefixes

    model, epoch = _state_dict(snapshot.get("model")), snapshot.get("epoch")
    if not model or not isinstance(epoch, int) or epoch < 1:
        return None
    optimizer = _optimizer_state(config.training.optimizer, snapshot.get("optimizer"), model)
    if optimizer is None:
        return None
    patience = int(snapshot.get("epochs_no_improve") or 0)
    macros = {name: snapshot.get(f"best_val_{name}") for name in ("auprc", "auroc")}
    line = dict(best) or to_entry({"epoch": max(epoch - patience, 1), "val_metrics": macros}, labels)
    return {
        "epoch": epoch,
        "model": strip_prefixes(model),
        "optimizer": optimizer,
        "best_val_auprc": macros["auprc"],
        "best_val_auroc": macros["auroc"],
        "best_primary_metric": _best_primary(snapshot, line),
        "best_epoch": line.get("epoch") or max(epoch - patience, 1),
        "epochs_no_improve": patience,
        "best_model_state": strip_prefixes(_state_dict(snapshot.get("best_model_state")) or model),
        "best_line": line,
        "rng_state": {"seed": config.utils.seed},
    }


def _state_dict(content: Any) -> dict[str, Tensor]:
    """Return a state_dict unchanged, and anything else as an empty one."""
    from torch import Tensor

    state = dict(content) if isinstance(content, Mapping) else {}
    return state if all(isinstance(value, Tensor) for value in state.values()) else {}


def _best_primary(snapshot: Mapping[str, Any], line: Mapping[str, Any]) -> float:
    candidates = (snapshot.get("best_primary_metric"), snapshot.get("best_val_auprc"), line["val_metrics"].get("auprc"))
    return float(next((value for value in candidates if value is not None), -math.inf))


def _optimizer_state(name: str, saved: Any, model: Mapping[str, Tensor]) -> dict[str, Any] | None:
    """Return PyTorch's optimiser state in our layout: one vector of each moment, weights as (in, out)."""
    import torch

    states = saved.get("state") if isinstance(saved, Mapping) else None
    if not isinstance(states, Mapping) or len(states) != len(model) or OPTIMIZERS[name].moments != _MOMENTS:
        return None
    ordered = [states[index] for index in sorted(states)]
    for state, weight in zip(ordered, model.values()):
        if not isinstance(state, Mapping) or any(
            getattr(state.get(moment), "shape", None) != weight.shape for moment in _MOMENTS
        ):
            return None
    step = torch.as_tensor(ordered[0].get("step", 0), dtype=torch.float32).reshape(())
    moments = {
        moment: torch.cat([state[moment].detach().float().t().reshape(-1) for state in ordered]) for moment in _MOMENTS
    }
    return {"name": name, "step": step, **moments}
