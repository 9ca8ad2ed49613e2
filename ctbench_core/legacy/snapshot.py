"""A snapshot of the older system's training, as a checkpoint that a resume of ours continues from.

Weights, Adam's moments, best epoch and patience go on where they stood. Batches and dropout are drawn from streams of
ours from then on, so the epochs to come are not those that the older program would have trained, but as good.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ctbench_core.config import Config
from ctbench_core.legacy.history import entry_of

_MOMENTS = ("exp_avg", "exp_avg_sq")  # of Adam, which the older system trained by


def continued(
    snapshot: Mapping[str, Any], config: Config, labels: Sequence[str], best: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Return the content of ``last_state.pt``; None when the snapshot does not hold what a resume needs.

    Args:
        snapshot: fields as in `ctbench_core.legacy.folders`; weights by PyTorch's names.
        best: the entry of the best epoch, where the run kept it.
    """
    model, epoch = _state(snapshot.get("model")), snapshot.get("epoch")
    if not model or not isinstance(epoch, int) or epoch < 1:
        return None
    optimiser = _optimiser(config.training.optimizer, snapshot.get("optimizer"), model)
    if optimiser is None:
        return None
    stale = int(snapshot.get("epochs_no_improve") or 0)
    figures = {name: snapshot.get(f"best_val_{name}") for name in ("auprc", "auroc")}
    line = dict(best) or entry_of({"epoch": max(epoch - stale, 1), "val_metrics": figures}, labels)
    return {
        "epoch": epoch,
        "model": plain_names(model),
        "optimizer": optimiser,
        "best_val_auprc": figures["auprc"],
        "best_val_auroc": figures["auroc"],
        "best_primary_metric": _primary(snapshot, line),
        "best_epoch": line.get("epoch") or max(epoch - stale, 1),
        "epochs_no_improve": stale,
        "best_model_state": plain_names(_state(snapshot.get("best_model_state")) or model),
        "best_line": line,
        "rng_state": {"seed": config.utils.seed},
    }


def plain_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Name layers as the head itself does: what wrapped the head is cut off."""
    return {name[name.index("network.") :] if "network." in name else name: value for name, value in state.items()}


def _state(content: Any) -> dict[str, Tensor]:
    """Return a state_dict as it is; anything else as an empty one."""
    state = dict(content) if isinstance(content, Mapping) else {}
    return state if all(isinstance(value, Tensor) for value in state.values()) else {}


def _primary(snapshot: Mapping[str, Any], line: Mapping[str, Any]) -> float:
    known = (snapshot.get("best_primary_metric"), snapshot.get("best_val_auprc"), line["val_metrics"].get("auprc"))
    return float(next((value for value in known if value is not None), float("-inf")))


def _optimiser(name: str, saved: Any, model: Mapping[str, Tensor]) -> dict[str, Any] | None:
    """Return PyTorch's optimiser state in the layout of the bank: one vector of each moment, weights as (in, out)."""
    states = saved.get("state") if isinstance(saved, Mapping) else None
    if not isinstance(states, Mapping) or len(states) != len(model) or name not in ("adam", "adamw"):
        return None
    ordered = [states[place] for place in sorted(states)]
    for one, weight in zip(ordered, model.values()):
        if not isinstance(one, Mapping) or any(
            getattr(one.get(kind), "shape", None) != weight.shape for kind in _MOMENTS
        ):
            return None
    step = torch.as_tensor(ordered[0].get("step", 0), dtype=torch.float32).reshape(())
    flat = {kind: torch.cat([one[kind].detach().float().t().reshape(-1) for one in ordered]) for kind in _MOMENTS}
    return {"name": name, "step": step, **flat}
