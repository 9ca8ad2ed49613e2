"""How long a run has worked, how much longer it may take, and what early stopping does to it.

Every page shows one clock. It starts when a run reads its features, or is resumed, and stops when the run ends; time in
the queue does not count. `ctbench_core/runs/expected_time.py` expects the time of a new run by the same clock.
"""

from __future__ import annotations

from datetime import UTC, datetime

from ctbench_core.config import Config
from ctbench_core.declared import HEADS
from ctbench_core.formatting import plural
from ctbench_core.runs.status import Status, is_of_this_host


def elapsed_seconds(status: Status) -> float:
    """Return the seconds that a run has worked since it was started or resumed: reading, training and evaluation."""
    if "total" in status.seconds and not status.active:  # of a run that waits to be resumed: the time before
        return float(status.seconds["total"])
    if not status.started:
        return 0.0
    is_here = status.active and is_of_this_host(status)  # another host's clock may differ: it wrote both of its times
    end = datetime.now(UTC) if is_here else datetime.fromisoformat(status.updated)
    since = (end - datetime.fromisoformat(status.started)).total_seconds()
    return float(status.seconds.get("load", 0.0)) + max(0.0, since)


def remaining_seconds(status: Status) -> float | None:
    """Return the seconds until the last epoch at the pace of those since the start; None while that is unknown.

    Early stopping often ends a run before: this is the most that it may take.
    """
    done = status.epoch - status.started_epoch
    if status.state != "running" or done <= 0:
        return None
    load = float(status.seconds.get("load", 0.0))
    training = float(status.seconds.get("train", elapsed_seconds(status) - load))
    return training / done * (status.max_epochs - status.epoch)


def describe_stopping(config: Config, status: Status, epoch: int, best_epoch: int | None) -> str:
    """Write what early stopping does: ``4 of 15 epochs without gain``, ``stopped early after epoch 27, best epoch 12``.

    Args:
        epoch: the last. best_epoch: None before the first.

    Returns:
        Empty where early stopping is off, and of a run that ended for another reason.
    """
    known, patience = HEADS.get(HEADS.canonical(config.model._target_)), config.training.early_stopping_patience
    is_on = (known is None or known.stepwise) and patience < status.max_epochs
    if not is_on or not best_epoch:
        return ""
    if status.active:
        return f"{epoch - best_epoch:,} of {plural(patience, 'epoch')} without gain"
    if status.state == "finished" and epoch < status.max_epochs:
        return f"stopped early after epoch {epoch:,}, best epoch {best_epoch:,}"
    return ""
