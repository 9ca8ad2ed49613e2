"""What makes two runs repeats of one another: the same config but for the seed, the fold and where things lie."""

from __future__ import annotations

from typing import Any

from ctbench_core.config import Config, changed_keys

# Keys that repeat a recipe (seed, fold), and those that change nothing of it: places, and what happens after training.
_NOT_PART = (
    "utils.",
    "logging.",
    "evaluation.",
    "analysis.",
    "optuna.",
    "training.resume.",
    "training.num_workers",
    "data.test_manifests",
    "data.preload_features",
    "data.budget_seed",
    "data.label_origin",
    "data.encoder.",
    "model.model_name",
    "job_name",
)
_PLACES = ("paths.data_root", "paths.manifest_dir")


def recipe_of(config: Config) -> dict[str, Any]:
    """Return the changed keys that runs of one recipe share: all but seed, fold, places and what follows training."""
    return {key: value for key, value in changed_keys(config).items() if _is_part(key)}


def _is_part(key: str) -> bool:
    if key.startswith("paths."):
        return key in _PLACES
    return key != "data.kfold.fold" and not key.startswith(_NOT_PART)
