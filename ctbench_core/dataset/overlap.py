"""Say how many training patients the seeds of a recipe share: whether their spread covers other training patients."""

from __future__ import annotations

from ctbench_core.config import Config
from ctbench_core.dataset.splits import ManifestCache, make_splits
from ctbench_core.errors import CtbenchError


def seed_overlap(config: Config, cache: ManifestCache | None = None) -> float:
    """Return the mean share of training units (patients, by default) that two seeds of a config have in common.

    Seeds draw ``data.budget`` units at random from all, so that the share is budget / all. It is 1 where each seed
    trains on the same: without a budget, with ``data.budget_seed`` or ``data.selection``; and where the manifests
    cannot be read any more, so that nothing is claimed for other patients.

    Args:
        cache: manifests that were read for other configs.
    """
    data = config.data
    if data.budget is None or data.budget_seed is not None or data.selection is not None:
        return 1.0
    pool = config.copy()
    pool.data.budget = None
    try:
        splits = make_splits(pool, cache=cache)
    except CtbenchError:
        return 1.0
    return min(1.0, data.budget / sum(side.counts()[f"{data.budget_unit}s"] for side in (splits.train, splits.val)))
